from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from langgraph_memory_r1.conversations import dated, read_conversations, write_conversations
from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.schemas import Conversation, Question, Turn

AT = datetime(2024, 5, 1, 10, 30, tzinfo=UTC)
CHAT = Conversation(
    "c1",
    (Turn("Ann", "Grüße, 東京 🎻 \x00 \u2028", AT, "1", "s1"), Turn("Bob", "")),
    (Question("Who?", "Ann", ("1",), "single-hop"), Question("Why?")),
)


def lines(path: Path, *contents: Any) -> Path:
    path.write_text("\n".join(c if isinstance(c, str) else json.dumps(c) for c in contents), "utf-8")
    return path


def chat(**changes: Any) -> dict[str, Any]:
    return {"id": "c", "turns": [{"speaker": "Ann", "text": "Hi"}], **changes}


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "chats.jsonl"
    assert write_conversations(path, [CHAT, Conversation("c2", ())]) == 2
    assert list(read_conversations(path)) == [CHAT, Conversation("c2", ())]


def test_each_conversation_is_one_line(tmp_path: Path) -> None:
    write_conversations(tmp_path / "c.jsonl", [CHAT, CHAT])
    assert (tmp_path / "c.jsonl").read_bytes().count(b"\n") == 2


def test_times_without_a_zone_are_utc_and_others_are_kept(tmp_path: Path) -> None:
    turns = [{"speaker": "A", "text": "x", "at": at} for at in ("2024-05-01T10:30:00", "2024-05-01T12:30:00+02:00")]
    (read,) = read_conversations(lines(tmp_path / "c.jsonl", chat(turns=turns)))
    assert [turn.at for turn in read.turns] == [AT, AT]


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ("{", "EOF"),
        ("[]", "object"),
        ("null", "object"),
        ({"turns": []}, "id: Field required"),
        (chat(turns=[{"speaker": "Ann", "text": 5}]), "turns.0.text: Input should be a valid string"),
        (chat(turns=[{"speaker": "Ann", "text": [{"type": "image"}]}]), "turns.0.text"),
        (chat(turns=[{"speaker": "Ann", "text": "x", "at": "yesterday"}]), "turns.0.at"),
        (chat(turns=[{"speaker": "Ann", "text": "\ud800"}]), "surrogate|unicode|escape"),
        ("[" * 100_000, "recursion"),
        ('{"id": "\x00"}', "control character"),
    ],
)
def test_a_broken_line_is_named_and_skipped_or_refused(tmp_path: Path, broken: Any, why: str) -> None:
    path = lines(tmp_path / "c.jsonl", chat(id="a"), "", broken, chat(id="b"))
    skipped: list[InputError] = []
    assert [each.id for each in read_conversations(path, on_skip=skipped.append)] == ["a", "b"]
    assert len(skipped) == 1
    with pytest.raises(InputError, match=f"(?s)c.jsonl:3: .*({why})"):
        list(read_conversations(path, strict=True))


def test_skipped_lines_are_logged_with_their_number(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert list(read_conversations(lines(tmp_path / "c.jsonl", "1", "2"))) == []
    assert "c.jsonl:2" in caplog.text
    assert "2 broken line(s) skipped" in caplog.text


def test_bytes_that_are_not_utf_8_are_a_broken_line(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes(b'{"id": "\xff", "turns": []}\n' + json.dumps(chat()).encode())
    skipped: list[InputError] = []
    assert [each.id for each in read_conversations(path, on_skip=skipped.append)] == ["c"]
    assert len(skipped) == 1


def test_a_byte_order_mark_and_windows_line_ends_are_no_trouble(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(chat()).encode() + b"\r\n\r\n")
    assert [each.id for each in read_conversations(path, strict=True)] == ["c"]


def test_a_text_of_a_megabyte(tmp_path: Path) -> None:
    huge = Conversation("c", (Turn("Ann", "x" * 1_000_000),))
    write_conversations(tmp_path / "c.jsonl", [huge])
    assert list(read_conversations(tmp_path / "c.jsonl")) == [huge]


@pytest.mark.parametrize("name", ["missing.jsonl", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        list(read_conversations(tmp_path / name))


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere.*cannot be written"):
        write_conversations(tmp_path / "nowhere" / "c.jsonl", [CHAT])


def test_a_conversation_that_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    write_conversations(path, [CHAT])
    with pytest.raises(InputError, match="'broken'"):
        write_conversations(path, [CHAT, CHAT, Conversation("broken", (Turn("Ann", "\ud800"),))])
    assert list(read_conversations(path)) == [CHAT]
    assert [each.name for each in tmp_path.iterdir()] == ["c.jsonl"]


def test_a_question_without_a_time_is_asked_a_day_after_the_last_turn() -> None:
    noon, day = datetime(2024, 5, 1, 12, tzinfo=UTC), timedelta(days=1)
    turns = (Turn("Ann", "Hi", noon), Turn("Ann", "Bye", noon + day), Turn("Bob", "Bye"))
    known, unknown = Question("When?", at=noon), Question("And now?")
    assert [each.at for each in dated(Conversation("c", turns, (known, unknown))).questions] == [noon, noon + 2 * day]
    assert dated(Conversation("c", turns[2:], (unknown,))) == Conversation("c", turns[2:], (unknown,))
