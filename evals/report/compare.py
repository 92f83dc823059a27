"""Two systems question by question: paired differences, and the questions that flipped.

    compare("runs/before", "runs/after")                       the same system in two runs
    compare("runs/locomo-test", systems=("bm25", "memory-r1")) two systems of one run

Only questions that both sides have a score for count, so that neither gains by failing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.evals.intervals import Paired, paired
from langgraph_memory_r1.evals.report.diagnosis import RIGHT, verdict_metric
from langgraph_memory_r1.evals.report.result_tables import Row, Table, answer_metrics, recall_families
from langgraph_memory_r1.evals.report.results import BenchmarkRun, Result, read_run

__all__ = ["Comparison", "Flip", "compare"]

_PREFERRED = "memory-r1"
_TITLES = ("n", "A", "B", "B − A", "p", "p, conversations", "A better", "B better")


@dataclass(frozen=True, slots=True)
class Flip:
    """A question that one side answered right and the other did not."""

    question_id: str
    category: str
    question: str
    gold: str | None
    a: str | None
    """A's answer."""
    b: str | None
    metric: str
    score_a: float
    score_b: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs between A and B; a positive difference speaks for B."""

    a: str
    b: str
    tables: tuple[Table, ...]
    flips: tuple[Flip, ...]
    notes: tuple[str, ...] = ()
    differences: Mapping[str, Mapping[str, float | None]] | None = None
    """By metric, over all questions: n, a, b, difference, low, high, p, p_conversations."""

    def as_dict(self) -> dict[str, Any]:
        """Return what differs as plain values, for JSON."""
        return {
            "a": self.a,
            "b": self.b,
            "notes": self.notes,
            "differences": self.differences,
            "flips": [asdict(flip) for flip in self.flips],
        }


@dataclass(frozen=True, slots=True)
class _Side:
    run: BenchmarkRun
    system: str

    def results(self) -> dict[tuple[str, str], Result]:
        return {result.key: result for result in self.run.results if result.system == self.system}


def compare(
    a: str | os.PathLike[str],
    b: str | os.PathLike[str] | None = None,
    *,
    systems: Sequence[str] = (),
    metrics: Sequence[str] = (),
) -> Comparison:
    """Compare two runs, or two systems of one run, on the questions that both answered.

    Args:
        a: A run folder.
        b: Another one; None for two systems of `a`.
        systems: The system of A and that of B; one name stands for both. Without it: the only one there is, or
            memory-r1.
        metrics: Which scores to compare; all that both have without it.

    Raises:
        InputError: A folder is no run, a system or metric is not in it, or the two share no question.
    """
    first = read_run(a)
    second = first if b is None else read_run(b)
    sides = _Side(first, _system(first, systems[:1])), _Side(second, _system(second, systems[-1:]))
    if sides[0] == sides[1]:
        raise InputError(f"{a} is compared with itself; name two systems of it: {', '.join(first.systems)}")
    results, others = (side.results() for side in sides)
    pairs = [(result, others[key]) for key, result in results.items() if key in others]
    if not pairs:
        raise InputError(f"{first.folder} and {second.folder} share no question; compare runs of the same split")
    recalls = [f"{family}@{cut}" for family, cuts in recall_families(first).items() for cut in cuts]
    shared = [name for name in (*answer_metrics(first), *recalls, "coverage") if name in second.scored]
    scores = {metric: both for metric in metrics or shared if (both := _scores(pairs, metric))}
    if missing := [metric for metric in metrics if metric not in scores]:
        raise InputError(f"no question has {missing[0]} on both sides; there are: {', '.join(scores) or 'none'}")
    verdict = metrics[0] if metrics else verdict_metric(first)
    note = (
        "Scores × 100. B − A with its 95 % interval over the same questions; p: how often chance alone gives so large "
        "a difference, if questions (or whole conversations) had fallen to either side alike."
    )
    rows = tuple(_row(metric, both) for metric, both in scores.items())
    tables = [Table("All questions", ("metric", *_TITLES), rows, note)]
    by_category = [
        _row(category, both)
        for category in first.categories
        if (both := _scores([pair for pair in pairs if pair[0].category == category], verdict))
    ]
    if len(by_category) > 1:
        tables.append(Table(f"{verdict} by category", ("category", *_TITLES), tuple(by_category)))
    names = [side.system if first is second else f"{side.run.folder.name}: {side.system}" for side in sides]
    differences = {metric: asdict(both.test()) for metric, both in scores.items()}
    flips, notes = _flips(pairs, verdict), tuple(_doubts(*sides, pairs))
    return Comparison(names[0], names[1], tuple(tables), flips, notes, differences)


@dataclass(frozen=True, slots=True)
class _Scores:
    """One metric of the same questions on both sides."""

    a: list[float]
    b: list[float]
    conversations: list[str]

    def test(self) -> Paired:
        return paired(self.a, self.b, self.conversations)


def _system(run: BenchmarkRun, names: Sequence[str]) -> str:
    if names:
        if names[0] not in run.systems:
            raise InputError(f"{run.folder} has no system {names[0]!r}; it has: {', '.join(run.systems)}")
        return names[0]
    return _PREFERRED if _PREFERRED in run.systems else run.systems[0]


def _scores(pairs: Sequence[tuple[Result, Result]], metric: str) -> _Scores | None:
    """Return the scores of the questions that both sides have one for; None where there is no such question."""
    rows = [(a.scores.get(metric), b.scores.get(metric), a.conversation) for a, b in pairs]
    scored = [(x, y, conversation) for x, y, conversation in rows if x is not None and y is not None]
    return _Scores(*(list(column) for column in zip(*scored, strict=True))) if scored else None


def _row(name: str, both: _Scores) -> Row:
    test = both.test()
    a_better = sum(x > y for x, y in zip(both.a, both.b, strict=True))
    b_better = sum(x < y for x, y in zip(both.a, both.b, strict=True))
    difference = f"{_signed(test.difference)} ({_signed(test.low)} to {_signed(test.high)})"
    means = (f"{100 * test.a:.1f}", f"{100 * test.b:.1f}")
    chances = (_p(test.p), _p(test.p_conversations))
    return (name, f"{test.n:,}", *means, difference, *chances, f"{a_better:,}", f"{b_better:,}")


def _signed(value: float) -> str:
    """Write a value times 100 with its sign; what rounds to zero is +0.0."""
    return f"{round(100 * value, 1) + 0.0:+.1f}".replace("-", "−")


def _p(value: float | None) -> str:
    if value is None:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _flips(pairs: Sequence[tuple[Result, Result]], metric: str) -> tuple[Flip, ...]:
    """Return the questions that are right on one side only: what B lost first, then what it won."""
    rows = [(a, b, a.scores.get(metric), b.scores.get(metric)) for a, b in pairs]
    flips = [
        Flip(a.question_id, a.category, a.question, a.gold, a.answer, b.answer, metric, x, y)
        for a, b, x, y in rows
        if x is not None and y is not None and (x >= RIGHT) != (y >= RIGHT)
    ]
    return tuple(sorted(flips, key=lambda flip: flip.score_b > flip.score_a))


def _doubts(a: _Side, b: _Side, pairs: Sequence[tuple[Result, Result]]) -> Iterator[str]:
    """Yield what makes the comparison less than one of the same questions under the same conditions."""
    if alone := len(a.results()) + len(b.results()) - 2 * len(pairs):
        yield f"{alone:,} {'question is' if alone == 1 else 'questions are'} on one side only and left out."
    for name in ("judge", "benchmark", "prompt_version"):
        one, other = (side.run.manifest.get(name) for side in (a, b))
        if one != other:
            yield f"The runs differ in {name.replace('_', ' ')}: {one or 'none'} and {other or 'none'}."
    if any(x.question != y.question or x.gold != y.gold for x, y in pairs):
        yield "Some questions or golds differ between the runs: the data are not the same."
