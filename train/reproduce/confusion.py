"""What a manager did with every turn, beside what was right over the bank as it stood: a confusion matrix.

What is right depends on the bank: a second dog is an UPDATE where the first one is remembered, and an ADD where the
manager has lost it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from langgraph_memory_r1.evals.personaworld import Event, Story
from langgraph_memory_r1.schemas import Memory
from langgraph_memory_r1.train.rollout import Rollout

RIGHT: Final = ("ADD", "UPDATE", "DELETE", "NOOP")
DONE: Final = (*RIGHT, "UPDATE of another", "DELETE of another")

Matrix = dict[str, dict[str, int]]
"""Right operation → what was done → how often."""


def confusion(rollouts: Sequence[Rollout], stories: Sequence[Story]) -> Matrix:
    """Count all decisions of the rollouts."""
    counts: Counter[tuple[str, str]] = Counter()
    for rollout, story in zip(rollouts, stories, strict=True):
        counts.update(decisions(rollout, {event.turn: event for event in story.events}))
    return {right: {done: counts[right, done] for done in DONE} for right in RIGHT}


def added(matrices: Sequence[Matrix]) -> Matrix:
    """Add the matrices of several seeds up."""
    return {right: {done: sum(each[right][done] for each in matrices) for done in DONE} for right in RIGHT}


def decisions(rollout: Rollout, events: Mapping[str, Event]) -> Iterator[tuple[str, str]]:
    """Yield the right operation and what was done, for every step with a fact."""
    banks = [*(bank.all() for bank in rollout.before), rollout.bank.all()]
    for step, before, after in zip(rollout.episode.steps, banks, banks[1:], strict=False):
        if step.facts:
            event = events[step.turns[0].id]
            about: list[Memory] = []
            if event.attribute is not None:
                # By person and thing alone: how a memory says the rest is for the model that wrote it.
                words = {event.owner.lower(), event.attribute.noun}
                about = [memory for memory in before if words <= set(re.findall(r"\w+", memory.text.lower()))]
            yield right_operation(event, about), done_operation(before, after, about)


def right_operation(event: Event, about: Sequence[Memory]) -> str:
    """Return what was right, where these memories are about what the turn is about."""
    if event.attribute is None:
        return "NOOP"
    if event.kind == "retraction":
        return "DELETE" if about else "NOOP"
    if not about:
        return "ADD"
    repeats = event.kind == "repetition" and any(
        all(value in memory.text for value in event.values) for memory in about
    )  # fmt: skip
    return "NOOP" if repeats else "UPDATE"


def done_operation(before: Sequence[Memory], after: Sequence[Memory], about: Sequence[Memory]) -> str:
    """Return what changed; of several changes the one that loses most."""
    old, new = ({memory.id: memory.text for memory in bank} for bank in (before, after))
    meant = {memory.id for memory in about}
    deleted = old.keys() - new.keys()
    updated = {name for name in old.keys() & new.keys() if old[name] != new[name]}
    for event, touched in (("DELETE", deleted), ("UPDATE", updated)):
        if touched:
            return event if touched <= meant else f"{event} of another"
    return "ADD" if new.keys() - old.keys() else "NOOP"
