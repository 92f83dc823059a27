"""A recipe carried out: stage after stage, each resumable, each ending in an adapter that the graph can load.

run/
  recipe.yaml            what is carried out; another recipe is refused here
  1-answer/              rows.jsonl and validation.jsonl, and for each in *.skipped.json what gave no row, counted;
                         data.md, checkpoints, completions/, scores.json, best/, log.jsonl, done.json; published/ with
                         the adapters that a vLLM server has at the moment, where one generates
  2-manage/
  adapters/answer        with manifest.json, for load_chat_model("hf:BASE", adapter="run/adapters/answer")
  adapters/manage
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml
from accelerate import PartialState
from transformers import TrainerCallback

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.jsonl import write_file
from langgraph_memory_r1.models import Manifest, write_manifest
from langgraph_memory_r1.train.checkpoints import last_checkpoint
from langgraph_memory_r1.train.grpo import check_rows
from langgraph_memory_r1.train.recipe import Recipe, TrainedRole, as_dict, grpo_config, is_recipe_of, sft_config
from langgraph_memory_r1.train.rows import fingerprint, hold_out
from langgraph_memory_r1.train.sharded import gathered
from langgraph_memory_r1.train.stage import (
    PreparedStage,
    build_rows,
    prepare,
    stage_folder,
    unreadable_replies_expected,
)
from langgraph_memory_r1.train.trl_seams import completions_only
from langgraph_memory_r1.train.validation import KeepBest

logger = logging.getLogger(__name__)

Notify = Callable[[str], None]
"""Called with a sentence now and then."""

_RECORDED = ("rows", "traces")
"""Sources whose rows hold their banks."""
_MOST_STAGES = 100
"""Stages that another recipe, whose folders are looked for, may have had: the folder alone does not say how many."""


@dataclass(frozen=True, slots=True)
class TrainedStage:
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


def train(
    recipe: Recipe, *, notify: Notify = logger.info, callbacks: Sequence[TrainerCallback] = ()
) -> list[TrainedStage]:
    """Carry out a recipe, or go on where it was stopped.

    Args:
        recipe: What to do.
        notify: Called with a sentence now and then.
        callbacks: `transformers` callbacks for every stage, such as a progress bar.

    Raises:
        InputError: The output folder holds another run, or the data, the base or the settings do not fit.
    """
    _check_before_hours_are_spent(recipe)
    with PartialState().main_process_first():
        folder = _claim_folder(recipe)
    return [_run_stage(recipe, number, folder, notify, callbacks) for number in range(len(recipe.stages))]


def _run_stage(
    recipe: Recipe, number: int, folder: Path, notify: Notify, callbacks: Sequence[TrainerCallback]
) -> TrainedStage:
    """One stage, from its rows to its adapter; every process of a run comes through here."""
    own_folder = stage_folder(recipe, number, folder)
    done = own_folder / "done.json"
    if done.exists():
        notify(f"{own_folder.name}: done before; to train anew, give another output=")
        return _read_done(done)

    with PartialState().main_process_first():  # the others read the rows that it writes
        ready = prepare(recipe, number, folder)
    rows, validation = len(ready.learned.rows), len(ready.held_out.rows)
    notify(f"{own_folder.name}: {ready.stage.algorithm} on {rows} rows, validated on {validation}")
    ready.prompt_lengths()  # refuses prompts that the model cannot hold

    frozen_answerer = ready.frozen_answerer()
    keep_best = ready.keep_best(frozen_answerer)
    with unreadable_replies_expected(), completions_only(), ready.engine() as engine:
        trainer = ready.trainer(frozen_answerer, [keep_best, *callbacks], engine)
        trainer.train(resume_from_checkpoint=last_checkpoint(own_folder))
    trainer.accelerator.wait_for_everyone()

    if trainer.accelerator.is_main_process:
        logs = "".join(json.dumps(log) + "\n" for log in trainer.state.log_history)
        (own_folder / "log.jsonl").write_text(logs, encoding="utf-8")
    with gathered(ready.models.model):
        if trainer.accelerator.is_main_process:
            _finish(ready, keep_best, trainer.state.global_step, folder)
    trainer.accelerator.wait_for_everyone()

    trained = _read_done(done)
    before, after = ("no score" if score is None else f"{score:.3f}" for score in (trained.before, trained.score))
    notify(f"{own_folder.name}: {before} before, {after} after {trained.steps} steps")
    return trained


def _check_before_hours_are_spent(recipe: Recipe) -> None:
    """Check the settings of all stages, and the rows that no model of this run builds."""
    for number, stage in enumerate(recipe.stages):
        train_data = stage.train or recipe.train
        folder = stage_folder(recipe, number, Path(recipe.output))
        args = (sft_config if stage.algorithm == "sft" else grpo_config)(recipe, stage, folder)
        if recipe.validation is not None and recipe.validation.source in _RECORDED:
            build_rows(recipe.validation, recipe, stage, None)
        if train_data.source in _RECORDED:
            learned = build_rows(train_data, recipe, stage, None)
            if recipe.validation is None:
                learned, _ = hold_out(learned, recipe.held_out)
            if stage.algorithm in ("grpo", "ppo"):
                check_rows(args, len(learned.rows), f"stage {number + 1}, {stage.role!r}")


def _claim_folder(recipe: Recipe) -> Path:
    """Make the output folder, and write this recipe into it.

    Another recipe's stages are deleted there if none of them was finished or has reached its first checkpoint.

    Raises:
        InputError: Another recipe has trained something there.
    """
    folder = Path(recipe.output)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "recipe.yaml"
    if file.exists() and not is_recipe_of(yaml.safe_load(file.read_text(encoding="utf-8")), recipe):
        stages = [folder / f"{number + 1}-{role}" for number in range(_MOST_STAGES) for role in ("manage", "answer")]
        if any(any(stage.glob("checkpoint-*")) or (stage / "done.json").exists() for stage in stages):
            raise InputError(f"{folder} holds a run of another recipe; give another output=, or remove it.")
        for stage in stages:
            shutil.rmtree(stage, ignore_errors=True)
    text = yaml.safe_dump(as_dict(recipe), sort_keys=False, allow_unicode=True)
    file.write_text(text, encoding="utf-8")
    return folder


def _finish(ready: PreparedStage, keep_best: KeepBest, steps: int, folder: Path) -> None:
    """The best weights with their manifest, in the stage and where the run's newest stand; then what it came to."""
    recipe, stage = ready.recipe, ready.stage
    if not keep_best.best.exists():  # nothing could be scored
        ready.models.save(keep_best.best)
    score = max(keep_best.scores.values(), default=None)
    if recipe.lora is not None:
        data = fingerprint(ready.learned.rows)
        manifest = Manifest(base=recipe.base, role=stage.role, data=data, rank=recipe.lora.r, score=score)
        write_manifest(keep_best.best, manifest)
    adapter = folder / "adapters" / stage.role
    shutil.rmtree(adapter, ignore_errors=True)
    shutil.copytree(keep_best.best, adapter)
    before = next(iter(keep_best.scores.values()), None)
    trained = TrainedStage(
        stage.role, stage.algorithm, adapter, score, before, steps, len(ready.learned.rows), dict(ready.learned.skipped)
    )
    # Last of all: a stage with this file is not done again.
    text = json.dumps(asdict(trained) | {"folder": str(adapter)}, indent=2)
    write_file(ready.folder / "done.json", [text.encode()])


def _read_done(file: Path) -> TrainedStage:
    values = json.loads(file.read_text())
    return TrainedStage(**{**values, "folder": Path(values["folder"])})
