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

from langgraph_memory_r1.traces.calls import Call, Finished, Reply, settles
from langgraph_memory_r1.traces.decision import Feedback
from langgraph_memory_r1.traces.exports.tool_runs import (
    Exported,
    Record,
    message_from,
    moment,
    reply_from,
    spent,
    unfolded,
)


def is_run(record: Record) -> bool:
    """Whether it looks like a run of LangSmith."""
    return "run_type" in record and "id" in record


def read_runs(run: Record, found: Exported, parent: Record | None = None) -> None:
    """Adds a run, and the runs inside it.

    Raises:
        KeyError, TypeError, ValueError: It is no run.
    """
    key = str(run["id"])
    outputs = unfolded(run.get("outputs")) or {}
    root = str(run.get("trace_id") or (parent or run).get("trace_id") or (parent or run)["id"])
    above = str(run.get("parent_run_id") or (parent or {}).get("id") or "")
    if run["run_type"] == "llm":
        found.calls.append(_finished(run, outputs, root, above))
    elif settles(outputs):
        found.outputs[key] = outputs
    found.parents |= {key: above} if above else {}
    for name, stats in (run.get("feedback_stats") or {}).items():
        if stats and stats.get("avg") is not None:
            found.feedback.setdefault(key, []).append(Feedback(key, score=float(stats["avg"]), comment=name))
    for child in run.get("child_runs") or ():
        read_runs(child, found, {"id": key, "trace_id": root})


def _finished(run: Record, outputs: Mapping[str, Any], root: str, parent: str) -> Finished:
    extra = unfolded(run.get("extra")) or {}
    inputs = unfolded(run.get("inputs")) or {}
    said = inputs.get("messages") or inputs.get("prompts") or []
    said = said[0] if said and isinstance(said[0], list) else said
    call = Call(
        id=str(run["id"]),
        run_id=root,
        node_run_id=parent or None,
        messages=tuple(message_from(raw) for raw in said),
        metadata=extra.get("metadata") or {},
        parameters=extra.get("invocation_params") or {},
        node=run.get("name"),
        at=moment(run["start_time"]),
    )
    return Finished(call, _reply(run, outputs), spent(run["start_time"], run.get("end_time")), run.get("error"))


def _reply(run: Record, outputs: Mapping[str, Any]) -> Reply:
    generations = outputs.get("generations") or [outputs]  # some exporters keep the message alone
    first = generations[0] if isinstance(generations[0], list) else generations[:1]
    reply = reply_from(first[0]) if first else Reply()
    counted = {"input_tokens": run.get("prompt_tokens"), "output_tokens": run.get("completion_tokens")}
    return reply if reply.usage else Reply(reply.text, reply.tool_calls, reply.info, counted)
