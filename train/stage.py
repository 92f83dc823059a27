"""From a stage of a recipe to its trainer: judge, rewards, settings, validation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from transformers import PrinterCallback, TrainerCallback

from langgraph_memory_r1 import scoring
from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.models import load_chat_model
from langgraph_memory_r1.prompts import render
from langgraph_memory_r1.train.actors import Actors
from langgraph_memory_r1.train.grpo import Engine, NodeGRPOTrainer
from langgraph_memory_r1.train.logo import NodeLoGoTrainer
from langgraph_memory_r1.train.models import ChatPolicy, prompt_ids
from langgraph_memory_r1.train.ppo import NodePPOTrainer
from langgraph_memory_r1.train.recipe import Recipe, Stage
from langgraph_memory_r1.train.rewards import (
    AnswerReward,
    FormatReward,
    Judge,
    ManagerReward,
    RowReward,
    SizeReward,
    Weighted,
)
from langgraph_memory_r1.train.rollout import Deciding
from langgraph_memory_r1.train.rows import AnswerRow, ManagerRow, Row
from langgraph_memory_r1.train.settings import grpo_config, sft_config
from langgraph_memory_r1.train.sft import NodeSFTTrainer
from langgraph_memory_r1.train.sharded import gathered
from langgraph_memory_r1.train.sources import Material
from langgraph_memory_r1.train.validation import KeepBest, episode_score, greedy_score


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that a stage needs, before anything is trained."""

    recipe: Recipe
    stage: Stage
    folder: Path
    actors: Actors
    learned: Material
    held_out: Material

    def prompt_lengths(self) -> list[int]:
        """Tokens of every row's prompt.

        Raises:
            InputError: One is too long for the model.
        """
        rows = [*self.learned.rows, *self.held_out.rows]
        found = [len(prompt_ids(self.actors.tokenizer, render(row.given, self.recipe.style))) for row in rows]
        room = getattr(self.actors.model.config, "max_position_embeddings", None)
        if room is not None and max(found) + self.recipe.max_tokens > room:
            raise InputError(
                f"The longest prompt has {max(found)} tokens and a reply may have {self.recipe.max_tokens}, but the "
                f"base holds {room}; lower top_k, related_k or max_tokens."
            )
        return found[: len(self.learned.rows)]

    def judge(self) -> Judge:
        """The frozen Answer Agent that decisions are judged by."""
        recipe, metric = self.recipe, scoring.METRICS[self.recipe.metric]
        if recipe.judge is None:
            return Judge(Deciding(self.actors.answer, recipe.style, recipe.top_k), metric)
        model = load_chat_model(recipe.judge, role="answer")
        return Judge(Deciding(ChatPolicy(model), "full", recipe.top_k), metric)

    def outcome(self, rows: Sequence[Row], judge: Judge) -> RowReward:
        """The outcome reward of the stage's role."""
        if self.stage.role == "manage":
            return ManagerReward([row for row in rows if isinstance(row, ManagerRow)], judge)
        return AnswerReward([row for row in rows if isinstance(row, AnswerRow)], scoring.METRICS[self.recipe.metric])

    def keeper(self, judge: Judge) -> KeepBest:
        """What scores the stage on its validation rows, and keeps the best weights."""
        return KeepBest(
            self._score(judge), self.actors.save, self.folder,
            every=self.stage.eval_every, patience=self.stage.patience, gathered=lambda: gathered(self.actors.model),
        )  # fmt: skip

    def _score(self, judge: Judge) -> Callable[[], float | None]:
        """Single decisions are scored, or what is learned from whole episodes: those."""
        greedy = Deciding(self.actors.policy(self.stage.role), self.recipe.style, self.recipe.related_k)
        if self.stage.algorithm == "logo" and self.held_out.episodes:
            return lambda: episode_score(greedy, self.held_out.episodes, judge)
        rows = self.held_out.rows
        reward = self.outcome(rows, judge)
        return lambda: greedy_score(greedy, rows, reward)

    @contextmanager
    def engine(self) -> Iterator[Engine | None]:
        """What generates in place of `transformers`, if anything does.

        Raises:
            ModelError: The server is away.
        """
        engine = self._engine()
        try:
            yield engine
        finally:
            if engine is not None:
                engine.close()

    def trainer(self, judge: Judge, callbacks: Sequence[TrainerCallback] = (), engine: Engine | None = None) -> Any:
        """The trainer of the stage's algorithm.

        Raises:
            InputError: The data or the settings do not suit it.
        """
        model, tokenizer = self.actors.model, self.actors.tokenizer
        common: dict[str, Any] = {"style": self.recipe.style, "callbacks": callbacks}
        if self.stage.begun and (self.stage.algorithm != "grpo" or self.stage.engine):
            raise InputError("Replies are begun for GRPO in this process only; leave begun or engine out.")
        if self.stage.algorithm == "sft":
            args = sft_config(self.recipe, self.stage, self.folder)
            made: Any = NodeSFTTrainer(model, tokenizer, self.learned.rows, args, **common)
        else:
            made = self._reinforced(judge, engine, common)
        made.memo = judge.memo
        made.remove_callback(PrinterCallback)  # which prints every log as a dictionary
        return made

    def _reinforced(self, judge: Judge, engine: Engine | None, common: dict[str, Any]) -> Any:
        recipe, stage = self.recipe, self.stage
        model, tokenizer, rows = self.actors.model, self.actors.tokenizer, self.learned.rows
        args = grpo_config(recipe, stage, self.folder)
        common |= {"beta": stage.beta}
        if stage.algorithm == "logo":
            return NodeLoGoTrainer(
                model, tokenizer, self._episodes(), judge, args, logo=stage.logo, related_k=recipe.related_k, **common
            )
        common |= {"engine": engine}
        rewards = self._rewards(judge)
        if stage.algorithm == "ppo":
            return NodePPOTrainer(model, tokenizer, rows, rewards, args, ppo=stage.ppo, **common)
        return NodeGRPOTrainer(model, tokenizer, rows, rewards, args, **common)

    def _rewards(self, judge: Judge) -> list[Weighted]:
        rows, stage = self.learned.rows, self.stage
        weighted = [Weighted(self.outcome(rows, judge))]
        if stage.format_weight:
            weighted.append(Weighted(FormatReward(rows), stage.format_weight))
        if stage.size_weight:
            weighted.append(Weighted(SizeReward(rows), stage.size_weight))
        return weighted

    def _episodes(self) -> Any:
        if not self.learned.episodes or self.stage.role != "manage" or self.stage.engine is not None:
            raise InputError("LoGo-GRPO trains the role 'manage' on conversations, in this process: leave engine out.")
        return self.learned.episodes

    def _engine(self) -> Engine | None:
        from langgraph_memory_r1.train.engines import BegunEngine, VLLMServerEngine, new_run

        if self.stage.begun:
            return BegunEngine(self.actors.policy(self.stage.role))
        if self.stage.engine is None:
            return None
        names = [new_run()]
        broadcast_object_list(names)
        return VLLMServerEngine(
            self.stage.engine, role=self.stage.role, folder=self.folder / "published",
            run=names[0], publishes=PartialState().is_main_process,
        )  # fmt: skip
