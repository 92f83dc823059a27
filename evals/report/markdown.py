"""The report as Markdown: what is committed, mailed and read in a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from langgraph_memory_r1.evals.report.result_tables import Table
from langgraph_memory_r1.evals.report.results import BenchmarkRun
from langgraph_memory_r1.evals.report.run_description import licence_of, overview, title_of, warnings_of
from langgraph_memory_r1.evals.report.sections import Section

__all__ = ["markdown", "table"]

_SPECIAL = re.compile(r"([\\|*<>`\[\]])")


def markdown(run: BenchmarkRun, sections: Iterable[Section]) -> str:
    """Return the whole report; the answers to single questions are on the page."""
    parts = [f"# {_cell(title_of(run))}", _cell(", ".join(overview(run))) + "."]
    parts += [f"> **Note:** {_cell(warning)}" for warning in warnings_of(run)]
    for section in sections:
        parts += [f"## {section.title}", *([section.note] if section.note else [])]
        parts += [table(each) for each in section.tables]
    return "\n\n".join([*parts, _cell(licence_of(run))]) + "\n"


def table(shown: Table) -> str:
    """Return a table with its title and note; rows that a paper printed are in italics, below the measured ones."""
    measured = len(shown.rows) - shown.quoted
    lines = [_row(_cell(title) for title in shown.titles), _row(["---"] * len(shown.titles))]
    lines += [_row(_cell(cell) for cell in row) for row in shown.rows[:measured]]
    lines += [_row(f"*{_cell(cell)}*" for cell in row) for row in shown.rows[measured:]]
    return "\n\n".join([f"### {_cell(shown.title)}", "\n".join(lines), *([_cell(shown.note)] if shown.note else [])])


def _row(cells: Iterable[str] | Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
