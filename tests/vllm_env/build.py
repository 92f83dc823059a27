"""Makes what the vLLM test serves: a tiny random Qwen3, its tokenizer, and adapters that know their lessons by heart.

    python tests/vllm_env/build.py lessons.json FOLDER

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
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

RANK = 16
STEPS = 400
ENOUGH = 0.005
"""A lesson with less loss than this is known by heart."""
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

Lessons = list[tuple[list[dict[str, str]], str]]


def make_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE that knows the lessons' words."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=640, special_tokens=special, initial_alphabet=alphabet)
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template=TEMPLATE
    )


def make_base(tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    """A model that has learned nothing."""
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=32, max_position_embeddings=2048, tie_word_embeddings=False,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, bos_token_id=None,
    )  # fmt: skip
    model = Qwen3ForCausalLM(config)
    model.lm_head.weight.data *= 10  # so that the adapters, which cannot change it, can be sure of a token
    return model


def batch_of(lessons: Lessons, tokenizer: PreTrainedTokenizerFast) -> dict[str, torch.Tensor]:
    """The lessons padded to one length; only the replies count."""
    rows: list[tuple[list[int], int]] = []
    for messages, reply in lessons:
        text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        prompt = tokenizer(text)["input_ids"]
        rows.append((prompt + tokenizer(reply + "<|im_end|>")["input_ids"], len(prompt)))
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


def main(lessons_file: str, folder: str) -> None:
    lessons: dict[str, Any] = json.loads(Path(lessons_file).read_text())
    said = [
        json.dumps(lesson, ensure_ascii=False) + "".join(m["content"] for m in lesson[0]) + lesson[1]
        for taught in lessons.values()
        for lesson in taught
    ]
    tokenizer = make_tokenizer(said)
    for name in ("base", *lessons):
        torch.manual_seed(0)
        base = make_base(tokenizer)
        if name == "base":
            base.save_pretrained(Path(folder) / name)
            tokenizer.save_pretrained(Path(folder) / name)
            continue
        config = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=TARGETS, task_type="CAUSAL_LM")
        adapter = get_peft_model(base, config)
        loss = learn(adapter, batch_of(lessons[name], tokenizer))
        adapter.save_pretrained(Path(folder) / name)
        sys.stdout.write(f"adapter {name}: loss {loss:.4f}, rank {RANK}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
