"""What is gathered from an export while it is read: calls, what their nodes returned, and what was said about runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeAlias

from langgraph_memory_r1.traces.calls import Finished, Reply, message_of, text_in
from langgraph_memory_r1.traces.decision import Feedback, Message

Record: TypeAlias = Mapping[str, Any]

_DEEPEST = 20


@dataclass(slots=True)
class Exported:
    """The parts of decisions that were found so far."""

    calls: list[Finished] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    """What nodes returned, by the id of their run."""
    parents: dict[str, str] = field(default_factory=dict)
    """Run → the run that it is a part of."""
    feedback: dict[str, list[Feedback]] = field(default_factory=dict)

    def by_node(self) -> dict[str | None, list[Finished]]:
        """The calls of each run of a node, in the order of their times."""
        nodes: dict[str | None, list[Finished]] = {}
        for done in sorted(self.calls, key=lambda done: done.call.at):
            nodes.setdefault(self._node(done.call.node_run_id), []).append(done)
        return nodes

    def _node(self, run: str | None) -> str | None:
        """The nearest run above that returned something: a model may be wrapped, for retries or fallbacks."""
        above, steps = run, 0
        while above is not None and above not in self.outputs and steps < _DEEPEST:
            above, steps = self.parents.get(above), steps + 1
        return above if above in self.outputs else run


def moment(value: Any) -> datetime:
    """A time as exports write it: ISO format, or nanoseconds; without a zone it is UTC."""
    if isinstance(value, datetime):
        found = value
    elif isinstance(value, int | float) or str(value).isdecimal():
        number = float(value)
        found = datetime.fromtimestamp(number / (1e9 if number > 1e16 else 1e3 if number > 1e11 else 1), UTC)
    else:
        found = datetime.fromisoformat(str(value))
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def spent(start: Any, end: Any) -> float | None:
    """Milliseconds between two times, None where one of them is missing."""
    return round((moment(end) - moment(start)).total_seconds() * 1000, 3) if start and end else None


def message_from(raw: Any) -> Message:
    """A message in any of LangChain's shapes, or in OpenAI's."""
    if isinstance(raw, str):
        return message_of("human", raw, {})
    inner = raw.get("kwargs") or raw.get("data") or raw
    kind = inner.get("type") or inner.get("role") or raw.get("type") or _class(raw)
    return message_of(str(kind), inner.get("content") or "", inner)


def reply_from(generation: Mapping[str, Any]) -> Reply:
    """What a model said, as `LLMResult` writes a generation."""
    message = generation.get("message") or {}
    inner = message.get("kwargs") or message.get("data") or message
    info = {**(generation.get("generation_info") or {}), **(inner.get("response_metadata") or {})}
    text = text_in(inner.get("content")) or generation.get("text") or ""
    return Reply(text, inner.get("tool_calls") or (), info, inner.get("usage_metadata") or {})


def unfolded(value: Any) -> Any:
    """JSON in a text as what it says; anything else as it is."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("{", "["):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _class(raw: Mapping[str, Any]) -> str:
    name = (raw.get("id") or ["human"])[-1]
    return str(name).removesuffix("Chunk").removesuffix("Message").lower()
