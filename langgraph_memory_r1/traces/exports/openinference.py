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

from langgraph_memory_r1.traces.calls import Call, Finished, Reply, settles
from langgraph_memory_r1.traces.decision import Message
from langgraph_memory_r1.traces.exports.tool_runs import Exported, Record, message_from, moment, spent, unfolded

_KIND = "openinference.span.kind"
_FAILED = ("ERROR", "STATUS_CODE_ERROR", "2")
_INPUT = re.compile(r"llm\.input_messages\.(\d+)\.message\.(.+)")
_OUTPUT = re.compile(r"llm\.output_messages\.(\d+)\.message\.(.+)")


def is_span(record: Record) -> bool:
    """Whether it looks like a span, or like OTLP's envelope of spans."""
    return "resourceSpans" in record or "attributes" in record or "context.span_id" in record


def read_spans(record: Record, found: Exported) -> None:
    """Adds a span, or all spans of an envelope.

    Raises:
        KeyError, TypeError, ValueError: It is no span.
    """
    if "resourceSpans" in record:
        for span in _enveloped(record):
            _read(_of_otlp(span), found)
    else:
        _read(_of_row(record), found)


def _read(span: Mapping[str, Any], found: Exported) -> None:
    told = span["attributes"]
    if str(told.get(_KIND) or span.get("span_kind")) == "LLM":
        found.calls.append(_finished(span, told))
        return
    outputs = unfolded(told.get("output.value"))
    found.parents |= {span["id"]: span["parent"]} if span["parent"] else {}
    if settles(outputs):
        found.outputs[span["id"]] = outputs


def _finished(span: Mapping[str, Any], told: Mapping[str, Any]) -> Finished:
    metadata = dict(unfolded(told.get("metadata")) or {})
    metadata.setdefault("ls_provider", told.get("llm.provider"))
    metadata.setdefault("ls_model_name", told.get("llm.model_name"))
    metadata.setdefault("thread_id", told.get("session.id"))
    call = Call(
        id=span["id"],
        run_id=span["trace"],
        node_run_id=span["parent"],
        messages=tuple(_messages(told, _INPUT)),
        metadata=metadata,
        parameters=unfolded(told.get("llm.invocation_parameters")) or {},
        node=span["name"],
        at=moment(span["start"]),
    )
    return Finished(call, _reply(told), spent(span["start"], span["end"]), span["error"])


def _reply(told: Mapping[str, Any]) -> Reply:
    said = next(_messages(told, _OUTPUT), None)
    sent, received = (told.get(f"llm.token_count.{side}") for side in ("prompt", "completion"))
    usage = {"input_tokens": sent, "output_tokens": received}
    if said is None:
        return Reply(usage=usage)
    content = said["content"]
    text = content if isinstance(content, str) else "\n".join(part.get("text", "") for part in content)
    return Reply(text, said.get("tool_calls", ()), usage=usage)


def _messages(told: Mapping[str, Any], pattern: re.Pattern[str]) -> Iterator[Message]:
    """The messages whose fields stand under numbered names."""
    fields: dict[int, dict[str, Any]] = {}
    for name, value in told.items():
        if match := pattern.fullmatch(name):
            fields.setdefault(int(match[1]), {})[match[2]] = value
    for _, given in sorted(fields.items()):
        yield message_from({**given, "content": given.get("content") or _contents(given), "tool_calls": _calls(given)})


def _contents(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    numbers = sorted({int(name.split(".")[1]) for name in given if name.startswith("contents.")})
    kinds = [(f"contents.{at}.message_content.text", f"contents.{at}.message_content.type") for at in numbers]
    return [
        {"type": "text", "text": given[text]} if text in given else {"type": given.get(kind)} for text, kind in kinds
    ]


def _calls(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    numbers = sorted({int(name.split(".")[1]) for name in given if name.startswith("tool_calls.")})
    return [
        {
            "name": given.get(f"tool_calls.{at}.tool_call.function.name"),
            "args": unfolded(given.get(f"tool_calls.{at}.tool_call.function.arguments")),
            "id": given.get(f"tool_calls.{at}.tool_call.id"),
        }
        for at in numbers
    ]


def _enveloped(record: Record) -> Iterator[Mapping[str, Any]]:
    for resource in record["resourceSpans"]:
        for scope in resource.get("scopeSpans") or ():
            yield from scope.get("spans") or ()


def _of_otlp(span: Mapping[str, Any]) -> dict[str, Any]:
    status = span.get("status") or {}
    return {
        "id": span["spanId"],
        "trace": span["traceId"],
        "parent": span.get("parentSpanId") or None,
        "name": span.get("name"),
        "start": span["startTimeUnixNano"],
        "end": span.get("endTimeUnixNano"),
        "error": _error(status.get("code"), status.get("message")),
        "attributes": {entry["key"]: _value(entry["value"]) for entry in span.get("attributes") or ()},
    }


def _of_row(row: Record) -> dict[str, Any]:
    """A span of the SDK's JSON, or a row whose columns are dotted names."""
    told = _flat(
        {key.removeprefix("attributes."): value for key, value in row.items() if key.startswith("attributes.")}
    )
    told |= _flat(row.get("attributes") or {})
    context, status = row.get("context") or {}, row.get("status") or {}
    status = {"status_code": status} if isinstance(status, str) else status
    return {
        "id": str(context.get("span_id") or row.get("context.span_id")),
        "trace": str(context.get("trace_id") or row.get("context.trace_id")),
        "parent": row.get("parent_id") or None,
        "name": row.get("name"),
        "span_kind": row.get("span_kind"),
        "start": row["start_time"],
        "end": row.get("end_time"),
        "error": _error(
            status.get("status_code") or row.get("status_code"), status.get("description") or row.get("status_message")
        ),
        "attributes": told,
    }


def _error(code: Any, message: Any) -> str | None:
    return str(message or "failed") if str(code) in _FAILED else None


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """Nested objects and lists under dotted names; a list of plain values stays one."""
    if isinstance(value, Mapping) and name != "metadata":
        items = [(str(key), inner) for key, inner in value.items()]
    elif isinstance(value, list) and value and all(isinstance(inner, Mapping) for inner in value):
        items = [(str(at), inner) for at, inner in enumerate(value)]
    else:
        return {name: value} if value is not None else {}
    return {key: inner for part, below in items for key, inner in _flat(below, f"{name}.{part}".strip(".")).items()}


def _value(value: Mapping[str, Any]) -> Any:
    """A value of OTLP JSON, whose key names its type; whole numbers are texts there."""
    ((kind, inner),) = value.items()
    if kind == "intValue":
        return int(inner)
    if kind == "arrayValue":
        return [_value(entry) for entry in inner.get("values") or ()]
    return inner
