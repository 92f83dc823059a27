"""What came of the arms: a table in Markdown, and the same numbers as JSON."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import mean, stdev

from langgraph_memory_r1.evals.personaworld import CATEGORIES
from langgraph_memory_r1.train.reproduce.arms import Arm
from langgraph_memory_r1.train.reproduce.confusion import DONE, added
from langgraph_memory_r1.train.reproduce.outcome import ArmOutcome

Outcomes = Mapping[str, Sequence[ArmOutcome]]
"""By the arm's name, one for each seed."""
_WITH_MATRIX = ("vanilla", "grpo")
"""Arms whose confusion matrix is shown."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Something that has to come out, and whether it did."""

    text: str
    found: str
    """The number that came out, and the limit."""
    holds: bool


def claims(outcomes: Outcomes) -> list[Claim]:
    """Return what the paper's claims come to here, as far as their arms were evaluated."""
    em = {name: mean(each.em for each in evaluated) for name, evaluated in outcomes.items()}
    made: list[Claim] = []

    def claim(text: str, names: Sequence[str], value: float, least: float) -> None:
        if all(name in em for name in names):
            made.append(Claim(text, f"{value:.3f}, limit {least:.3f}", value >= least))

    parts = ("no-manager", "no-answerer", "no-distillation")
    at = {name: em.get(name, 0.0) for name in ("vanilla", "grpo", "ppo", *parts, "long-grpo", "long-logo")}
    gain = at["grpo"] - at["vanilla"]
    claim("GRPO gains at least 0.30", ("vanilla", "grpo"), gain, 0.30)
    claim("GRPO reaches at least 0.85", ("grpo",), at["grpo"], 0.85)
    claim("PPO gains at least 0.8 of that", ("vanilla", "grpo", "ppo"), at["ppo"] - at["vanilla"], 0.8 * gain)
    for name in parts:  # strictly above, where `claim` asks for at least so much
        claim(f"GRPO is above {name}", ("grpo", name), at["grpo"], at[name] + 1e-9)
    claim("LoGo-GRPO is above GRPO on 16 sessions", ("long-grpo", "long-logo"), at["long-logo"], at["long-grpo"] + 1e-9)
    return made


def as_markdown(arms: Sequence[Arm], outcomes: Outcomes, minutes: Mapping[str, float]) -> str:
    """Write the whole report.

    Args:
        arms: In the order of the rows.
        outcomes: Of those that were evaluated.
        minutes: Of training, by the arm's name: what it took alone, shared stages included, for one seed.
    """
    shown = [arm for arm in arms if outcomes.get(arm.name)]
    rows = []
    for arm in shown:
        evaluated = outcomes[arm.name]
        scores = [outcome.em for outcome in evaluated]
        spread = f" ± {stdev(scores):.3f}" if len(scores) > 1 else ""
        cells = [arm.title, str(len(evaluated)), f"{mean(scores):.3f}{spread}"]
        for category in CATEGORIES:
            values = [outcome.by_category[category] for outcome in evaluated if category in outcome.by_category]
            cells.append(f"{mean(values):.2f}" if values else "-")
        rows.append([*cells, f"{minutes[arm.name]:.1f}" if minutes.get(arm.name) else "-"])
    seeds = max((len(outcomes[arm.name]) for arm in shown), default=0)
    table = _markdown(["arm", "seeds", "EM", *CATEGORIES, "training, min"], rows)
    parts = ["# Reproduced on PersonaWorld", where(seeds), table]
    if made := claims(outcomes):
        parts.append("\n".join(f"- {'yes' if one.holds else 'NO'}: {one.text} ({one.found})" for one in made))
    for arm in shown:
        if arm.name in _WITH_MATRIX:
            matrix = added([outcome.matrix for outcome in outcomes[arm.name]])
            counts = [[right, *(str(matrix[right][done]) for done in DONE)] for right in matrix]
            parts.append(f"What the manager did ({arm.title}), where what was right stands on the left:\n\n"
                         + _markdown(["right", *DONE], counts))  # fmt: skip
    return "\n\n".join(parts) + "\n"


def write_report(folder: Path, arms: Sequence[Arm], outcomes: Outcomes, minutes: Mapping[str, float]) -> str:
    """Write `report.md`, and the same numbers seed by seed as `report.json`; return the former."""
    text = as_markdown(arms, outcomes, minutes)
    report = {
        "where": where(max(map(len, outcomes.values()), default=0)),
        "arms": [
            {"name": arm.name, "title": arm.title, "split": arm.split, "training_minutes": minutes.get(arm.name),
             "outcomes": [asdict(outcome) for outcome in outcomes[arm.name]]}
            for arm in arms if outcomes.get(arm.name)
        ],
        "claims": [asdict(claim) for claim in claims(outcomes)],
    }  # fmt: skip
    (folder / "report.md").write_text(text, encoding="utf-8")
    (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return text


def where(seeds: int) -> str:
    """Return when and on what machine it was measured."""
    python = ".".join(map(str, sys.version_info[:3]))
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} CPU cores ({platform.system()}, {platform.machine()}), "
        f"Python {python}, torch {version('torch')}, TRL {version('trl')}; {seeds} seed{'s' * (seeds != 1)}."
    )


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    line = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, line, *rows))
