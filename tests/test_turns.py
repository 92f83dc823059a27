"""From chat messages to turns: what is new, what is said, and what is passed over and counted."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from langgraph_memory_r1 import InputError, Turn
from langgraph_memory_r1.state import as_turn, turn_as_dict
from langgraph_memory_r1.turns import (
    RECALLED,
    NewTurns,
    Speakers,
    concatenate,
    turns_from_input,
    turns_from_messages,
)

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
LONG_ID = "500543cd-5632-4b90-9768"


def new_in(messages: list[Any], cursor: str | None = None, thread: str | None = None) -> NewTurns:
    return turns_from_messages(messages, cursor, Speakers(thread=thread), NOW)


def test_people_and_the_assistant_are_heard() -> None:
    new = new_in([
        HumanMessage("I have a dog.", id="m1"), AIMessage("Lovely!", id="m2"),
        HumanMessage("Me too.", name="Ben", id="m3", additional_kwargs={"at": "2023-01-02T03:04:00+01:00"}),
        HumanMessage("Same here.", id="m4", additional_kwargs={"at": "2024-05-01T12:00:00"}),
    ])  # fmt: skip
    assert new.turns[:2] == (Turn("user", "I have a dog.", NOW, "m1"), Turn("assistant", "Lovely!", NOW, "m2"))
    assert new.turns[2].speaker == "Ben"
    assert new.turns[2].at == datetime.fromisoformat("2023-01-02T03:04:00+01:00")
    assert new.turns[3].at == NOW
    assert (new.cursors, new.last, dict(new.skipped)) == (("m1", "m2", "m3", "m4"), "m4", {})


def test_memory_is_not_fed_back() -> None:
    call = {"name": "search_memory", "args": {}, "id": "c"}
    new = new_in([
        SystemMessage("Known about the user: has a dog.", id="m1"),
        HumanMessage("Known: has a dog.", id="m2", additional_kwargs={RECALLED: True}),
        HumanMessage([{"type": "text", "text": "a dog", RECALLED: True}, {"type": "text", "text": "A cat!"}], id="m3"),
        AIMessage("", tool_calls=[call], id="m4"),
        ToolMessage("has a dog", tool_call_id="c", id="m5"),
    ])  # fmt: skip
    assert [turn.text for turn in new.turns] == ["A cat!"]
    assert new.skipped == {"system": 1, "recalled": 2, "empty": 1, "tool": 1}
    assert new.last == "m5"


@pytest.mark.parametrize(("nested", "cursor", "heard"), [(True, None, False), (True, "m2", True), (False, None, True)])
def test_a_task_is_handed_over_in_the_run_that_called_for_it(nested: bool, cursor: str | None, heard: bool) -> None:
    call = {"name": "transfer", "args": {"task": "I need a poem."}, "id": "c"}
    said = [
        AIMessage("", tool_calls=[call], id="m1"), ToolMessage("ok", tool_call_id="c", id="m2"),
        HumanMessage("I need a poem.", id="m3"),
    ]  # fmt: skip
    new = turns_from_messages(said, cursor, Speakers(nested=nested), NOW)
    assert ([turn.text for turn in new.turns], new.skipped.get("delegated", 0)) == (
        (["I need a poem."], 0) if heard else ([], 1)
    )


@pytest.mark.parametrize(
    ("content", "text", "skipped"),
    [
        ("", None, {"empty": 1}),
        (" \n\t", None, {"empty": 1}),
        ("\x00\x07\ud800", None, {"empty": 1}),
        ("a\x00b\ud800c\r\nd\u200b", "abc\nd\u200b", {}),
        (["plain", {"type": "text", "text": "block"}], "plain\nblock", {}),
        ([{"type": "input_text", "text": "I have a dog."}], "I have a dog.", {}),
        ([{"type": "output_text", "text": "Lovely!", "annotations": []}, {"type": "refusal", "refusal": "No."}],
         "Lovely!\nNo.", {}),
        ([{"type": "text", "text": {"value": "in a thread", "annotations": []}}], "in a thread", {}),
        ([{"type": "input_text", "text": "a dog", RECALLED: True}, {"type": "input_image"}], None,
         {"recalled": 1, "input_image": 1, "empty": 1}),
        ([{"type": "refusal", "refusal": None}, {"type": "input_text", "text": {}}], None,
         {"refusal": 1, "input_text": 1, "empty": 1}),
        ([{"type": "image_url", "image_url": {}}, {"type": "text", "text": "my dog"}], "my dog", {"image_url": 1}),
        ([{"type": "image", "base64": "..."}, {"type": "file"}], None, {"image": 1, "file": 1, "empty": 1}),
        ([{"type": "text", "text": 5}, {"text": "untyped"}, {}], None, {"text": 1, "block": 2, "empty": 1}),
        ([{"type": "tool_use", "id": "x", "input": {}}, {"type": "reasoning", "reasoning": "hm"}], None,
         {"tool_use": 1, "reasoning": 1, "empty": 1}),
    ],
)  # fmt: skip
def test_content_is_heard_as_far_as_it_is_text(content: Any, text: str | None, skipped: dict[str, int]) -> None:
    new = new_in([HumanMessage(content, id="m1")])
    assert [turn.text for turn in new.turns] == ([text] if text else [])
    assert new.skipped == skipped
    assert new.last == "m1"


def test_content_that_is_no_content_is_counted() -> None:
    message = HumanMessage("x", id="m1")
    message.content = {"type": "text"}
    number = HumanMessage("x", id="m2")
    number.content = 7
    assert new_in([message, number]).skipped == {"dict": 1, "int": 1, "empty": 2}


def test_only_what_comes_after_the_cursor_is_new() -> None:
    messages = [HumanMessage("one", id="m1"), AIMessage("two", id="m2"), HumanMessage("three", id="m3")]
    assert [turn.text for turn in new_in(messages, "m2").turns] == ["three"]
    assert new_in(messages, "m3") == NewTurns(last="m3")
    assert len(new_in(messages, "trimmed away").turns) == 3
    assert new_in([], "m3").last == "m3"


def test_turns_and_messages_can_be_heard_together() -> None:
    given = turns_from_input([Turn("Ana", "Hi", id="t1"), Turn("Ana", "")], "m0")
    new = concatenate(given, new_in([AIMessage("two", id="m1"), AIMessage("", id="m2")], "m0"))
    assert [turn.id for turn in new.turns] == ["t1", "m1"]
    assert (new.cursors, new.last, new.skipped, new.own) == (("m0", "m1"), "m2", {"empty": 2}, {"m1"})
    assert concatenate(given, new_in([], "m0")).last == "m0"


def test_ids_that_are_short_count_in_their_thread_only() -> None:
    messages = [HumanMessage("x", id="1"), HumanMessage("x", id=LONG_ID)]
    assert [turn.id for turn in new_in(messages, thread="t7").turns] == ["t7:1", LONG_ID]
    assert [turn.id for turn in new_in(messages).turns] == ["1", LONG_ID]


def test_turns_without_an_id_get_the_same_one_every_time() -> None:
    def ids() -> list[str]:
        at = datetime(2024, 1, 1, tzinfo=UTC)
        given = [
            Turn("Ana", "Hi", at),
            Turn("Ana", "Hi", at),
            Turn("Ben", "Hi", at),
            Turn("Ana", "Hi"),
            Turn("Ana", "x", id="mine"),
        ]
        return [turn.id for turn in turns_from_input(given, None).turns]

    assert ids() == ids()
    assert len(set(ids())) == 5
    assert ids()[4] == "mine"


def test_turns_may_be_dictionaries_and_are_cleaned() -> None:
    given = [{"text": "a\x00\ud800b", "at": "2024-05-01T12:00"}, {"speaker": "Ana", "text": "  "}]
    new = turns_from_input(given, "m1")
    assert [(turn.speaker, turn.text, turn.at) for turn in new.turns] == [("somebody", "ab", NOW)]
    assert (new.skipped, new.last, new.cursors) == ({"empty": 1}, "m1", ("m1",))
    turn = Turn("Ana", "x", NOW, "t1", "s1")
    assert as_turn(turn_as_dict(turn)) == turn


@pytest.mark.parametrize("wrong", [{"speaker": "Ana"}, {"text": 5}, {"text": "x", "at": "soon"}, "text", 7, None])
def test_what_is_no_turn_is_refused(wrong: Any) -> None:
    with pytest.raises(InputError, match=r"turn"):
        as_turn(wrong)


def test_a_summary_that_langchain_wrote_in_the_name_of_the_user_is_no_turn() -> None:
    new = new_in([HumanMessage("Summary: has a dog.", id="m1", additional_kwargs={"lc_source": "summarization"})])
    assert (new.turns, new.last, dict(new.skipped)) == ((), "m1", {"summarization": 1})


def test_a_time_that_cannot_be_read_is_said_and_not_taken_for_today(caplog: pytest.LogCaptureFixture) -> None:
    messages = [
        HumanMessage("I moved.", id="m1", additional_kwargs={"at": "last summer"}),
        HumanMessage("I have a dog.", id="m2"),
    ]
    new = new_in(messages)
    assert [turn.at for turn in new.turns] == [None, NOW]
    assert new.skipped == {"unreadable time": 1}
    assert "stays without a date" in caplog.text


def test_times_are_in_the_zone_of_the_people() -> None:
    zone = ZoneInfo("America/New_York")
    messages = [
        HumanMessage("a", id="m1"),
        HumanMessage("b", id="m2", additional_kwargs={"at": "2024-05-21T02:00:00Z"}),
        HumanMessage("c", id="m3", additional_kwargs={"at": "2024-05-20T22:00:00"}),
    ]
    now = datetime(2024, 5, 21, 2, tzinfo=UTC)
    new = turns_from_messages(messages, None, Speakers(zone=zone), now)
    assert [turn.at and turn.at.isoformat() for turn in new.turns] == ["2024-05-20T22:00:00-04:00"] * 3
    given = [Turn("Ana", "I moved.", now), Turn("Ana", "I have a dog.")]
    local = turns_from_input(given, None, zone)
    assert [turn.at and turn.at.isoformat() for turn in local.turns] == ["2024-05-20T22:00:00-04:00", None]
    assert [turn.id for turn in local.turns] == [turn.id for turn in turns_from_input(given, None).turns]
