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
from langgraph_memory_r1.train.reproduce.confusion import DONE, Matrix, added
from langgraph_memory_r1.train.reproduce.outcome import Outcome

Outcomes = Mapping[str, Sequence[Outcome]]
"""By the arm's name, one for each seed."""
_SHOWN = ("vanilla", "grpo")
"""Arms whose confusion matrix is shown."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Something that has to come out, and whether it did."""

    text: str
    found: str
    holds: bool


def claims(outcomes: Outcomes) -> list[Claim]:
    """What the paper's claims come to here, as far as their arms were evaluated."""
    em = {name: mean(each.em for each in found) for name, found in outcomes.items()}
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
    for name in parts:
        claim(f"GRPO is above {name}", ("grpo", name), at["grpo"], at[name] + 1e-9)
    claim("LoGo-GRPO is above GRPO on 16 sessions", ("long-grpo", "long-logo"), at["long-logo"], at["long-grpo"] + 1e-9)
    return made


def as_markdown(arms: Sequence[Arm], outcomes: Outcomes, minutes: Mapping[str, float]) -> str:
    """The whole report.

    Args:
        arms: In the order of the rows.
        outcomes: Of those that were evaluated.
        minutes: Of training, by the arm's name: what it took alone, shared stages included, for one seed.
    """
    shown = [arm for arm in arms if outcomes.get(arm.name)]
    seeds = max((len(outcomes[arm.name]) for arm in shown), default=0)
    parts = ["# Reproduced on PersonaWorld", where(seeds), _table(shown, outcomes, minutes)]
    if found := claims(outcomes):
        parts.append("\n".join(f"- {'yes' if one.holds else 'NO'}: {one.text} ({one.found})" for one in found))
    parts += [
        f"What the manager did ({arm.title}), where what was right stands on the left:\n\n"
        + matrix_as_markdown(added([one.matrix for one in outcomes[arm.name]]))
        for arm in shown
        if arm.name in _SHOWN
    ]
    return "\n\n".join(parts) + "\n"


def matrix_as_markdown(matrix: Matrix) -> str:
    """A confusion matrix."""
    rows = [[right, *(str(matrix[right][done]) for done in DONE)] for right in matrix]
    return _markdown(["right", *DONE], rows)


def as_json(arms: Sequence[Arm], outcomes: Outcomes, minutes: Mapping[str, float]) -> str:
    """The same numbers, seed by seed."""
    told = {
        "where": where(max(map(len, outcomes.values()), default=0)),
        "arms": [
            {"name": arm.name, "title": arm.title, "split": arm.split, "training_minutes": minutes.get(arm.name),
             "outcomes": [asdict(one) for one in outcomes[arm.name]]}
            for arm in arms if outcomes.get(arm.name)
        ],
        "claims": [asdict(claim) for claim in claims(outcomes)],
    }  # fmt: skip
    return json.dumps(told, indent=2) + "\n"


def where(seeds: int) -> str:
    """When and on what machine."""
    python = ".".join(map(str, sys.version_info[:3]))
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} CPU cores ({platform.system()}, {platform.machine()}), "
        f"Python {python}, torch {version('torch')}, TRL {version('trl')}; {seeds} seed{'s' * (seeds != 1)}."
    )


def write_report(folder: Path, arms: Sequence[Arm], outcomes: Outcomes, minutes: Mapping[str, float]) -> str:
    """`report.md` and `report.json` in the folder; returns the former."""
    text = as_markdown(arms, outcomes, minutes)
    (folder / "report.md").write_text(text, encoding="utf-8")
    (folder / "report.json").write_text(as_json(arms, outcomes, minutes), encoding="utf-8")
    return text


def _table(arms: Sequence[Arm], outcomes: Outcomes, minutes: Mapping[str, float]) -> str:
    head = ["arm", "seeds", "EM", *CATEGORIES, "training, min"]
    return _markdown(head, [[arm.title, *_cells(outcomes[arm.name]), _minutes(minutes, arm)] for arm in arms])


def _cells(found: Sequence[Outcome]) -> list[str]:
    scores = [one.em for one in found]
    spread = f" ± {stdev(scores):.3f}" if len(scores) > 1 else ""
    categories = [[one.by_category[name] for one in found if name in one.by_category] for name in CATEGORIES]
    return [
        str(len(found)),
        f"{mean(scores):.3f}{spread}",
        *(f"{mean(values):.2f}" if values else "-" for values in categories),
    ]


def _minutes(minutes: Mapping[str, float], arm: Arm) -> str:
    return f"{minutes[arm.name]:.1f}" if minutes.get(arm.name) else "-"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    line = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, line, *rows))
