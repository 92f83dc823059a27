"""Rows that a paper printed, below those that were measured."""

from __future__ import annotations

from langgraph_memory_r1.evals.report.run import Run
from langgraph_memory_r1.evals.report.tables import Table

__all__ = ["with_paper"]


def with_paper(table: Table, run: Run, metric: str) -> Table:
    """The table with the paper's rows for this metric, where the run is comparable with them."""
    return table
