"""What is gathered from an export while it is read: calls, what their nodes returned, and the feedback on runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeAlias

from langgraph_memory_r1.traces.calls import FinishedCall, ModelReply, trace_message
from langgraph_memory_r1.traces.decision import Feedback, Message

ExportRecord: TypeAlias = Mapping[str, Any]
"""A run or a span, as the tool writes it."""

_DEEPEST = 20


@dataclass(slots=True)
class ToolRuns:
    """The parts of decisions in the records that were read so far; records may stand in any order."""

    calls: list[FinishedCall] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    """What nodes returned, by the id of their run."""
    parents: dict[str, str] = field(default_factory=dict)
    """Run → the run that it is a part of."""
    feedback: dict[str, list[Feedback]] = field(default_factory=dict)

    def by_node(self) -> dict[str | None, list[FinishedCall]]:
        """Return the calls of each run of a node, in the order of their times."""
        nodes: dict[str | None, list[FinishedCall]] = {}
        for finished in sorted(self.calls, key=lambda finished: finished.call.at):
            # The node is the nearest run above that returned something: a model may be wrapped, for retries or
            # fallbacks. A file from elsewhere may have parents in a circle, so the way up has an end.
            run, steps = finished.call.node_run_id, 0
            while run is not None and run not in self.outputs and steps < _DEEPEST:
                run, steps = self.parents.get(run), steps + 1
            nodes.setdefault(run if run in self.outputs else finished.call.node_run_id, []).append(finished)
        return nodes


def parse_timestamp(value: Any) -> datetime:
    """Return a time as exports write it: ISO format, or seconds, milli- or nanoseconds; without a zone it is UTC.

    Raises:
        ValueError, OverflowError: It is no time.
    """
    if isinstance(value, datetime):
        at = value
    elif isinstance(value, int | float) or str(value).isdecimal():
        number = float(value)
        at = datetime.fromtimestamp(number / (1e9 if number > 1e16 else 1e3 if number > 1e11 else 1), UTC)
    else:
        at = datetime.fromisoformat(str(value))
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def elapsed_ms(start: Any, end: Any) -> float | None:
    """Return the milliseconds between two times; None where one of them is missing."""
    if not start or not end:
        return None
    return round((parse_timestamp(end) - parse_timestamp(start)).total_seconds() * 1000, 3)


def message_from_export(message: Any) -> Message:
    """Return a message in any of LangChain's shapes, or in OpenAI's, as a trace keeps it."""
    if isinstance(message, str):
        return trace_message("human", message, {})
    fields = message.get("kwargs") or message.get("data") or message
    kind = fields.get("type") or fields.get("role") or message.get("type")
    if not kind:  # the last part of the class's path: "AIMessageChunk" is "ai"
        name = str((message.get("id") or ["human"])[-1])
        kind = name.removesuffix("Chunk").removesuffix("Message").lower()
    return trace_message(str(kind), fields.get("content") or "", fields)


def reply_from_export(generation: Mapping[str, Any]) -> ModelReply:
    """Return a reply that stands as LangChain's `LLMResult` writes a generation."""
    message = generation.get("message") or {}
    fields = message.get("kwargs") or message.get("data") or message
    info = {**(generation.get("generation_info") or {}), **(fields.get("response_metadata") or {})}
    text = text_of_content(fields.get("content")) or generation.get("text") or ""
    return ModelReply(text, fields.get("tool_calls") or (), info, fields.get("usage_metadata") or {})


def text_of_content(content: Any) -> str:
    """Return all text of a message's content, one part a line."""
    if isinstance(content, str):
        return content
    parts = [part if isinstance(part, str) else part.get("text", "") for part in content or ()]
    return "\n".join(part for part in parts if isinstance(part, str) and part)


def parse_nested_json(value: Any) -> Any:
    """Return the value of a text that is JSON; anything else as it is."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("{", "["):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
