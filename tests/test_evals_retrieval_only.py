from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.evals.benchmark import Dataset, benchmark
from langgraph_memory_r1.evals.retrieval_only import CUTS, DESCRIPTIONS, recall_scores, retrieve
from langgraph_memory_r1.schemas import Conversation, Memory, Question, Turn
from langgraph_memory_r1.scoring import recall_at
from langgraph_memory_r1.testing import HashEmbeddings

TURNS = (
    Turn("Ann", "I adopted a dog called Buddy.", id="1", session="s1"),
    Turn("Bob", "My sister plays chess.", id="2", session="s1"),
    Turn("Ann", "The weather is nice.", id="3", session="s2"),
)
QUESTIONS = (
    Question("Which dog called Buddy was adopted?", "Buddy", ("1",), "single-hop", "c/0"),
    Question("Who plays chess, and what is the weather?", None, ("2", "3"), "multi-hop", "c/1"),
    Question("Why?", "x", (), "open-domain", "c/2"),
)
DATA = Dataset("locomo", "test", "", False, (Conversation("c", TURNS, QUESTIONS),))


def by_system(records: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    return {record["system"]: [each for each in records if each["system"] == record["system"]] for record in records}


def overall(records: Sequence[dict[str, Any]], score: str) -> float:
    return 100 * statistics.fmean(each["scores"][score] for each in records if each["scores"][score] is not None)


def test_every_question_is_ranked_in_every_way() -> None:
    records = by_system(list(retrieve(DATA)))
    assert list(records) == ["bm25", "turns"]
    first = records["bm25"][0]
    assert first["retrieved"][0] == {
        "text": "I adopted a dog called Buddy.", "speaker": "Ann", "at": None, "source": ["1"], "hit": True,
    }  # fmt: skip
    assert (first["scores"]["recall@1"], first["looked_at"], first["evidence_text"]) == (1.0, 3, [TURNS[0].text])
    assert first["answer"] is None
    assert [each["question_id"] for each in records["turns"]] == ["c/0", "c/1", "c/2"]
    assert set(records["turns"][2]["scores"].values()) == {None}


def test_records_are_lines_of_json() -> None:
    for record in retrieve(DATA, embeddings=HashEmbeddings()):
        assert json.loads(json.dumps(record)) == record


def test_an_embedding_model_adds_its_rankings() -> None:
    records = by_system(list(retrieve(DATA, embeddings=HashEmbeddings(), banks={"memory-r1": {"c": []}, "none": {}})))
    assert list(records) == [*DESCRIPTIONS, "memory-r1"]
    assert records["dense"][0]["retrieved"][0]["source"] == ["1"]
    assert len(records["hybrid"]) == 3


def test_a_banks_memories_are_found_by_their_sources() -> None:
    bank = [
        Memory("m1", "Bob's sister plays chess; the weather was nice", "Bob", source=("2", "3")),
        Memory("m2", "tea"),
    ]
    found = by_system(list(retrieve(DATA, banks={"mine": {"c": bank}})))["mine"]
    assert found[1]["scores"] == {
        f"{name}@{cut}": 1.0 for cut in CUTS for name in ("recall", "recall_any", "recall_all")
    }
    assert found[0]["scores"]["recall@60"] == 0.0
    assert by_system(list(retrieve(DATA, banks={"mine": {"c": []}})))["mine"][0]["looked_at"] == 0


def test_a_conversation_without_turns_finds_nothing() -> None:
    empty = Dataset("locomo", "test", "", False, (Conversation("c", (), QUESTIONS[:1]),))
    records = list(retrieve(empty, embeddings=HashEmbeddings()))
    assert [(each["looked_at"], each["scores"]["recall@60"]) for each in records] == [(0, 0.0)] * 4


def test_progress_is_told() -> None:
    told: list[str] = []
    list(retrieve(DATA, on_question=told.append))
    assert told == ["bm25"] * 3 + ["turns"] * 3


@pytest.mark.parametrize("evidence", [("1",), ("1", "3"), ("3", "2", "1"), ("9", "2"), ("9",), ()])
def test_recalls_are_those_of_the_metric(evidence: tuple[str, ...]) -> None:
    found = [Memory("a", "", source=("2", "1")), Memory("b", "", source=()), Memory("c", "", source=("1", "3"))]
    ranked = [memory.source for memory in found]
    scores = recall_scores(found, evidence, (1, 2, 3, 7))
    for cut in (1, 2, 3, 7):
        assert scores[f"recall@{cut}"] == recall_at(ranked, evidence, cut)
        assert scores[f"recall_any@{cut}"] == recall_at(ranked, evidence, cut, "any")
        assert scores[f"recall_all@{cut}"] == recall_at(ranked, evidence, cut, "all")


def test_a_benchmark_without_evidence_is_refused() -> None:
    chat = Conversation("c", TURNS, (Question("q", "a"),))
    with pytest.raises(InputError, match="no question of msc names evidence turns"):
        list(retrieve(Dataset("msc", "test", "", False, (chat,))))


@pytest.mark.slow
def test_the_default_ranking_finds_locomos_evidence(data_dir: Path) -> None:
    data = benchmark("locomo").load(data_dir / "locomo" / "locomo10.json", "test")
    records = by_system(list(retrieve(data)))
    asked = [each for each in records["turns"] if each["evidence"]]
    assert len(asked) == 1_305
    assert overall(records["turns"], "recall@10") >= 73
    assert overall(records["turns"], "recall@60") >= 88
    assert overall(records["turns"], "recall@10") > overall(records["bm25"], "recall@10") + 10
    assert overall(records["bm25"], "recall@10") == pytest.approx(63.5, abs=0.1)
