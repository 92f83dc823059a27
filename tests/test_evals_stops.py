"""When questions are asked while a conversation is being remembered."""

from __future__ import annotations

from langgraph_memory_r1 import Conversation, Question, Turn
from langgraph_memory_r1.evals.stops import stops

TURNS = tuple(Turn("Ann", f"turn {number}", id=str(number), session=str(number // 2)) for number in range(6))
FIRST, LATER, NONE = Question("first?", "x", ("1",)), Question("both?", "x", ("0", "3")), Question("none?", "x")
CHAT = Conversation("c", TURNS, (FIRST, LATER, NONE))


def test_without_streaming_everything_is_asked_at_the_end() -> None:
    (only,) = stops(CHAT)
    assert (only.sessions_so_far, only.turns_so_far, only.questions) == (3, 6, CHAT.questions)
    assert [len(session) for session in only.sessions] == [2, 2, 2]


def test_questions_are_asked_once_their_evidence_was_said_and_all_in_the_end() -> None:
    assert [(stop.sessions_so_far, stop.turns_so_far, stop.questions) for stop in stops(CHAT, 1)] == [
        (1, 2, (FIRST,)), (2, 4, (FIRST, LATER)), (3, 6, CHAT.questions),
    ]  # fmt: skip


def test_the_last_stop_may_be_shorter() -> None:
    assert [(stop.number, stop.sessions_so_far, stop.turns_so_far) for stop in stops(CHAT, 2)] == [(0, 2, 4), (1, 3, 6)]
    assert [stop.sessions_so_far for stop in stops(CHAT, 9)] == [3]


def test_a_conversation_without_turns_still_has_its_questions() -> None:
    (only,) = stops(Conversation("c", (), (NONE,)), 5)
    assert (only.sessions_so_far, only.turns_so_far, only.sessions, only.questions) == (0, 0, (), (NONE,))
