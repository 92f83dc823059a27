"""A recipe carried out: stage after stage, each resumable, each ending in an adapter that the graph can load.

run/
  recipe.yaml            what is carried out; another recipe is refused here
  1-answer/              rows.jsonl, checkpoints, scores.json, best/, log.jsonl
  2-manage/
  adapters/answer        with manifest.json, for load_chat_model("hf:BASE", adapter="run/adapters/answer")
  adapters/manage
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from transformers import TrainerCallback, set_seed
from transformers.trainer_utils import get_last_checkpoint

from langgraph_memory_r1 import scoring
from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.models import Manifest, load_chat_model, write_manifest
from langgraph_memory_r1.train.actors import Actors, load_actors
from langgraph_memory_r1.train.data import Material, material
from langgraph_memory_r1.train.episodes import Deciding
from langgraph_memory_r1.train.policy import ChatPolicy
from langgraph_memory_r1.train.recipe import Data, Recipe, Stage, TrainedRole, as_dict
from langgraph_memory_r1.train.rewards import (
    AnswerReward,
    FormatReward,
    Judge,
    ManagerReward,
    RowReward,
    SizeReward,
    Weighted,
)
from langgraph_memory_r1.train.rows import AnswerRow, ManagerRow, Row, read_rows, write_rows
from langgraph_memory_r1.train.validation import KeepBest, greedy_score

logger = logging.getLogger(__name__)

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Trained:
    """What a stage came to."""

    role: TrainedRole
    algorithm: str
    folder: Path
    """The adapter, or the whole model."""
    score: float | None
    """Greedy, on the validation rows."""
    before: float | None
    """The same of what the stage began with."""
    steps: int
    rows: int
    skipped: dict[str, int]


def train(recipe: Recipe, *, tell: Tell = logger.info, callbacks: Sequence[TrainerCallback] = ()) -> list[Trained]:
    """Carry out a recipe, or go on where it was stopped.

    Args:
        recipe: What to do.
        tell: Hears a sentence now and then.
        callbacks: `transformers` callbacks for every stage, such as a progress bar.

    Raises:
        InputError: The output folder holds another run, or the data, the base or the settings do not fit.
    """
    folder = _claim(recipe)
    return [_stage(recipe, number, folder, tell, callbacks) for number in range(len(recipe.stages))]


def _claim(recipe: Recipe) -> Path:
    """The output folder, with this recipe in it."""
    folder = Path(recipe.output)
    folder.mkdir(parents=True, exist_ok=True)
    told = yaml.safe_dump(as_dict(recipe), sort_keys=False, allow_unicode=True)
    kept = folder / "recipe.yaml"
    if kept.exists() and kept.read_text(encoding="utf-8") != told:
        raise InputError(f"{folder} holds a run of another recipe; give another output=, or remove it.")
    kept.write_text(told, encoding="utf-8")
    return folder


def _stage(recipe: Recipe, number: int, folder: Path, tell: Tell, callbacks: Sequence[TrainerCallback]) -> Trained:
    stage = recipe.stages[number]
    place = folder / f"{number + 1}-{stage.role}"
    if (place / "done.json").exists():
        return _read(place / "done.json")
    set_seed(recipe.seed * 1000 + number)
    actors = load_actors(recipe, stage.role, _so_far(recipe, folder, number))
    learned = _material(recipe.train, recipe, stage, actors, place / "rows.jsonl")
    held_out = _material(recipe.validation, recipe, stage, actors, place / "validation.jsonl")
    _refuse_leaks(learned.rows, held_out.rows)
    tell(f"{place.name}: {stage.algorithm} on {len(learned.rows)} rows, validated on {len(held_out.rows)}")
    judge = _judge(recipe, actors)
    keep = _keeper(recipe, stage, actors, held_out.rows, judge, place)
    with _quiet():
        trainer = _trainer(recipe, stage, actors, learned, judge, place, [keep, *callbacks])
        trainer.train(resume_from_checkpoint=get_last_checkpoint(str(place)) if place.is_dir() else None)
    (place / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in trainer.state.log_history))
    return _finish(recipe, stage, actors, keep, learned, trainer.state.global_step, folder, place)


def _so_far(recipe: Recipe, folder: Path, number: int) -> dict[str, Path]:
    """What earlier stages have trained, the newest of each role."""
    return {
        stage.role: folder / f"{place + 1}-{stage.role}" / "best" for place, stage in enumerate(recipe.stages[:number])
    }


def _material(data: Data, recipe: Recipe, stage: Stage, actors: Actors, file: Path) -> Material:
    """Rows are built once: a resumed run learns from the same ones."""
    if file.exists() and stage.algorithm != "logo":
        return Material(list(read_rows(file, strict=True)))
    builder = _builder(recipe, actors)
    found = material(data, recipe, stage.role, builder)
    if not found.rows:
        reasons = ", ".join(f"{count} {reason}" for reason, count in found.skipped.items()) or "there is nothing"
        raise InputError(f"{data.source} {data.path or data.split} gives no rows for {stage.role!r}: {reasons}.")
    file.parent.mkdir(parents=True, exist_ok=True)
    write_rows(file, found.rows)
    return found


def _builder(recipe: Recipe, actors: Actors) -> Deciding:
    if recipe.builder == "own":
        return Deciding(actors.policy("manage"), recipe.style, recipe.related_k)
    return Deciding(ChatPolicy(load_chat_model(recipe.builder)), "full", recipe.related_k)


def _judge(recipe: Recipe, actors: Actors) -> Judge:
    metric = scoring.METRICS[recipe.metric]
    if recipe.judge is None:
        return Judge(Deciding(actors.policy("answer"), recipe.style, recipe.top_k), metric)
    return Judge(Deciding(ChatPolicy(load_chat_model(recipe.judge, role="answer")), "full", recipe.top_k), metric)


def outcome(recipe: Recipe, rows: Sequence[Row], judge: Judge) -> RowReward:
    """The outcome reward of the rows' role."""
    if isinstance(rows[0], ManagerRow):
        return ManagerReward([row for row in rows if isinstance(row, ManagerRow)], judge)
    return AnswerReward([row for row in rows if isinstance(row, AnswerRow)], scoring.METRICS[recipe.metric])


def _keeper(recipe: Recipe, stage: Stage, actors: Actors, rows: Sequence[Row], judge: Judge, place: Path) -> KeepBest:
    reward, policy = outcome(recipe, rows, judge), actors.policy(stage.role)
    return KeepBest(
        lambda: greedy_score(policy, rows, reward, recipe.style), actors.save, place,
        every=stage.eval_every, patience=stage.patience,
    )  # fmt: skip


def _trainer(
    recipe: Recipe, stage: Stage, actors: Actors, learned: Material, judge: Judge, place: Path,
    callbacks: Sequence[TrainerCallback],
) -> Any:  # fmt: skip
    """The trainer of a stage's algorithm."""
    from langgraph_memory_r1.train.settings import grpo_config, sft_config

    common: dict[str, Any] = {"style": recipe.style, "callbacks": callbacks}
    if stage.algorithm == "sft":
        from langgraph_memory_r1.train.sft import NodeSFTTrainer

        return NodeSFTTrainer(actors.model, actors.tokenizer, learned.rows, sft_config(recipe, stage, place), **common)
    args = grpo_config(recipe, stage, place)
    common |= {"beta": stage.beta, "engine": _engine(recipe, stage)}
    if stage.algorithm == "logo":
        from langgraph_memory_r1.train.logo import LoGoSettings, NodeLoGoTrainer

        logo = LoGoSettings(**{"related_k": recipe.related_k, **stage.logo})  # type: ignore[arg-type]
        return NodeLoGoTrainer(actors.model, actors.tokenizer, learned.episodes, judge, args, logo=logo, **common)
    rewards = [Weighted(outcome(recipe, learned.rows, judge))]
    if stage.format_weight:
        rewards.append(Weighted(FormatReward(learned.rows), stage.format_weight))
    if stage.size_weight:
        rewards.append(Weighted(SizeReward(learned.rows), stage.size_weight))
    if stage.algorithm == "ppo":
        from langgraph_memory_r1.train.ppo import NodePPOTrainer, PPOSettings

        ppo = PPOSettings(**stage.ppo)  # type: ignore[arg-type]
        return NodePPOTrainer(actors.model, actors.tokenizer, learned.rows, rewards, args, ppo=ppo, **common)
    from langgraph_memory_r1.train.grpo import NodeGRPOTrainer

    return NodeGRPOTrainer(actors.model, actors.tokenizer, learned.rows, rewards, args, **common)


def _engine(recipe: Recipe, stage: Stage) -> Any:
    if stage.engine is None:
        return None
    from langgraph_memory_r1.train.engines import VLLMServerEngine

    return VLLMServerEngine(stage.engine, base=recipe.base, role=stage.role)


def _finish(
    recipe: Recipe, stage: Stage, actors: Actors, keep: KeepBest, learned: Material, steps: int, folder: Path,
    place: Path,
) -> Trained:  # fmt: skip
    """The best weights with their manifest, in the stage and where the run's newest stand."""
    if not keep.best.exists():
        actors.save(keep.best)
    score = max(keep.scores.values(), default=None)
    if recipe.lora is not None:
        data = hashlib.sha256((place / "rows.jsonl").read_bytes()).hexdigest()
        write_manifest(
            keep.best, Manifest(base=recipe.base, role=stage.role, data=data, rank=recipe.lora.r, score=score)
        )
    target = folder / "adapters" / stage.role
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(keep.best, target)
    before = next(iter(keep.scores.values()), None)
    found = Trained(stage.role, stage.algorithm, target, score, before, steps, len(learned.rows), dict(learned.skipped))
    _write(place / "done.json", found)
    return found


def _refuse_leaks(rows: Sequence[Row], held_out: Sequence[Row]) -> None:
    shared = {row.episode for row in rows if row.episode} & {row.episode for row in held_out}
    if shared:
        raise InputError(
            f"{len(shared)} conversation(s) stand in training and validation, {min(shared)!r} among them; "
            "validate on others."
        )


def _write(file: Path, found: Trained) -> None:
    told = {name: getattr(found, name) for name in Trained.__slots__} | {"folder": str(found.folder)}
    draft = file.with_suffix(".part")
    draft.write_text(json.dumps(told, indent=2))
    draft.replace(file)


def _read(file: Path) -> Trained:
    told = json.loads(file.read_text())
    return Trained(**{**told, "folder": Path(told["folder"])})


@contextmanager
def _quiet() -> Iterator[None]:
    """Sampled at temperature 1, unreadable replies are nothing to warn of; the reward counts them."""
    agents = logging.getLogger("langgraph_memory_r1.agents")
    level = agents.level
    agents.setLevel(logging.ERROR)
    try:
        yield
    finally:
        agents.setLevel(level)
