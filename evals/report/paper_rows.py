"""Rows that a paper printed, below those that were measured here, and only where the two can be compared."""

from __future__ import annotations

from dataclasses import replace

from langgraph_memory_r1.evals.paper import ALL, PaperRow, PaperTable, paper_table
from langgraph_memory_r1.evals.report.result_tables import NOTHING, Row, Table, category_sizes
from langgraph_memory_r1.evals.report.results import Run

__all__ = ["add_paper_rows"]

PAPER_JUDGE = "gpt-4o-mini"


def add_paper_rows(table: Table, run: Run, metric: str) -> Table:
    """The table of a metric by category with the paper's rows for it.

    They are added when this run asked exactly the paper's questions of unchanged data, and for a judge's verdicts only
    when the judge is the paper's.
    """
    paper = paper_table(str(run.manifest.get("benchmark")), str(run.manifest.get("split")))
    if paper is None or not _same_questions(run, paper) or not _same_judge(run, metric):
        return table
    rows = tuple(_row(each, run, metric) for each in paper.rows if metric in each.scores[ALL])
    if not rows:
        return table
    note = (
        f"The rows in italics are quoted from {paper.source}, under the true names of the categories; they were not "
        "measured here, and their models, prompts and answer lengths differ."
    )
    if metric.startswith("judge"):
        note = f"{note} {paper.note}"
    return replace(table, rows=(*table.rows, *rows), note=note, quoted=len(rows))


def _same_questions(run: Run, paper: PaperTable) -> bool:
    manifest = run.manifest
    changed = (manifest.get("data") or {}).get("modified") or manifest.get("audit")
    asked = {column.category: column.n for column in paper.columns if column.category != ALL}
    return not changed and asked == category_sizes(run)


def _same_judge(run: Run, metric: str) -> bool:
    judge = run.manifest.get("judge") or {}
    return not metric.startswith("judge") or PAPER_JUDGE in str(judge.get("id"))


def _row(row: PaperRow, run: Run, metric: str) -> Row:
    values = [row.scores.get(name, {}).get(metric) for name in (*run.categories, ALL)]
    cells = (NOTHING if value is None else f"{value:.1f}" for value in values)
    return (f"paper: {row.system}, {row.backbone.removesuffix('-Instruct')}", *cells)
