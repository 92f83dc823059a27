"""The report as a list of sections: what is said, in which order; how it looks is Markdown's and the page's affair."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from langgraph_memory_r1.evals.benchmark import benchmark
from langgraph_memory_r1.evals.report import figures, result_tables
from langgraph_memory_r1.evals.report.diagnosis import verdict_metric
from langgraph_memory_r1.evals.report.figures import Figure
from langgraph_memory_r1.evals.report.means import Means, saturation_curves
from langgraph_memory_r1.evals.report.paper_rows import add_paper_rows
from langgraph_memory_r1.evals.report.result_tables import Table
from langgraph_memory_r1.evals.report.results import BenchmarkRun
from langgraph_memory_r1.evals.report.run_description import glossary, settings

__all__ = ["Section", "report_sections", "summary"]


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report."""

    id: str
    title: str
    note: str = ""
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()


def report_sections(run: BenchmarkRun, *, paper_labels: str | None = None) -> tuple[Section, ...]:
    """Return the parts of the report that this run has something for."""
    means = Means(run)
    names = benchmark(str(run.manifest["benchmark"])).paper_labels if paper_labels else {}
    labels = names.get(paper_labels or "", {})
    parts = (
        _answers(run, means),
        _categories(run, means, labels),
        _retrieval(run, means),
        _memory(run),
        Section("cost", "Cost", tables=_present(result_tables.spending(run))),
        Section("settings", "What was run", tables=(settings(run), glossary(run))),
    )
    return tuple(part for part in parts if part.tables or part.figures)


def summary(run: BenchmarkRun) -> tuple[Table, ...]:
    """Return the tables that the console shows."""
    means = Means(run)
    recalls = [
        result_tables.recall(run, means, family, cuts) for family, cuts in result_tables.recall_families(run).items()
    ]
    headline = result_tables.headline_metrics(run)[:1] if len(run.categories) > 1 else ()
    by_category = [result_tables.by_category(run, means, metric) for metric in headline]
    if not result_tables.answer_metrics(run):
        return (*recalls, *by_category)
    outcomes = (result_tables.outcomes(run), *_present(result_tables.banks(run)))
    return (result_tables.answers(run, means), *by_category, *recalls[:1], *outcomes)


def _answers(run: BenchmarkRun, means: Means) -> Section:
    metrics = result_tables.headline_metrics(run)
    heads = dict.fromkeys(name for name in (*metrics[:1], verdict_metric(run)) if name in metrics)
    shown = [figures.bars(run, means, metric) for metric in heads]
    answered = result_tables.answer_metrics(run)
    shown += [figures.against_tokens(run, means, metric) for metric in answered[:1]]
    numbers = [result_tables.answers(run, means)] if answered else []
    return Section("summary", "Summary", "", tuple(shown), (*numbers, result_tables.outcomes(run)))


def _categories(run: BenchmarkRun, means: Means, labels: Mapping[str, str]) -> Section:
    metrics = result_tables.headline_metrics(run) if len(run.categories) > 1 else ()
    shown = [
        figures.bars(run, means, metric, category, labels.get(category, ""))
        for metric in metrics[:1]
        for category in run.categories
    ]
    numbers = [add_paper_rows(result_tables.by_category(run, means, metric, labels), run, metric) for metric in metrics]
    note = "The names of the categories are the paper's, which differ from the benchmark's own." if labels else ""
    return Section("categories", "By category", note, tuple(shown), tuple(numbers))


def _retrieval(run: BenchmarkRun, means: Means) -> Section:
    families = result_tables.recall_families(run)
    shown = [figures.recall_curve(run, means, family, cuts) for family, cuts in families.items()]
    shown += [figures.bars(run, means, name) for name in ("evidence_in_bank", "coverage") if name in run.scored]
    numbers = [result_tables.recall(run, means, family, cuts) for family, cuts in families.items()]
    if "recall" in families and len(run.categories) > 1:
        numbers += [result_tables.recall(run, means, "recall", families["recall"], name) for name in run.categories]
    numbers += _present(result_tables.coverage(run, means))
    return Section("retrieval", "Retrieval", "", tuple(shown), tuple(table for table in numbers if table.rows))


def _memory(run: BenchmarkRun) -> Section:
    curves = saturation_curves(run)
    metric = run.curve[0].get("metric", run.headline) if run.curve else ""
    quantities = (("accuracy", metric, True), ("lost", "lost facts", True), ("memories", "memories", False))
    shown = [
        figures.saturation(run, curves, name, title, percent=percent) for name, title, percent in quantities if curves
    ]
    numbers = _present(result_tables.banks(run), result_tables.streaming(run, curves))
    return Section("memory", "Memory", "", tuple(shown), numbers)


def _present(*tables: Table | None) -> tuple[Table, ...]:
    return tuple(table for table in tables if table is not None)
