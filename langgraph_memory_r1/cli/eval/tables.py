"""The tables of an evaluation on the console: every number under the name of its metric, also in a pipe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from langgraph_memory_r1.cli.output import FAINT, as_json, columns, console, entry, heading, plain, say

if TYPE_CHECKING:
    from langgraph_memory_r1.evals.report import Run, Table

Rows: TypeAlias = tuple[tuple[str, ...], ...]
"""The titles, then the rows."""

_GAP = "  "
_RULES = "rules is the baseline without any model: a number to beat, not one to boast of."


def show_tables(tables: Iterable[Table]) -> None:
    """Print tables, each with its title and its note."""
    for table in tables:
        heading(table.title)
        _show_rows((table.titles, *table.rows))
        if table.note:
            say((plain(table.note), FAINT))


def _show_rows(rows: Rows) -> None:
    """In a pipe with tabs; on a terminal as it is, or on its side, or system by system, as there is room."""
    screen = console()
    sideways = tuple(zip(*rows, strict=True))
    fitting = next((each for each in (rows, sideways) if _width(each) <= screen.width), None)
    if not screen.is_terminal:
        columns(rows, titles=rows[0])
    elif fitting is not None:
        widths = [max(map(len, column)) for column in zip(*fitting, strict=True)]
        for place, row in enumerate(fitting):
            line = _GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            say((line, FAINT if place == 0 else ""))
    else:
        for row in rows[1:]:
            say(plain(row[0]))
            for title, cell in zip(rows[0][1:], row[1:], strict=True):
                entry((title, FAINT), cell, width=max(map(len, rows[0])) + 1)


def _width(rows: Rows) -> int:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def show_run(run: Path | Run, took: str, *, as_data: bool) -> None:
    """Print what a run folder holds, and where the report lies."""
    from langgraph_memory_r1.evals.report import read_run, summary
    from langgraph_memory_r1.evals.report.result_tables import spending

    run = read_run(run) if isinstance(run, Path) else run
    tables = [table for table in (*(summary(run) if run.results else ()), spending(run)) if table]
    if as_data:
        as_json({"folder": str(run.folder), "manifest": run.manifest, "tables": [_as_dict(table) for table in tables]})
        return
    show_tables(tables)
    say()
    if _by_rules(run.manifest):
        say((_RULES, FAINT))
    say(f"{took} Report: {plain(str(run.folder / 'report.html'))}")


def _as_dict(table: Table) -> dict[str, Any]:
    return {"title": table.title, "columns": table.titles, "rows": table.rows, "note": table.note}


def _by_rules(manifest: Mapping[str, Any]) -> bool:
    return "rules" in (manifest.get("models") or {}).values()
