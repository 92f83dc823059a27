"""Traces that other tools recorded, as decisions: run exports of LangSmith, and OpenInference spans.

A file is JSONL, or one JSON document. What it holds is told by its keys:

    run_type                                      LangSmith's runs (`langsmith.py`)
    resourceSpans | attributes | context.span_id  OpenTelemetry spans by OpenInference's names (`openinference.py`)

Calls of this library's roles are recognised by the metadata that they carry (`memory_role`, `prompt_version`,
`memory_refs`, `memory_bank`), which both tools keep; what was done to the bank stands in the output of their node.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.traces.calls import settle
from langgraph_memory_r1.traces.decision import Decision, with_feedback
from langgraph_memory_r1.traces.exports.langsmith import is_run, read_runs
from langgraph_memory_r1.traces.exports.openinference import is_span, read_spans
from langgraph_memory_r1.traces.exports.tool_runs import Exported, Record
from langgraph_memory_r1.traces.folder import lines_of

OnSkip = Callable[[InputError], None]


def is_export(file: Path) -> bool:
    """Whether somebody else wrote this file."""
    first = next((line for _, line in lines_of(file)), b"")
    try:
        found = json.loads(first)
    except ValueError:
        return first.strip()[:1] == b"[" or first.strip() == b"{"
    records = _entries(found)[:1]
    return any(isinstance(record, dict) and (is_run(record) or is_span(record)) for record in records)


def decisions_of_export(file: Path, skip: OnSkip) -> Iterator[Decision]:
    """The decisions of an export, in the order of their times.

    A whole file is held in memory, because the runs of an export stand in any order.
    """
    found = Exported()
    for place, record in _records(file, skip):
        try:
            if is_run(record):
                read_runs(record, found)
            elif is_span(record):
                read_spans(record, found)
            else:
                raise ValueError("neither a LangSmith run nor an OpenInference span")
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            skip(InputError(f"{place}: cannot be read as a run ({type(error).__name__}: {str(error)[:80]})"))
    yield from _decisions(found)


def _entries(document: Any) -> list[Any]:
    """The entries of a JSON document: of a list, of an answer of LangSmith's API, or the document itself."""
    inner = document.get("runs") if isinstance(document, dict) else document
    return inner if isinstance(inner, list) else [document]


def _decisions(found: Exported) -> Iterable[Decision]:
    decisions = [
        with_feedback(decision, found.feedback)
        for node, calls in found.by_node().items()
        for decision in settle(calls, found.outputs.get(node or ""))
    ]
    return sorted(decisions, key=lambda decision: decision.at.timestamp() if decision.at else 0.0)


def _records(file: Path, skip: OnSkip) -> Iterator[tuple[str, Record]]:
    """Every object of the file with its place; of a JSON document each entry of its list."""
    try:
        whole = json.loads(file.read_bytes())
    except ValueError:
        yield from _lines(file, skip)
        return
    for number, entry in enumerate(_entries(whole), 1):
        yield from _object(f"{file}, entry {number}", entry, skip)


def _lines(file: Path, skip: OnSkip) -> Iterator[tuple[str, Record]]:
    for number, line in lines_of(file):
        try:
            found = json.loads(line)
        except ValueError as error:
            skip(InputError(f"{file}:{number}: no JSON ({str(error)[:80]})"))
        else:
            yield from _object(f"{file}:{number}", found, skip)


def _object(place: str, found: Any, skip: OnSkip) -> Iterator[tuple[str, Record]]:
    if isinstance(found, Mapping):
        yield place, found
    else:
        skip(InputError(f"{place}: a run is an object, and this is {type(found).__name__}"))
