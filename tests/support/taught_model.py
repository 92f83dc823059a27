"""A tiny base that was taught for seconds to say one of two things in each role: enough for decisions that can be read,
for scores that are neither 0 nor 1, and for training to change them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from langgraph_memory_r1.evals.personaworld import generate
from langgraph_memory_r1.models import RulesChatModel
from langgraph_memory_r1.prompts import render
from langgraph_memory_r1.train.models import ChatPolicy, prompt_ids
from langgraph_memory_r1.train.rollout import RolePolicy, episodes_of
from langgraph_memory_r1.train.rows import Row
from langgraph_memory_r1.train.sources import answer_rows, manager_rows
from support.tiny_model import TEMPLATE, tiny_base

SAID = {
    "answer": ('{"selected":[],"answer":"I don\'t know"}', '{"selected":[],"answer":"nothing"}'),
    "manage": (
        '{"operations":[{"event":"ADD","fact":0,"text":"noted"}]}',
        '{"operations":[{"event":"DELETE","fact":0,"id":0}]}',
    ),
}
"""The usual reply first; what it says does not depend on the prompt."""
USUAL = 0.7
STEPS = 100
BATCH = 8


def taught_base(folder: Path) -> Path:
    """The base in a folder, for `hf:` and for recipes."""
    random.seed(0)
    rows = _rows()
    tokenizer = _tokenizer([message.text for row in rows for message in render(row.role_input, "compact")])
    model = tiny_base(tokenizer)
    _teach(model, tokenizer, rows)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _rows() -> list[Row]:
    rules = RolePolicy(ChatPolicy(RulesChatModel()), "full", k=6)
    episodes = episodes_of([story.conversation for story in generate("train", conversations=6)])
    return [*manager_rows(episodes, rules)[0], *answer_rows(episodes, rules, k=10)[0]]


def _tokenizer(texts: Sequence[str]) -> Any:
    """Whole replies are a few tokens."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bpe.decoder = decoders.ByteLevel()
    learn = trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<pad>", "<eos>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )  # fmt: skip
    replies = [reply for replies in SAID.values() for reply in replies]
    bpe.train_from_iterator([*texts, *replies * 30], learn)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, pad_token="<pad>", eos_token="<eos>")
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def _teach(model: Any, tokenizer: Any, rows: Sequence[Row]) -> None:
    rng = random.Random(0)
    prompts = [(row.node, prompt_ids(tokenizer, render(row.role_input, "compact"))) for row in rows]
    replies = {node: [[*tokenizer(text)["input_ids"], tokenizer.eos_token_id] for text in SAID[node]] for node in SAID}
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(STEPS):
        pairs = [(prompt, replies[node][rng.random() > USUAL]) for node, prompt in rng.sample(prompts, BATCH)]
        width = max(len(prompt) + len(reply) for prompt, reply in pairs)
        ids = [prompt + reply + [0] * (width - len(prompt) - len(reply)) for prompt, reply in pairs]
        labels = [[-100] * len(p) + reply + [-100] * (width - len(p) - len(reply)) for p, reply in pairs]
        loss = model(input_ids=torch.tensor(ids), labels=torch.tensor(labels)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
