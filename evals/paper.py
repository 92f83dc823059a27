"""What Memory-R1 printed, as data (paper.json): for rows beside measured ones, never among them.

    paper_table("locomo", "test")     Table 1: every system, by category and over all questions
    paper_table("locomo", "test", table="Table 3")

Categories have the names that are true of the benchmark; what the paper calls them is `printed`. Scores are times 100,
as printed. They compare with a measured number only for the same split, metric, judge and about the same answer length.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from langgraph_memory_r1.errors import InputError

__all__ = ["ALL", "Column", "PaperTable", "PaperRow", "paper_tables", "paper_table"]

ALL = "all"
"""In place of a category: the mean over all questions."""


@dataclass(frozen=True, slots=True)
class Column:
    """A category of questions in a table."""

    category: str
    """Its true name, or `ALL`."""
    printed: str
    """What the paper calls it."""
    n: int
    """How many questions."""


@dataclass(frozen=True, slots=True)
class PaperRow:
    """A row of a table."""

    system: str
    backbone: str
    scores: Mapping[str, Mapping[str, float]]
    """By category, then by metric."""


@dataclass(frozen=True, slots=True)
class PaperTable:
    """A table of a paper."""

    source: str
    """The paper, its version and the place: what a report prints beside the rows."""
    name: str
    """`Table 1`."""
    about: str
    benchmark: str
    split: str
    note: str
    """What one must know before comparing."""
    columns: tuple[Column, ...]
    rows: tuple[PaperRow, ...]


@cache
def paper_tables() -> tuple[PaperTable, ...]:
    """Return all tables, in the order of the paper."""
    content = json.loads((files(__package__) / "paper.json").read_text("utf-8"))
    return tuple(_read_table(raw, content["paper"], content["metrics"]) for raw in content["tables"])


def paper_table(benchmark: str, split: str, *, table: str | None = None) -> PaperTable | None:
    """Return what the paper printed about a split: its main results, or the named table; None if nothing.

    Raises:
        InputError: No table of the paper has this name.
    """
    names = [each.name for each in paper_tables()]
    if table is not None and table not in names:
        raise InputError(f"the paper has no {table!r} here; there are: {', '.join(names)}")
    about = (each for each in paper_tables() if (each.benchmark, each.split) == (benchmark, split))
    return next((each for each in about if table in (None, each.name)), None)


def _read_table(raw: Mapping[str, Any], paper: Mapping[str, str], metrics: list[str]) -> PaperTable:
    rows = []
    for row in raw["rows"]:
        scores = {key: dict(zip(metrics, values, strict=True)) for key, values in row["values"].items()}
        rows.append(PaperRow(row["system"], row["backbone"], scores))
    return PaperTable(
        source=f"{paper['name']}, arXiv {paper['arxiv']}{paper['version']}, {raw['table']}",
        name=raw["table"],
        about=raw["about"],
        benchmark=raw["benchmark"],
        split=raw["split"],
        note=raw["note"],
        columns=tuple(Column(**column) for column in raw["columns"]),
        rows=tuple(rows),
    )
