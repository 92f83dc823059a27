"""When questions are asked: once, after the whole conversation, or again and again while it is being remembered.

With `every=N` the questions whose evidence has been said are asked after every N sessions; the last time all are. So it
shows when a memory begins to lose what it once knew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from langgraph_memory_r1.schemas import Conversation, Question, Turn

__all__ = ["Stop", "stops"]


@dataclass(frozen=True, slots=True)
class Stop:
    """A stop in a conversation, at which questions are asked."""

    number: int
    heard: int
    """How many sessions there have been."""
    turns: int
    """How many turns there have been."""
    sessions: tuple[tuple[Turn, ...], ...]
    """Those since the step before."""
    questions: tuple[Question, ...]


def stops(conversation: Conversation, every: int | None = None) -> tuple[Stop, ...]:
    """The stops of a conversation."""
    sessions = [tuple(turns) for _, turns in groupby(conversation.turns, key=lambda turn: turn.session)]
    size = every or max(len(sessions), 1)
    starts = range(0, max(len(sessions), 1), size)
    return tuple(_step(conversation, sessions, number, start, size) for number, start in enumerate(starts))


def _step(conversation: Conversation, sessions: Sequence[tuple[Turn, ...]], number: int, start: int, size: int) -> Stop:
    end = min(start + size, len(sessions))
    last = end == len(sessions)
    asked = conversation.questions if last else tuple(_answerable(conversation.questions, sessions[:end]))
    return Stop(number, end, sum(map(len, sessions[:end])), tuple(sessions[start:end]), asked)


def _answerable(questions: Sequence[Question], sessions: Sequence[tuple[Turn, ...]]) -> Iterator[Question]:
    said = {turn.id for session in sessions for turn in session}
    return (question for question in questions if question.evidence and said.issuperset(question.evidence))
