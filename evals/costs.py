"""What a run cost, by system and stage: calls, tokens and time, also of what earlier runs had done already."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import reduce
from operator import add
from typing import Any

import numpy as np

from langgraph_memory_r1.evals.calls import Cost
from langgraph_memory_r1.evals.cells import Asked, Cell, Remembered
from langgraph_memory_r1.evals.systems.base import Bank

__all__ = ["cost_lines"]


def cost_lines(
    cells: Sequence[tuple[Cell, Remembered, Sequence[Asked]]], judged: Mapping[str, Cost]
) -> list[dict[str, Any]]:
    """A line for each system and stage, in the order of the systems; `judged` is what the judge cost, by system."""
    lines: list[dict[str, Any]] = []
    for name in dict.fromkeys(cell.system.name for cell, _, _ in cells):
        lines += _of([each for each in cells if each[0].system.name == name], name)
        if name in judged:
            lines.append(_line(name, "judge", judged[name], judged[name].model_seconds))
    return lines


def _of(cells: Sequence[tuple[Cell, Remembered, Sequence[Asked]]], system: str) -> Iterable[dict[str, Any]]:
    if cells[0][0].system.learns:
        banks = [(cell, remembered.bank) for cell, remembered, _ in cells if isinstance(remembered.bank, Bank)]
        total = reduce(add, (_ingested(cell, bank) for cell, bank in banks), Cost())
        yield _line(system, "ingest", total, sum(bank.seconds for _, bank in banks))
    asked = [each for _, _, those in cells for each in those]
    said = [(each, each.said) for each in asked if each.said]
    total = reduce(add, (replace(s.cost, cached=s.cost.calls) if a.cached else s.cost for a, s in said), Cost())
    seconds = [s.seconds for _, s in said]
    percentiles = [round(float(each), 6) for each in np.percentile(seconds, [50, 95])] if seconds else [None, None]
    yield _line(system, "answer", total, sum(seconds)) | dict(
        zip(("p50_seconds", "p95_seconds"), percentiles, strict=True)
    )


def _ingested(cell: Cell, bank: Bank) -> Cost:
    return cell.cost if cell.cost.calls else replace(bank.cost, cached=bank.cost.calls)


def _line(system: str, stage: str, cost: Cost, seconds: float) -> dict[str, Any]:
    told = asdict(cost) | {"model_seconds": round(cost.model_seconds, 3)}
    return {"system": system, "stage": stage, **told, "seconds": round(seconds, 3)}
