"""Means with their uncertainty, each computed once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, TypeAlias

from langgraph_memory_r1.evals.intervals import bootstrap, wilson
from langgraph_memory_r1.evals.report.results import BenchmarkRun

__all__ = ["QUANTITIES", "Mean", "Means", "Point", "is_share", "is_yes_or_no", "saturation_curves"]

ENOUGH = 5
"""With fewer conversations, how much they differ cannot be seen from them alone."""

_COUNTS = ("answer_words",)


QUANTITIES = ("accuracy", "lost", "memories")

_Line: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Point:
    """The means over the conversations after so many sessions."""

    session: float
    values: Mapping[str, float]
    """By quantity; what was not measured is absent."""


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean between 0 and 1 with its 95 % interval; written times 100."""

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{100 * self.mean:.1f} ({100 * self.low:.1f}–{100 * self.high:.1f})"


class Means:
    """The means of a run, by system, metric and category."""

    def __init__(self, run: BenchmarkRun) -> None:
        self._values: dict[tuple[str, str], list[tuple[str, str, float]]] = defaultdict(list)
        self._computed: dict[tuple[str, str, str | None], Mean | None] = {}
        for result in run.results:
            for metric, value in result.scores.items():
                if value is not None:
                    self._values[result.system, metric].append((result.category, result.conversation, value))

    def of(self, system: str, metric: str, category: str | None = None) -> Mean | None:
        """Return the mean over a category, or over all questions; None where nothing was measured."""
        key = (system, metric, category)
        if key not in self._computed:
            rows = [row for row in self._values[system, metric] if category in (None, row[0])]
            self._computed[key] = _mean(metric, [row[2] for row in rows], [row[1] for row in rows]) if rows else None
        return self._computed[key]


def is_share(metric: str) -> bool:
    """Return whether a score lies between 0 and 1."""
    return metric not in _COUNTS


def is_yes_or_no(metric: str) -> bool:
    """Return whether a score is 0 or 1, so that its mean is a share of questions."""
    return metric == "em" or metric.startswith(("judge", "recall_any", "recall_all"))


def saturation_curves(run: BenchmarkRun) -> dict[str, tuple[Point, ...]]:
    """Return the points of every system that was asked more than once on the way.

    A conversation that has ended keeps its last values, so that all points stand for the same conversations.
    """
    lines: dict[str, dict[str, dict[float, _Line]]] = defaultdict(lambda: defaultdict(dict))
    for line in run.curve:
        lines[line["system"]][line["conversation"]][line["session"]] = line
    curves = {}
    for system, conversations in lines.items():
        points = []
        for session in sorted({session for by_session in conversations.values() for session in by_session}):
            newest = [
                by_session[max(before)]
                for by_session in conversations.values()
                if (before := [each for each in by_session if each <= session])
            ]
            values = {name: [line[name] for line in newest if line.get(name) is not None] for name in QUANTITIES}
            points.append(Point(session, {name: fmean(numbers) for name, numbers in values.items() if numbers}))
        if len(points) > 1:
            curves[system] = tuple(points)
    return curves


def _mean(metric: str, values: Sequence[float], conversations: Sequence[str]) -> Mean:
    """Return a mean with its interval: Wilson's for yes or no, else a bootstrap over conversations."""
    if is_yes_or_no(metric):
        intervals = [wilson(sum(values), len(values))]
    else:
        intervals = [bootstrap(values, conversations)]
        # Two conversations with the same mean would give an interval of no width: where conversations are too few to
        # tell how much they differ, the interval is no shorter than the one over questions.
        if 1 < len(set(conversations)) < ENOUGH:
            intervals.append(bootstrap(values, ["all"] * len(values)))
    low, high = min(low for low, _ in intervals), max(high for _, high in intervals)
    return Mean(sum(values) / len(values), low, high, len(values))
