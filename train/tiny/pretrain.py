"""Makes the tiny base, from nothing: `python -m langgraph_memory_r1.train.tiny.pretrain FOLDER [threads]`.

    drills, lessons finding the memory that is about a person and a thing, and copying names: many exercises a text
    right replies   the prompts of the graph's nodes, as a trained agent would reply
    habits          the same prompts, as an untrained agent replies

A Qwen3 of four layers learns from an endless stream of PersonaWorld's part `base`. Stopped at any time, the command
goes on where it was. The seed fixes everything; another machine's arithmetic may differ in the last digits.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import accumulate, islice
from pathlib import Path
from typing import Any, Final

from langchain_core.messages import convert_to_openai_messages

from langgraph_memory_r1.prompts import render
from langgraph_memory_r1.train.models import silence_libraries
from langgraph_memory_r1.train.tiny.demonstrations import TOP_K, Demonstration, demonstrations
from langgraph_memory_r1.train.tiny.lessons import FEW, encode_lesson, lessons
from langgraph_memory_r1.train.tiny.tokens import END, train_tokenizer

Example = tuple[list[int], list[bool]]
"""Tokens, and which of them are to be said."""

_POOL: Final = 20
"""Batches that are drawn together and sorted by length."""
_SHARPNESS: Final = 2.0
"""First scale of normalised queries: the usual 1 cannot single out one place of a hundred."""
_CODES: Final = 0.1
"""Standard deviation of the words' first vectors; those of names stay as they are drawn, so that no name is known
better than another, and whatever is learned about names holds for all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How the base is made."""

    seed: int = 0
    tokens: int = 3000
    """In each step, about."""
    drills: int = 780
    """Steps with drills on three memories at most ..."""
    growing: int = 546
    """... with lessons on more and more memories ..."""
    lessons: int = 674
    """... with lessons on all that a prompt may show ..."""
    right: int = 1200
    """... with right replies ..."""
    habits: int = 500
    """... and with an untrained agent's replies."""
    mixed: float = 0.25
    """Share of right replies among the lessons, and of lessons among the right replies."""
    learning_rate: float = 3e-3
    warmup: int = 100
    decay: int = 1500
    """Steps, at the end, in which the learning rate goes to nothing."""
    hidden: int = 128
    layers: int = 4
    inner: int = 256
    heads: int = 4
    head: int = 64
    """Width of a head."""
    threads: int = 1
    saved: int = 200
    """Steps between two savings of the unfinished base."""

    @property
    def steps(self) -> int:
        """All of them."""
        return self.drills + self.growing + self.lessons + self.right + self.habits


def make(folder: str | Path, recipe: Recipe | None = None) -> Path:
    """Train a base and write it where `hf:FOLDER` finds it."""
    import torch

    recipe = recipe or Recipe()
    silence_libraries()
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    torch.set_num_threads(recipe.threads)
    tokenizer = new_tokenizer(recipe)
    model = new_model(recipe, tokenizer)
    unfinished = place / "unfinished.pt"
    tokenizer.save_pretrained(place)
    fit(model, tokenizer, recipe, unfinished)
    model.to(torch.float16).save_pretrained(place)
    unfinished.unlink()
    return place


def encode(tokenizer: Any, shown: Demonstration) -> tuple[list[int], list[int]]:
    """The ids of a prompt, as the graph's nodes render it, and of its reply with the end."""
    messages = convert_to_openai_messages(render(shown.given, "compact"))
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    ids = tokenizer([prompt, shown.reply + END], add_special_tokens=False)["input_ids"]
    return ids[0], ids[1]


def new_tokenizer(recipe: Recipe) -> Any:
    """The tokenizer, learned from demonstrations."""
    sample = islice(demonstrations(recipe.seed + 1), 6000)
    texts = (text for shown in sample for text in (render(shown.given, "compact")[1].text, shown.right))
    return train_tokenizer(texts)


def new_model(recipe: Recipe, tokenizer: Any) -> Any:
    """The model before it has learned anything.

    In half of its heads keys begin as queries do, so that a word attends to where it stood before: looking things up
    is learned within minutes from there, and not within an hour from nothing.
    """
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=recipe.hidden, num_hidden_layers=recipe.layers,
        intermediate_size=recipe.inner, num_attention_heads=recipe.heads, num_key_value_heads=recipe.heads,
        head_dim=recipe.head, max_position_embeddings=1024, tie_word_embeddings=True, use_cache=True,
        pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id, bos_token_id=None,
    )  # fmt: skip
    model = Qwen3ForCausalLM(config)
    words = model.model.embed_tokens.weight
    words.data.normal_(0, _CODES)
    words.requires_grad_(False)
    same = recipe.heads // 2 * recipe.head
    for layer in model.model.layers:
        attention = layer.self_attn
        attention.q_norm.weight.data.fill_(_SHARPNESS)
        attention.k_proj.weight.data[:same] = attention.q_proj.weight.data[:same]
    return model


def fit(model: Any, tokenizer: Any, recipe: Recipe, unfinished: Path, until: int | None = None) -> None:
    """Train, from where `unfinished` was left; `until` ends it before the recipe does."""
    import torch

    optimizers = _optimizers(model, recipe)
    done = _resumed(unfinished, model, optimizers)
    model.train()
    start, told = time.perf_counter(), 0.0
    last = recipe.steps if until is None else until
    for step, batch in enumerate(islice(_batches(tokenizer, recipe, done), last - done), done + 1):
        loss = _loss(model, batch, tokenizer.pad_token_id)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * _rate(step, recipe)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        told += loss.item()
        if step % 50 == 0:
            spent = time.perf_counter() - start
            print(f"step {step} {_stage(step, recipe)}  loss {told / 50:.4f}  {spent:.0f} s", flush=True)  # noqa: T201
            told = 0.0
        if step % recipe.saved == 0 or step == recipe.steps:
            states = [optimizer.state_dict() for optimizer in optimizers]
            torch.save({"step": step, "model": model.state_dict(), "optimizers": states}, unfinished)


def _optimizers(model: Any, recipe: Recipe) -> list[Any]:
    import torch

    matrices = [weight for name, weight in model.named_parameters() if "proj" in name]
    rest = [weight for name, weight in model.named_parameters() if "norm" in name]
    rate = recipe.learning_rate
    return [
        torch.optim.Muon(matrices, lr=rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def _resumed(unfinished: Path, model: Any, optimizers: list[Any]) -> int:
    """How many steps were done before."""
    import torch

    if not unfinished.exists():
        return 0
    saved = torch.load(unfinished, weights_only=True)
    model.load_state_dict(saved["model"])
    for optimizer, state in zip(optimizers, saved["optimizers"], strict=True):
        optimizer.load_state_dict(state)
    return int(saved["step"])


def _rate(step: int, recipe: Recipe) -> float:
    return min(1.0, step / recipe.warmup, 0.02 + 0.98 * (recipe.steps - step) / recipe.decay)


def _stage(step: int, recipe: Recipe) -> str:
    ends = accumulate((recipe.drills, recipe.growing, recipe.lessons, recipe.right))
    names = ("drills", "growing", "lessons", "right")
    return next((name for name, end in zip(names, ends, strict=True) if step <= end), "habits")


def _batches(tokenizer: Any, recipe: Recipe, done: int) -> Iterator[list[Example]]:
    """Batches from a step on; every pool of them has a seed of its own, so that a stopped run goes on the same."""
    for first in range(done - done % _POOL, recipe.steps, _POOL):
        pool = _pool(tokenizer, recipe, first)
        yield from pool[max(0, done - first) :]


def _pool(tokenizer: Any, recipe: Recipe, first: int) -> list[list[Example]]:
    rng = random.Random(f"{recipe.seed}/{first}")
    stage = _stage(first + 1, recipe)
    others = 0 if stage in ("drills", "habits") else round(recipe.mixed * _POOL)
    taught = {"drills": _POOL, "right": others, "habits": 0}.get(stage, _POOL - others)
    grown = min(1.0, max(0.0, (first - recipe.drills) / recipe.growing))
    most = round(FEW + grown * (TOP_K - FEW))
    drilled = 1.0 if stage == "drills" else 0.4
    exercises = (encode_lesson(tokenizer, lesson) for lesson in lessons(rng, most, drilled))
    shown = demonstrations(rng.getrandbits(32))
    replies = (_example(tokenizer, each if stage == "habits" else replace(each, reply=each.right)) for each in shown)
    pool = _packed(exercises, taught, recipe.tokens) + _packed(replies, _POOL - taught, recipe.tokens)
    rng.shuffle(pool)
    return pool


def _packed(stream: Iterator[Example], batches: int, tokens: int) -> list[list[Example]]:
    """So many batches of about so many tokens, each of examples of like length."""
    drawn: list[Example] = []
    while sum(len(ids) for ids, _ in drawn) < batches * tokens:
        drawn.append(next(stream))
    drawn.sort(key=lambda example: len(example[0]))
    packed: list[list[Example]] = [[] for _ in range(batches)]
    for place, example in enumerate(drawn):
        packed[place * batches // len(drawn)].append(example)
    return packed


def _example(tokenizer: Any, shown: Demonstration) -> Example:
    prompt, reply = encode(tokenizer, shown)
    return prompt + reply, [False] * len(prompt) + [True] * len(reply)


def _loss(model: Any, batch: list[Example], pad: int) -> Any:
    """Cross entropy of what is to be said.

    Padding stands on the right, where causal attention does not look.
    """
    import torch

    longest = max(len(ids) for ids, _ in batch)
    ids = torch.tensor([[*tokens, *[pad] * (longest - len(tokens))] for tokens, _ in batch])
    said = torch.tensor([[*marks, *[False] * (longest - len(marks))] for _, marks in batch])
    rows, columns = said[:, 1:].nonzero(as_tuple=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        states = model.model(input_ids=ids, use_cache=False).last_hidden_state
        logits = model.lm_head(states[rows, columns])
    return torch.nn.functional.cross_entropy(logits.float(), ids[rows, columns + 1])


if __name__ == "__main__":
    make(sys.argv[1], Recipe(threads=int(sys.argv[2]) if len(sys.argv) > 2 else 1))
