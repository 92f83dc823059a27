"""Models that reply to many prompts at once: what is being trained, and the frozen Answer Agent that judges it.

LocalPolicy(model, tokenizer, adapter="answer").reply(prompts)          greedy, in batches
LocalPolicy(model, tokenizer, adapter="manage").reply(prompts, temperature=1.0)
ChatPolicy(load_chat_model("openai:gpt-5-mini")).reply(prompts)         any chat model, as a judge only
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, convert_to_openai_messages

from langgraph_memory_r1.models import model_name
from langgraph_memory_r1.models.openai_api import CHAT_TEMPLATE_KWARGS
from langgraph_memory_r1.turns import text_of

BASE = "base"
"""The name of the model without an adapter."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model said; the tokens only where the model is local."""

    text: str
    prompt_ids: tuple[int, ...] = ()
    completion_ids: tuple[int, ...] = ()


class Policy(Protocol):
    """Replies to prompts."""

    @property
    def label(self) -> str:
        """Names the weights: replies may be kept under it as long as it stays the same."""

    def reply(self, prompts: Sequence[Sequence[BaseMessage]], *, temperature: float = 0.0) -> list[Reply]:
        """One reply per prompt; greedy at temperature 0."""


class LocalPolicy:
    """A Hugging Face model, with one of its adapters, in this process.

    Args:
        model: A `transformers` model, or a `peft` model with several adapters.
        tokenizer: Its tokenizer, with a chat template.
        adapter: Which adapter it wears; None wears what is active, `BASE` none.
        version: Counts changes of the weights, for `label`.
        max_tokens: Longest reply.
        batch_size: Prompts that are generated side by side.
        begun: What every reply begins with; the model goes on from there.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        adapter: str | None = None,
        version: str = "0",
        max_tokens: int = 256,
        batch_size: int = 64,
        begun: str = "",
    ) -> None:
        self.model, self.tokenizer, self.adapter = model, tokenizer, adapter
        self.version, self.max_tokens, self.batch_size, self.begun = version, max_tokens, batch_size, begun

    @property
    def label(self) -> str:
        """The adapter and its version."""
        return f"{self.adapter or 'active'}@{self.version}{self.begun and f':{self.begun}'}"

    def reply(self, prompts: Sequence[Sequence[BaseMessage]], *, temperature: float = 0.0) -> list[Reply]:
        """One reply per prompt; prompts of like length are generated together."""
        return self.complete([prompt_ids(self.tokenizer, prompt) for prompt in prompts], temperature=temperature)

    def complete(self, ids: Sequence[Sequence[int]], *, temperature: float = 0.0) -> list[Reply]:
        """One reply per prompt in tokens."""
        order = sorted(range(len(ids)), key=lambda place: len(ids[place]))
        found: dict[int, Reply] = {}
        with wearing(self.model, self.adapter), _inference(self.model):
            for start in range(0, len(order), self.batch_size):
                places = order[start : start + self.batch_size]
                some = [list(ids[place]) for place in places]
                found.update(zip(places, self._generate(some, temperature), strict=True))
        return [found[place] for place in range(len(ids))]

    def _generate(self, ids: list[list[int]], temperature: float) -> list[Reply]:
        begun = self.tokenizer(self.begun, add_special_tokens=False)["input_ids"] if self.begun else []
        width = max(map(len, ids)) + len(begun)
        padding, ends = _special(self.tokenizer, self.model)
        device = next(self.model.parameters()).device
        given = [row + begun for row in ids]
        tokens = torch.tensor([[padding] * (width - len(row)) + row for row in given], device=device)
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in given], device=device)
        how: dict[str, Any] = {"do_sample": False}
        if temperature:
            how = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
        with torch.inference_mode():
            whole = self.model.generate(
                input_ids=tokens, attention_mask=mask, pad_token_id=padding,
                max_new_tokens=self.max_tokens - len(begun), synced_gpus=False, **how,
            )  # fmt: skip
        new = [begun + _until_end(row, ends) for row in whole[:, width:].tolist()]
        texts = self.tokenizer.batch_decode(new, skip_special_tokens=True)
        return [Reply(t.strip(), tuple(p), tuple(c)) for t, p, c in zip(texts, ids, new, strict=True)]


class ChatPolicy:
    """Any chat model, for judging: a served or hosted Answer Agent."""

    def __init__(self, model: BaseChatModel, *, max_concurrency: int = 32) -> None:
        self.model, self.max_concurrency = model, max_concurrency

    @property
    def label(self) -> str:
        """The model's name."""
        return model_name(self.model)

    def reply(self, prompts: Sequence[Sequence[BaseMessage]], *, temperature: float = 0.0) -> list[Reply]:
        """One reply per prompt, several at a time; the temperature is the model's own setting.

        Raises:
            ValueError: A temperature was given.
        """
        if temperature:
            raise ValueError("a chat model replies with its own temperature; set it where the model is loaded")
        replies = self.model.batch(
            [list(prompt) for prompt in prompts], config={"max_concurrency": self.max_concurrency}
        )
        return [Reply(text_of(reply.content)[0]) for reply in replies]


def as_chat(prompt: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """Messages as TRL and chat templates take them."""
    said: Any = convert_to_openai_messages(list(prompt), text_format="string")
    return [{"role": message["role"], "content": message["content"]} for message in said]


def prompt_ids(tokenizer: Any, prompt: Sequence[BaseMessage]) -> list[int]:
    """A prompt as tokens, by the same template that `hf:` models and the trainer use."""
    text = tokenizer.apply_chat_template(
        as_chat(prompt), add_generation_prompt=True, tokenize=False, **CHAT_TEMPLATE_KWARGS
    )
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


@contextmanager
def wearing(model: Any, adapter: str | None) -> Iterator[None]:
    """The model with another adapter for a while; which parameters are trained stays as it was."""
    if adapter is None:
        yield
        return
    if adapter == BASE:
        with model.disable_adapter() if has_adapters(model) else nullcontext():
            yield
        return
    before = model.active_adapter
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.set_adapter(adapter)
    try:
        yield
    finally:
        model.set_adapter(before)
        model.requires_grad_(False)
        for parameter in trained:
            parameter.requires_grad_(True)


@contextmanager
def _inference(model: Any) -> Iterator[None]:
    """Without dropout."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def has_adapters(model: Any) -> bool:
    """Whether it is a `peft` model."""
    from peft import PeftModel

    return isinstance(model, PeftModel)


def _special(tokenizer: Any, model: Any) -> tuple[int, set[int]]:
    """The padding token, and the tokens that end a reply."""
    ends = model.generation_config.eos_token_id
    ends = {tokenizer.eos_token_id} if ends is None else set(ends if isinstance(ends, list) else [ends])
    return tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id, ends


def _until_end(ids: list[int], ends: set[int]) -> list[int]:
    """The tokens up to and with the first that ends the reply."""
    for place, token in enumerate(ids):
        if token in ends:
            return ids[: place + 1]
    return ids
