"""Makes what the vLLM test serves: adapters of a base that know their lessons by heart.

    python tests/vllm_env/build.py BASE lessons.json FOLDER

`lessons.json`: {adapter: [[messages, reply], ...]}. Runs in the server's environment, which has torch and peft but not
this library. Takes some seconds.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

RANK = 16
STEPS = 400
ENOUGH = 0.005
"""A lesson with less loss than this is known by heart."""
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

Lessons = list[tuple[list[dict[str, str]], str]]


def batch_of(lessons: Lessons, tokenizer: Any) -> dict[str, torch.Tensor]:
    """The lessons padded to one length; only the replies count."""
    rows: list[tuple[list[int], int]] = []
    for messages, reply in lessons:
        text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        prompt = tokenizer(text)["input_ids"]
        rows.append((prompt + tokenizer(reply + tokenizer.eos_token)["input_ids"], len(prompt)))
    longest = max(len(ids) for ids, _ in rows)
    batch = {name: torch.zeros(len(rows), longest, dtype=torch.long) for name in ("input_ids", "attention_mask")}
    batch["labels"] = torch.full((len(rows), longest), -100)
    for number, (ids, start) in enumerate(rows):
        batch["input_ids"][number, : len(ids)] = torch.tensor(ids)
        batch["attention_mask"][number, : len(ids)] = 1
        batch["labels"][number, start : len(ids)] = torch.tensor(ids[start:])
    return batch


def learn(model: PeftModel, batch: dict[str, torch.Tensor]) -> float:
    """The loss in the end."""
    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=5e-3)
    loss = torch.tensor(0.0)
    for _ in range(STEPS):
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if loss.item() < ENOUGH:
            break
    return loss.item()


def main(base: str, lessons_file: str, folder: str) -> None:
    lessons: dict[str, Any] = json.loads(Path(lessons_file).read_text())
    tokenizer = AutoTokenizer.from_pretrained(base)
    for name, taught in lessons.items():
        torch.manual_seed(0)
        config = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=TARGETS, task_type="CAUSAL_LM")
        adapter = get_peft_model(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), config)
        loss = learn(adapter, batch_of(taught, tokenizer))
        adapter.save_pretrained(Path(folder) / name)
        sys.stdout.write(f"adapter {name}: loss {loss:.4f}, rank {RANK}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
