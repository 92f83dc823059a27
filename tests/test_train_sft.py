"""Supervised fine-tuning on a random tiny model: only the reply is learned."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("trl", reason="the extra `train` is not installed")

from trl import SFTConfig

from langgraph_memory_r1 import InputError
from langgraph_memory_r1.train.sft import NodeSFTTrainer
from support.tiny_model import (
    answer_rows,
    manager_rows,
    two_adapters,
)
from support.tiny_trainers import TOKENIZER, logged, same, weights

pytestmark = pytest.mark.slow  # TRL alone takes seconds to load


def test_supervised_tuning_learns_only_the_reply(tmp_path: Path) -> None:
    args = SFTConfig(
        output_dir=str(tmp_path), max_steps=8, learning_rate=5e-2, per_device_train_batch_size=4, use_cpu=True,
        bf16=False, activation_checkpointing=False, report_to="none", save_strategy="no", logging_steps=1,
        max_length=None, completion_only_loss=True, disable_tqdm=True,
    )  # fmt: skip
    made = NodeSFTTrainer(two_adapters(TOKENIZER), TOKENIZER, answer_rows(), args)
    batch = next(iter(made.get_train_dataloader()))
    learned = TOKENIZER.decode(batch["input_ids"][0][batch["labels"][0] != -100], skip_special_tokens=True)
    assert json.loads(learned) == {"selected": [0], "answer": "Buddy"}
    other = weights(made.model, "answer")
    made.train()
    assert same(other, weights(made.model, "answer"))
    losses = logged(made, "loss")
    assert losses[-1] < losses[0]


def test_rows_without_right_decisions_cannot_be_imitated(tmp_path: Path) -> None:
    from dataclasses import replace

    rows = [replace(row, gold=None) for row in manager_rows()]
    args = SFTConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, activation_checkpointing=False)
    with pytest.raises(InputError, match="No row has a right decision"):
        NodeSFTTrainer(two_adapters(TOKENIZER), TOKENIZER, rows, args)
