"""Spans by the names of OpenInference, as its LangChain instrumentation makes them, Phoenix's among them.

Read are OTLP JSON (`resourceSpans`), spans one a line (`ReadableSpan.to_json()`), and rows of Phoenix's data frames:

    openinference.span.kind                         LLM for a call; other kinds may be the node that made it
    llm.input_messages.N.message.role, .content     what was said; also .contents.M.message_content.text
    llm.output_messages.0.message.content           the reply; also ...tool_calls.M.tool_call.function.name, .arguments
    llm.model_name, llm.provider, llm.invocation_parameters, llm.token_count.prompt, .completion
    metadata                                        memory_role, memory_refs, memory_bank, prompt_version ...
    session.id                                      the thread
    output.value                                    of a node: memory_ops, answer, selected

A run is a trace: its id is what feedback is given to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from langgraph_memory_r1.traces.calls import FinishedCall, ModelCall, ModelReply, is_memory_output
from langgraph_memory_r1.traces.decision import Message
from langgraph_memory_r1.traces.exports.tool_runs import (
    ExportRecord,
    ToolRuns,
    elapsed_ms,
    message_from_export,
    parse_nested_json,
    parse_timestamp,
)

_KIND = "openinference.span.kind"
_FAILED = ("ERROR", "STATUS_CODE_ERROR", "2")
_INPUT = re.compile(r"llm\.input_messages\.(\d+)\.message\.(.+)")
_OUTPUT = re.compile(r"llm\.output_messages\.(\d+)\.message\.(.+)")


def is_span(record: ExportRecord) -> bool:
    """Return whether a record looks like a span, or like OTLP's envelope of spans."""
    return "resourceSpans" in record or "attributes" in record or "context.span_id" in record


def add_spans(record: ExportRecord, runs: ToolRuns) -> None:
    """Add a span, or all spans of an envelope, to `runs`.

    Raises:
        KeyError, TypeError, ValueError: It is no span.
    """
    if "resourceSpans" not in record:
        _add_span(_span_of_row(record), runs)
        return
    for resource in record["resourceSpans"]:
        for scope in resource.get("scopeSpans") or ():
            for span in scope.get("spans") or ():
                _add_span(_span_of_otlp(span), runs)


def _span_of_otlp(span: Mapping[str, Any]) -> dict[str, Any]:
    status = span.get("status") or {}
    return {
        "id": str(span["spanId"]),
        "trace": str(span["traceId"]),
        "parent": str(span.get("parentSpanId") or "") or None,
        "name": span.get("name"),
        "start": span["startTimeUnixNano"],
        "end": span.get("endTimeUnixNano"),
        "error": _error(status.get("code"), status.get("message")),
        "attributes": {entry["key"]: _otlp_value(entry["value"]) for entry in span.get("attributes") or ()},
    }


def _span_of_row(row: ExportRecord) -> dict[str, Any]:
    """Return a span of the SDK's JSON, or of a row whose columns are dotted names, in the shape of `_span_of_otlp`."""
    columns = {key.removeprefix("attributes."): value for key, value in row.items() if key.startswith("attributes.")}
    context, status = row.get("context") or {}, row.get("status") or {}
    status = {"status_code": status} if isinstance(status, str) else status
    return {
        "id": str(context.get("span_id") or row.get("context.span_id")),
        "trace": str(context.get("trace_id") or row.get("context.trace_id")),
        "parent": str(row.get("parent_id") or "") or None,
        "name": row.get("name"),
        "span_kind": row.get("span_kind"),
        "start": row["start_time"],
        "end": row.get("end_time"),
        "error": _error(
            status.get("status_code") or row.get("status_code"), status.get("description") or row.get("status_message")
        ),
        "attributes": _flat(columns) | _flat(row.get("attributes") or {}),
    }


def _add_span(span: Mapping[str, Any], runs: ToolRuns) -> None:
    attributes = span["attributes"]
    if str(attributes.get(_KIND) or span.get("span_kind")) != "LLM":
        outputs = parse_nested_json(attributes.get("output.value"))
        if span["parent"]:
            runs.parents[span["id"]] = span["parent"]
        if is_memory_output(outputs):
            runs.outputs[span["id"]] = outputs
        return
    metadata = dict(parse_nested_json(attributes.get("metadata")) or {})
    metadata.setdefault("ls_provider", attributes.get("llm.provider"))
    metadata.setdefault("ls_model_name", attributes.get("llm.model_name"))
    metadata.setdefault("thread_id", attributes.get("session.id"))
    call = ModelCall(
        id=span["id"],
        run_id=span["trace"],
        node_run_id=span["parent"],
        messages=tuple(_messages(attributes, _INPUT)),
        metadata=metadata,
        parameters=parse_nested_json(attributes.get("llm.invocation_parameters")) or {},
        node=span["name"],
        at=parse_timestamp(span["start"]),
    )
    usage = {
        "input_tokens": attributes.get("llm.token_count.prompt"),
        "output_tokens": attributes.get("llm.token_count.completion"),
    }
    reply = ModelReply(usage=usage)
    if message := next(_messages(attributes, _OUTPUT), None):
        content = message["content"]
        text = content if isinstance(content, str) else "\n".join(part.get("text", "") for part in content)
        reply = ModelReply(text, message.get("tool_calls", ()), usage=usage)
    runs.calls.append(FinishedCall(call, reply, elapsed_ms(span["start"], span["end"]), span["error"]))


def _messages(attributes: Mapping[str, Any], pattern: re.Pattern[str]) -> Iterator[Message]:
    """Yield the messages whose fields stand under numbered names, such as "llm.input_messages.0.message.role"."""
    messages: dict[int, dict[str, Any]] = {}
    for name, value in attributes.items():
        if match := pattern.fullmatch(name):
            messages.setdefault(int(match[1]), {})[match[2]] = value
    for _, fields in sorted(messages.items()):
        blocks = [f"contents.{number}.message_content" for number in _numbers(fields, "contents.")]
        content = fields.get("content") or [
            {"type": "text", "text": fields[f"{block}.text"]}
            if f"{block}.text" in fields
            else {"type": fields.get(f"{block}.type")}
            for block in blocks
        ]
        calls = [f"tool_calls.{number}.tool_call" for number in _numbers(fields, "tool_calls.")]
        tool_calls = [
            {
                "name": fields.get(f"{call}.function.name"),
                "args": parse_nested_json(fields.get(f"{call}.function.arguments")),
                "id": fields.get(f"{call}.id"),
            }
            for call in calls
        ]
        yield message_from_export({**fields, "content": content, "tool_calls": tool_calls})


def _numbers(fields: Mapping[str, Any], prefix: str) -> list[int]:
    return sorted({int(name.split(".")[1]) for name in fields if name.startswith(prefix)})


def _error(code: Any, message: Any) -> str | None:
    return str(message or "failed") if str(code) in _FAILED else None


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """Return nested objects and lists under dotted names; a list of plain values stays one."""
    if isinstance(value, Mapping) and name != "metadata":
        items = [(str(key), part) for key, part in value.items()]
    elif isinstance(value, list) and value and all(isinstance(part, Mapping) for part in value):
        items = [(str(number), part) for number, part in enumerate(value)]
    else:
        return {name: value} if value is not None else {}
    return {dotted: leaf for key, part in items for dotted, leaf in _flat(part, f"{name}.{key}".strip(".")).items()}


def _otlp_value(value: Mapping[str, Any]) -> Any:
    """Return a value of OTLP JSON, whose key names its type; whole numbers are texts there."""
    ((kind, plain),) = value.items()
    if kind == "intValue":
        return int(plain)
    if kind == "arrayValue":
        return [_otlp_value(entry) for entry in plain.get("values") or ()]
    return plain
