"""The tables of an evaluation on the console: every number under the name of its metric, also in a pipe."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias

from langgraph_memory_r1.cli.output import FAINT, columns, console, entry, heading, plain, print_json, say

if TYPE_CHECKING:
    from langgraph_memory_r1.evals.calibration import Calibration
    from langgraph_memory_r1.evals.report import BenchmarkRun, Table

Rows: TypeAlias = tuple[tuple[str, ...], ...]
"""The titles, then the rows."""

_GAP = "  "
_RULES = "rules is the baseline without any model: a number to beat, not one to boast of."


def show_tables(tables: Iterable[Table]) -> None:
    """Print tables, each with its title and its note.

    In a pipe the cells have tabs between them; on a terminal a table stands as it is, transposed, or one row after
    another, as there is room.
    """
    screen = console()
    for table in tables:
        heading(table.title)
        rows: Rows = (table.titles, *table.rows)
        layouts = (rows, tuple(zip(*rows, strict=True)))
        gaps = len(_GAP) * (len(rows[0]) - 1), len(_GAP) * (len(rows) - 1)
        fitting = next(
            (each for each, gap in zip(layouts, gaps, strict=True) if sum(_widths(each)) + gap <= screen.width), None
        )
        if not screen.is_terminal:
            columns(rows, titles=table.titles)
        elif fitting is not None:
            for number, row in enumerate(fitting):
                cells = (cell.ljust(width) for cell, width in zip(row, _widths(fitting), strict=True))
                say((_GAP.join(cells).rstrip(), FAINT if number == 0 else ""))
        else:
            for row in table.rows:
                say(plain(row[0]))
                for title, cell in zip(table.titles[1:], row[1:], strict=True):
                    entry((title, FAINT), cell, width=max(map(len, table.titles)) + 1)
        if table.note:
            say((plain(table.note), FAINT))


def _widths(rows: Rows) -> list[int]:
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def show_run(run: BenchmarkRun, took: str, *, as_data: bool) -> None:
    """Print what a run folder holds, and where the report lies."""
    from langgraph_memory_r1.evals.report import summary
    from langgraph_memory_r1.evals.report.result_tables import spending

    tables = [table for table in (*(summary(run) if run.results else ()), spending(run)) if table]
    if as_data:
        rows = [
            {"title": table.title, "columns": table.titles, "rows": table.rows, "note": table.note} for table in tables
        ]
        print_json({"folder": str(run.folder), "manifest": run.manifest, "tables": rows})
        return
    show_tables(tables)
    say()
    if "rules" in (run.manifest.get("models") or {}).values():
        say((_RULES, FAINT))
    say(f"{took} Report: {plain(str(run.folder / 'report.html'))}")


def show_calibration(calibration: Calibration) -> None:
    """Print what a judge called right, of the answers of each kind."""
    from langgraph_memory_r1.evals.report import Table

    rows = [
        (
            each.kind,
            {True: "right", False: "wrong", None: "both"}[each.right],
            f"{each.passed:,} of {each.n:,}",
            f"{100 * each.low:.0f}–{100 * each.high:.0f} %",
            f"{each.unreadable:,}",
        )
        for each in calibration.passed
    ]
    titles = ("answers", "they are", "called right", "95 % interval", "no verdict")
    labels = calibration.agreement
    kappa = f"{labels.kappa:.2f}" if labels and labels.kappa is not None else "–"
    agreed = f"Agrees with {labels.agreed:,} of {labels.n:,} labels (Cohen's kappa {kappa})." if labels else ""
    show_tables([Table(f"What {plain(str(calibration.judge['id']))} called right", titles, tuple(rows), agreed)])
