"""`memory-r1 eval BENCHMARK --retrieval-only`: offline, over turns and over what a run remembered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.command import Command, Done

LOCOMO: list[dict[str, Any]] = [
    {
        "sample_id": name,
        "conversation": {
            "session_1_date_time": "1:00 pm on 8 May, 2023",
            "session_1": [
                {"speaker": "Ann", "dia_id": "D1:1", "text": "I adopted a dog called Buddy."},
                {"speaker": "Bob", "dia_id": "D1:2", "text": "My sister plays chess."},
            ],
        },
        "qa": [{"question": "What is Ann's dog called?", "answer": "Buddy", "evidence": ["D1:1"], "category": 4}],
    }
    for name in ("conv-26", "conv-41")
]


def evaluate(cli: Command, *options: str) -> Done:
    data = cli.file("locomo.json", json.dumps(LOCOMO))
    out = str(cli.folder / "run")
    return cli("eval", "locomo", "--data", data, "--split", "full", "--allow-modified", "--out", out, *options)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_the_turns_are_ranked_and_reported(cli: Command) -> None:
    done = evaluate(cli, "--retrieval-only")
    assert done.code == 0
    assert "bm25\t2\t100.0" in done.out
    assert "recall_any@10" in done.out
    assert "CC BY-NC 4.0" in done.err
    folder = cli.folder / "run" / "retrieval"
    assert str(folder / "report.html") in done.out
    assert [line["system"] for line in lines(folder / "results.jsonl")] == ["bm25", "turns"] * 2
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    assert list(manifest["systems"]) == ["bm25", "turns"]
    assert (manifest["retrieval_only"], manifest["data"]["modified"]) == (True, True)
    assert "CC BY-NC" not in evaluate(cli, "--retrieval-only").err


def test_as_data(cli: Command) -> None:
    done = evaluate(cli, "--retrieval-only", "--json")
    assert done.data["folder"].endswith("retrieval")
    assert done.data["tables"][0]["rows"][0][0] == "bm25"


def test_with_an_embedder_there_are_four_rankings_whose_vectors_are_kept(cli: Command) -> None:
    done = evaluate(cli, "--retrieval-only", "--embedder", "hash")
    assert done.code == 0
    results = (cli.folder / "run" / "retrieval" / "results.jsonl").read_bytes()
    assert {json.loads(line)["system"] for line in results.splitlines()} == {"bm25", "turns", "dense", "hybrid"}
    assert (cli.folder / "run" / "calls.sqlite").exists()
    evaluate(cli, "--retrieval-only", "--embedder", "hash")
    assert (cli.folder / "run" / "retrieval" / "results.jsonl").read_bytes() == results


def test_what_a_run_remembered_is_ranked_too_and_its_results_stay(cli: Command) -> None:
    answered = evaluate(cli, "--systems", "memory-r1", "--model", "rules", "--conversation", "conv-41")
    assert answered.code == 0
    before = (cli.folder / "run" / "results.jsonl").read_bytes()
    assert evaluate(cli, "--retrieval-only").code == 0
    found = [
        line for line in lines(cli.folder / "run" / "retrieval" / "results.jsonl") if line["system"] == "memory-r1"
    ]
    assert [line["conversation"] for line in found] == ["conv-41"]
    assert found[0]["scores"]["recall@1"] == 1.0
    assert found[0]["retrieved"][0]["source"] == ["D1:1"]
    assert (cli.folder / "run" / "results.jsonl").read_bytes() == before


def test_a_damaged_bank_is_named(cli: Command) -> None:
    evaluate(cli, "--systems", "memory-r1", "--model", "rules", "--limit", "1")
    (line,) = lines(cli.folder / "run" / "banks.jsonl")
    (cli.folder / "run" / line["file"]).write_text("{}")
    done = evaluate(cli, "--retrieval-only")
    assert done.code == 1
    assert f"{line['file']} cannot be read as a bank" in done.err


def test_a_benchmark_without_evidence_says_so(cli: Command, data_dir: Path) -> None:
    file = str(data_dir / "msc" / "msc_dmr_sample_40.jsonl")
    done = cli("eval", "msc", "--data", file, "--retrieval-only", "--out", str(cli.folder / "run"))
    assert done.code == 1
    assert "no question of msc names evidence turns" in done.err
    assert not (cli.folder / "run" / "retrieval" / "results.jsonl").exists()


@pytest.mark.slow
def test_longmemevals_sample(cli: Command, data_dir: Path) -> None:
    file = str(data_dir / "longmemeval" / "longmemeval_s_3_instances.json")
    done = cli("eval", "longmemeval", "--data", file, "--retrieval-only", "--out", str(cli.folder / "run"))
    assert done.code == 0
    results = lines(cli.folder / "run" / "retrieval" / "results.jsonl")
    found = {line["question_id"]: line["scores"]["recall_any@10"] for line in results if line["system"] == "turns"}
    assert found == {"e47becba": 1.0, "118b2229": 1.0, "51a45a95": 1.0}
