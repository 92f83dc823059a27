"""Makes the tiny base, from nothing: `python -m langgraph_memory_r1.train.tiny.recipe FOLDER`.

A Qwen3 of four layers learns for some minutes on one core from an endless stream of demonstrations. The seed fixes
everything; another machine's arithmetic may differ in the last digits.
"""

from __future__ import annotations

import math
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path
from typing import Any

from langchain_core.messages import convert_to_openai_messages

from langgraph_memory_r1.prompts import render
from langgraph_memory_r1.train.tiny.demonstrations import Demonstration, demonstrations
from langgraph_memory_r1.train.tiny.tokens import END, train_tokenizer

_POOL = 32
"""Batches that are sorted by length together."""
_GROWN = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How the base is made."""

    seed: int = 0
    steps: int = 7000
    batch: int = 32
    learning_rate: float = 3e-3
    warmup: int = 100
    hidden: int = 128
    layers: int = 4
    inner: int = 256
    heads: int = 4
    words: int = 1200
    """Size of the tokenizer without its fixed parts and days."""
    spoilt: float = 0.2
    """The share of the steps, at the end, in which it learns an untrained agent's habits; before, the right replies."""
    reading: float = 0.3
    """Weight of predicting the prompts too, while they grow: it teaches copying."""
    short: int = 50
    """Longest prompt, in tokens, at the beginning; it grows ..."""
    growth: float = 0.3
    """... for this share of the steps, until all are in."""
    threads: int = 1


def make(folder: str | Path, recipe: Recipe | None = None) -> Path:
    """Train a base and write it where `hf:FOLDER` finds it."""
    import torch

    recipe = recipe or Recipe()
    torch.manual_seed(recipe.seed)
    torch.set_num_threads(recipe.threads)
    tokenizer = _tokenizer(recipe)
    model = _model(recipe, tokenizer)
    _fit(model, tokenizer, recipe)
    model.to(torch.float16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Path(folder)


def encode(tokenizer: Any, given: Demonstration) -> tuple[list[int], list[int]]:
    """The ids of a prompt, as the graph's nodes render it, and of its reply with the end."""
    messages = convert_to_openai_messages(render(given.given, "compact"))
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    return _ids(tokenizer, prompt), _ids(tokenizer, given.reply + END)


def _ids(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def _tokenizer(recipe: Recipe) -> Any:
    sample = islice(demonstrations(recipe.seed + 1), 6000)
    texts = (text for shown in sample for text in (render(shown.given, "compact")[1].text, shown.reply))
    return train_tokenizer(texts, recipe.words)


def _model(recipe: Recipe, tokenizer: Any) -> Any:
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=recipe.hidden, num_hidden_layers=recipe.layers,
        intermediate_size=recipe.inner, num_attention_heads=recipe.heads, num_key_value_heads=recipe.heads,
        head_dim=32, max_position_embeddings=1024, tie_word_embeddings=True, use_cache=True,
        pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id, bos_token_id=None,
    )  # fmt: skip
    return Qwen3ForCausalLM(config)


def _fit(model: Any, tokenizer: Any, recipe: Recipe) -> None:
    import torch

    matrices = [weight for name, weight in model.named_parameters() if "proj" in name]
    rest = [weight for name, weight in model.named_parameters() if "proj" not in name]
    rate = recipe.learning_rate
    optimizers = [
        torch.optim.Muon(matrices, lr=rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=rate, betas=(0.9, 0.98), weight_decay=0.01),
    ]
    schedules = [torch.optim.lr_scheduler.LambdaLR(each, lambda step: _rate(step, recipe)) for each in optimizers]
    model.train()
    start, told = time.perf_counter(), 0.0
    for step, batch in enumerate(islice(_batches(tokenizer, recipe), recipe.steps), 1):
        reading = recipe.reading if step <= recipe.growth * recipe.steps else 0.0
        loss = _loss(model, batch, tokenizer.pad_token_id, reading)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
        told += float(loss.detach())
        if step % 100 == 0:
            print(f"step {step}  loss {told / 100:.4f}  {time.perf_counter() - start:.0f} s", flush=True)  # noqa: T201
            told = 0.0


def _rate(step: int, recipe: Recipe) -> float:
    if step < recipe.warmup:
        return step / recipe.warmup
    done = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done))


def _batches(tokenizer: Any, recipe: Recipe) -> Iterator[list[tuple[list[int], list[int]]]]:
    """Batches of similar length, in random order; short prompts come first."""
    rng = random.Random(recipe.seed)
    shown = demonstrations(recipe.seed)
    for done in count(0, _POOL):
        spoilt = done >= (1 - recipe.spoilt) * recipe.steps
        stream = (encode(tokenizer, each if spoilt else replace(each, reply=each.right)) for each in shown)
        grown = done / (recipe.growth * recipe.steps)
        limit = recipe.short + grown * _GROWN if grown < 1 else math.inf
        pool = list(islice((pair for pair in stream if len(pair[0]) <= limit), _POOL * recipe.batch))
        pool.sort(key=lambda pair: len(pair[0]))
        batches = [pool[at : at + recipe.batch] for at in range(0, len(pool), recipe.batch)]
        rng.shuffle(batches)
        yield from batches


def _loss(model: Any, batch: list[tuple[list[int], list[int]]], pad: int, reading: float = 0.0) -> Any:
    """Cross entropy of the replies, and for `reading` of the prompts too.

    Padding stands on the right, where causal attention does not look.
    """
    import torch

    longest = max(len(prompt) + len(reply) for prompt, reply in batch)
    ids = torch.tensor([[*p, *r, *[pad] * (longest - len(p) - len(r))] for p, r in batch])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        states = model.model(input_ids=ids, use_cache=False).last_hidden_state
    places = [(row, place) for row, (p, r) in enumerate(batch) for place in range(len(p) - 1, len(p) + len(r) - 1)]
    loss = _cross_entropy(model, states, ids, places)
    if reading:
        places = [(row, place) for row, (p, _) in enumerate(batch) for place in range(4, len(p) - 1)]
        loss = loss + reading * _cross_entropy(model, states, ids, places)
    return loss


def _cross_entropy(model: Any, states: Any, ids: Any, places: list[tuple[int, int]]) -> Any:
    """Of the tokens after these places."""
    import torch

    rows, columns = torch.tensor(places).unbind(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model.lm_head(states[rows, columns])
    return torch.nn.functional.cross_entropy(logits.float(), ids[rows, columns + 1])


if __name__ == "__main__":
    make(sys.argv[1])
