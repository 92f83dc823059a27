"""Traces that other tools recorded, as decisions: run exports of LangSmith, and OpenInference spans.

A file is JSONL, or one JSON document. Its keys say what it holds:

    run_type                                      LangSmith's runs (`langsmith.py`)
    resourceSpans | attributes | context.span_id  OpenTelemetry spans by OpenInference's names (`openinference.py`)

Calls of this library's roles are recognised by the metadata that they carry (`memory_role`, `prompt_version`,
`memory_refs`, `memory_bank`), which both tools keep; what was done to the bank stands in the output of their node.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.jsonl import read_lines
from langgraph_memory_r1.traces.calls import decisions_of_node
from langgraph_memory_r1.traces.decision import Decision, from_line, to_line, with_feedback
from langgraph_memory_r1.traces.exports.langsmith import add_run, is_run
from langgraph_memory_r1.traces.exports.openinference import add_spans, is_span
from langgraph_memory_r1.traces.exports.tool_runs import ToolRuns

OnSkip = Callable[[InputError], None]

_BROKEN = (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError)
"""What reading a record raises that is not built as the tool builds it."""


def is_tool_export(file: Path) -> bool:
    """Return whether another tool wrote this file."""
    first = next((line for _, line in read_lines(file, "traces")), b"")
    try:
        document = json.loads(first)
    except (ValueError, RecursionError):
        return first[:1] == b"[" or first == b"{"  # a JSON document of several lines; ours has a record in each
    records = _records_of_document(document)[:1]
    return any(isinstance(record, dict) and (is_run(record) or is_span(record)) for record in records)


def read_tool_export(file: Path, skip: OnSkip) -> Iterator[Decision]:
    """Yield the decisions of an export, in the order of their times.

    The whole file is held in memory, because the records of an export stand in any order.
    """
    runs = ToolRuns()
    for name, record in _named_values(file, skip):
        if not isinstance(record, Mapping):
            skip(InputError(f"{name}: a run is an object, and this is {type(record).__name__}"))
            continue
        try:
            if is_run(record):
                add_run(record, runs)
            elif is_span(record):
                add_spans(record, runs)
            else:
                raise ValueError("neither a LangSmith run nor an OpenInference span")
        except _BROKEN as error:
            skip(InputError(f"{name}: cannot be read as a run ({type(error).__name__}: {str(error)[:80]})"))
    decisions: list[Decision] = []
    for node, calls in runs.by_node().items():
        try:
            for decision in decisions_of_node(calls, runs.outputs.get(node or "")):
                # By way of a line, which checks the types of all fields.
                checked = from_line(to_line(decision))
                if isinstance(checked, Decision):
                    decisions.append(with_feedback(checked, runs.feedback))
        except _BROKEN as error:
            skip(InputError(f"{file}: calls of run {node} cannot be read ({type(error).__name__}: {str(error)[:80]})"))
    yield from sorted(decisions, key=lambda decision: decision.at.timestamp() if decision.at else 0.0)


def _records_of_document(document: Any) -> list[Any]:
    """Return the records of a JSON document: of a list, of an answer of LangSmith's API, or the document itself."""
    records = document.get("runs") if isinstance(document, dict) else document
    return records if isinstance(records, list) else [document]


def _named_values(file: Path, skip: OnSkip) -> Iterator[tuple[str, Any]]:
    """Yield every value of the file with where it stands; of a JSON document each one of its list."""
    try:
        document = json.loads(file.read_bytes())
    except (ValueError, RecursionError):  # several documents, one a line
        for number, line in read_lines(file, "traces"):
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as error:
                skip(InputError(f"{file}:{number}: no JSON ({str(error)[:80]})"))
            else:
                yield f"{file}:{number}", value
    else:
        for number, record in enumerate(_records_of_document(document), 1):
            yield f"{file}, entry {number}", record
