"""A stage of a recipe made ready: its models, its rows, the frozen answerer, the trainer of its algorithm.

All that can be refused is refused here, before anything is trained; the dry run (`show.py`) does this and no more.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from transformers import PrinterCallback, TrainerCallback, set_seed

from langgraph_memory_r1 import scoring, steps
from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.models import RulesChatModel, load_chat_model
from langgraph_memory_r1.prompts import render
from langgraph_memory_r1.train.cards import as_markdown, card_of
from langgraph_memory_r1.train.engines import GenerationEngine, PrefixEngine, VLLMServerEngine
from langgraph_memory_r1.train.grpo import NodeGRPOTrainer
from langgraph_memory_r1.train.logo import NodeLoGoTrainer
from langgraph_memory_r1.train.models import ChatPolicy, RoleModels, load_role_models, prompt_ids
from langgraph_memory_r1.train.ppo import NodePPOTrainer
from langgraph_memory_r1.train.recipe import Data, Recipe, Stage, grpo_config, sft_config
from langgraph_memory_r1.train.rewards import (
    AnswerReward,
    FormatReward,
    FrozenAnswerer,
    ManagerReward,
    RowReward,
    SizeReward,
    WeightedReward,
)
from langgraph_memory_r1.train.rollout import RolePolicy
from langgraph_memory_r1.train.rows import (
    AnswerRow,
    ManagerRow,
    Row,
    TrainingData,
    check_splits,
    deduplicated,
    hold_out,
    read_rows,
    write_rows,
)
from langgraph_memory_r1.train.sft import NodeSFTTrainer
from langgraph_memory_r1.train.sharded import gathered
from langgraph_memory_r1.train.sources import training_data
from langgraph_memory_r1.train.validation import KeepBest, episode_score, greedy_score


@dataclass(frozen=True, slots=True)
class PreparedStage:
    """All that a stage needs, before anything is trained."""

    recipe: Recipe
    stage: Stage
    folder: Path
    models: RoleModels
    learned: TrainingData
    held_out: TrainingData

    def prompt_lengths(self) -> list[int]:
        """Return the tokens of every learned row's prompt.

        Raises:
            InputError: One, or one of the rows for validation, is too long for the model.
        """
        rows = [*self.learned.rows, *self.held_out.rows]
        lengths = [
            len(prompt_ids(self.models.tokenizer, render(row.role_input, self.recipe.style))) for row in rows
        ]  # fmt: skip
        room = getattr(self.models.model.config, "max_position_embeddings", None)
        if room is not None and max(lengths) + self.recipe.max_tokens > room:
            raise InputError(
                f"The longest prompt has {max(lengths)} tokens and a reply may have {self.recipe.max_tokens}, but the "
                f"base holds {room}; lower k, related_k or max_tokens."
            )
        return lengths[: len(self.learned.rows)]

    def frozen_answerer(self) -> FrozenAnswerer:
        """Return the Answer Agent that decisions are judged by: this run's own, or the recipe's judge."""
        recipe, metric = self.recipe, scoring.METRICS[self.recipe.metric]
        if recipe.judge is None:
            return FrozenAnswerer(RolePolicy(self.models.answer, recipe.style, recipe.k), metric)
        model = load_chat_model(recipe.judge, role="answer")
        return FrozenAnswerer(RolePolicy(ChatPolicy(model), "full", recipe.k), metric)

    def outcome(self, rows: Sequence[Row], frozen_answerer: FrozenAnswerer) -> RowReward:
        """Return the outcome reward of the stage's role."""
        if self.stage.role == "manage":
            return ManagerReward([row for row in rows if isinstance(row, ManagerRow)], frozen_answerer)
        return AnswerReward([row for row in rows if isinstance(row, AnswerRow)], scoring.METRICS[self.recipe.metric])

    def keep_best(self, frozen_answerer: FrozenAnswerer) -> KeepBest:
        """Return what scores the stage on its validation rows, and keeps the best weights."""
        greedy = RolePolicy(self.models.policy(self.stage.role), self.recipe.style, self.recipe.related_k)
        rows, episodes = self.held_out.rows, self.held_out.episodes
        reward = self.outcome(rows, frozen_answerer)

        def score() -> float | None:
            # What is learned from whole episodes is scored on them: single decisions would not show it.
            if self.stage.algorithm == "logo" and episodes:
                return episode_score(greedy, episodes, frozen_answerer)
            return greedy_score(greedy, rows, reward)

        return KeepBest(
            score, self.models.save, self.folder,
            every=self.stage.eval_every, patience=self.stage.patience, gathered=lambda: gathered(self.models.model),
        )  # fmt: skip

    @contextmanager
    def engine(self) -> Iterator[GenerationEngine | None]:
        """Open what generates in place of `transformers`, if anything does, and close it in the end.

        Raises:
            ModelError: The server is away.
        """
        engine: GenerationEngine | None = None
        if self.stage.reply_prefix:
            engine = PrefixEngine(self.models.policy(self.stage.role))
        elif self.stage.engine is not None:
            names = [uuid4().hex[:8]]
            broadcast_object_list(names)  # all processes sample from the adapters that the main one publishes
            engine = VLLMServerEngine(
                self.stage.engine, role=self.stage.role, folder=self.folder / "published",
                run=names[0], publishes=PartialState().is_main_process,
            )  # fmt: skip
        try:
            yield engine
        finally:
            if engine is not None:
                engine.close()

    def trainer(
        self,
        frozen_answerer: FrozenAnswerer,
        callbacks: Sequence[TrainerCallback] = (),
        engine: GenerationEngine | None = None,
    ) -> Any:
        """Return the trainer of the stage's algorithm.

        Raises:
            InputError: The data or the settings do not suit it.
        """
        recipe, stage = self.recipe, self.stage
        model, tokenizer, rows = self.models.model, self.models.tokenizer, self.learned.rows
        if stage.reply_prefix and (stage.algorithm != "grpo" or stage.engine):
            raise InputError(
                "Replies have a prefix for GRPO in this process only; leave reply_prefix or engine out."
            )  # fmt: skip
        options: dict[str, Any] = {"style": recipe.style, "callbacks": callbacks}
        trainer: Any
        if stage.algorithm == "sft":
            trainer = NodeSFTTrainer(model, tokenizer, rows, sft_config(recipe, stage, self.folder), **options)
        elif stage.algorithm == "logo":
            if not self.learned.episodes or stage.role != "manage" or stage.engine is not None:
                raise InputError(
                    "LoGo-GRPO trains the role 'manage' on conversations, in this process: leave engine out."
                )
            trainer = NodeLoGoTrainer(
                model, tokenizer, self.learned.episodes, frozen_answerer, grpo_config(recipe, stage, self.folder),
                logo=stage.logo, related_k=recipe.related_k, beta=stage.beta, **options,
            )  # fmt: skip
        else:
            rewards = [WeightedReward(self.outcome(rows, frozen_answerer))]
            if stage.format_weight:
                rewards.append(WeightedReward(FormatReward(rows), stage.format_weight))
            if stage.size_weight:
                rewards.append(WeightedReward(SizeReward(rows), stage.size_weight))
            args = grpo_config(recipe, stage, self.folder)
            options |= {"beta": stage.beta, "engine": engine}
            if stage.algorithm == "ppo":
                trainer = NodePPOTrainer(model, tokenizer, rows, rewards, args, ppo=stage.ppo, **options)
            else:
                trainer = NodeGRPOTrainer(model, tokenizer, rows, rewards, args, **options)
        trainer.memo = frozen_answerer.memo
        trainer.remove_callback(PrinterCallback)  # which prints every log as a dictionary
        return trainer


def prepare(recipe: Recipe, number: int, folder: Path, *, fresh: bool = False) -> PreparedStage:
    """Load the models and the rows of a stage; rows are built once, so that a resumed run learns from the same ones.

    Args:
        recipe: What is carried out.
        number: Of the stage.
        folder: Of the run.
        fresh: As if nothing had been trained before, and the banks that rows start from built by `rules`: a model
            that has learned nothing yet tells no more about them, and reads every conversation for minutes.

    Raises:
        InputError: The base cannot be loaded, or the data give no rows or stand in both splits.
    """
    stage = recipe.stages[number]
    # A seed of its own: a run that is gone on with in this stage draws the numbers of one that was never stopped.
    set_seed(recipe.seed * 1000 + number)
    # What the run began with and what earlier stages have trained; of each role the newest.
    newest: dict[str, Path] = {role: Path(start) for role, start in recipe.start.items()}
    for earlier in range(0 if fresh else number):
        newest[recipe.stages[earlier].role] = stage_folder(recipe, earlier, folder) / "best"
    models = load_role_models(recipe, stage.role, newest, reply_prefix=stage.reply_prefix)
    learned, held_out = prepare_rows(recipe, stage, None if fresh else models, stage_folder(recipe, number, folder))
    return PreparedStage(recipe, stage, stage_folder(recipe, number, folder), models, learned, held_out)


def stage_folder(recipe: Recipe, number: int, folder: Path) -> Path:
    """Return the folder of a stage in that of its run: `2-manage`."""
    return folder / f"{number + 1}-{recipe.stages[number].role}"


def prepare_rows(
    recipe: Recipe, stage: Stage, models: RoleModels | None, folder: Path
) -> tuple[TrainingData, TrainingData]:
    """Return what a stage learns from and what it is validated on, and write their data card.

    Args:
        recipe: What is carried out.
        stage: A stage of it.
        models: They build the banks that rows start from; without them `rules` does.
        folder: Of the stage.

    Raises:
        InputError: The data give no rows or stand in both splits.
    """
    files = (folder / "rows.jsonl", folder / "validation.jsonl")
    if stage.algorithm != "logo" and all(file.exists() for file in files):  # episodes stand in no file
        learned, held_out = (
            TrainingData(
                list(read_rows(file, strict=True)),
                skipped=Counter(json.loads(file.with_suffix(".skipped.json").read_text())),
            )
            for file in files
        )
    else:
        train = stage.train or recipe.train
        if recipe.validation is None:
            learned, held_out = hold_out(build_rows(train, recipe, stage, models), recipe.held_out)
        else:
            learned = build_rows(train, recipe, stage, models)
            held_out = build_rows(recipe.validation, recipe, stage, models)
        folder.mkdir(parents=True, exist_ok=True)
        for data, file in zip((learned, held_out), files, strict=True):
            file.with_suffix(".skipped.json").write_text(json.dumps(data.skipped))
            write_rows(file, data.rows)
    splits = {"train": learned.rows, "validation": held_out.rows}
    check_splits(splits, by_time=recipe.validation is None)
    skipped = learned.skipped + Counter({f"{why} (validation)": n for why, n in held_out.skipped.items()})
    (folder / "data.md").write_text(as_markdown(card_of(splits, skipped)), encoding="utf-8")
    if stage.curriculum:
        learned.rows.sort(key=lambda row: len(row.bank) if isinstance(row, ManagerRow) else len(row.memories))
    return learned, held_out


def build_rows(data: Data, recipe: Recipe, stage: Stage, models: RoleModels | None) -> TrainingData:
    """Return rows without duplicates; recorded ones need no models.

    Raises:
        InputError: The data cannot be read, or give no rows.
    """
    if models is None:
        builder = RolePolicy(ChatPolicy(RulesChatModel()), "full")
    elif recipe.builder == "own":
        builder = RolePolicy(models.manage, recipe.style, recipe.related_k)
    else:
        builder = RolePolicy(ChatPolicy(load_chat_model(recipe.builder)), "full", recipe.related_k)
    with unreadable_replies_expected():
        built = training_data(data, recipe, stage.role, builder)
    built.rows, duplicates = deduplicated(built.rows)
    if duplicates:
        built.skipped["the same as another row"] += duplicates
    if not built.rows:
        why = ", ".join(f"{count} {reason}" for reason, count in built.skipped.items()) or "there is nothing"
        raise InputError(f"{data.source} {data.path or data.split} gives no rows for {stage.role!r}: {why}.")
    return built


@contextmanager
def unreadable_replies_expected() -> Iterator[None]:
    """Silence the warnings of unreadable replies: a model that samples or is not trained yet makes many.

    Nobody has to do anything about them, since the reward counts them.
    """
    logger = logging.getLogger(steps.__name__)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
