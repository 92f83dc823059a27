"""Runs as LangSmith exports them: `Client.list_runs` as dictionaries, its HTTP API, a bulk export as JSON.

    id, trace_id, parent_run_id, name, run_type, start_time, end_time, error
    inputs.messages              a chat model's messages
    outputs.generations          its reply
    extra.metadata               memory_role, memory_refs, memory_bank, prompt_version, langgraph_node, thread_id
    extra.invocation_params      the model's settings
    outputs.memory_ops, .answer, .selected    of a node
    feedback_stats               scores by name, with their average
    child_runs                   inner runs, where they are nested

Runs may stand in any order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langgraph_memory_r1.traces.calls import FinishedCall, ModelCall, ModelReply, is_memory_output
from langgraph_memory_r1.traces.decision import Feedback
from langgraph_memory_r1.traces.exports.tool_runs import (
    ExportRecord,
    ToolRuns,
    elapsed_ms,
    message_from_export,
    parse_nested_json,
    parse_timestamp,
    reply_from_export,
)


def is_run(record: ExportRecord) -> bool:
    """Return whether a record looks like a run of LangSmith."""
    return "run_type" in record and "id" in record


def add_run(run: ExportRecord, runs: ToolRuns, parent: ExportRecord | None = None) -> None:
    """Add a run, and the runs inside it, to `runs`.

    Raises:
        KeyError, TypeError, ValueError: It is no run.
    """
    key = str(run["id"])
    outputs = parse_nested_json(run.get("outputs")) or {}
    root = str(run.get("trace_id") or (parent or run).get("trace_id") or (parent or run)["id"])
    parent_id = str(run.get("parent_run_id") or (parent or {}).get("id") or "")
    if run["run_type"] == "llm":
        runs.calls.append(_finished_call(run, outputs, root, parent_id))
    elif is_memory_output(outputs):
        runs.outputs[key] = outputs
    if parent_id:
        runs.parents[key] = parent_id
    for name, stats in (run.get("feedback_stats") or {}).items():
        if stats and stats.get("avg") is not None:
            runs.feedback.setdefault(key, []).append(Feedback(key, score=float(stats["avg"]), comment=name))
    for child in run.get("child_runs") or ():
        add_run(child, runs, {"id": key, "trace_id": root})


def _finished_call(run: ExportRecord, outputs: Mapping[str, Any], root: str, parent_id: str) -> FinishedCall:
    extra = parse_nested_json(run.get("extra")) or {}
    inputs = parse_nested_json(run.get("inputs")) or {}
    messages = inputs.get("messages") or inputs.get("prompts") or []
    messages = messages[0] if messages and isinstance(messages[0], list) else messages
    call = ModelCall(
        id=str(run["id"]),
        run_id=root,
        node_run_id=parent_id or None,
        messages=tuple(message_from_export(message) for message in messages),
        metadata=extra.get("metadata") or {},
        parameters=extra.get("invocation_params") or {},
        node=run.get("name"),
        at=parse_timestamp(run["start_time"]),
    )
    generations = outputs.get("generations") or [outputs]  # some exporters keep the message alone
    candidates = generations[0] if isinstance(generations[0], list) else generations
    reply = reply_from_export(candidates[0]) if candidates else ModelReply()
    if not reply.usage:  # the run itself has the counts where the reply has none
        usage = {"input_tokens": run.get("prompt_tokens"), "output_tokens": run.get("completion_tokens")}
        reply = ModelReply(reply.text, reply.tool_calls, reply.info, usage)
    return FinishedCall(call, reply, elapsed_ms(run["start_time"], run.get("end_time")), run.get("error"))
