"""A recipe carried out: stage after stage, each resumable, each ending in an adapter that the graph can load.

run/
  recipe.yaml            what is carried out; another recipe is refused here
  1-answer/              rows.jsonl, data.md, checkpoints, completions/, scores.json, best/, log.jsonl, done.json
  2-manage/
  adapters/answer        with manifest.json, for load_chat_model("hf:BASE", adapter="run/adapters/answer")
  adapters/manage
"""

from __future__ import annotations

import json
import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from accelerate import PartialState
from transformers import TrainerCallback, set_seed

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.models import Manifest, RulesChatModel, load_chat_model, write_manifest
from langgraph_memory_r1.train.actors import Actors, load_actors
from langgraph_memory_r1.train.cards import as_markdown, card_of, check_splits, deduplicated, fingerprint
from langgraph_memory_r1.train.checkpoints import last_checkpoint
from langgraph_memory_r1.train.data import material
from langgraph_memory_r1.train.grpo import check_rows
from langgraph_memory_r1.train.models import ChatPolicy
from langgraph_memory_r1.train.recipe import Data, Recipe, Stage, TrainedRole, as_dict
from langgraph_memory_r1.train.rollout import Deciding
from langgraph_memory_r1.train.rows import ManagerRow, Row, read_rows, write_rows
from langgraph_memory_r1.train.settings import grpo_config, sft_config
from langgraph_memory_r1.train.sharded import gathered
from langgraph_memory_r1.train.sources import Material
from langgraph_memory_r1.train.splits import hold_out
from langgraph_memory_r1.train.stage import Prepared
from langgraph_memory_r1.train.trl_seams import completions_only
from langgraph_memory_r1.train.validation import KeepBest

logger = logging.getLogger(__name__)

Tell = Callable[[str], None]

_RECORDED = ("rows", "traces")
"""Sources whose rows hold their banks."""
_MOST_STAGES = 100
_RULES = Deciding(ChatPolicy(RulesChatModel()), "full")


@dataclass(frozen=True, slots=True)
class Trained:
    """What a stage came to."""

    role: TrainedRole
    algorithm: str
    folder: Path
    """The adapter, or the whole model."""
    score: float | None
    """Greedy, on the validation rows: of the best weights, which are kept."""
    before: float | None
    """The same of what the stage began with."""
    steps: int
    rows: int
    skipped: dict[str, int]
    """What gave no row, counted by reason."""


def train(recipe: Recipe, *, tell: Tell = logger.info, callbacks: Sequence[TrainerCallback] = ()) -> list[Trained]:
    """Carry out a recipe, or go on where it was stopped.

    Args:
        recipe: What to do.
        tell: Hears a sentence now and then.
        callbacks: `transformers` callbacks for every stage, such as a progress bar.

    Raises:
        InputError: The output folder holds another run, or the data, the base or the settings do not fit.
    """
    _check(recipe)
    with PartialState().main_process_first():
        folder = _claim(recipe)
    return [_stage(recipe, number, folder, tell, callbacks) for number in range(len(recipe.stages))]


def prepare(recipe: Recipe, number: int, folder: Path, *, fresh: bool = False) -> Prepared:
    """The models and the rows of a stage; rows are built once, so that a resumed run learns from the same ones.

    Args:
        recipe: What is carried out.
        number: Of the stage.
        folder: Of the run.
        fresh: As if nothing had been trained before.

    Raises:
        InputError: The base cannot be loaded, or the data give no rows or stand in both splits.
    """
    stage = recipe.stages[number]
    place = folder / f"{number + 1}-{stage.role}"
    set_seed(recipe.seed * 1000 + number)
    actors = load_actors(recipe, stage.role, _so_far(recipe, folder, 0 if fresh else number), begun=stage.begun)
    learned, held_out = prepare_rows(recipe, stage, actors, place)
    return Prepared(recipe, stage, place, actors, learned, held_out)


def prepare_rows(recipe: Recipe, stage: Stage, actors: Actors | None, place: Path) -> tuple[Material, Material]:
    """What a stage learns from and what it is validated on, with their data card.

    Args:
        recipe: What is carried out.
        stage: A stage of it.
        actors: They build the banks that rows start from; without them `rules` does.
        place: The stage's folder.

    Raises:
        InputError: The data give no rows or stand in both splits.
    """
    learned, held_out = _splits(recipe, stage, actors, place)
    splits = {"train": learned.rows, "validation": held_out.rows}
    check_splits(splits, by_time=recipe.validation is None)
    skipped = learned.skipped + Counter({f"{why} (validation)": n for why, n in held_out.skipped.items()})
    (place / "data.md").write_text(as_markdown(card_of(splits, skipped)), encoding="utf-8")
    if stage.curriculum:
        learned.rows.sort(key=_size)
    return learned, held_out


def _check(recipe: Recipe) -> None:
    """Settings, and rows that no model of this run builds, before hours are spent on the stages ahead of them."""
    for number, stage in enumerate(recipe.stages):
        data, place = stage.train or recipe.train, Path(recipe.output) / f"{number + 1}-{stage.role}"
        args = (sft_config if stage.algorithm == "sft" else grpo_config)(recipe, stage, place)
        if recipe.validation is not None and recipe.validation.source in _RECORDED:
            _built(recipe.validation, recipe, stage, None)
        if data.source not in _RECORDED:
            continue
        found = _built(data, recipe, stage, None)
        learned = hold_out(found, recipe.held_out)[0] if recipe.validation is None else found
        if stage.algorithm in ("grpo", "ppo"):
            check_rows(args, len(learned.rows), f"stage {number + 1}, {stage.role!r}")


def _claim(recipe: Recipe) -> Path:
    """The output folder, with this recipe in it; one that was only tried out there gives way."""
    folder = Path(recipe.output)
    folder.mkdir(parents=True, exist_ok=True)
    told = yaml.safe_dump(as_dict(recipe), sort_keys=False, allow_unicode=True)
    kept = folder / "recipe.yaml"
    if kept.exists() and kept.read_text(encoding="utf-8") != told:
        places = [folder / f"{number + 1}-{role}" for number in range(_MOST_STAGES) for role in ("manage", "answer")]
        if any(any(place.glob("checkpoint-*")) or (place / "done.json").exists() for place in places):
            raise InputError(f"{folder} holds a run of another recipe; give another output=, or remove it.")
        for place in places:
            shutil.rmtree(place, ignore_errors=True)
    kept.write_text(told, encoding="utf-8")
    return folder


def _stage(recipe: Recipe, number: int, folder: Path, tell: Tell, callbacks: Sequence[TrainerCallback]) -> Trained:
    stage = recipe.stages[number]
    place = folder / f"{number + 1}-{stage.role}"
    if (place / "done.json").exists():
        tell(f"{place.name}: done before; to train anew, give another output=")
        return _read(place / "done.json")
    with PartialState().main_process_first():  # the others read the rows that it writes
        ready = prepare(recipe, number, folder)
    learned, held_out = ready.learned, ready.held_out
    tell(f"{place.name}: {stage.algorithm} on {len(learned.rows)} rows, validated on {len(held_out.rows)}")
    ready.prompt_lengths()
    judge = ready.judge()
    keep = ready.keeper(judge)
    with _quiet(), completions_only(), ready.engine() as engine:
        trainer = ready.trainer(judge, [keep, *callbacks], engine)
        trainer.train(resume_from_checkpoint=last_checkpoint(place))
    trainer.accelerator.wait_for_everyone()
    if trainer.accelerator.is_main_process:
        log = trainer.state.log_history
        (place / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in log), encoding="utf-8")
    with gathered(ready.actors.model):
        if trainer.accelerator.is_main_process:
            _finish(ready, keep, trainer.state.global_step, folder)
    trainer.accelerator.wait_for_everyone()
    found = _read(place / "done.json")
    tell(f"{place.name}: {_told(found.before)} before, {_told(found.score)} after {found.steps} steps")
    return found


def _so_far(recipe: Recipe, folder: Path, number: int) -> dict[str, Path]:
    """What the run began with and earlier stages have trained, the newest of each role."""
    found: dict[str, Path] = {role: Path(place) for role, place in recipe.start.items()}
    for place, stage in enumerate(recipe.stages[:number]):
        found[stage.role] = folder / f"{place + 1}-{stage.role}" / "best"
    return found


def _splits(recipe: Recipe, stage: Stage, actors: Actors | None, place: Path) -> tuple[Material, Material]:
    """What is learned from and what is validated on, from their files or else into them."""
    train, files = stage.train or recipe.train, (place / "rows.jsonl", place / "validation.jsonl")
    if stage.algorithm != "logo" and all(file.exists() for file in files):
        return _kept(files[0]), _kept(files[1])
    if recipe.validation is None:
        found = hold_out(_built(train, recipe, stage, actors), recipe.held_out)
    else:
        found = _built(train, recipe, stage, actors), _built(recipe.validation, recipe, stage, actors)
    place.mkdir(parents=True, exist_ok=True)
    for each, file in zip(found, files, strict=True):
        file.with_suffix(".skipped.json").write_text(json.dumps(each.skipped))
        write_rows(file, each.rows)
    return found


def _kept(file: Path) -> Material:
    reasons = json.loads(file.with_suffix(".skipped.json").read_text())
    return Material(list(read_rows(file, strict=True)), skipped=Counter(reasons))


def _built(data: Data, recipe: Recipe, stage: Stage, actors: Actors | None) -> Material:
    """Rows without duplicates; recorded ones need no actors."""
    with _quiet():
        found = material(data, recipe, stage.role, _RULES if actors is None else _builder(recipe, actors))
    found.rows, double = deduplicated(found.rows)
    if double:
        found.skipped["the same as another row"] += double
    if not found.rows:
        why = ", ".join(f"{count} {reason}" for reason, count in found.skipped.items()) or "there is nothing"
        raise InputError(f"{data.source} {data.path or data.split} gives no rows for {stage.role!r}: {why}.")
    return found


def _builder(recipe: Recipe, actors: Actors) -> Deciding:
    if recipe.builder == "own":
        return Deciding(actors.policy("manage"), recipe.style, recipe.related_k)
    return Deciding(ChatPolicy(load_chat_model(recipe.builder)), "full", recipe.related_k)


def _finish(ready: Prepared, keep: KeepBest, steps: int, folder: Path) -> None:
    """The best weights with their manifest, in the stage and where the run's newest stand."""
    recipe, stage, rows = ready.recipe, ready.stage, ready.learned.rows
    if not keep.best.exists():
        ready.actors.save(keep.best)
    score = max(keep.scores.values(), default=None)
    if recipe.lora is not None:
        made = Manifest(base=recipe.base, role=stage.role, data=fingerprint(rows), rank=recipe.lora.r, score=score)
        write_manifest(keep.best, made)
    target = folder / "adapters" / stage.role
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(keep.best, target)
    before = next(iter(keep.scores.values()), None)
    found = Trained(stage.role, stage.algorithm, target, score, before, steps, len(rows), dict(ready.learned.skipped))
    _write(ready.folder / "done.json", found)


def _size(row: Row) -> int:
    return len(row.bank) if isinstance(row, ManagerRow) else len(row.memories)


def _told(score: float | None) -> str:
    return "no score" if score is None else f"{score:.3f}"


def _write(file: Path, found: Trained) -> None:
    told: dict[str, Any] = asdict(found) | {"folder": str(found.folder)}
    draft = file.with_suffix(".part")
    draft.write_text(json.dumps(told, indent=2))
    draft.replace(file)


def _read(file: Path) -> Trained:
    told = json.loads(file.read_text())
    return Trained(**{**told, "folder": Path(told["folder"])})


@contextmanager
def _quiet() -> Iterator[None]:
    """Of who is not trained yet, or samples, unreadable replies are nothing to warn of: the reward counts them."""
    agents = logging.getLogger("langgraph_memory_r1.agents")
    level = agents.level
    agents.setLevel(logging.ERROR)
    try:
        yield
    finally:
        agents.setLevel(level)
