from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.evals.benchmark import Dataset, benchmark
from langgraph_memory_r1.evals.downloads import cache_folder
from langgraph_memory_r1.schemas import Question, Turn

INSTANCE: dict[str, Any] = {
    "question_id": "q1",
    "question_type": "temporal-reasoning",
    "question": "How many days ago did I run?",
    "answer": 3,
    "question_date": "2023/05/30 (Tue) 23:40",
    "haystack_dates": ["2023/05/22 (Mon) 08:00", "2023/05/20 (Sat) 02:21", "2023/05/22 (Mon) 08:00"],
    "haystack_session_ids": ["late", "early", "late"],
    "haystack_sessions": [
        [
            {"role": "user", "content": "I ran today.", "has_answer": True},
            {"role": "assistant", "content": "Well done!", "has_answer": False},
        ],
        [{"role": "user", "content": "Hello"}],
        [],
    ],
    "answer_session_ids": ["late"],
}


def load(path: Path, *instances: dict[str, Any], split: str | None = None) -> tuple[Dataset, list[str]]:
    skipped: list[str] = []
    file = path / "longmemeval.json"
    file.write_text(json.dumps(instances), "utf-8")
    data = benchmark("longmemeval").load(file, split, on_skip=skipped.append, allow_modified=True)
    return data, skipped


def changed(**fields: Any) -> dict[str, Any]:
    return {**copy.deepcopy(INSTANCE), **fields}


def test_an_instance_becomes_a_conversation_in_order_of_time(tmp_path: Path) -> None:
    data, skipped = load(tmp_path, INSTANCE)
    (chat,) = data.conversations
    early, late = datetime(2023, 5, 20, 2, 21, tzinfo=UTC), datetime(2023, 5, 22, 8, tzinfo=UTC)
    assert chat.id == "q1"
    assert chat.turns == (
        Turn("user", "Hello", early, "early:1", "early"),
        Turn("user", "I ran today.", late, "late:1", "late"),
        Turn("assistant", "Well done!", late, "late:2", "late"),
    )
    asked = datetime(2023, 5, 30, 23, 40, tzinfo=UTC)
    assert chat.questions == (
        Question("How many days ago did I run?", "3", ("late:1",), "temporal-reasoning", "q1", asked),
    )
    assert (data.split, skipped) == ("s", [])


def test_without_a_marked_turn_the_answer_sessions_are_the_evidence(tmp_path: Path) -> None:
    sessions = [[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], [], []]
    data, skipped = load(tmp_path, changed(haystack_sessions=sessions, answer_session_ids=["late", "gone", 7]))
    assert data.conversations[0].questions[0].evidence == ("late:1", "late:2")
    assert skipped == ["q1: evidence names no session 'gone'"]


@pytest.mark.parametrize("answers", [[], None, "late", ["gone"]])
def test_a_question_without_evidence_is_counted(tmp_path: Path, answers: Any) -> None:
    sessions = [[{"role": "user", "content": "a"}], [], []]
    data, _ = load(tmp_path, changed(haystack_sessions=sessions, answer_session_ids=answers))
    assert data.conversations[0].questions[0].evidence == ()
    assert data.skipped["no evidence"] == 1


def test_an_abstention_question_has_no_evidence_and_keeps_its_explanation(tmp_path: Path) -> None:
    data, skipped = load(tmp_path, changed(question_id="q1_abs", answer="You never said."))
    (question,) = data.conversations[0].questions
    assert (question.gold, question.evidence) == ("You never said.", ())
    assert benchmark("longmemeval").unanswerable(question)
    assert skipped == []


def test_a_session_that_stands_twice_has_turns_of_its_own(tmp_path: Path) -> None:
    sessions = [[{"role": "user", "content": text}] for text in "abc"]
    data, _ = load(tmp_path, changed(haystack_sessions=sessions))
    assert [turn.id for turn in data.conversations[0].turns] == ["early:1", "late:1", "late#2:1"]


def test_unknown_types_and_missing_answers_are_counted(tmp_path: Path) -> None:
    odd, unanswered = changed(question_id="q2", question_type="riddle"), changed(question_id="q3", answer=None)
    data, skipped = load(tmp_path, odd, INSTANCE, unanswered)
    assert [chat.id for chat in data.conversations] == ["q1"]
    assert data.skipped == {"unknown category": 1, "no answer": 1}
    assert skipped == ["q2: unknown category 'riddle'", "q3: no answer"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda item: item.pop("question_id"), "instance 1: 'question_id' is missing"),
        (lambda item: item.update(question=None), "instance 1 question: expected str, found NoneType"),
        (lambda item: item.update(question_date="soon"), "instance 1 question_date: 'soon' is not a time"),
        (lambda item: item.update(question_date="2023/02/30 (Thu) 23:40"), "is no time"),
        (lambda item: item["haystack_dates"].pop(), "3 sessions have 3 ids and 2 dates"),
        (lambda item: item["haystack_sessions"].append([]), "4 sessions have 3 ids"),
        (lambda item: item["haystack_sessions"][1][0].pop("content"), "early turn 1: 'content' is missing"),
        (lambda item: item["haystack_sessions"][1].append("x"), "early turn 2: expected dict, found str"),
        (lambda item: item["haystack_sessions"].__setitem__(1, None), "early: expected list, found NoneType"),
    ],
)
def test_a_broken_instance_is_refused_with_its_place(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    broken = changed()
    change(broken)
    with pytest.raises(InputError) as caught:
        load(tmp_path, INSTANCE, broken)
    assert message in str(caught.value)
    assert "longmemeval.json" in str(caught.value)


def test_a_file_of_unknown_content_may_be_any_split(tmp_path: Path) -> None:
    assert load(tmp_path, INSTANCE, split="oracle")[0].split == "oracle"


def test_the_sample_is_read_without_its_three_empty_sessions(data_dir: Path) -> None:
    data = benchmark("longmemeval").load(data_dir / "longmemeval" / "longmemeval_s_3_instances.json")
    sizes = {chat.id: (len({turn.session for turn in chat.turns}), len(chat.turns)) for chat in data.conversations}
    assert sizes == {"e47becba": (53, 550), "118b2229": (46, 497), "51a45a95": (50, 529)}
    assert data.conversations[0].questions[0].evidence == ("answer_280352e9:5", "answer_280352e9:6")
    assert data.skipped == {}


@pytest.mark.parametrize(
    ("split", "name"), [("oracle", "longmemeval_oracle.json"), ("s", "longmemeval_s_cleaned.json")]
)
def test_the_published_files_have_the_published_sizes(data_dir: Path, split: str, name: str) -> None:
    files = [folder / name for folder in (data_dir / "longmemeval", cache_folder()) if (folder / name).exists()]
    if not files:
        pytest.skip(f"needs {name} beside the checkout or downloaded")
    data = benchmark("longmemeval").load(files[0])
    questions = [question for chat in data.conversations for question in chat.questions]
    assert Counter(question.category for question in questions) == {
        "temporal-reasoning": 133,
        "multi-session": 133,
        "knowledge-update": 78,
        "single-session-user": 70,
        "single-session-assistant": 56,
        "single-session-preference": 30,
    }
    assert sum(map(benchmark("longmemeval").unanswerable, questions)) == 30
    assert (data.split, data.modified) == (split, False)
