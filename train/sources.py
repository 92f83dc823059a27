"""Rows from conversations with questions, as the paper builds them (Memory-R1, section 4.1, appendix B).

    manager_rows(episodes, manager)              the bank as a manager has made it from the beginning
    manager_rows(episodes, manager, window=50)   the bank of the 50 turns before (the paper's Algorithm 1; its text: 24)
    answer_rows(episodes, manager)               every question over the memories that are retrieved at the end

The paper contradicts itself on the first two; both readings are here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from langgraph_memory_r1 import roles
from langgraph_memory_r1.bank.base import MemoryFork
from langgraph_memory_r1.schemas import Question
from langgraph_memory_r1.train.rollout import Deciding, Episode, remember, roll
from langgraph_memory_r1.train.rows import AnswerRow, ManagerRow, Probe, Row

Link: TypeAlias = Literal["any", "last", "since"]
"""Which turns a question is linked to: every evidence turn (the paper); the last one, from which on it can be answered;
or that one and every later turn, none of which may spoil the answer: so repetitions and small talk are judged too."""


@dataclass(slots=True)
class Material:
    """What a stage learns from, and what was left out, counted by reason."""

    rows: list[Row]
    episodes: list[Episode] = field(default_factory=list)
    """Only where the data are conversations."""
    skipped: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Built:
    """Rows, and what gave none, counted by reason."""

    manager: list[ManagerRow] = field(default_factory=list)
    answer: list[AnswerRow] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)


def manager_rows(
    episodes: Sequence[Episode], manager: Deciding, *, window: int | None = None, link: Link = "last"
) -> Built:
    """One row for every step that questions are linked to.

    Args:
        episodes: Conversations, see `episodes_of`.
        manager: Builds the banks that the rows start from.
        window: Steps that the bank is built from; None is all before.
        link: Which of a question's evidence turns it is asked after.
    """
    built = Built()
    places: list[tuple[Episode, int, tuple[Probe, ...]]] = []
    for episode in episodes:
        probes = _linked(episode, link, window, built.skipped)
        places += [(episode, step, tuple(probes[step])) for step in sorted(probes)]
    for (episode, step, asked), bank in zip(places, _banks(places, manager, window), strict=True):
        facts = episode.steps[step].facts
        if not facts:
            built.skipped["no fact was extracted from the evidence"] += len(asked)
            continue
        shown = tuple(roles.related(bank, facts, manager.k))
        kind = asked[0].category or ""
        built.manager.append(
            ManagerRow(f"{episode.id}/{step}", facts, tuple(bank.all()), shown, asked, episode.id, step, kind=kind)
        )
    return built


def answer_rows(episodes: Sequence[Episode], manager: Deciding, *, k: int = 60) -> Built:
    """One row for every question with a gold answer (the paper's Algorithm 2).

    Args:
        episodes: Conversations, see `episodes_of`.
        manager: Builds the banks; in the paper the trained one.
        k: Memories that are retrieved.
    """
    built = Built()
    for episode, bank in zip(episodes, remember(episodes, manager), strict=True):
        for number, question in enumerate(episode.questions):
            memories = tuple(roles.retrieve(bank, question.text, k))
            if not is_gold(question.gold):
                built.skipped["no gold answer"] += 1
            elif not memories:
                built.skipped["an empty bank"] += 1
            else:
                name, kind, gold = question.id or f"{episode.id}/q{number}", question.category or "", question.gold
                built.answer.append(
                    AnswerRow(name, question.text, str(gold), memories, question.at, episode.id, kind=kind)
                )
    return built


def _banks(
    places: Sequence[tuple[Episode, int, tuple[Probe, ...]]], manager: Deciding, window: int | None
) -> Iterable[MemoryFork]:
    """The bank before each place."""
    if window is not None:
        return remember([episode.part(step - window, step) for episode, step, _ in places], manager)
    whole = {episode.id: episode for episode, _, _ in places}
    rollouts = {rollout.episode.id: rollout for rollout in roll(list(whole.values()), manager)}
    return [rollouts[episode.id].before[step] for episode, step, _ in places]


def _linked(episode: Episode, link: Link, window: int | None, skipped: Counter[str]) -> dict[int, list[Probe]]:
    """The probes of every step that has some; none that rests on what was said before the window."""
    place = {turn.id: number for number, step in enumerate(episode.steps) for turn in step.turns}
    found: dict[int, list[Probe]] = {}
    for question in episode.questions:
        steps = sorted({place[turn] for turn in question.evidence if turn in place})
        reason = _reason(question, steps)
        if reason:
            skipped[reason] += 1
            continue
        later = range(steps[-1] + 1, len(episode.steps)) if link == "since" else ()
        for step in [*(steps if link == "any" else steps[-1:]), *later]:
            if window is not None and steps[0] < step - window:
                skipped["a part of the evidence lies before the window"] += 1
            else:
                found.setdefault(step, []).append(probe_of(question))
    return found


def is_gold(text: str | None) -> bool:
    """Whether a gold answer says anything."""
    return bool(text and text.strip())


def probe_of(question: Question) -> Probe:
    """A question with its gold answer as a probe."""
    return Probe(question.text, question.gold or "", question.at, question.category, question.evidence)


def _reason(question: Question, steps: Sequence[int]) -> str:
    if not is_gold(question.gold):
        return "no gold answer"
    if not question.evidence:
        return "no evidence"
    return "" if steps else "the evidence lies outside the conversation"
