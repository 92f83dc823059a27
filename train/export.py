"""A trained adapter with a model card, to be served or given away.

export("runs/tiny", "manage", "adapters/manager")
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import yaml

from langgraph_memory_r1.batches import Limits
from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.models.adapters import read_manifest
from langgraph_memory_r1.train.recipe import TrainedRole

CURVE = ("reward", "kl", "frac_reward_zero_std", "loss")
_POINTS = 12
_RANKS = (16, 32, 64, 128, 256, 512)
"""Limits on the rank that vLLM may be started with."""


def export(run: str | os.PathLike[str], role: TrainedRole, to: str | os.PathLike[str]) -> Path:
    """The newest adapter of a role in a folder of its own, with its manifest and a model card; the folder.

    Args:
        run: The output folder of a recipe.
        role: Which adapter.
        to: A folder that does not exist yet, or is empty.

    Raises:
        InputError: The run has not trained this role to its end, or the folder is taken.
    """
    source, target = Path(run) / "adapters" / role, Path(to)
    stages = sorted(Path(run).glob(f"*-{role}/done.json"), key=lambda file: int(file.parent.name.split("-")[0]))
    if not source.is_dir() or not stages:
        raise InputError(f"{run} holds no finished adapter for {role!r}; run memory-r1 train to its end first.")
    if target.exists() and any(target.iterdir()):
        raise InputError(f"{target} is not empty; give --to another folder.")
    shutil.copytree(source, target, dirs_exist_ok=True)
    (target / "README.md").write_text(card(Path(run), role, stages[-1].parent), encoding="utf-8")
    return target


def card(run: Path, role: TrainedRole, stage: Path) -> str:
    """The model card: what it is for, from what and how it was trained, how well it does, how to load it."""
    recipe = yaml.safe_load((run / "recipe.yaml").read_text(encoding="utf-8"))
    done = json.loads((stage / "done.json").read_text())
    told = recipe["stages"][int(stage.name.split("-")[0]) - 1]
    whole = recipe["lora"] is None
    manifest = None if whole else read_manifest(run / "adapters" / role)
    facts = {
        "role": role, "base": recipe["base"], "algorithm": done["algorithm"], "steps": done["steps"],
        "training rows": done["rows"], "data (SHA-256)": "-" if manifest is None else manifest.data,
        "prompt version": "-" if manifest is None else manifest.prompt_version, "prompts": recipe["style"],
        "judged by": f"{recipe['metric']} of the answers", "seed": recipe["seed"],
        "validation before": _number(done["before"]), "validation after": _number(done["score"]),
    }  # fmt: skip
    head = ["---", "library_name: peft", f"base_model: {recipe['base']}", "tags: [memory-r1, langgraph, lora]", "---"]
    return "\n".join([
        *head, "", f"# {'Memory Manager' if role == 'manage' else 'Answer Agent'} for {recipe['base']}", "",
        "Trained with langgraph-memory-r1.", "", *_table(facts), "", "## Load", "", *_loading(recipe, role), "",
        "## Settings", "", "```yaml", yaml.safe_dump(told, sort_keys=False).rstrip(), "```", "",
        "## Curve", "", *_curve(stage), "",
    ])  # fmt: skip


def _loading(recipe: dict[str, Any], role: TrainedRole) -> list[str]:
    """How to load it so that the graph decides as in training."""
    parameter, most = ("manager", "related_k") if role == "manage" else ("answerer", "k")
    how = f'{parameter}=model, style="{recipe["style"]}", {most}={recipe[most]}'
    limits = Limits.as_trained(recipe["train"]["source"])
    told = role == "manage" and limits != Limits()
    if told:
        how += f", limits=Limits(batch_turns={limits.batch_turns})"
    return [
        "```python", "from langgraph_memory_r1 import create_memory_graph, load_chat_model",
        *(["from langgraph_memory_r1.batches import Limits"] if told else []), "",
        f'base, adapter, role = "hf:{recipe["base"]}", "THIS_FOLDER", "{role}"',
        f"model = load_chat_model(base, adapter, role=role, max_tokens={recipe['max_tokens']})",
        f'graph = create_memory_graph("bank", {how})', "```", "", *_serving(recipe, role),
    ]  # fmt: skip


def _serving(recipe: dict[str, Any], role: TrainedRole) -> list[str]:
    """How to serve it; one server may hold the adapters of both roles."""
    if recipe["lora"] is None:
        return []
    rank = next((each for each in _RANKS if each >= recipe["lora"]["r"]), recipe["lora"]["r"])
    return [
        f'Served by vLLM, `base` is `"vllm:{role}@http://localhost:8000"`:', "", "```sh",
        f"vllm serve {recipe['base']} --enable-lora --max-lora-rank {rank} --lora-modules {role}=THIS_FOLDER", "```",
    ]  # fmt: skip


def _curve(stage: Path) -> list[str]:
    """Some points of what was logged, and all greedy scores."""
    log = [json.loads(line) for line in (stage / "log.jsonl").read_text().splitlines()]
    log = [entry for entry in log if any(name in entry for name in CURVE) and "step" in entry]
    scores = json.loads((stage / "scores.json").read_text()) if (stage / "scores.json").exists() else {}
    shown = log[:: max(1, len(log) // _POINTS)]
    lines = ["| step | " + " | ".join(CURVE) + " |", "|---" * (len(CURVE) + 1) + "|"]
    lines += [f"| {e['step']} | " + " | ".join(_number(e.get(name)) for name in CURVE) + " |" for e in shown]
    greedy = ", ".join(f"{_number(score)} at step {step}" for step, score in scores.items())
    return [*lines, "", f"Greedy scores on the validation rows: {greedy or 'none'}."]


def _table(facts: dict[str, Any]) -> list[str]:
    return ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts.items())]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
