"""Taking out of a decision what must not be kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias, cast

from langgraph_memory_r1.state import ChangeRecord
from langgraph_memory_r1.traces.decision import Applied, Decision

Redact: TypeAlias = Callable[[str], str]
"""Takes out of a text what must not be kept."""

_NAMES = frozenset(
    {"role", "type", "id", "op_id", "memory_id", "undoes", "event", "at", "source", "model", "tool_call_id"}
)
"""Keys whose values are no words of people or models."""


def redacted(decision: Decision, redact: Redact) -> Decision:
    """The decision with every text redacted; token ids are dropped where they would tell what was taken out."""
    messages, completion = _in(decision.messages, redact), redact(decision.completion)
    told = messages != decision.messages
    said = completion != decision.completion
    return replace(
        decision,
        messages=messages,
        completion=completion,
        tool_calls=_in(decision.tool_calls, redact),
        operations=cast(tuple[ChangeRecord, ...], _in(decision.operations, redact)),
        answer=None if decision.answer is None else redact(decision.answer),
        error=None if decision.error is None else redact(decision.error),
        prompt_token_ids=() if told else decision.prompt_token_ids,
        token_ids=() if said else decision.token_ids,
        logprobs=() if said else decision.logprobs,
    )


def redacted_applied(applied: Applied, redact: Redact) -> Applied:
    """The operations with every text redacted."""
    return replace(applied, operations=_in(applied.operations, redact))


def _in(value: Any, redact: Redact) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: inner if key in _NAMES else _in(inner, redact) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_in(inner, redact) for inner in value)
    return value
