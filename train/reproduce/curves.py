"""Learning curves: the greedy score on the validation rows over the steps of a role."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from langgraph_memory_r1.train.recipe import TrainedRole
from langgraph_memory_r1.train.reproduce.arms import Experiment

Curve = list[tuple[int, float]]
"""Steps and scores of one training."""

_TITLES: Mapping[TrainedRole, str] = {"answer": "Answer Agent", "manage": "Memory Manager"}


def curves(experiment: Experiment, folder: Path, role: TrainedRole) -> dict[str, list[Curve]]:
    """Return by family of trainings its curves one after the other, as far as they have been drawn.

    A new round begins with new rows, built by what was learned so far: its curve does not go on where the last ended.
    """
    families: dict[str, list[Curve]] = {}
    steps: dict[str, int] = {}
    for training in experiment.trainings.values():
        file = folder / training.name / f"1-{training.stage.role}" / "scores.json"
        if training.stage.role != role or not file.exists():
            continue
        saved: dict[str, float] = json.loads(file.read_text(encoding="utf-8"))
        if not saved:
            continue
        scores = sorted((int(step), float(score)) for step, score in saved.items())
        family = training.name.removesuffix(f"-{role}").rstrip("0123456789").rstrip("-")  # `grpo` of `grpo-2-manage`
        before = steps.get(family, 0)
        families.setdefault(family, []).append([(before + step, score) for step, score in scores])
        steps[family] = before + scores[-1][0]
    return families


def draw(experiment: Experiment, folders: Sequence[Path], file: Path) -> None:
    """Draw a panel for each role, with a line for each family and seed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Not by pyplot, which would choose a backend for the whole process and keep the figure.
    figure = Figure(figsize=(11, 4), layout="constrained")
    for panel, (role, title) in enumerate(_TITLES.items(), 1):
        axes = figure.add_subplot(1, 2, panel)
        seeds = [curves(experiment, folder, role) for folder in folders]
        for number, name in enumerate(dict.fromkeys(name for families in seeds for name in families)):
            lines = [line for families in seeds for line in families.get(name, [])]
            for part, line in enumerate(lines):
                label = name if part == 0 else None
                axes.plot(*zip(*line, strict=True), color=f"C{number}", alpha=0.8, marker=".", label=label)
        axes.set(title=title, xlabel="step", ylabel="greedy reward, validation", ylim=(0, 1))
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize="small")
    FigureCanvasAgg(figure)
    figure.savefig(file, format="png", dpi=120)
