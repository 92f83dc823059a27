"""When questions are asked while a conversation is being remembered."""

from __future__ import annotations

from langgraph_memory_r1 import Conversation, Question, Turn
from langgraph_memory_r1.evals.stops import stops

TURNS = tuple(Turn("Ann", f"turn {number}", id=str(number), session=str(number // 2)) for number in range(6))
FIRST, LATER, NONE = Question("first?", "x", ("1",)), Question("both?", "x", ("0", "3")), Question("none?", "x")
CHAT = Conversation("c", TURNS, (FIRST, LATER, NONE))


def test_without_streaming_everything_is_asked_at_the_end() -> None:
    (only,) = stops(CHAT)
    assert (only.heard, only.turns, only.questions) == (3, 6, CHAT.questions)
    assert [len(session) for session in only.sessions] == [2, 2, 2]


def test_questions_are_asked_once_their_evidence_was_said_and_all_in_the_end() -> None:
    assert [(step.heard, step.turns, step.questions) for step in stops(CHAT, 1)] == [
        (1, 2, (FIRST,)), (2, 4, (FIRST, LATER)), (3, 6, CHAT.questions),
    ]  # fmt: skip


def test_the_last_step_may_be_shorter() -> None:
    assert [(step.number, step.heard, step.turns) for step in stops(CHAT, 2)] == [(0, 2, 4), (1, 3, 6)]
    assert [step.heard for step in stops(CHAT, 9)] == [3]


def test_a_conversation_without_turns_still_has_its_questions() -> None:
    (only,) = stops(Conversation("c", (), (NONE,)), 5)
    assert (only.heard, only.turns, only.sessions, only.questions) == (0, 0, (), (NONE,))
