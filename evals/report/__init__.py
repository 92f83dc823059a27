"""Reports of evaluations: from a run folder to tables, Markdown, one HTML page, and the comparison of two runs.

    run ─► diagnosis, means ─► result_tables, figures ─► sections ─► markdown | page

Numbers are computed once and only in `means` and `result_tables`; the rest is about how they look.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from langgraph_memory_r1.evals.report.compare import Comparison, Flip, compare
from langgraph_memory_r1.evals.report.markdown import markdown
from langgraph_memory_r1.evals.report.page import page
from langgraph_memory_r1.evals.report.result_tables import Table
from langgraph_memory_r1.evals.report.results import BenchmarkRun, read_run
from langgraph_memory_r1.evals.report.sections import report_sections, summary
from langgraph_memory_r1.jsonl import write_file

__all__ = [
    "write_report",
    "ReportFiles",
    "read_run",
    "BenchmarkRun",
    "summary",
    "Table",
    "compare",
    "Comparison",
    "Flip",
]


@dataclass(frozen=True, slots=True)
class ReportFiles:
    """The files of a report."""

    markdown: Path
    html: Path


def write_report(run: str | os.PathLike[str] | BenchmarkRun, *, paper_labels: str | None = None) -> ReportFiles:
    """Write `report.md` and `report.html` into a run folder.

    Args:
        run: A folder that `memory-r1 eval` wrote, or what `read_run` made of it.
        paper_labels: Name the categories as this paper does ("memory-r1").

    Raises:
        InputError: The folder is no run, or a line of it is broken.
    """
    if not isinstance(run, BenchmarkRun):
        run = read_run(run)
    sections = report_sections(run, paper_labels=paper_labels)
    files = ReportFiles(run.folder / "report.md", run.folder / "report.html")
    # A lone surrogate of the data, which UTF-8 does not know, becomes a question mark.
    write_file(files.markdown, [markdown(run, sections).encode("utf-8", "replace")])
    write_file(files.html, [page(run, sections).encode("utf-8", "replace")])
    return files
