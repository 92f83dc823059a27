"""The numbers of a report as tables of finished cells, for the console, Markdown and HTML alike."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from urllib.parse import urlencode

from langgraph_memory_r1.evals.report.diagnosis import DIAGNOSES, RIGHT, count_diagnoses, verdict_metric
from langgraph_memory_r1.evals.report.means import QUANTITIES, Means, Point, is_share
from langgraph_memory_r1.evals.report.results import Line, Run

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
    "operations",
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


def answer_metrics(run: Run) -> tuple[str, ...]:
    """The metrics of answers that this run has, the headline first."""
    named = [name for name in run.scored if is_share(name) and not name.startswith(("recall", "coverage", "bank_"))]
    named = [name for name in named if name != "evidence_in_bank"]
    return tuple(sorted(named, key=lambda name: name != run.headline))


def headline_metrics(run: Run) -> tuple[str, ...]:
    """The metrics of answers; the headline alone where nothing was answered."""
    return answer_metrics(run) or tuple(name for name in (run.headline,) if name in run.scored)


def answers(run: Run, estimates: Means) -> Table:
    """Every metric of the answers over all questions."""
    metrics = answer_metrics(run)
    rows = []
    for system in run.systems:
        results = [result for result in run.results if result.system == system]
        errors = sum(result.error is not None for result in results)
        cells = [str(estimates.of(system, metric) or NOTHING) for metric in metrics]
        sizes = [_mean([result.scores.get("answer_words") for result in results], 1)]
        sizes += [_mean([result.tokens.get(kind) for result in results], 0) for kind in ("context", "input", "output")]
        rows.append((system, f"{len(results):,}", f"{errors:,}", *cells, *sizes))
    titles = ("system", "n", "errors", *_named(metrics, run.own_metric), "answer words")
    titles += ("context tokens", "input tokens", "output tokens")
    return Table("All questions", titles, tuple(rows), f"{_stand_in(run)}{_SCORES_NOTE}")


def by_category(run: Run, estimates: Means, metric: str, labels: Mapping[str, str] | None = None) -> Table:
    """One metric in every category, with the number of scored questions; `labels` renames the categories."""
    kinds = (*run.categories, None)
    sizes = [
        max((each.n for system in run.systems if (each := estimates.of(system, metric, kind))), default=0)
        for kind in kinds
    ]
    titles = [
        f"{(labels or {}).get(kind, kind) if kind else 'all'} (n {size:,})"
        for kind, size in zip(kinds, sizes, strict=True)
    ]
    rows = [
        (system, *(str(estimates.of(system, metric, name) or NOTHING) for name in kinds))
        for system in run.systems
        if estimates.of(system, metric)
    ]
    return Table(metric, ("system", *titles), tuple(rows))


def recall_families(run: Run) -> dict[str, tuple[int, ...]]:
    """The kinds of recall that were measured (mean, any, all), each with its cuts."""
    found: dict[str, list[int]] = {}
    for name in run.scored:
        if match := _RECALL.fullmatch(name):
            found.setdefault(match[1], []).append(int(match[2]))
    return {name: tuple(sorted(cuts)) for name, cuts in found.items()}


def recall(run: Run, estimates: Means, family: str, cuts: Sequence[int], category: str | None = None) -> Table:
    """Evidence recall at every cut."""
    rows = []
    for system in run.systems:
        found = [estimates.of(system, f"{family}@{cut}", category) for cut in cuts]
        if any(found):
            asked = max(each.n for each in found if each)
            rows.append((system, f"{asked:,}", *(str(each or NOTHING) for each in found)))
    where = f" in {category}" if category else ""
    return Table(f"{family}@k{where}", ("system", "n", *(f"{family}@{cut}" for cut in cuts)), tuple(rows))


def coverage(run: Run, estimates: Means) -> Table | None:
    """How much of the gold answers and of the evidence the retrieved texts and the banks hold."""
    metrics = [name for name in ("coverage", "bank_coverage", "evidence_in_bank") if name in run.scored]
    rows = [(system, *(str(estimates.of(system, name) or NOTHING) for name in metrics)) for system in run.systems]
    return Table("Coverage", ("system", *metrics), tuple(rows)) if metrics else None


def outcomes(run: Run) -> Table:
    """What became of the questions: right, or where it went wrong."""
    counts = count_diagnoses(run)
    kinds = [kind for kind in DIAGNOSES if any(counts[system][kind] for system in run.systems)]
    rows, links = [], {}
    for place, system in enumerate(run.systems):
        total = counts[system].total()
        rows.append((system, *(_share(counts[system][kind], total) for kind in kinds)))
        for column, kind in enumerate(kinds, 1):
            if counts[system][kind]:
                links[place, column] = f"#questions?{urlencode({'system': system, 'outcome': kind}, errors='replace')}"
    meaning = "; ".join(f"{kind}: {DIAGNOSES[kind]}" for kind in kinds)
    note = f"{rule_of(run)} {meaning}."
    return Table("What became of the questions", ("system", *kinds), tuple(rows), note, links=links)


def rule_of(run: Run) -> str:
    """What is taken as right, in a sentence."""
    verdict = verdict_metric(run)
    scored = verdict in answer_metrics(run)
    return f"Right means {verdict} of at least {RIGHT}." if scored else "No answer was scored."


def operations(run: Run) -> Table | None:
    """Size of the banks, what the manager did, and what was lost on the way."""
    rows = []
    for system in run.systems:
        banks = [bank for bank in run.banks if bank["system"] == system]
        if any(bank.get("memories") for bank in banks):
            rows.append(_bank_row(system, banks))
    titles = ("system", "turns", "facts", "memories", *_OPERATIONS, "lost facts")
    note = "lost facts: the share of questions none of whose evidence turns is the source of any memory (M-Fail)."
    return Table("Memory banks", titles, tuple(rows), note) if rows else None


def spending(run: Run) -> Table | None:
    """Calls, tokens and time of every stage."""
    kinds = ("calls", "cached", "input_tokens", "output_tokens")
    times = ("seconds", "model_seconds", "p50_seconds", "p95_seconds")
    rows = [
        (
            line["system"],
            line["stage"],
            *(f"{line.get(kind) or 0:,}" for kind in kinds),
            *map(_time, map(line.get, times)),
        )
        for line in run.costs
    ]
    tokens = ("model calls", "from cache", "input tokens", "output tokens")
    titles = ("system", "stage", *tokens, "time", "time in models", "p50", "p95")
    note = "time in models: as measured when a call was first made; p50 and p95: one question, from asking to answer."
    return Table("Cost", titles, tuple(rows), note) if rows else None


def streaming(run: Run, curves: Mapping[str, Sequence[Point]]) -> Table | None:
    """The first and the last point of each saturation curve."""
    if not curves:
        return None
    rows = []
    for system, points in curves.items():
        for point in (points[0], points[-1]):
            accuracy, lost, memories = (point.values.get(name) for name in QUANTITIES)
            rows.append((system, f"{point.session:.0f}", _percent(accuracy), _percent(lost), _count(memories)))
    titles = ("system", "after session", run.curve[0].get("metric", run.headline), "lost facts", "memories")
    return Table("While the bank is being built", titles, tuple(rows))


def _bank_row(system: str, banks: Sequence[Line]) -> Row:
    sums = {kind: sum(bank.get(kind) or 0 for bank in banks) for kind in ("turns", "facts", "memories")}
    done = {kind: sum((bank.get("operations") or {}).get(kind, 0) for bank in banks) for kind in _OPERATIONS}
    total = sum(done.values())
    facts = f"{sums['facts']:,}" if sums["facts"] else NOTHING
    mix = (_share(done[kind], total) if total else NOTHING for kind in _OPERATIONS)
    lost = [(bank["lost_facts"], bank.get("questions", 1)) for bank in banks if bank.get("lost_facts") is not None]
    weight = sum(count for _, count in lost)
    share = sum(value * count for value, count in lost) / weight if weight else None
    return (system, f"{sums['turns']:,}", facts, f"{sums['memories']:,}", *mix, _percent(share))


def category_sizes(run: Run) -> dict[str, int]:
    """How many questions each category has."""
    sizes = dict.fromkeys(run.categories, 0)
    for result in run.questions.values():
        sizes[result.category] += 1
    return sizes


def _stand_in(run: Run) -> str:
    if run.headline == run.own_metric:
        return ""
    return f"The official metric, {run.own_metric}, needs a judge; {run.headline} stands in for it. "


def _named(metrics: Sequence[str], official: str) -> list[str]:
    return [f"{metric} (official)" if metric == official else metric for metric in metrics]


def _mean(values: Sequence[float | None], digits: int) -> str:
    there = [value for value in values if value is not None]
    return f"{fmean(there):,.{digits}f}" if there else NOTHING


def _share(count: int, total: int) -> str:
    return f"{count:,} ({100 * count / total:.0f} %)" if total else NOTHING


def _percent(value: float | None) -> str:
    return NOTHING if value is None else f"{100 * value:.1f}"


def _count(value: float | None) -> str:
    return NOTHING if value is None else f"{value:,.0f}"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return NOTHING
    return f"{seconds:,.3g} s" if seconds < 100 else f"{seconds / 60:,.1f} min"
