"""Rows that a paper printed, below those that were measured here, and only where the two can be compared."""

from __future__ import annotations

from dataclasses import replace

from langgraph_memory_r1.evals.paper import ALL, paper_table
from langgraph_memory_r1.evals.report.result_tables import NOTHING, Table, category_sizes
from langgraph_memory_r1.evals.report.results import BenchmarkRun

__all__ = ["add_paper_rows"]

PAPER_JUDGE = "gpt-4o-mini"


def add_paper_rows(table: Table, run: BenchmarkRun, metric: str) -> Table:
    """Return the table of a metric by category with the paper's rows for it below.

    They are added when this run asked exactly the paper's questions of unchanged data, and for a judge's verdicts only
    when the judge is the paper's.
    """
    manifest = run.manifest
    paper = paper_table(str(manifest.get("benchmark")), str(manifest.get("split")))
    if paper is None or (manifest.get("data") or {}).get("modified") or manifest.get("audit"):
        return table
    if category_sizes(run) != {column.category: column.n for column in paper.columns if column.category != ALL}:
        return table
    judged = metric.startswith("judge")
    if judged and PAPER_JUDGE not in str((manifest.get("judge") or {}).get("id")):
        return table
    rows = []
    for row in paper.rows:
        if metric in row.scores[ALL]:
            values = [row.scores.get(name, {}).get(metric) for name in (*run.categories, ALL)]
            cells = (NOTHING if value is None else f"{value:.1f}" for value in values)
            rows.append((f"paper: {row.system}, {row.backbone.removesuffix('-Instruct')}", *cells))
    if not rows:
        return table
    note = (
        f"The rows in italics are quoted from {paper.source}, under the true names of the categories; they were not "
        "measured here, and their models, prompts and answer lengths differ."
    )
    note = f"{note} {paper.note}" if judged else note
    return replace(table, rows=(*table.rows, *rows), note=note, quoted=len(rows))
