"""When questions are asked: once, after the whole conversation, or again and again while it is being remembered.

With `every=N` the questions whose evidence is in the turns so far are asked after every N sessions; the last time all
are. So it shows when a memory begins to lose what it once knew.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from langgraph_memory_r1.schemas import Conversation, Question, Turn

__all__ = ["Stop", "stops"]


@dataclass(frozen=True, slots=True)
class Stop:
    """A stop in a conversation, at which questions are asked."""

    number: int
    sessions_so_far: int
    turns_so_far: int
    sessions: tuple[tuple[Turn, ...], ...]
    """Those since the stop before."""
    questions: tuple[Question, ...]


def stops(conversation: Conversation, every: int | None = None) -> tuple[Stop, ...]:
    """Return the stops of a conversation: one after every `every` sessions, and one at its end."""
    sessions = [tuple(turns) for _, turns in groupby(conversation.turns, key=lambda turn: turn.session)]
    size = every or max(len(sessions), 1)
    result = []
    # A conversation without turns has a stop too: its questions are asked of an empty memory.
    for number, start in enumerate(range(0, max(len(sessions), 1), size)):
        end = min(start + size, len(sessions))
        turn_ids = {turn.id for session in sessions[:end] for turn in session}
        questions = conversation.questions
        if end < len(sessions):
            questions = tuple(each for each in questions if each.evidence and turn_ids.issuperset(each.evidence))
        result.append(Stop(number, end, sum(map(len, sessions[:end])), tuple(sessions[start:end]), questions))
    return tuple(result)
