"""What a recipe would do, without doing it: everything that can be checked before training is checked here."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from langgraph_memory_r1.prompts import render
from langgraph_memory_r1.train.grpo import dropped_rows
from langgraph_memory_r1.train.policy import prompt_ids
from langgraph_memory_r1.train.recipe import Recipe, Stage
from langgraph_memory_r1.train.rows import Row
from langgraph_memory_r1.train.run import prepare
from langgraph_memory_r1.train.sft import right_reply
from langgraph_memory_r1.train.trainers import Prepared

_ADAM = 8
"""Bytes that the optimizer keeps for a trained weight."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """Of some texts, in tokens."""

    shortest: int
    median: int
    longest: int


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes, roughly: what is computed from the model's shape and the settings, without what libraries add."""

    weights: int
    trained: int
    """Gradients and the optimizer's state."""
    activations: int
    """Of one forward and backward pass."""

    @property
    def total(self) -> int:
        """All together."""
        return self.weights + self.trained + self.activations


@dataclass(frozen=True, slots=True)
class StagePlan:
    """What a stage would do."""

    name: str
    algorithm: str
    rows: int
    validation: int
    skipped: dict[str, int]
    """What gives no row, counted by reason."""
    dropped: int
    """Rows that every epoch leaves out."""
    prompts: Lengths
    replies: Lengths | None
    """Right ones, where they are known; a sampled one has at most `max_tokens`."""
    longest_reply: int
    memory: Memory
    prompt: str
    """The first one, as the model reads it."""


def plan(recipe: Recipe, *, tell: Callable[[str], None] = lambda sentence: None) -> list[StagePlan]:
    """What the stages would do.

    A stage that goes on from an earlier one is planned with a fresh adapter, since that is not trained yet; rows that
    the run's own manager builds may come out otherwise then.

    Raises:
        InputError: Training would be refused.
    """
    with TemporaryDirectory(prefix="memory-r1-plan-") as scratch:
        return [_stage(recipe, stage, number, Path(scratch), tell) for number, stage in enumerate(recipe.stages)]


def _stage(recipe: Recipe, stage: Stage, number: int, scratch: Path, tell: Callable[[str], None]) -> StagePlan:
    tell(f"looking at stage {number + 1} of {len(recipe.stages)}: {stage.algorithm} of {stage.role!r}")
    ready = prepare(recipe, number, scratch, fresh=True)
    trainer = ready.trainer(ready.judge())
    rows, tokenizer = ready.learned.rows, ready.actors.tokenizer
    prompts = ready.prompt_lengths()
    sampled = stage.algorithm in ("grpo", "ppo")
    return StagePlan(
        ready.folder.name, stage.algorithm, len(rows), len(ready.held_out.rows), dict(ready.learned.skipped),
        dropped_rows(trainer.args, len(rows)) if sampled else 0, _lengths(prompts), _replies(rows, tokenizer),
        recipe.max_tokens, _memory(ready, trainer.args, max(prompts)), _first(ready),
    )  # fmt: skip


def _first(ready: Prepared) -> str:
    row, tokenizer = ready.learned.rows[0], ready.actors.tokenizer
    return str(tokenizer.decode(prompt_ids(tokenizer, render(row.given, ready.recipe.style))))


def _replies(rows: Sequence[Row], tokenizer: Any) -> Lengths | None:
    known = [text for row in rows if (text := right_reply(row)) is not None]
    return _lengths([len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in known]) if known else None


def _lengths(counts: Sequence[int]) -> Lengths:
    return Lengths(min(counts), int(statistics.median(counts)), max(counts))


def _memory(ready: Prepared, args: Any, longest: int) -> Memory:
    """One copy of the base, the optimizer for what is trained, and the activations of one micro-batch."""
    model = ready.actors.model
    weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    size = next(model.parameters()).element_size()
    shape = model.config
    tokens = args.per_device_train_batch_size * (longest + ready.recipe.max_tokens)
    kept = 2 if args.gradient_checkpointing or getattr(args, "activation_checkpointing", False) else 16
    return Memory(weights, trained * (_ADAM + size), tokens * shape.hidden_size * shape.num_hidden_layers * kept * size)
