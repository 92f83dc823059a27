"""The tables of an evaluation on the console: every number under the name of its metric, also in a pipe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langgraph_memory_r1.cli.output import FAINT, as_json, columns, console, heading, plain, say

if TYPE_CHECKING:
    from langgraph_memory_r1.evals.report import Run, Table

_RULES = "rules is the baseline without any model: a number to beat, not one to boast of."


def show_tables(tables: Iterable[Table]) -> None:
    """Print tables, each with its title and its note."""
    for table in tables:
        heading(table.title)
        titled = console().is_terminal
        columns(table.rows if titled else (table.titles, *table.rows), titles=table.titles)
        if table.note:
            say((plain(table.note), FAINT))


def show_run(run: Path | Run, took: str, *, as_data: bool) -> None:
    """Print what a run folder holds, and where the report lies."""
    from langgraph_memory_r1.evals.report import read_run, summary

    run = read_run(run) if isinstance(run, Path) else run
    tables = summary(run) if run.results else ()
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
