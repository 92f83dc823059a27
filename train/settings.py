"""TRL's settings for a stage: what the recipe says, on defaults that suit this machine."""

from __future__ import annotations

import difflib
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import torch
from trl import GRPOConfig, SFTConfig

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.models.openai_api import CHAT_TEMPLATE_KWARGS
from langgraph_memory_r1.train.recipe import Recipe, Stage

C = TypeVar("C", GRPOConfig, SFTConfig)

_NAMES = {item.name for item in fields(GRPOConfig)}
_CHECKPOINTING = "activation_checkpointing" if "activation_checkpointing" in _NAMES else "gradient_checkpointing"
"""transformers gave it a new name."""


def grpo_config(recipe: Recipe, stage: Stage, folder: Path) -> GRPOConfig:
    """For GRPO, PPO and LoGo-GRPO."""
    how = {
        "max_completion_length": recipe.max_tokens,
        "temperature": 1.0,
        "chat_template_kwargs": dict(CHAT_TEMPLATE_KWARGS),
    }
    return _made(GRPOConfig, how, recipe, stage, folder)


def sft_config(recipe: Recipe, stage: Stage, folder: Path) -> SFTConfig:
    """For supervised fine-tuning: only the reply is learned, and nothing is cut off."""
    return _made(SFTConfig, {"completion_only_loss": True, "max_length": None}, recipe, stage, folder)


def _made(kind: type[C], how: dict[str, Any], recipe: Recipe, stage: Stage, folder: Path) -> C:
    known = {item.name for item in fields(kind)}
    for name in stage.settings:
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {close[0]!r}?" if close else "."
            raise InputError(f"{kind.__name__} has no setting {name!r}{hint}")
    cuda = torch.cuda.is_available()
    defaults = {
        "output_dir": str(folder), "seed": recipe.seed, "report_to": recipe.report_to, "logging_steps": 1,
        "save_strategy": "steps", "save_steps": 10, "save_total_limit": 2, "disable_tqdm": True,
        "use_cpu": not cuda, "bf16": cuda, _CHECKPOINTING: cuda,
    }  # fmt: skip
    if stage.curriculum and kind is GRPOConfig:
        defaults["shuffle_dataset"] = False
    try:
        return kind(**{**defaults, **how, **stage.settings})
    except (ValueError, TypeError) as error:
        raise InputError(f"{kind.__name__} refuses the settings: {' '.join(str(error).split())}") from error
