"""The numbers of a report as tables of finished cells, for the console, Markdown and HTML alike."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from urllib.parse import urlencode

from langgraph_memory_r1.evals.report.diagnosis import DIAGNOSES, RIGHT, count_diagnoses, verdict_metric
from langgraph_memory_r1.evals.report.means import QUANTITIES, Means, Point, is_share
from langgraph_memory_r1.evals.report.results import BenchmarkRun

__all__ = [
    "Row",
    "Table",
    "answer_metrics",
    "answers",
    "NOTHING",
    "by_category",
    "category_sizes",
    "coverage",
    "headline_metrics",
    "banks",
    "outcomes",
    "recall",
    "recall_families",
    "rule_of",
    "spending",
    "streaming",
]

Row = tuple[str, ...]
NOTHING = "–"
_RECALL = re.compile(r"(recall\w*)@(\d+)")
_OPERATIONS = ("ADD", "UPDATE", "DELETE", "NOOP")

_SCORES_NOTE = "Scores × 100 with 95 % intervals. Compare F1 and BLEU only between answers of similar length."


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under titles; the first column names the row."""

    title: str
    titles: Row
    rows: tuple[Row, ...]
    note: str = ""
    quoted: int = 0
    """So many of the last rows are quoted from a paper, not measured."""
    links: Mapping[tuple[int, int], str] = field(default_factory=dict)
    """Where a cell (row, column) leads on the page."""


def answer_metrics(run: BenchmarkRun) -> tuple[str, ...]:
    """Return the metrics of answers that this run has, the headline first."""
    of_retrieval = ("recall", "coverage", "bank_", "evidence_in_bank")
    metrics = [name for name in run.scored if is_share(name) and not name.startswith(of_retrieval)]
    return tuple(sorted(metrics, key=lambda name: name != run.headline))


def headline_metrics(run: BenchmarkRun) -> tuple[str, ...]:
    """Return the metrics of answers; the headline alone where nothing was answered."""
    return answer_metrics(run) or tuple(name for name in (run.headline,) if name in run.scored)


def answers(run: BenchmarkRun, means: Means) -> Table:
    """Return the table of every metric of the answers over all questions."""
    metrics = answer_metrics(run)
    rows = []
    for system in run.systems:
        results = [result for result in run.results if result.system == system]
        errors = sum(result.error is not None for result in results)
        cells = [str(means.of(system, metric) or NOTHING) for metric in metrics]
        sizes = [_mean([result.scores.get("answer_words") for result in results], 1)]
        sizes += [_mean([result.tokens.get(kind) for result in results], 0) for kind in ("context", "input", "output")]
        rows.append((system, f"{len(results):,}", f"{errors:,}", *cells, *sizes))
    named = [f"{metric} (official)" if metric == run.own_metric else metric for metric in metrics]
    titles = ("system", "n", "errors", *named, "answer words", "context tokens", "input tokens", "output tokens")
    note = _SCORES_NOTE
    if run.headline != run.own_metric:
        note = f"The official metric, {run.own_metric}, needs a judge; {run.headline} stands in for it. {note}"
    return Table("All questions", titles, tuple(rows), note)


def by_category(run: BenchmarkRun, means: Means, metric: str, labels: Mapping[str, str] | None = None) -> Table:
    """Return the table of one metric in every category, with its scored questions; `labels` renames categories."""
    kinds = (*run.categories, None)
    sizes = [
        max((each.n for system in run.systems if (each := means.of(system, metric, kind))), default=0) for kind in kinds
    ]
    titles = [
        f"{(labels or {}).get(kind, kind) if kind else 'all'} (n {size:,})"
        for kind, size in zip(kinds, sizes, strict=True)
    ]
    rows = [
        (system, *(str(means.of(system, metric, name) or NOTHING) for name in kinds))
        for system in run.systems
        if means.of(system, metric)
    ]
    return Table(metric, ("system", *titles), tuple(rows))


def recall_families(run: BenchmarkRun) -> dict[str, tuple[int, ...]]:
    """Return the kinds of recall that were measured (mean, any, all), each with its cuts."""
    families: dict[str, list[int]] = {}
    for name in run.scored:
        if match := _RECALL.fullmatch(name):
            families.setdefault(match[1], []).append(int(match[2]))
    return {name: tuple(sorted(cuts)) for name, cuts in families.items()}


def recall(run: BenchmarkRun, means: Means, family: str, cuts: Sequence[int], category: str | None = None) -> Table:
    """Return the table of evidence recall at every cut."""
    rows = []
    for system in run.systems:
        recalls = [means.of(system, f"{family}@{cut}", category) for cut in cuts]
        if any(recalls):
            asked = max(each.n for each in recalls if each)
            rows.append((system, f"{asked:,}", *(str(each or NOTHING) for each in recalls)))
    where = f" in {category}" if category else ""
    return Table(f"{family}@k{where}", ("system", "n", *(f"{family}@{cut}" for cut in cuts)), tuple(rows))


def coverage(run: BenchmarkRun, means: Means) -> Table | None:
    """Return how much of the gold answers and the evidence stands in the retrieved texts and in the banks."""
    metrics = [name for name in ("coverage", "bank_coverage", "evidence_in_bank") if name in run.scored]
    rows = [(system, *(str(means.of(system, name) or NOTHING) for name in metrics)) for system in run.systems]
    return Table("Coverage", ("system", *metrics), tuple(rows)) if metrics else None


def outcomes(run: BenchmarkRun) -> Table:
    """Return what became of the questions: right, or where it went wrong."""
    counts = count_diagnoses(run)
    kinds = [kind for kind in DIAGNOSES if any(counts[system][kind] for system in run.systems)]
    rows, links = [], {}
    for row, system in enumerate(run.systems):
        total = counts[system].total()
        rows.append((system, *(_share(counts[system][kind], total) for kind in kinds)))
        for column, kind in enumerate(kinds, 1):
            if counts[system][kind]:
                links[row, column] = f"#questions?{urlencode({'system': system, 'outcome': kind}, errors='replace')}"
    meaning = "; ".join(f"{kind}: {DIAGNOSES[kind]}" for kind in kinds)
    note = f"{rule_of(run)} {meaning}."
    return Table("What became of the questions", ("system", *kinds), tuple(rows), note, links=links)


def rule_of(run: BenchmarkRun) -> str:
    """Say in a sentence what is taken as right."""
    verdict = verdict_metric(run)
    scored = verdict in answer_metrics(run)
    return f"Right means {verdict} of at least {RIGHT}." if scored else "No answer was scored."


def banks(run: BenchmarkRun) -> Table | None:
    """Return the size of the banks, what the manager did, and what was lost on the way."""
    rows = []
    for system in run.systems:
        own = [bank for bank in run.banks if bank["system"] == system]
        if not any(bank.get("memories") for bank in own):
            continue
        turns, facts, memories = (sum(bank.get(kind) or 0 for bank in own) for kind in ("turns", "facts", "memories"))
        counts = {kind: sum((bank.get("operations") or {}).get(kind, 0) for bank in own) for kind in _OPERATIONS}
        total = sum(counts.values())
        shares = (_share(counts[kind], total) for kind in _OPERATIONS)
        # A share of questions: a conversation weighs as much as it has of them.
        lost = [(bank["lost_facts"], bank.get("questions", 1)) for bank in own if bank.get("lost_facts") is not None]
        weight = sum(questions for _, questions in lost)
        mean = sum(share * questions for share, questions in lost) / weight if weight else None
        rows.append(
            (system, f"{turns:,}", f"{facts:,}" if facts else NOTHING, f"{memories:,}", *shares, _percent(mean))
        )
    titles = ("system", "turns", "facts", "memories", *_OPERATIONS, "lost facts")
    note = "lost facts: the share of questions none of whose evidence turns is the source of any memory (M-Fail)."
    return Table("Memory banks", titles, tuple(rows), note) if rows else None


def spending(run: BenchmarkRun) -> Table | None:
    """Return calls, tokens and time of every stage."""
    kinds = ("calls", "cached", "input_tokens", "output_tokens")
    times = ("seconds", "model_seconds", "p50_seconds", "p95_seconds")
    rows = []
    for line in run.costs:
        counts = (f"{line.get(kind) or 0:,}" for kind in kinds)
        spent = [
            NOTHING if seconds is None else f"{seconds:,.3g} s" if seconds < 100 else f"{seconds / 60:,.1f} min"
            for seconds in map(line.get, times)
        ]
        rows.append((line["system"], line["stage"], *counts, *spent))
    tokens = ("model calls", "from cache", "input tokens", "output tokens")
    titles = ("system", "stage", *tokens, "time", "time in models", "p50", "p95")
    note = "time in models: as measured when a call was first made; p50 and p95: one question, from asking to answer."
    return Table("Cost", titles, tuple(rows), note) if rows else None


def streaming(run: BenchmarkRun, curves: Mapping[str, Sequence[Point]]) -> Table | None:
    """Return the first and the last point of each saturation curve."""
    if not curves:
        return None
    rows = []
    for system, points in curves.items():
        for point in (points[0], points[-1]):
            accuracy, lost, memories = (point.values.get(name) for name in QUANTITIES)
            size = NOTHING if memories is None else f"{memories:,.0f}"
            rows.append((system, f"{point.session:.0f}", _percent(accuracy), _percent(lost), size))
    titles = ("system", "after session", run.curve[0].get("metric", run.headline), "lost facts", "memories")
    return Table("While the bank is being built", titles, tuple(rows))


def category_sizes(run: BenchmarkRun) -> dict[str, int]:
    """Count the questions of each category."""
    sizes = dict.fromkeys(run.categories, 0)
    for result in run.questions.values():
        sizes[result.category] += 1
    return sizes


def _mean(values: Sequence[float | None], digits: int) -> str:
    numbers = [value for value in values if value is not None]
    return f"{fmean(numbers):,.{digits}f}" if numbers else NOTHING


def _share(count: int, total: int) -> str:
    return f"{count:,} ({100 * count / total:.0f} %)" if total else NOTHING


def _percent(value: float | None) -> str:
    return NOTHING if value is None else f"{100 * value:.1f}"
