"""What a recipe would do, without doing it: everything that can be checked before training is checked here."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from langgraph_memory_r1.prompts import render
from langgraph_memory_r1.train.estimates import CHARACTERS, SHAPES, is_at_hand
from langgraph_memory_r1.train.grpo import check_rows, dropped_rows
from langgraph_memory_r1.train.models import as_chat, prompt_ids
from langgraph_memory_r1.train.recipe import Recipe, Stage
from langgraph_memory_r1.train.rows import Row
from langgraph_memory_r1.train.run import prepare, prepare_rows
from langgraph_memory_r1.train.settings import grpo_config, sft_config
from langgraph_memory_r1.train.sft import right_reply
from langgraph_memory_r1.train.stage import Prepared

_ADAM = 8
"""Bytes that the optimizer keeps for a trained weight."""
_BF16 = 2
"""Bytes of a weight on a GPU."""
_SAMPLED = ("grpo", "ppo")


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
    memory: Memory | None
    """None where the base is not at hand and its shape not known."""
    prompt: str
    """The first one, as the model reads it."""
    estimated: bool = False
    """Without the base: tokens and memory are estimates, and banks are built by `rules`."""


def plan(recipe: Recipe, *, tell: Callable[[str], None] = lambda sentence: None) -> list[StagePlan]:
    """What the stages would do.

    A stage that goes on from an earlier one is planned with a fresh adapter, since that is not trained yet; rows that
    the run's own manager builds may come out otherwise then.

    Raises:
        InputError: Training would be refused.
    """
    look = _stage
    if not is_at_hand(recipe.base):
        look = _without_base
        tell(f"{recipe.base} is not here and the hub cannot be reached: tokens and memory are estimated, and banks are "
             "built by rules")  # fmt: skip
    with TemporaryDirectory(prefix="memory-r1-plan-") as scratch:
        found = []
        for number, stage in enumerate(recipe.stages):
            tell(f"looking at stage {number + 1} of {len(recipe.stages)}: {stage.algorithm} of {stage.role!r}")
            found.append(look(recipe, number, Path(scratch)))
        return found


def _stage(recipe: Recipe, number: int, scratch: Path) -> StagePlan:
    stage, ready = recipe.stages[number], prepare(recipe, number, scratch, fresh=True)
    with ready.engine() as engine:
        trainer = ready.trainer(ready.judge(), engine=engine)
    rows, tokenizer = ready.learned.rows, ready.actors.tokenizer
    prompts = ready.prompt_lengths()
    return StagePlan(
        ready.folder.name, stage.algorithm, len(rows), len(ready.held_out.rows), dict(ready.learned.skipped),
        _dropped(stage, trainer.args, rows), _lengths(prompts), _replies(rows, tokenizer),
        recipe.max_tokens, _memory(ready, trainer.args, max(prompts)), _first(ready),
    )  # fmt: skip


def _without_base(recipe: Recipe, number: int, scratch: Path) -> StagePlan:
    stage = recipe.stages[number]
    folder = scratch / f"{number + 1}-{stage.role}"
    learned, held_out = prepare_rows(recipe, stage, None, folder)
    args = (sft_config if stage.algorithm == "sft" else grpo_config)(recipe, stage, folder)
    if stage.algorithm in _SAMPLED:
        check_rows(args, len(learned.rows))
    texts = ["\n".join(f"{m['role']}: {m['content']}" for m in as_chat(render(row.given, recipe.style)))
             for row in learned.rows]  # fmt: skip
    prompts = [len(text) // CHARACTERS for text in texts]
    replies = [len(text) // CHARACTERS for row in learned.rows if (text := right_reply(row)) is not None]
    return StagePlan(
        folder.name, stage.algorithm, len(learned.rows), len(held_out.rows), dict(learned.skipped),
        _dropped(stage, args, learned.rows), _lengths(prompts), _lengths(replies) if replies else None,
        recipe.max_tokens, _known_memory(recipe, args, max(prompts)), texts[0], estimated=True,
    )  # fmt: skip


def _dropped(stage: Stage, args: Any, rows: Sequence[Row]) -> int:
    return dropped_rows(args, len(rows)) if stage.algorithm in _SAMPLED else 0


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
    width = model.config.hidden_size * model.config.num_hidden_layers * (2 if _recomputes(args) else 16)
    tokens = args.per_device_train_batch_size * (longest + ready.recipe.max_tokens)
    return Memory(weights, trained * (_ADAM + size), tokens * width * size)


def _known_memory(recipe: Recipe, args: Any, longest: int) -> Memory | None:
    """The same from the shape of a base that is known, on a GPU."""
    shape = SHAPES.get(recipe.base)
    if shape is None:
        return None
    trained = shape.parameters if recipe.lora is None else shape.adapter(recipe.lora.r)
    tokens = args.per_device_train_batch_size * (longest + recipe.max_tokens)
    activations = tokens * shape.hidden * shape.layers * 2  # a GPU's default is to compute them again
    return Memory(shape.parameters * _BF16, trained * (_ADAM + _BF16), activations * _BF16)


def _recomputes(args: Any) -> bool:
    return bool(args.gradient_checkpointing or getattr(args, "activation_checkpointing", False))
