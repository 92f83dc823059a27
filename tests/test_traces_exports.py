"""Traces that other tools recorded: runs as LangSmith's own tracer sends them, spans as OpenInference makes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from langchain_core.tracers import LangChainTracer
from langsmith import Client

from langgraph_memory_r1 import Decision, InputError, TraceRecorder, create_memory_graph, read_traces
from langgraph_memory_r1.testing import ScriptedChatModel

SPANS = Path(__file__).parent / "data" / "openinference.jsonl"
SAME = (
    "run_id id node_run_id role node thread bank messages completion operations answer selected references model "
    "prompt_version prompt_style error tool_calls"
).split()


class Exporting(Client):
    """LangSmith's client, which keeps what it would send."""

    def __init__(self) -> None:
        super().__init__(api_url="http://localhost:1", api_key="none", auto_batch_tracing=False)
        self.kept: dict[str, dict[str, Any]] = {}

    def create_run(self, name: str, inputs: dict[str, Any], run_type: Any, **kwargs: Any) -> None:
        told = {"name": name, "inputs": inputs, "run_type": run_type, **kwargs}
        self.kept[str(kwargs["id"])] = json.loads(json.dumps(told, default=str))

    def update_run(self, run_id: Any, **kwargs: Any) -> None:
        told = {key: value for key, value in kwargs.items() if value is not None}
        self.kept[str(run_id)] |= json.loads(json.dumps(told, default=str))


@pytest.fixture
def both(tmp_path: Path, lance_uri: str) -> tuple[list[Decision], list[dict[str, Any]]]:
    """The same run, recorded by ourselves and by LangSmith."""
    client, recorder = Exporting(), TraceRecorder(tmp_path / "traces")
    graph = create_memory_graph(lance_uri)
    tracer = LangChainTracer(client=client)
    asked: Any = {"messages": [("user", "I adopted a dog called Buddy.")], "question": "How is the dog called?"}
    graph.invoke(asked, {"callbacks": [tracer, recorder], "configurable": {"thread_id": "t1", "user_id": "ann"}})
    tracer.wait_for_futures()
    return list(read_traces(tmp_path / "traces")), list(client.kept.values())


def seen(decisions: list[Decision]) -> list[list[Any]]:
    return [[getattr(decision, name) for name in SAME] for decision in decisions]


@pytest.mark.parametrize("shape", ["lines", "list", "reversed", "pretty", "nested"])
def test_langsmith_runs_are_what_we_record(both: Any, tmp_path: Path, shape: str) -> None:
    ours, runs = both
    file = tmp_path / "runs.jsonl"
    if shape in ("lines", "reversed"):
        file.write_text("".join(json.dumps(run) + "\n" for run in (runs if shape == "lines" else reversed(runs))))
    elif shape == "nested":
        file.write_text(json.dumps(nested(runs)))
    else:
        file.write_text(json.dumps(runs, indent=2 if shape == "pretty" else None))
    assert seen(list(read_traces(file, strict=True))) == seen(ours)


def nested(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The runs as a tree, as `Client.read_run(load_child_runs=True)` gives them."""
    children: dict[str | None, list[dict[str, Any]]] = {}
    for run in runs:
        children.setdefault(run.get("parent_run_id"), []).append(run)
    for run in runs:
        run["child_runs"] = children.get(run["id"], [])
    (root,) = children[None]
    return root


def test_langsmith_feedback_and_token_counts(both: Any, tmp_path: Path) -> None:
    _, runs = both
    for run in runs:
        if run.get("parent_run_id") is None:
            run["feedback_stats"] = {"correct": {"n": 2, "avg": 0.5}, "empty": {"n": 0, "avg": None}}
        if run["run_type"] == "llm":
            run |= {"prompt_tokens": 100, "completion_tokens": 7}
    (tmp_path / "runs.json").write_text(json.dumps({"runs": runs, "cursors": {}}))
    found = list(read_traces(tmp_path / "runs.json", strict=True))
    assert [(told.score, told.comment) for told in found[0].feedback] == [(0.5, "correct")]
    assert {(decision.input_tokens, decision.output_tokens) for decision in found} == {(100, 7)}


def test_langsmith_runs_of_a_model_that_is_wrapped(tmp_path: Path, lance_uri: str) -> None:
    client = Exporting()
    tracer = LangChainTracer(client=client)
    script = ['{"facts":[{"text":"Ann has a dog.","turns":[0]}]}', '{"operations":[{"event":"ADD","text":"A dog."}]}']
    graph = create_memory_graph(lance_uri, model=ScriptedChatModel(script).with_retry())
    graph.invoke({"messages": [("user", "I have a dog.")]}, {"callbacks": [tracer]})
    tracer.wait_for_futures()
    (tmp_path / "runs.jsonl").write_text("".join(json.dumps(run) + "\n" for run in client.kept.values()))
    assert [len(decision.operations) for decision in read_traces(tmp_path / "runs.jsonl", strict=True)] == [0, 1]


def test_langsmith_runs_of_any_app(tmp_path: Path) -> None:
    client = Exporting()
    tracer = LangChainTracer(client=client)
    model = ScriptedChatModel([RuntimeError("down"), "yes"])
    with pytest.raises(RuntimeError):
        model.invoke("hello", {"callbacks": [tracer]})
    model.invoke([("system", "Be short."), ("user", "hello")], {"callbacks": [tracer]})
    tracer.wait_for_futures()
    (tmp_path / "runs.jsonl").write_text("".join(json.dumps(run) + "\n" for run in client.kept.values()))
    failed, said = read_traces(tmp_path / "runs.jsonl", strict=True)
    assert "down" in str(failed.error)
    assert [message["role"] for message in said.messages] == ["system", "user"]
    assert (said.completion, said.role) == ("yes", None)


def test_openinference_spans(tmp_path: Path) -> None:
    extract, manage, answer = read_traces(SPANS, strict=True)
    assert [each.role for each in (extract, manage, answer)] == ["extract", "manage", "answer"]
    assert {(each.thread, each.model, each.error, each.parse_error) for each in (extract, manage, answer)} == {
        ("t1", "rules", None, None)
    }
    assert len({each.run_id for each in (extract, manage, answer)}) == 1
    (operation,) = manage.operations
    assert (operation["event"], operation["source"]) == ("ADD", list(manage.turns))
    assert (answer.answer, answer.selected) == ("Buddy", (operation["memory_id"],))
    assert all(each.ms is not None and each.at is not None for each in (extract, manage, answer))


def as_otlp(span: dict[str, Any]) -> dict[str, Any]:
    """A span in OTLP's JSON."""
    attributes = [
        {"key": key, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}}
        for key, value in span["attributes"].items()
    ]
    moments = {"startTimeUnixNano": "1763692560000000000", "endTimeUnixNano": "1763692560002500000"}
    parent = {"parentSpanId": span["parent_id"]} if span["parent_id"] else {}
    ids = {"traceId": span["context"]["trace_id"], "spanId": span["context"]["span_id"], **parent}
    return {**ids, **moments, "name": span["name"], "attributes": attributes, "status": {"code": 1}}


def test_otlp_json_holds_the_same(tmp_path: Path) -> None:
    spans = [as_otlp(json.loads(line)) for line in SPANS.read_text().splitlines()]
    envelope = {"resourceSpans": [{"resource": {}, "scopeSpans": [{"scope": {}, "spans": spans}]}]}
    (tmp_path / "otlp.json").write_text(json.dumps(envelope))
    found = list(read_traces(tmp_path / "otlp.json", strict=True))
    assert seen(found) == seen(list(read_traces(SPANS)))
    assert {decision.ms for decision in found} == {2.5}


def test_rows_of_phoenix_hold_the_same(tmp_path: Path) -> None:
    rows = []
    for line in SPANS.read_text().splitlines():
        span = json.loads(line)
        told = {f"attributes.{key}": value for key, value in span["attributes"].items() if "messages." not in key}
        for side in ("input", "output"):
            given: dict[int, dict[str, Any]] = {}
            for key, value in span["attributes"].items():
                if key.startswith(f"llm.{side}_messages."):
                    number, _, field = key.removeprefix(f"llm.{side}_messages.").partition(".")
                    given.setdefault(int(number), {})[field] = value
            told[f"attributes.llm.{side}_messages"] = list(given.values()) or None
        told["attributes.metadata"] = json.loads(told.get("attributes.metadata", "{}"))
        ids = {f"context.{key}": value for key, value in span["context"].items()}
        rows.append({**ids, **told, **{key: span[key] for key in ("name", "parent_id", "start_time", "end_time")}})
    (tmp_path / "spans.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert seen(list(read_traces(tmp_path / "spans.jsonl", strict=True))) == seen(list(read_traces(SPANS)))


def test_a_broken_run_is_named_and_the_rest_is_read(both: Any, tmp_path: Path) -> None:
    _, runs = both
    broken = [json.dumps({"id": "x", "run_type": "llm"}), '{"id": "y", "run', "[1]", '{"what": 1}']
    lines = [*(json.dumps(run) for run in runs), *broken]
    (tmp_path / "runs.jsonl").write_text("\n".join(lines))
    skipped: list[InputError] = []
    assert len(list(read_traces(tmp_path / "runs.jsonl", on_skip=skipped.append))) == 3
    assert [str(error).partition(": ")[2][:24] for error in skipped] == [
        "cannot be read as a run ",
        "no JSON (Unterminated st",
        "a run is an object, and ",
        "cannot be read as a run ",
    ]
    with pytest.raises(InputError, match="start_time"):
        list(read_traces(tmp_path / "runs.jsonl", strict=True))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"start_time": 1e300}, "OverflowError"),
        ({"extra": {"metadata": ["memory_role"]}}, "AttributeError"),
        ({"extra": {"metadata": {"memory_refs": {"turns": [7]}}}}, "ValidationError"),
        ({"name": ["no", "name"]}, "ValidationError"),
    ],
)
def test_a_call_with_odd_fields_is_named_and_the_rest_is_read(
    both: Any, tmp_path: Path, change: dict[str, Any], problem: str
) -> None:
    _, runs = both
    odd = {"id": "x", "run_type": "llm", "start_time": "2026-01-01T00:00:00", "inputs": {"messages": []}} | change
    (tmp_path / "runs.jsonl").write_text("\n".join(json.dumps(run) for run in [*runs, odd]))
    skipped: list[InputError] = []
    assert len(list(read_traces(tmp_path / "runs.jsonl", on_skip=skipped.append))) == 3
    (error,) = skipped
    assert problem in str(error)
