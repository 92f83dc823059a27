"""What a person sees of training: how it goes, and what a recipe would do before it is carried out.

train(recipe, callbacks=[ShowProgress(console)])
for stage in dry_run(recipe): ...                  everything that can be checked before training is checked
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from langgraph_memory_r1.prompts import render
from langgraph_memory_r1.train.bases import CHARACTERS, SHAPES, is_at_hand
from langgraph_memory_r1.train.grpo import check_rows, dropped_rows
from langgraph_memory_r1.train.models import as_chat, prompt_ids
from langgraph_memory_r1.train.recipe import Recipe, grpo_config, sft_config
from langgraph_memory_r1.train.sft import right_reply
from langgraph_memory_r1.train.stage import prepare, prepare_rows, stage_folder

_LINES = 20
"""In a pipe, so many for a stage."""
_ADAM = 8
"""Bytes that the optimizer keeps for a trained weight."""
_BF16, _FP32 = 2, 4
"""Bytes of a weight on a GPU; weights that are all trained are float32."""
_SAMPLED = ("grpo", "ppo")


class ShowProgress(TrainerCallback):  # type: ignore[misc]
    """A bar on a terminal, some lines in a pipe: step, reward, KL, groups that teach nothing, the time that is left.

    Args:
        console: Where to; a bar if it is a terminal.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._start, self._first_step = 0.0, 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock."""
        self._start, self._first_step = time.monotonic(), state.global_step
        if self.console.is_terminal and state.is_world_process_zero:
            self._bar = Progress(
                TextColumn("step {task.completed}/{task.total}"), BarColumn(), TextColumn("{task.description}"),
                console=self.console, transient=True,
            )  # fmt: skip
            self._task = self._bar.add_task("", total=state.max_steps, completed=state.global_step)
            self._bar.start()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Show what was logged for a step."""
        if not logs or "train_runtime" in logs or not state.is_world_process_zero:
            return
        done = max(1, int(state.global_step) - self._first_step)
        remaining = (time.monotonic() - self._start) / done * int(state.max_steps - state.global_step)
        minutes, seconds = divmod(int(remaining), 60)
        left = f"{minutes // 60}:{minutes % 60:02}:{seconds:02}" if minutes >= 60 else f"{minutes}:{seconds:02}"
        line = ", ".join([*describe(logs), f"{left} left"])
        if self._bar is not None:
            self._bar.update(self._task, completed=state.global_step, description=line)
        elif state.global_step % max(1, state.max_steps // _LINES) == 0 or state.global_step == state.max_steps:
            self.console.print(f"step {state.global_step}/{state.max_steps}: {line}", soft_wrap=True)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def describe(logs: dict[str, Any]) -> list[str]:
    """Return the numbers that matter, of what TRL logs."""
    names = [("reward", "reward", ".3f"), ("kl", "KL", ".2g"), ("frac_reward_zero_std", "without variance", ".0%"),
             ("value_loss", "value loss", ".2g")]  # fmt: skip
    texts = [f"{name} {logs[key]:{layout}}" for key, name, layout in names if logs.get(key) is not None]
    return texts or [f"loss {float(logs['loss']):.3f}"] if "loss" in logs else texts


@dataclass(frozen=True, slots=True)
class Lengths:
    """Of some texts, in tokens."""

    shortest: int
    median: int
    longest: int


@dataclass(frozen=True, slots=True)
class MemoryUse:
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
class StageEstimate:
    """What a stage would do and need, before it runs."""

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
    memory: MemoryUse | None
    """None where the base is not at hand and its shape not known."""
    prompt: str
    """The first one, as the model reads it."""
    estimated: bool = False
    """Without the base: tokens and memory are estimates, and banks are built by `rules`."""


def dry_run(recipe: Recipe, *, notify: Callable[[str], None] = lambda sentence: None) -> list[StageEstimate]:
    """Return what the stages would do, without doing it.

    A stage that goes on from an earlier one is estimated with a fresh adapter, since that is not trained yet, and
    `rules` build the banks that rows start from: rows that the run's own manager builds may come out otherwise then.

    Raises:
        InputError: Training would be refused.
    """
    estimate_stage = _estimate
    if not is_at_hand(recipe.base):
        estimate_stage = _estimate_without_base
        notify(f"{recipe.base} is not here and the hub cannot be reached: tokens and memory are estimated, and banks "
               "are built by rules")  # fmt: skip
    estimates = []
    with TemporaryDirectory(prefix="memory-r1-plan-") as scratch:
        for number, stage in enumerate(recipe.stages):
            notify(f"looking at stage {number + 1} of {len(recipe.stages)}: {stage.algorithm} of {stage.role!r}")
            estimates.append(estimate_stage(recipe, number, Path(scratch)))
    return estimates


def _estimate(recipe: Recipe, number: int, scratch: Path) -> StageEstimate:
    stage, ready = recipe.stages[number], prepare(recipe, number, scratch, fresh=True)
    with ready.engine() as engine:
        args = ready.trainer(ready.frozen_answerer(), engine=engine).args
    rows, tokenizer, model = ready.learned.rows, ready.models.tokenizer, ready.models.model
    prompts = ready.prompt_lengths()
    replies = [
        len(tokenizer(text, add_special_tokens=False)["input_ids"])
        for row in rows
        if (text := right_reply(row)) is not None
    ]
    # One copy of the base, gradients and optimizer of what is trained, and the activations of one micro-batch: two
    # hidden states a layer and token where they are computed again, else all that a layer keeps, about sixteen.
    weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    size = next(model.parameters()).element_size()
    recomputes = args.gradient_checkpointing or getattr(args, "activation_checkpointing", False)
    width = model.config.hidden_size * model.config.num_hidden_layers * (2 if recomputes else 16)
    tokens = args.per_device_train_batch_size * (max(prompts) + recipe.max_tokens)
    return StageEstimate(
        ready.folder.name, stage.algorithm, len(rows), len(ready.held_out.rows), dict(ready.learned.skipped),
        dropped_rows(args, len(rows)) if stage.algorithm in _SAMPLED else 0, _lengths(prompts),
        _lengths(replies) if replies else None, recipe.max_tokens,
        MemoryUse(weights, trained * (_ADAM + size), tokens * width * size),
        str(tokenizer.decode(prompt_ids(tokenizer, render(rows[0].role_input, recipe.style)))),
    )  # fmt: skip


def _estimate_without_base(recipe: Recipe, number: int, scratch: Path) -> StageEstimate:
    stage, folder = recipe.stages[number], stage_folder(recipe, number, scratch)
    learned, held_out = prepare_rows(recipe, stage, None, folder)
    args: Any = (sft_config if stage.algorithm == "sft" else grpo_config)(recipe, stage, folder)
    if stage.algorithm in _SAMPLED:
        check_rows(args, len(learned.rows))
    texts = ["\n".join(f"{m['role']}: {m['content']}" for m in as_chat(render(row.role_input, recipe.style)))
             for row in learned.rows]  # fmt: skip
    prompts = [len(text) // CHARACTERS for text in texts]
    replies = [len(text) // CHARACTERS for row in learned.rows if (text := right_reply(row)) is not None]
    memory = None
    if shape := SHAPES.get(recipe.base):  # as in `_estimate`, on a GPU, where activations are computed again by default
        size = _FP32 if recipe.lora is None else _BF16
        trained = shape.parameters if recipe.lora is None else shape.adapter(recipe.lora.r)
        tokens = args.per_device_train_batch_size * (max(prompts) + recipe.max_tokens)
        activations = tokens * shape.hidden * shape.layers * 2 * _BF16
        memory = MemoryUse(shape.parameters * size, trained * (_ADAM + size), activations)
    return StageEstimate(
        folder.name, stage.algorithm, len(learned.rows), len(held_out.rows), dict(learned.skipped),
        dropped_rows(args, len(learned.rows)) if stage.algorithm in _SAMPLED else 0, _lengths(prompts),
        _lengths(replies) if replies else None, recipe.max_tokens, memory, texts[0], estimated=True,
    )  # fmt: skip


def _lengths(counts: Sequence[int]) -> Lengths:
    return Lengths(min(counts), int(statistics.median(counts)), max(counts))
