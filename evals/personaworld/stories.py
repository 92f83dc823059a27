"""The stories of a split: conversations with questions, each with what every turn means and the right operations."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from langgraph_memory_r1.bank.base import MemoryFork
from langgraph_memory_r1.conversations import dated
from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.evals.personaworld.names import Part, names
from langgraph_memory_r1.evals.personaworld.questions import make_questions
from langgraph_memory_r1.evals.personaworld.story import Difficulty, Event, invent_plot, memory_text
from langgraph_memory_r1.retrieval import Index
from langgraph_memory_r1.rules import extract_facts
from langgraph_memory_r1.schemas import Add, Conversation, Delete, Fact, Memory, Noop, Operation, Turn, Update

__all__ = ["LONG", "QUESTIONS", "SPLITS", "OracleDecision", "Story", "demonstrate", "generate"]

SPLITS: Final[dict[str, tuple[Part, int]]] = {
    "train": ("train", 38),
    "validation": ("validation", 50),
    "test": ("test", 100),
}
"""The part of the world that a split takes its names and phrases from, and how many conversations it has by default."""

LONG: Final[dict[str, int]] = {"long8": 8, "long16": 16, "long32": 32}
"""Further splits, made like `test`, by their number of sessions. They go on about the same things: mistakes add up."""

LONG_CONVERSATIONS: Final = 12
"""Of each length."""

QUESTIONS: Final = 4
"""About each conversation; 38 times 4 are the 152 that Memory-R1 was trained with."""

_ATTEMPTS: Final = 100
"""Conversations that are invented under one name until one holds enough to ask about."""


@dataclass(frozen=True, slots=True)
class Story:
    """A conversation with its questions, and what each of its turns means."""

    conversation: Conversation
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class OracleDecision:
    """One decision of a Memory Manager that makes no mistake."""

    turn: Turn
    event: Event
    facts: tuple[Fact, ...]
    bank: tuple[Memory, ...]
    """Before the turn."""
    operations: tuple[Operation, ...]


def generate(
    split: str = "train",
    *,
    seed: int = 0,
    conversations: int | None = None,
    questions: int = QUESTIONS,
    difficulty: Difficulty | None = None,
) -> list[Story]:
    """Return the stories of a split; the same ones for the same arguments.

    Args:
        split: `train`, `validation`, `test`, `long8`, `long16`, `long32`, or `long` for these three.
        seed: Other stories for another seed; they still share nothing with another split.
        conversations: How many; None is the split's default.
        questions: How many about each conversation.
        difficulty: How hard they are; a long split fixes that itself.

    Raises:
        InputError: There is no such split, or so many questions cannot be asked about such conversations.
    """
    if difficulty is not None and split in (*LONG, "long"):
        raise InputError(f"{split} says itself how hard it is; leave that out, or take the split test with "
                         f"sessions={LONG.get(split, 16)}.")  # fmt: skip
    if split == "long":
        lengths = (generate(name, seed=seed, conversations=conversations, questions=questions) for name in LONG)
        return [story for stories in lengths for story in stories]
    if split in LONG:
        part, default_count = SPLITS["test"][0], LONG_CONVERSATIONS
        difficulty = Difficulty(sessions=LONG[split])
    elif split in SPLITS:
        part, default_count = SPLITS[split]
    else:
        raise InputError(f"PersonaWorld has no split {split!r}; give one of: {', '.join([*SPLITS, *LONG, 'long'])}")
    numbers = range(1, (conversations or default_count) + 1)
    return [_story(part, f"{split}-{seed}-{number}", questions, difficulty or Difficulty()) for number in numbers]


def demonstrate(story: Story, bank: MemoryFork | None = None) -> Iterator[OracleDecision]:
    """Yield what a Memory Manager that makes no mistake does, turn by turn: for imitation, and to compare with.

    Args:
        story: Its facts are those that the extractor `rules` finds; a turn without any is passed over.
        bank: An empty one, which is filled.
    """
    bank = MemoryFork(Index()) if bank is None else bank
    memory_ids: dict[tuple[str, str], str] = {}
    for turn, event in zip(story.conversation.turns, story.events, strict=True):
        facts = tuple(extract_facts([turn]))
        if not facts:
            continue
        before = tuple(bank.all())
        operation = _right_operation(event, turn, memory_ids)
        yield OracleDecision(turn, event, facts, before, (operation,))
        [change] = bank.apply([operation])
        if event.attribute and change.memory_id:
            memory_ids[event.owner, event.attribute.noun] = change.memory_id


def _right_operation(event: Event, turn: Turn, memory_ids: dict[tuple[str, str], str]) -> Operation:
    """Return the operation that an event calls for; `memory_ids` names the memory of each owner's attribute."""
    if event.attribute is None or event.kind == "repetition":
        return Noop(source=(turn.id,))
    if event.kind == "retraction":
        return Delete(memory_ids[event.owner, event.attribute.noun], (turn.id,))
    text = memory_text(event.owner, event.attribute, event.values)
    if event.kind == "new":
        return Add(text, turn.speaker, turn.at, (turn.id,), turn.session)
    return Update(memory_ids[event.owner, event.attribute.noun], text, (turn.id,), turn.at)


def _story(part: Part, name: str, questions: int, difficulty: Difficulty) -> Story:
    """Invent conversations of this name until one holds as many questions as are wanted."""
    for attempt in range(_ATTEMPTS):
        # Seeded by the name and not drawn from one stream: a conversation stays the same however many come before it.
        rng = random.Random(f"{name}/{attempt}")
        plot = invent_plot(part, difficulty, rng, names(part, rng))
        if len(plot.items) >= questions:
            asked = make_questions(part, plot, difficulty, questions, rng, name)
            return Story(dated(Conversation(name, plot.turns, asked)), plot.events)
    raise InputError(
        f"{difficulty.sessions} sessions of {difficulty.turns} turns do not hold {questions} questions; "
        "give more turns."
    )
