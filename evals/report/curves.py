"""Saturation curves of a streaming run: how the systems do while their banks are being built."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any, TypeAlias

from langgraph_memory_r1.evals.report.run import Run

__all__ = ["QUANTITIES", "Point", "curves_of"]

QUANTITIES = ("accuracy", "lost", "memories")

_Line: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Point:
    """The means over the conversations after so many sessions."""

    session: float
    values: Mapping[str, float]
    """By quantity; what was not measured is absent."""


def curves_of(run: Run) -> dict[str, tuple[Point, ...]]:
    """The points of every system that was asked more than once on the way.

    A conversation that has ended keeps its last values, so that all points stand for the same conversations.
    """
    lines: dict[str, dict[str, dict[float, _Line]]] = defaultdict(lambda: defaultdict(dict))
    for line in run.curve:
        lines[line["system"]][line["conversation"]][line["session"]] = line
    curves = {system: _means(conversations) for system, conversations in lines.items()}
    return {system: points for system, points in curves.items() if len(points) > 1}


def _means(conversations: Mapping[str, Mapping[float, _Line]]) -> tuple[Point, ...]:
    sessions = sorted({session for lines in conversations.values() for session in lines})
    return tuple(Point(session, _mean(conversations, session)) for session in sessions)


def _mean(conversations: Mapping[str, Mapping[float, _Line]], session: float) -> dict[str, float]:
    newest = [line for lines in conversations.values() if (line := _newest(lines, session)) is not None]
    values = {name: [line[name] for line in newest if line.get(name) is not None] for name in QUANTITIES}
    return {name: fmean(there) for name, there in values.items() if there}


def _newest(lines: Mapping[float, _Line], session: float) -> _Line | None:
    before = [each for each in lines if each <= session]
    return lines[max(before)] if before else None
