"""Comparing two runs, or two systems of one, question by question."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.evals.report import compare
from support.runs import result, write_run


def scores_of(folder: Path, rows: dict[str, list[float | None]], **manifest: object) -> Path:
    lines = [
        result(system, f"c{place % 4}/{place}", score, category="temporal" if place % 2 else "single-hop")
        for system, scores in rows.items()
        for place, score in enumerate(scores)
    ]
    return write_run(folder, lines, **manifest)


def test_two_systems_of_one_run(tmp_path: Path) -> None:
    worse, better = [0.0, 1.0, 0.2, 0.0, 0.0, 0.6, 0.0, 0.0], [1.0, 0.0, 0.4, 1.0, 1.0, 0.6, 1.0, 1.0]
    folder = scores_of(tmp_path / "run", {"bm25": list(worse), "memory-r1": list(better)})
    found = compare(folder, systems=("bm25", "memory-r1"))
    assert (found.a, found.b) == ("bm25", "memory-r1")
    assert found.differences is not None
    numbers = found.differences["f1_locomo"]
    assert numbers["n"] == 8
    assert numbers["difference"] == pytest.approx((sum(better) - sum(worse)) / 8)
    overall, categories = found.tables
    assert overall.rows[0][:4] == ("f1_locomo", "8", "22.5", "75.0")
    assert overall.rows[0][4].startswith("+52.5 (")
    assert overall.rows[0][-2:] == ("1", "6")
    assert [row[:2] for row in categories.rows] == [("single-hop", "4"), ("temporal", "4")]
    assert [flip.question_id for flip in found.flips] == ["c1/1", "c0/0", "c3/3", "c0/4", "c2/6", "c3/7"]
    assert (found.flips[0].a, found.flips[0].b) == ("bm25 says 1.0", "memory-r1 says 0.0")


def test_the_same_system_in_two_runs_on_the_questions_that_both_answered(tmp_path: Path) -> None:
    before = scores_of(tmp_path / "before", {"memory-r1": [0.0, 0.0, None, 1.0]})
    after = scores_of(tmp_path / "after", {"memory-r1": [0.0, 1.0, 1.0]}, judge={"id": "j", "kind": "strict"})
    found = compare(before, after)
    assert (found.a, found.b) == ("before: memory-r1", "after: memory-r1")
    assert found.tables[0].rows[0][1:4] == ("2", "0.0", "50.0")
    assert "1 question is on one side only and left out." in found.notes
    assert "The runs differ in judge: none and {'id': 'j', 'kind': 'strict'}." in found.notes
    assert json.loads(json.dumps(found.as_dict()))["flips"][0]["question_id"] == "c1/1"


def test_without_flips_and_of_one_conversation(tmp_path: Path) -> None:
    lines = [result(system, f"c1/{place}", 1.0) for system in ("a", "b") for place in range(3)]
    found = compare(write_run(tmp_path / "run", lines), systems=("a", "b"), metrics=("f1_locomo",))
    assert found.flips == ()
    assert found.tables[0].rows == (
        ("f1_locomo", "3", "100.0", "100.0", "+0.0 (+0.0 to +0.0)", "1.000", "–", "0", "0"),
    )


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    folder = scores_of(tmp_path / "run", {"bm25": [0.0], "memory-r1": [1.0]})
    other = write_run(tmp_path / "other", [result("memory-r1", "c9/9", 1.0)])
    with pytest.raises(InputError, match="compared with itself; name two systems of it: memory-r1, bm25"):
        compare(folder)
    with pytest.raises(InputError, match="no system 'dense'; it has: memory-r1, bm25"):
        compare(folder, systems=("dense", "bm25"))
    with pytest.raises(InputError, match="share no question"):
        compare(folder, other)
    with pytest.raises(InputError, match="no question has bleu on both sides"):
        compare(folder, systems=("bm25", "memory-r1"), metrics=("bleu",))


def test_differences_have_their_sign_and_nothing_is_minus_zero(tmp_path: Path) -> None:
    for name, a, b, expected in (
        ("down", 0.4, 0.1, "−30.0 (−30.0 to −30.0)"),
        ("same", 0.5001, 0.5, "+0.0 (+0.0 to +0.0)"),
    ):
        scores = {"a": [a] * 3, "b": [b] * 3}
        found = compare(scores_of(tmp_path / name, {**scores}), systems=("a", "b"), metrics=("f1_locomo",))
        assert found.tables[0].rows[0][4] == expected


def test_changed_questions_are_noticed(tmp_path: Path) -> None:
    one = write_run(tmp_path / "one", [result("a", "c1/0", 1.0)])
    other = write_run(tmp_path / "other", [result("a", "c1/0", 1.0, gold="a cat")])
    assert any("the data are not the same" in note for note in compare(one, other).notes)
