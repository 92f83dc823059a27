"""Supervised fine-tuning on right decisions: the baseline, and a warm start, where they are known.

trainer = NodeSFTTrainer(model, tokenizer, rows, args)
trainer.train()
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from datasets import Dataset
from transformers import TrainerCallback
from trl import SFTConfig, SFTTrainer

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.prompts import Style, render, write
from langgraph_memory_r1.train.models import as_chat
from langgraph_memory_r1.train.rows import ManagerRow, Row
from langgraph_memory_r1.train.trl_seams import NodeTrainer


class NodeSFTTrainer(NodeTrainer, SFTTrainer):  # type: ignore[misc]
    """TRL's SFTTrainer on the rows of one node; only the reply is learned.

    Args:
        model: A `transformers` model, or a `peft` model whose active adapter is trained.
        tokenizer: With a chat template.
        rows: With their right decisions; rows without one are passed over.
        args: TRL's settings.
        style: Of the prompts.
        callbacks: `transformers` callbacks.

    Raises:
        InputError: No row has a right decision.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        rows: Sequence[Row],
        args: SFTConfig,
        *,
        style: Style = "compact",
        callbacks: Sequence[TrainerCallback] = (),
    ) -> None:
        examples = demonstrations(rows, style)
        if not examples:
            raise InputError("No row has a right decision to imitate; give rows with gold operations or answers.")
        super().__init__(
            model,
            args,
            train_dataset=Dataset.from_list(examples),
            processing_class=tokenizer,
            callbacks=list(callbacks),
        )


def demonstrations(rows: Sequence[Row], style: Style) -> list[dict[str, Any]]:
    """Return prompt and completion of every row whose right decision is known, in TRL's conversational form."""
    return [
        {"prompt": as_chat(render(row.role_input, style)), "completion": [{"role": "assistant", "content": text}]}
        for row in rows
        if (text := right_reply(row)) is not None
    ]


def right_reply(row: Row) -> str | None:
    """Return the reply that says the right decision; None where it is not known."""
    if isinstance(row, ManagerRow):
        return None if row.gold is None else write(row.gold, row.role_input)
    return None if row.selected is None else write((row.gold, row.selected), row.role_input)
