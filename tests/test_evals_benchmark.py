from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from langgraph_memory_r1 import scoring
from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.evals.benchmark import BENCHMARKS, benchmark

FILES = {
    "locomo": "locomo/locomo10.json",
    "longmemeval": "longmemeval/longmemeval_s_3_instances.json",
    "msc": "msc/msc_dmr_sample_40.jsonl",
}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_says_what_it_is(name: str) -> None:
    found = benchmark(name)
    assert found.name == name
    assert found.title
    assert found.licence.name
    assert found.licence.url.startswith("https://")
    assert found.default_split == found.splits[0]
    assert len(set(found.categories)) == len(found.categories) > 0
    assert found.offline_metric in scoring.METRICS
    assert found.judge in ("generous", "strict", "longmemeval")
    assert all(len(source.sha256) == 64 for source in found.sources)
    assert all(source.url.startswith("https://") or source.sample for source in found.sources)


@pytest.mark.parametrize("name", FILES)
def test_what_a_split_downloads_is_pinned(name: str) -> None:
    found = benchmark(name)
    assert found.source() == found.source(found.default_split)
    assert all(found.source(split).url for split in found.splits)
    assert not any(found.source(split).sample for split in found.splits)


def test_an_unknown_benchmark_is_refused_with_the_names() -> None:
    with pytest.raises(InputError, match=r"'lokomo'; there are: locomo, longmemeval, msc"):
        benchmark("lokomo")


@pytest.mark.parametrize("name", FILES)
def test_the_data_beside_the_checkout_is_known_by_its_hash(data_dir: Path, name: str) -> None:
    skipped: list[str] = []
    data = benchmark(name).load(data_dir / FILES[name], on_skip=skipped.append)
    assert data.benchmark == name
    assert not data.modified
    assert len(skipped) == data.skipped.total()
    questions = [question for chat in data.conversations for question in chat.questions]
    assert {question.category for question in questions} <= set(benchmark(name).categories)
    assert all(question.id for question in questions)
    assert len({question.id for question in questions}) == len(questions)
    for chat in data.conversations:
        turns = {turn.id for turn in chat.turns}
        assert len(turns) == len(chat.turns)
        assert all(turns.issuperset(question.evidence) for question in chat.questions)
        times = [turn.at for turn in chat.turns if turn.at is not None]
        assert times == sorted(times)


@pytest.mark.parametrize("name", FILES)
def test_a_changed_file_is_refused_unless_allowed_and_then_said(data_dir: Path, tmp_path: Path, name: str) -> None:
    file = tmp_path / "data.json"
    file.write_bytes((data_dir / FILES[name]).read_bytes() + b"\n")
    with pytest.raises(InputError, match=r"data\.json is not .*'s published file .*--allow-modified"):
        benchmark(name).load(file)
    data = benchmark(name).load(file, allow_modified=True)
    assert data.modified
    assert "not the published one" in data.notes[0]
    assert data.conversations == benchmark(name).load(data_dir / FILES[name]).conversations


@pytest.mark.parametrize("name", ["longmemeval", "msc"])
def test_a_sample_is_said_to_be_one(data_dir: Path, name: str) -> None:
    assert "sample" in benchmark(name).load(data_dir / FILES[name]).notes[0]


@pytest.mark.parametrize("name", FILES)
def test_gold_answers_score_one_and_wrong_ones_do_not(data_dir: Path, name: str) -> None:
    found = benchmark(name)
    metric: Any = scoring.METRICS[found.offline_metric]
    for chat in found.load(data_dir / FILES[name]).conversations:
        for question in chat.questions:
            asked = {"category": question.category} if found.offline_metric == "f1_locomo" else {}
            assert metric(question.gold, question.gold, **asked) == pytest.approx(1.0)
            assert metric("zebra xylophone", question.gold, **asked) < 1.0


@pytest.mark.parametrize("name", FILES)
def test_an_unknown_split_is_refused_with_the_names(tmp_path: Path, name: str) -> None:
    file = tmp_path / "data.json"
    file.write_text("[]")
    with pytest.raises(InputError, match=f"no split 'dev'; give one of: {benchmark(name).default_split}"):
        benchmark(name).load(file, "dev", allow_modified=True)


def test_a_split_that_a_file_does_not_hold_is_refused(data_dir: Path) -> None:
    with pytest.raises(InputError, match="holds s, not oracle; give --split s"):
        benchmark("longmemeval").load(data_dir / FILES["longmemeval"], "oracle")


@pytest.mark.parametrize("name", FILES)
def test_no_file_and_a_missing_file_say_what_to_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"--data.*--download"):
        benchmark(name).load(None)
    with pytest.raises(InputError, match=f"cannot be read .* name {name}'s data file"):
        benchmark(name).load(tmp_path / "missing.json")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("content", [7, [7], {"a": 1}, [[]]])
def test_another_json_is_refused_with_its_place(tmp_path: Path, name: str, content: object) -> None:
    file = tmp_path / "data.json"
    file.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"data\.json"):
        benchmark(name).load(file, allow_modified=True)
