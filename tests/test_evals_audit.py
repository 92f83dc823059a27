from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.evals.audit import audited
from langgraph_memory_r1.evals.benchmark import Dataset, benchmark
from langgraph_memory_r1.schemas import Conversation, Question, Turn

QUESTIONS = (
    Question("When?", "May", ("D1:1",), "temporal", "conv-26/0"),
    Question("What?", "tea", ("D1:1",), "single-hop", "conv-26/1"),
    Question("Who?", "Ann", ("D1:1",), "single-hop", "conv-26/2"),
)
DATA = Dataset(
    "locomo",
    "train",
    "0" * 64,
    False,
    (Conversation("conv-26", (Turn("A", "x", id="D1:1"), Turn("B", "y", id="D1:2")), QUESTIONS),),
)
FINDINGS: list[dict[str, Any]] = [
    {"question_id": "locomo_0_qa0", "question": "When?", "error_type": "TEMPORAL_ERROR", "correct_answer": "June",
     "correct_evidence": ["D1:2", "D9:9"]},
    {"question_id": "locomo_0_qa1", "question": "What?", "error_type": "WRONG_CITATION", "correct_answer": "green tea",
     "correct_evidence": ["D1:2"]},
    {"question_id": "locomo_0_qa2", "question": "Another?", "error_type": "AMBIGUOUS", "correct_answer": "Bob",
     "correct_evidence": ["D1:2"]},
    {"question_id": "locomo_9_qa0", "question": "Far?", "error_type": "AMBIGUOUS"},
]  # fmt: skip


def questions(dataset: Dataset) -> list[Question]:
    return [question for chat in dataset.conversations for question in chat.questions]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "errors.json"
    path.write_text(json.dumps(FINDINGS), "utf-8")
    return path


def test_wrong_answers_are_dropped_and_citations_corrected(file: Path) -> None:
    data = audited(DATA, file, allow_modified=True)
    assert questions(data) == [
        Question("What?", "tea", ("D1:2",), "single-hop", "conv-26/1"),
        QUESTIONS[2],
    ]
    assert data.notes == ("audited labels: 1 questions dropped, 1 citations corrected",)
    assert data.skipped == {"finding about another question": 1}
    assert data.modified


def test_or_they_are_corrected(file: Path) -> None:
    data = audited(DATA, file, "correct", allow_modified=True)
    assert questions(data)[0] == Question("When?", "June", ("D1:2",), "temporal", "conv-26/0")
    assert len(questions(data)) == 3


def test_the_data_is_another_one_then(file: Path) -> None:
    hashes = {DATA.sha256, *(audited(DATA, file, how, allow_modified=True).sha256 for how in ("drop", "correct"))}
    assert len(hashes) == 3


def test_an_unpublished_audit_and_another_benchmark_are_refused(file: Path) -> None:
    with pytest.raises(InputError, match=r"errors\.json is not the published audit"):
        audited(DATA, file)
    other = Dataset("msc", "test", "", False, ())
    with pytest.raises(InputError, match="leave --audit out"):
        audited(other, file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("{}", "expected list"),
        ('[{"question_id": "q1"}]', "finding 0: 'q1' names no question"),
        ('[{"question_id": "locomo_10_qa1"}]', "names no question"),
        ("[{}]", "'question_id' is missing"),
    ],
)
def test_what_is_no_audit_is_refused_with_its_place(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "errors.json"
    file.write_text(content)
    with pytest.raises(InputError, match=message):
        audited(DATA, file, allow_modified=True)


def test_the_published_audit_finds_99_wrong_answers(data_dir: Path) -> None:
    full = benchmark("locomo").load(data_dir / "locomo" / "locomo10.json", "full")
    data = audited(full, data_dir / "locomo_audit" / "errors.json")
    lost = Counter(q.category for q in questions(full)) - Counter(q.category for q in questions(data))
    assert lost == {"multi-hop": 28, "temporal": 26, "open-domain": 9, "single-hop": 36}
    assert data.notes == ("audited labels: 99 questions dropped, 57 citations corrected",)
    assert (data.modified, data.skipped) == (False, full.skipped)
