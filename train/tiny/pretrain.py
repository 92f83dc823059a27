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
"""Tokens, and which of them are learned."""

_POOL: Final = 20
"""Batches that are drawn together and sorted by length."""
# First scale of normalised queries: the usual 1 cannot single out one place of a hundred.
_SHARPNESS: Final = 2.0
# Standard deviation of the words' vectors, which stay as they are drawn: no name is known better than another, and
# whatever is learned about names holds for all.
_CODES: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Pretraining:
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


def make(folder: str | Path, config: Pretraining | None = None) -> Path:
    """Train a base and write it where `hf:FOLDER` finds it; the folder."""
    import torch

    config = config or Pretraining()
    silence_libraries()
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    torch.set_num_threads(config.threads)
    tokenizer = new_tokenizer(config)
    model = new_model(config, tokenizer)
    unfinished = target / "unfinished.pt"
    tokenizer.save_pretrained(target)
    fit(model, tokenizer, config, unfinished)
    model.to(torch.float16).save_pretrained(target)
    unfinished.unlink()
    return target


def encode(tokenizer: Any, shown: Demonstration) -> tuple[list[int], list[int]]:
    """Return the ids of a prompt, as the graph's nodes render it, and of its reply with the end."""
    messages = convert_to_openai_messages(render(shown.role_input, "compact"))
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    ids = tokenizer([prompt, shown.reply + END], add_special_tokens=False)["input_ids"]
    return ids[0], ids[1]


def new_tokenizer(config: Pretraining) -> Any:
    """Return the tokenizer, learned from demonstrations."""
    sample = islice(demonstrations(config.seed + 1), 6000)
    texts = (text for shown in sample for text in (render(shown.role_input, "compact")[1].text, shown.right))
    return train_tokenizer(texts)


def new_model(config: Pretraining, tokenizer: Any) -> Any:
    """Return the model before it has learned anything.

    In half of its heads keys begin as queries do, so that a word attends to where it stood before: looking things up
    is learned within minutes from there, and not within an hour from nothing.
    """
    from transformers import Qwen3Config, Qwen3ForCausalLM

    model = Qwen3ForCausalLM(Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=config.hidden, num_hidden_layers=config.layers,
        intermediate_size=config.inner, num_attention_heads=config.heads, num_key_value_heads=config.heads,
        head_dim=config.head, max_position_embeddings=1024, tie_word_embeddings=True, use_cache=True,
        pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id, bos_token_id=None,
    ))  # fmt: skip
    words = model.model.embed_tokens.weight
    words.data.normal_(0, _CODES)
    words.requires_grad_(False)
    same = config.heads // 2 * config.head
    for layer in model.model.layers:
        attention = layer.self_attn
        attention.q_norm.weight.data.fill_(_SHARPNESS)
        attention.k_proj.weight.data[:same] = attention.q_proj.weight.data[:same]
    return model


def fit(model: Any, tokenizer: Any, config: Pretraining, unfinished: Path, until: int | None = None) -> None:
    """Train, from where `unfinished` was left; `until` ends it before the config does."""
    import torch

    matrices = [weight for name, weight in model.named_parameters() if "proj" in name]
    norms = [weight for name, weight in model.named_parameters() if "norm" in name]
    # All that learns: the words' vectors are frozen. Muon's steps are scaled to those of AdamW, so that one learning
    # rate serves both.
    optimizers = [
        torch.optim.Muon(matrices, lr=config.learning_rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(norms, lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    done = 0
    if unfinished.exists():
        saved = torch.load(unfinished, weights_only=True)
        model.load_state_dict(saved["model"])
        for optimizer, state in zip(optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        done = int(saved["step"])
    model.train()
    start, losses = time.perf_counter(), 0.0
    last = config.steps if until is None else until
    for step, batch in enumerate(islice(batches(tokenizer, config, done), last - done), done + 1):
        loss = _loss(model, batch, tokenizer.pad_token_id)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        rate = min(1.0, step / config.warmup, 0.02 + 0.98 * (config.steps - step) / config.decay)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        losses += loss.item()
        if step % 50 == 0:
            seconds = time.perf_counter() - start
            mean = losses / 50
            print(f"step {step} {_part(step, config)}  loss {mean:.4f}  {seconds:.0f} s", flush=True)  # noqa: T201
            losses = 0.0
        if step % config.saved == 0 or step == config.steps:
            states = [optimizer.state_dict() for optimizer in optimizers]
            torch.save({"step": step, "model": model.state_dict(), "optimizers": states}, unfinished)


def _part(step: int, config: Pretraining) -> str:
    """What is learned in a step."""
    ends = accumulate((config.drills, config.growing, config.lessons, config.right))
    names = ("drills", "growing", "lessons", "right")
    return next((name for name, end in zip(names, ends, strict=True) if step <= end), "habits")


def batches(tokenizer: Any, config: Pretraining, done: int) -> Iterator[list[Example]]:
    """Yield the batches of the steps after `done`.

    Every pool of them has a seed of its own, so that a stopped run goes on the same.
    """
    for first in range(done - done % _POOL, config.steps, _POOL):
        rng = random.Random(f"{config.seed}/{first}")
        part = _part(first + 1, config)
        others = 0 if part in ("drills", "habits") else round(config.mixed * _POOL)
        taught = {"drills": _POOL, "right": others, "habits": 0}.get(part, _POOL - others)
        grown = min(1.0, max(0.0, (first - config.drills) / config.growing))
        most = round(FEW + grown * (TOP_K - FEW))
        drilled = 1.0 if part == "drills" else 0.4
        exercises = (encode_lesson(tokenizer, lesson) for lesson in lessons(rng, most, drilled))
        replies = _replies(tokenizer, demonstrations(rng.getrandbits(32)), as_habits=part == "habits")
        pool = _packed(exercises, taught, config.tokens) + _packed(replies, _POOL - taught, config.tokens)
        rng.shuffle(pool)
        yield from pool[max(0, done - first) :]


def _replies(tokenizer: Any, stream: Iterator[Demonstration], *, as_habits: bool) -> Iterator[Example]:
    """Prompts with an untrained agent's replies, or with the right ones; only the replies are learned."""
    for shown in stream:
        prompt, reply = encode(tokenizer, shown if as_habits else replace(shown, reply=shown.right))
        yield prompt + reply, [False] * len(prompt) + [True] * len(reply)


def _packed(stream: Iterator[Example], count: int, tokens: int) -> list[list[Example]]:
    """So many batches of about so many tokens, each of examples of like length."""
    drawn: list[Example] = []
    while sum(len(ids) for ids, _ in drawn) < count * tokens:
        drawn.append(next(stream))
    drawn.sort(key=lambda example: len(example[0]))
    packed: list[list[Example]] = [[] for _ in range(count)]
    for number, example in enumerate(drawn):
        packed[number * count // len(drawn)].append(example)
    return packed


def _loss(model: Any, batch: list[Example], pad: int) -> Any:
    """Cross entropy of what is learned: a scalar.

    Padding stands on the right, where causal attention does not look.
    """
    import torch

    longest = max(len(ids) for ids, _ in batch)
    ids = torch.tensor([[*tokens, *[pad] * (longest - len(tokens))] for tokens, _ in batch])  # (B, T)
    learned = torch.tensor([[*marks, *[False] * (longest - len(marks))] for _, marks in batch])
    rows, columns = learned[:, 1:].nonzero(as_tuple=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        states = model.model(input_ids=ids, use_cache=False).last_hidden_state
        # Only where something is learned is a state compared with all words of the vocabulary.
        logits = model.lm_head(states[rows, columns])
    return torch.nn.functional.cross_entropy(logits.float(), ids[rows, columns + 1])


if __name__ == "__main__":
    make(sys.argv[1], Pretraining(threads=int(sys.argv[2]) if len(sys.argv) > 2 else 1))
