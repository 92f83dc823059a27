"""Cards for people: what the rows of a stage consist of, and what a trained adapter is, with the adapter exported.

card = card_of({"train": rows, "validation": others}, skipped)
Path("data.md").write_text(as_markdown(card))
export("runs/tiny", "manage", "adapters/manager")  # a folder with the adapter, its manifest and a model card
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from statistics import mean, median
from typing import Any

import yaml

from langgraph_memory_r1.batches import Limits
from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.models.adapters import read_manifest
from langgraph_memory_r1.prompts import PROMPT_VERSION
from langgraph_memory_r1.train.recipe import TrainedRole
from langgraph_memory_r1.train.rows import ManagerRow, Row, episodes_in, fingerprint, questions_of

_LOGGED = ("reward", "kl", "frac_reward_zero_std", "loss")
"""Columns of a model card's curve."""
_POINTS = 12
_RANKS = (16, 32, 64, 128, 256, 512)
"""Limits on the rank that vLLM may be started with."""


@dataclass(frozen=True, slots=True)
class SplitCard:
    """The rows of one split, counted."""

    rows: Mapping[str, int]
    """By node."""
    episodes: int
    probes: int
    kinds: Mapping[str, int]
    memories: tuple[int, int]
    """Memories in a bank or a prompt: in the median row, and at most."""
    gold_words: float
    """Words of a gold answer, on average."""
    fingerprint: str
    """SHA-256 over the rows; the same rows have the same."""


@dataclass(frozen=True, slots=True)
class DataCard:
    """What rows consist of."""

    splits: Mapping[str, SplitCard]
    skipped: Mapping[str, int] = field(default_factory=dict)
    duplicates: int = 0
    shared_questions: Mapping[str, int] = field(default_factory=dict)
    """Questions with the same answer in two splits, by "one, other"."""
    shared_episodes: int = 0
    """Episodes with rows in two splits: allowed only where the newest rows of a single one were held out."""
    prompt_version: str = PROMPT_VERSION


def card_of(
    splits: Mapping[str, Sequence[Row]], skipped: Mapping[str, int] | None = None, duplicates: int = 0
) -> DataCard:
    """Count what some splits consist of.

    Args:
        splits: Rows by the name of their split.
        skipped: What gave no rows, by reason.
        duplicates: Rows that were taken out.
    """
    shared_questions, shared_episodes = {}, set[str]()
    for (one, first), (other, second) in combinations(splits.items(), 2):
        shared_episodes |= episodes_in(first) & episodes_in(second)
        questions = [{pair for row in rows for pair in questions_of(row)} for rows in (first, second)]
        shared_questions[f"{one}, {other}"] = len(questions[0] & questions[1])
    reasons = {reason: count for reason, count in sorted((skipped or {}).items()) if count}
    cards = {}
    for name, rows in splits.items():
        sizes = [len(row.bank) if isinstance(row, ManagerRow) else len(row.memories) for row in rows]
        golds = [gold for row in rows for _, gold in questions_of(row)]
        cards[name] = SplitCard(
            rows=Counter(row.node for row in rows),
            episodes=len(episodes_in(rows)),
            probes=len(golds),
            kinds=Counter(row.kind for row in rows if row.kind),
            memories=(int(median(sizes)), max(sizes)) if sizes else (0, 0),
            gold_words=mean(len(gold.split()) for gold in golds) if golds else 0.0,
            fingerprint=fingerprint(rows),
        )
    return DataCard(cards, reasons, duplicates, shared_questions, len(shared_episodes))


def as_markdown(card: DataCard, title: str = "Training rows") -> str:
    """Write a data card for people."""
    lines = [f"# {title}", "", f"Prompt version {card.prompt_version}.", ""]
    lines += ["| split | rows | episodes | questions | memories, median and most | words of a gold answer |"]
    lines += ["|---|---|---|---|---|---|"]
    for name, split in card.splits.items():
        rows = ", ".join(f"{node} {count:,}" for node, count in split.rows.items()) or "0"
        middle, most = split.memories
        cells = [name, rows, f"{split.episodes:,}", f"{split.probes:,}", f"{middle}, {most}", f"{split.gold_words:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    lines.append("")
    for name, split in card.splits.items():
        if split.kinds:
            kinds = ", ".join(f"{kind} {count:,}" for kind, count in split.kinds.items())
            lines.append(f"Kinds in {name}: {kinds}.")
    lines += ["", "## Left out", ""]
    lines += [f"- {count:,}: {reason}" for reason, count in card.skipped.items()] or ["Nothing."]
    lines += [f"- {card.duplicates:,}: the same as another row"] if card.duplicates else []
    lines += ["", "## Between the splits", ""]
    lines += [f"- {pair}: {count:,} questions with the same answer" for pair, count in card.shared_questions.items()]
    if len(card.splits) < 2:
        lines.append("There is one split.")
    elif card.shared_episodes:
        lines.append("- one episode, split by time: the newest rows validate, and the banks of both are alike")
    else:
        lines.append("- no episode and no row stands in two of them")
    lines += ["", "## Fingerprints", ""]
    lines += [f"- {name}: `{split.fingerprint}`" for name, split in card.splits.items()]
    return "\n".join(lines) + "\n"


def export(run: str | os.PathLike[str], role: TrainedRole, to: str | os.PathLike[str]) -> Path:
    """Copy the newest adapter of a role into a folder of its own, with its manifest and a model card.

    Args:
        run: The output folder of a recipe.
        role: Which adapter.
        to: A folder that does not exist yet, or is empty.

    Returns:
        That folder.

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
    (target / "README.md").write_text(model_card(Path(run), role, stages[-1].parent), encoding="utf-8")
    return target


def model_card(run: Path, role: TrainedRole, stage: Path) -> str:
    """Write a model card: what it is for, from what and how it was trained, how well it does, how to load it."""
    recipe = yaml.safe_load((run / "recipe.yaml").read_text(encoding="utf-8"))
    done = json.loads((stage / "done.json").read_text())
    settings = recipe["stages"][int(stage.name.split("-")[0]) - 1]
    manifest = None if recipe["lora"] is None else read_manifest(run / "adapters" / role)
    facts = {
        "role": role, "base": recipe["base"], "algorithm": done["algorithm"], "steps": done["steps"],
        "training rows": done["rows"], "data (SHA-256)": "-" if manifest is None else manifest.data,
        "prompt version": "-" if manifest is None else manifest.prompt_version, "prompts": recipe["style"],
        "judged by": f"{recipe['metric']} of the answers", "seed": recipe["seed"],
        "validation before": _number(done["before"]), "validation after": _number(done["score"]),
    }  # fmt: skip
    return "\n".join([
        "---", "library_name: peft", f"base_model: {recipe['base']}", "tags: [memory-r1, langgraph, lora]", "---", "",
        f"# {'Memory Manager' if role == 'manage' else 'Answer Agent'} for {recipe['base']}", "",
        "Trained with langgraph-memory-r1.", "", "| | |", "|---|---|",
        *(f"| {name} | {value} |" for name, value in facts.items()), "",
        "## Load", "", *_loading(recipe, role), "",
        "## Settings", "", "```yaml", yaml.safe_dump(settings, sort_keys=False).rstrip(), "```", "",
        "## Curve", "", *_curve(stage), "",
    ])  # fmt: skip


def _loading(recipe: dict[str, Any], role: TrainedRole) -> list[str]:
    """Lines that say how to load and to serve an adapter so that the graph decides as in training."""
    model, memories = ("manager", f"related_k={recipe['related_k']}")
    if role == "answer":
        model, memories = ("answerer", f"k={recipe['k']}")
    arguments = f'{model}=model, style="{recipe["style"]}", {memories}'
    imports = ["from langgraph_memory_r1 import create_memory_graph, load_chat_model"]
    limits = Limits.as_trained(recipe["train"]["source"])
    if role == "manage" and limits != Limits():
        arguments += f", limits=Limits(batch_turns={limits.batch_turns})"
        imports.append("from langgraph_memory_r1.batches import Limits")
    lines = [
        "```python", *imports, "",
        f'base, adapter, role = "hf:{recipe["base"]}", "THIS_FOLDER", "{role}"',
        f"model = load_chat_model(base, adapter, role=role, max_tokens={recipe['max_tokens']})",
        f'graph = create_memory_graph("bank", {arguments})', "```", "",
    ]  # fmt: skip
    if recipe["lora"] is not None:  # one server may hold the adapters of both roles
        rank = next((limit for limit in _RANKS if limit >= recipe["lora"]["r"]), recipe["lora"]["r"])
        lines += [
            f'Served by vLLM, `base` is `"vllm:{role}@http://localhost:8000"`:', "", "```sh",
            f"vllm serve {recipe['base']} --enable-lora --max-lora-rank {rank} --lora-modules {role}=THIS_FOLDER",
            "```",
        ]  # fmt: skip
    return lines


def _curve(stage: Path) -> list[str]:
    """Some points of what was logged, and all greedy scores."""
    logs = [json.loads(line) for line in (stage / "log.jsonl").read_text().splitlines()]
    logs = [log for log in logs if any(name in log for name in _LOGGED) and "step" in log]
    scores = json.loads((stage / "scores.json").read_text()) if (stage / "scores.json").exists() else {}
    lines = ["| step | " + " | ".join(_LOGGED) + " |", "|---" * (len(_LOGGED) + 1) + "|"]
    for log in logs[:: max(1, len(logs) // _POINTS)]:
        lines.append(f"| {log['step']} | " + " | ".join(_number(log.get(name)) for name in _LOGGED) + " |")
    greedy = ", ".join(f"{_number(score)} at step {step}" for step, score in scores.items())
    return [*lines, "", f"Greedy scores on the validation rows: {greedy or 'none'}."]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
