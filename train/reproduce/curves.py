"""Learning curves: the greedy score on the validation rows over the steps of a role."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from langgraph_memory_r1.train.recipe import TrainedRole
from langgraph_memory_r1.train.reproduce.arms import Plan, Training

Curve = list[tuple[int, float]]
"""Steps and scores of one training."""

_TITLES: Mapping[TrainedRole, str] = {"answer": "Answer Agent", "manage": "Memory Manager"}


def curves(plan: Plan, folder: Path, role: TrainedRole) -> dict[str, list[Curve]]:
    """By family of trainings its curves one after the other, as far as they have been drawn.

    A new round begins with new rows, built by what was learned so far: its curve does not go on where the last ended.
    """
    found: dict[str, list[Curve]] = {}
    steps: dict[str, int] = {}
    for training in plan.trainings.values():
        scores = _scores(folder, training)
        if training.stage.role != role or not scores:
            continue
        family = family_of(training)
        so_far = steps.get(family, 0)
        found.setdefault(family, []).append([(so_far + step, score) for step, score in scores])
        steps[family] = so_far + scores[-1][0]
    return found


def family_of(training: Training) -> str:
    """`grpo` of `grpo-2-manage`."""
    return training.name.removesuffix(f"-{training.stage.role}").rstrip("0123456789").rstrip("-")


def draw(plan: Plan, folders: Sequence[Path], file: Path) -> None:
    """A picture with a panel for each role, and a line for each family and seed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    for place, role in enumerate(_TITLES, 1):
        axes = figure.add_subplot(1, 2, place)
        for number, (name, lines) in enumerate(_lines(plan, folders, role)):
            for part, line in enumerate(lines):
                label = name if part == 0 else None
                axes.plot(*zip(*line, strict=True), color=f"C{number}", alpha=0.8, marker=".", label=label)
        axes.set(title=_TITLES[role], xlabel="step", ylabel="greedy reward, validation", ylim=(0, 1))
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize="small")
    FigureCanvasAgg(figure)
    figure.savefig(file, format="png", dpi=120)


def _lines(plan: Plan, folders: Sequence[Path], role: TrainedRole) -> Iterator[tuple[str, list[Curve]]]:
    seeds = [curves(plan, folder, role) for folder in folders]
    for name in dict.fromkeys(name for found in seeds for name in found):
        yield name, [line for found in seeds for line in found.get(name, [])]


def _scores(folder: Path, training: Training) -> Curve:
    file = folder / training.name / f"1-{training.stage.role}" / "scores.json"
    told: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return sorted((int(step), float(score)) for step, score in told.items())
