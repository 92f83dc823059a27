from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.evals.benchmark import Dataset, benchmark
from langgraph_memory_r1.evals.msc import NOW
from langgraph_memory_r1.schemas import Question, Turn

PUBLISHED = {
    "personas": [["I like Taylor Swift."], ["I have two dogs."]],
    "previous_dialogs": [
        {"dialog": [{"text": "Hi!"}, {"text": "Hello."}, {"text": "I like pop."}], "time_back": "5 days 1 hour ago"},
        {"dialog": [{"text": "Me again."}], "time_back": "1 hour ago", "time_num": 1, "time_unit": "hours"},
    ],
    "dialog": [{"text": "This is the current session.", "id": "Speaker 1"}],
    "self_instruct": {"B": "Which music did you like?", "A": "Pop!"},
    "summary_speaker_1": ["I like pop."],
}
CLEANED = {
    "speaker_a": "Speaker_9_A",
    "speaker_b": "Speaker_9_B",
    "previous_dialogs": [
        {
            "dialog": [{"id": "Speaker_9_B", "text": "Hi!"}, {"id": "Speaker_9_A", "text": "I like pop."}],
            "time_back": "2 weeks ago",
        }
    ],
    "self_instruct": {"B": "Which music did you like?", "A": "Pop!"},
    "qa": {"question": "Which music does Speaker_9_A like?", "answer": "pop"},
}
SAMPLE = {
    "idx": 7,
    "question": "Which music?",
    "answer": "pop",
    "sessions": [
        {"session": 1, "time_back_from_session3": " 4 hours ago", "dialog": [{"speaker": "A", "text": "Hi!"}]},
        {"session": 2, "time_back_from_session3": "0", "dialog": [{"speaker": "B", "text": "Hello."}]},
        {"session": 3, "time_back_from_session3": None, "dialog": [{"speaker": "A", "text": "I like pop."}]},
    ],
}


def load(file: Path, text: str) -> tuple[Dataset, list[str]]:
    skipped: list[str] = []
    file.write_text(text, "utf-8")
    return benchmark("msc").load(file, on_skip=skipped.append, allow_modified=True), skipped


def lines(*records: Any) -> str:
    return "\n".join(json.dumps(record) for record in records) + "\n"


def test_the_published_shape(tmp_path: Path) -> None:
    data, skipped = load(tmp_path / "msc.jsonl", lines(PUBLISHED))
    (chat,) = data.conversations
    long_ago, recently = NOW - timedelta(days=5, hours=1), NOW - timedelta(hours=1)
    assert chat.id == "msc-0"
    assert chat.turns == (
        Turn("Speaker 1", "Hi!", long_ago, "D1:1", "session_1"),
        Turn("Speaker 2", "Hello.", long_ago, "D1:2", "session_1"),
        Turn("Speaker 1", "I like pop.", long_ago, "D1:3", "session_1"),
        Turn("Speaker 1", "Me again.", recently, "D2:1", "session_2"),
    )
    assert chat.questions == (Question("Which music did you like?", "Pop!", (), "session-recall", "msc-0", NOW),)
    assert skipped == []


def test_the_shape_that_was_cleaned_for_memory_r1(tmp_path: Path) -> None:
    data, skipped = load(tmp_path / "msc.json", json.dumps([CLEANED, CLEANED]))
    first, second = data.conversations
    when = NOW - timedelta(days=14)
    assert first.turns == (
        Turn("Speaker_9_B", "Hi!", when, "D1:1", "session_1"),
        Turn("Speaker_9_A", "I like pop.", when, "D1:2", "session_1"),
    )
    assert first.questions[0].text == "Which music does Speaker_9_A like?"
    assert (first.id, second.id, first.questions[0].gold) == ("msc-0", "msc-1", "pop")
    assert skipped == []


def test_the_samples_shape_and_a_session_without_a_time(tmp_path: Path) -> None:
    data, skipped = load(tmp_path / "msc.jsonl", lines(SAMPLE))
    (chat,) = data.conversations
    assert [(turn.speaker, turn.at) for turn in chat.turns] == [("A", NOW - timedelta(hours=4)), ("B", NOW), ("A", NOW)]
    assert chat.questions[0].id == "msc-7"
    assert skipped == ["msc-7: session without a time None"]


@pytest.mark.parametrize("change", [{"question": None}, {"answer": None}, {"question": " "}, {"answer": ["pop"]}])
def test_a_record_without_a_question_is_counted(tmp_path: Path, change: dict[str, Any]) -> None:
    data, skipped = load(tmp_path / "msc.jsonl", lines({**SAMPLE, **change}, PUBLISHED))
    assert len(data.conversations) == 1
    assert data.conversations[0].id == "msc-1"
    assert skipped == ["msc-7: no question"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"question": ', r"msc\.jsonl:3 is not JSON"),
        ("7", r"msc\.jsonl:3: expected dict, found int"),
        (json.dumps({**SAMPLE, "sessions": 7}), r"msc\.jsonl:3 sessions: expected list, found int"),
        (json.dumps({**SAMPLE, "sessions": [7]}), r"msc\.jsonl:3 session 1: expected dict, found int"),
        (json.dumps({**SAMPLE, "sessions": [{}]}), r"msc\.jsonl:3 session 1: 'dialog' is missing"),
        (json.dumps({**SAMPLE, "sessions": [{"dialog": [{}]}]}), r"msc\.jsonl:3 session 1 turn 0: 'text' is missing"),
        (json.dumps({"question": "q", "answer": "a"}), r"msc\.jsonl:3: 'previous_dialogs' is missing"),
    ],
)
def test_a_broken_line_is_refused_with_its_number(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(tmp_path / "msc.jsonl", lines(SAMPLE) + "\n" + line + "\n")


def test_what_the_data_does_not_tell_is_said(tmp_path: Path) -> None:
    data, _ = load(tmp_path / "msc.jsonl", lines(SAMPLE))
    assert "no evidence turns" in data.notes[-1]
    assert "15 July 2021" in data.notes[-1]


def test_the_sample_is_read(data_dir: Path) -> None:
    data = benchmark("msc").load(data_dir / "msc" / "msc_dmr_sample_40.jsonl")
    assert len(data.conversations) == 40
    assert sum(len(chat.turns) for chat in data.conversations) == 2_043
    assert all(len({turn.session for turn in chat.turns}) == 4 for chat in data.conversations)
    assert data.conversations[0].questions[0].gold == "Taylor Swift"
    assert data.skipped == {"session without a time": 40}
