"""`memory-r1 eval`: from a data file to a run folder, with and without models that fail."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from support.chats import by_rules, data_file
from support.command import Command, Done
from support.openai_server import Says, completion, serving

BROKEN = Says('{"error": {"message": "out of order"}}', 400)


class Evaluation:
    """`memory-r1 eval locomo` on a small file of LoCoMo's shape, in a folder of this test."""

    def __init__(self, cli: Command, folder: Path) -> None:
        self.cli = cli
        self.out = folder / "run"
        self.data = data_file(folder, 1)

    def __call__(self, *options: str, systems: str = "memory-r1,bm25", model: str = "rules") -> Done:
        arguments = ("--data", self.data, "--allow-modified", "--out", str(self.out))
        return self.cli("eval", "locomo", *arguments, "--systems", systems, "--model", model, *options)

    def lines(self, name: str = "results") -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.out / f"{name}.jsonl").read_text("utf-8").splitlines()]

    @property
    def manifest(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.out / "manifest.json").read_text("utf-8"))
        return found


@pytest.fixture
def evaluation(cli: Command, tmp_path: Path) -> Evaluation:
    return Evaluation(cli, tmp_path)


def failing_on(*words: str) -> Callable[[dict[str, Any]], Says]:
    """A server that refuses requests whose last message ends with one of these."""

    def reply(body: dict[str, Any]) -> Says:
        return BROKEN if body["messages"][-1]["content"].endswith(words) else by_rules(body)

    return reply


@pytest.mark.slow
def test_one_command_gives_a_report_with_all_metrics(evaluation: Evaluation) -> None:
    done = evaluation(systems="memory-r1,no-memory,bm25,turns,full-context,oracle")
    assert done.code == 0, done.err
    assert "f1_locomo" in done.out and "rules is the baseline without any model" in done.out
    lines = evaluation.lines()
    assert len(lines) == 6 * 6
    first = lines[0]
    assert (first["system"], first["question_id"], first["category"]) == ("memory-r1", "conv-41/0", "single-hop")
    assert (first["answer"], first["scores"]["em"], first["scores"]["recall@5"]) == ("Buddy", 1.0, 1.0)
    assert first["retrieved"][0]["source"] == ["D1:1", "D2:2"] or first["retrieved"][0]["hit"]
    by_system = {name: [line for line in lines if line["system"] == name] for name in evaluation.manifest["systems"]}
    assert all(line["scores"]["recall@60"] in (None, 1.0) for line in by_system["oracle"])
    assert all(line["looked_at"] == 6 for line in by_system["full-context"])
    assert all(line["answer"] == "I don't know." for line in by_system["no-memory"])
    assert {line["scores"]["recall@10"] for line in by_system["full-context"]} == {None}
    assert {path.name for path in evaluation.out.iterdir()} >= {
        "report.md",
        "report.html",
        "costs.jsonl",
        "banks.jsonl",
    }


def test_the_manifest_says_what_was_measured(evaluation: Evaluation) -> None:
    evaluation("--limit", "2", systems="bm25")
    manifest = evaluation.manifest
    assert (manifest["benchmark"], manifest["split"], manifest["k"], manifest["limit"]) == ("locomo", "test", 60, 2)
    assert manifest["models"] == dict.fromkeys(("extractor", "manager", "answerer"), "rules")
    assert manifest["data"]["modified"] and len(manifest["data"]["sha256"]) == 64
    assert manifest["full_split_questions"] == 6
    assert manifest["prompt_version"] and manifest["versions"]["langgraph"] and manifest["judge"] is None
    assert manifest["command"].startswith("memory-r1 eval locomo")


def test_the_bank_and_what_it_lost_is_counted(evaluation: Evaluation) -> None:
    evaluation()
    memory, turns = evaluation.lines("banks")
    assert (memory["system"], memory["turns"], memory["questions"]) == ("memory-r1", 6, 6)
    assert memory["memories"] == len(json.loads((evaluation.out / memory["file"]).read_text("utf-8"))["memories"])
    assert memory["calls"] > 0 and sum(memory["operations"].values()) >= memory["memories"]
    assert 0 <= memory["lost_facts"] < 1 and turns["lost_facts"] == 0
    stages = [(line["system"], line["stage"]) for line in evaluation.lines("costs")]
    assert stages == [("memory-r1", "ingest"), ("memory-r1", "answer"), ("bm25", "answer")]


def test_the_same_command_again_asks_nothing(evaluation: Evaluation) -> None:
    with serving(by_rules) as server:
        model = f"vllm:base@{server.url}"
        evaluation(model=model)
        asked, results = len(server.asked), (evaluation.out / "results.jsonl").read_bytes()
        assert asked > 0
        evaluation(model=model)
        evaluation("--rescore", model=model)
        assert (len(server.asked), (evaluation.out / "results.jsonl").read_bytes()) == (asked, results)
        costs = evaluation.lines("costs")
        assert all(line["cached"] == line["calls"] for line in costs)
        assert sum(line["calls"] for line in costs) >= asked
        evaluation("--k", "1", systems="bm25", model=model)
        assert len(server.asked) > asked  # other prompts


def test_no_more_calls_at_once_than_allowed(evaluation: Evaluation) -> None:
    def slowly(body: dict[str, Any]) -> Says:
        said = by_rules(body)
        return Says(said.body, delay=0.02)

    with serving(slowly) as server:
        evaluation("--concurrency", "2", systems="bm25,oracle,memory-r1", model=f"vllm:base@{server.url}")
        assert server.most_at_once == 2


def test_a_failure_is_noted_and_only_it_is_done_again(evaluation: Evaluation) -> None:
    with serving(failing_on("Where did Bob move to?")) as server:
        model = f"vllm:base@{server.url}"
        done = evaluation(model=model)
        assert done.code == 0 and "2 questions failed; the same command with --only-failed" in done.err
        failed = [line for line in evaluation.lines() if line["error"]]
        assert {(line["system"], line["question_id"]) for line in failed} == {
            ("memory-r1", "conv-41/1"), ("bm25", "conv-41/1"),
        }  # fmt: skip
        assert all("out of order" in line["error"] and line["answer"] is None for line in failed)
        assert all(line["scores"]["f1_locomo"] is None for line in failed)
        asked = len(server.asked)
        evaluation(model=model)
        assert len(server.asked) == asked  # a failure is a result too
        server.script[:] = [by_rules]
        done = evaluation("--only-failed", model=model)
        assert len(server.asked) == asked + 2 and "failed" not in done.err
        assert not [line for line in evaluation.lines() if line["error"] or not line["answer"]]


def test_a_memory_that_could_not_be_filled_fails_its_questions(evaluation: Evaluation) -> None:
    with serving(failing_on("I stopped working as a baker. Visit 0.")) as server:
        model = f"vllm:base@{server.url}"
        evaluation(model=model)
        errors = {line["system"]: line["error"] for line in evaluation.lines()}
        assert errors["memory-r1"].startswith("ingest: ") and errors["bm25"] is None
        assert "error" in evaluation.lines("banks")[0]
        server.script[:] = [by_rules]
        evaluation("--only-failed", model=model)
        assert not [line for line in evaluation.lines() if line["error"]]
        assert len(evaluation.lines()) == 12


def test_many_failures_in_a_row_end_the_run_and_are_no_results(evaluation: Evaluation) -> None:
    with serving(BROKEN) as server:
        model = f"vllm:base@{server.url}"
        done = evaluation("--concurrency", "1", systems="bm25", model=model)
        assert done.code == 1
        assert "Stopped after 5 failures in a row" in done.err and "the same command goes on" in done.err
        server.script[:] = [by_rules]
        assert evaluation("--concurrency", "1", systems="bm25", model=model).code == 0
        assert not [line for line in evaluation.lines() if line["error"]]


def test_only_failed_and_rescore_leave_out_what_was_not_asked(evaluation: Evaluation) -> None:
    evaluation("--limit", "2", systems="bm25")
    done = evaluation("--rescore", systems="bm25")
    assert len(evaluation.lines()) == 2 and "4 questions left out" in done.err
    assert "4 questions left out" in evaluation("--only-failed", systems="bm25").err


def test_streaming_asks_while_the_bank_is_built(evaluation: Evaluation) -> None:
    evaluation("--every", "1")
    points = [(line["system"], line["session"], line["turns"], line["questions"]) for line in evaluation.lines("curve")]
    assert points == [("memory-r1", 1, 3, 4), ("memory-r1", 2, 6, 6), ("bm25", 1, 3, 4), ("bm25", 2, 6, 6)]
    assert len(evaluation.lines()) == 12
    assert all(line["metric"] == "f1_locomo" and line["lost"] is not None for line in evaluation.lines("curve"))


def test_a_judge_gives_a_score_of_its_own(evaluation: Evaluation) -> None:
    def judge(body: dict[str, Any]) -> Says:
        return completion('{"reason": "the same dog", "label": "CORRECT"}')

    with serving(judge) as server:
        done = evaluation("--judge", f"vllm:judge@{server.url}", "--judge-kind", "strict", systems="bm25")
        assert done.code == 0, done.err
        assert {line["scores"]["judge_strict"] for line in evaluation.lines()} == {1.0}
        assert (evaluation.manifest["judge"]["kind"], evaluation.lines("costs")[-1]["stage"]) == ("strict", "judge")
        assert len(server.asked) == 6
        evaluation("--rescore", "--judge", f"vllm:judge@{server.url}", "--judge-kind", "strict", systems="bm25")
        assert len(server.asked) == 6


def test_two_commands_do_not_share_a_folder(evaluation: Evaluation) -> None:
    from langgraph_memory_r1.evals.run_folder import RunFolder

    with RunFolder(evaluation.out).locked():
        done = evaluation(systems="bm25")
    assert done.code == 1 and "Another run works in" in done.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--split", "half"), "no split 'half'; give one of: test, train"),
        (("--systems", "gpt"), "no system 'gpt'; choose from: memory-r1, no-memory"),
        (("--systems", "dense"), "dense needs vectors; choose their model with --embedder"),
        (("--conversation", "conv-7"), "test has no conversation conv-7; it has: conv-41"),
        (("--paper-labels", "mem0"), "no labels of a paper 'mem0'; there are: memory-r1"),
        (("--style", "loud"), "no style 'loud'; give one of: full, compact"),
        (("--judge", "rules"), "the rules cannot judge"),
        (("--judge-kind", "strict"), "--judge-kind needs a judge"),
        (("--only-failed", "--rescore"), "give one of them"),
        (("--out", "/proc/none"), "/proc/none cannot be written to"),
        (("--model", "gpt-x"), "gpt-x"),
        (("--manager-adapter", "runs/7"), "rules takes no adapter (runs/7)"),
        (("--systems", "bm25:base"), "bm25:base is a row without some adapters, and none is named"),
        (
            ("--systems", "bm25:judge", "--manager-adapter", "a"),
            "no row 'bm25:judge'; after the colon comes one of: base, ",
        ),
        (("--trained", "runs/7"), "runs/7 is no run of `memory-r1 train`"),
    ],
)
def test_a_wrong_option_is_named_with_the_choices(
    evaluation: Evaluation, options: tuple[str, ...], message: str
) -> None:
    done = evaluation(*options)
    assert (done.code, message in done.err) == (1, True), done.err
    assert done.err.count("Error:") == 1


@pytest.mark.skipif(find_spec("mem0") is not None, reason="mem0 is installed")
def test_a_library_that_is_missing_is_named_with_its_command(evaluation: Evaluation) -> None:
    done = evaluation("--embedder", "hash", systems="mem0")
    assert (done.code, "pip install mem0ai" in done.err) == (1, True)


def test_a_changed_data_file_is_refused(cli: Command, tmp_path: Path) -> None:
    done = cli("eval", "locomo", "--data", data_file(tmp_path))
    assert done.code == 1 and "not locomo's published file" in done.err and "--allow-modified" in done.err
    for missing in ((), ("--data", str(tmp_path / "nowhere.json"))):
        none = cli("eval", "locomo", *missing)
        assert none.code == 1 and "--data" in none.err and "--download" in none.err


def test_abstention_of_longmemeval_is_right_without_a_judge(cli: Command, tmp_path: Path) -> None:
    instance = {
        "question_id": "q1_abs", "question_type": "multi-session", "question": "What is my cat called?",
        "answer": "You did not mention this information. You mentioned your dog Buddy, but no cat.",
        "question_date": "2023/05/30 (Tue) 23:40", "haystack_dates": ["2023/05/22 (Mon) 08:00"],
        "haystack_session_ids": ["s1"], "answer_session_ids": ["s1"],
        "haystack_sessions": [[{"role": "user", "content": "I adopted a dog called Buddy."}]],
    }  # fmt: skip
    data = cli.file("longmemeval.json", json.dumps([instance]))
    arguments = ("--data", data, "--allow-modified", "--out", str(tmp_path / "run"), "--systems", "no-memory")
    assert cli("eval", "longmemeval", *arguments).code == 0
    (line,) = map(json.loads, (tmp_path / "run" / "results.jsonl").read_text().splitlines())
    assert line["answer"] == "I don't know."
    assert line["scores"]["f1_mem0"] == line["scores"]["abstained"] == 1.0


def test_json_for_scripts(evaluation: Evaluation) -> None:
    data = evaluation("--json", systems="bm25").data
    assert data["folder"] == str(evaluation.out) and data["manifest"]["benchmark"] == "locomo"
    assert "f1_locomo" in " ".join(data["tables"][0]["columns"])


def test_two_systems_are_compared(evaluation: Evaluation, cli: Command) -> None:
    evaluation(systems="bm25,no-memory")
    done = cli("eval", "compare", str(evaluation.out), "--system", "no-memory,bm25", "--metric", "f1_mem0")
    assert done.code == 0, done.err
    assert "f1_mem0" in done.out and "What is Ann's dog called?" in done.out


def test_a_broken_line_of_the_stages_is_dropped(evaluation: Evaluation) -> None:
    evaluation(systems="bm25")
    results, stages = (evaluation.out / "results.jsonl").read_bytes(), evaluation.out / "stages.jsonl"
    whole = stages.read_bytes()
    stages.write_bytes(whole[:-9])  # as a kill in the middle of a write leaves it
    evaluation(systems="bm25")
    assert (evaluation.out / "results.jsonl").read_bytes() == results
    keys = [json.loads(line)["key"] for line in stages.read_text("utf-8").splitlines()]
    assert len(keys) == len(set(keys)) == len(whole.splitlines())
