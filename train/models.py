"""The models of a run: one base with an adapter for each role, or whole models; and what replies to many prompts.

models = load_role_models(recipe, "manage", {"answer": "run/adapters/answer"})
models.answer.reply(prompts)                                            greedy, in batches
models.manage.reply(prompts, temperature=1.0)
models.save("run/adapters/manage")
ChatPolicy(load_chat_model("openai:gpt-5-mini")).reply(prompts)         any chat model, as a judge only
"""

from __future__ import annotations

import logging
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, convert_to_openai_messages

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.models import check_adapter, model_name
from langgraph_memory_r1.models.huggingface import NEUTRAL_SAMPLING, WHOLE_DISTRIBUTION
from langgraph_memory_r1.models.openai_api import CHAT_TEMPLATE_KWARGS
from langgraph_memory_r1.train.recipe import Lora, Recipe, TrainedRole
from langgraph_memory_r1.train.sharded import whole_weights
from langgraph_memory_r1.turns import text_of

BASE = "base"
"""The name of the model without an adapter."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model replied; the tokens only where the model is local."""

    text: str
    prompt_ids: tuple[int, ...] = ()
    completion_ids: tuple[int, ...] = ()


class Policy(Protocol):
    """Replies to prompts."""

    @property
    def label(self) -> str:
        """Names the weights: replies may be kept under it as long as it stays the same."""

    def reply(self, prompts: Sequence[Sequence[BaseMessage]], *, temperature: float = 0.0) -> list[Completion]:
        """Complete each prompt once; greedily at temperature 0."""


class LocalPolicy:
    """A Hugging Face model, with one of its adapters, in this process.

    Args:
        model: A `transformers` model, or a `peft` model with several adapters.
        tokenizer: Its tokenizer, with a chat template.
        adapter: Which adapter replies; None takes what is active, `BASE` none.
        max_tokens: Longest reply.
        batch_size: Prompts that are generated side by side.
        reply_prefix: What every reply begins with; the model goes on from there.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        adapter: str | None = None,
        max_tokens: int = 256,
        batch_size: int = 64,
        reply_prefix: str = "",
    ) -> None:
        self.model, self.tokenizer, self.adapter = model, tokenizer, adapter
        self.max_tokens, self.batch_size, self.reply_prefix = max_tokens, batch_size, reply_prefix

    @property
    def label(self) -> str:
        """The adapter and what replies begin with."""
        # `@0` stands in the names of answers that checkpoints keep, see `FrozenAnswerer.memo`.
        return f"{self.adapter or 'active'}@0{self.reply_prefix and f':{self.reply_prefix}'}"

    def reply(self, prompts: Sequence[Sequence[BaseMessage]], *, temperature: float = 0.0) -> list[Completion]:
        """Complete each prompt once; greedily at temperature 0."""
        return self.complete([prompt_ids(self.tokenizer, prompt) for prompt in prompts], temperature=temperature)

    def complete(self, ids: Sequence[Sequence[int]], *, temperature: float = 0.0) -> list[Completion]:
        """Complete each prompt, given in tokens, once; prompts of like length are generated together."""
        # Padding is computed like tokens: sorted, a batch has little of it.
        order = sorted(range(len(ids)), key=lambda number: len(ids[number]))
        completions: dict[int, Completion] = {}
        training = self.model.training
        self.model.eval()  # without dropout
        try:
            with using_adapter(self.model, self.adapter):
                for start in range(0, len(order), self.batch_size):
                    numbers = order[start : start + self.batch_size]
                    batch = self._generate([list(ids[number]) for number in numbers], temperature)
                    completions.update(zip(numbers, batch, strict=True))
        finally:
            self.model.train(training)
        return [completions[number] for number in range(len(ids))]

    def _generate(self, ids: list[list[int]], temperature: float) -> list[Completion]:
        prefix = self.tokenizer(self.reply_prefix, add_special_tokens=False)["input_ids"] if self.reply_prefix else []
        padding, ends = self.tokenizer.pad_token_id, self.model.generation_config.eos_token_id
        padding = self.tokenizer.eos_token_id if padding is None else padding
        ends = {self.tokenizer.eos_token_id} if ends is None else set(ends if isinstance(ends, list) else [ends])
        width = max(map(len, ids)) + len(prefix)
        rows = [row + prefix for row in ids]
        device = next(self.model.parameters()).device
        # Padded on the left, so that all replies begin at the same place.
        tokens = torch.tensor([[padding] * (width - len(row)) + row for row in rows], device=device)  # (B, width)
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=device)
        sampling: dict[str, Any] = {"do_sample": False}
        if temperature:
            sampling = {"do_sample": True, "temperature": temperature, **WHOLE_DISTRIBUTION}
        with torch.inference_mode():
            # Under FSDP the weights are gathered here, see `sharded.py`: no process has to wait for another's batch.
            whole = self.model.generate(
                input_ids=tokens, attention_mask=mask, pad_token_id=padding,
                max_new_tokens=self.max_tokens - len(prefix), synced_gpus=False, **NEUTRAL_SAMPLING, **sampling,
            )  # fmt: skip
        completion_ids = []
        for row in whole[:, width:].tolist():
            end = next((position for position, token in enumerate(row) if token in ends), len(row))
            completion_ids.append(prefix + row[: end + 1])  # with the token that ends it: when to end is learned too
        texts = self.tokenizer.batch_decode(completion_ids, skip_special_tokens=True)
        return [
            Completion(text.strip(), tuple(prompt), tuple(completion))
            for text, prompt, completion in zip(texts, ids, completion_ids, strict=True)
        ]


class ChatPolicy:
    """Any chat model, for judging: a served or hosted Answer Agent."""

    def __init__(self, model: BaseChatModel, *, max_concurrency: int = 32) -> None:
        self.model, self.max_concurrency = model, max_concurrency

    @property
    def label(self) -> str:
        """The model's name."""
        return model_name(self.model)

    def reply(self, prompts: Sequence[Sequence[BaseMessage]], *, temperature: float = 0.0) -> list[Completion]:
        """Complete each prompt once, several at a time; the temperature is the model's own setting.

        Raises:
            ValueError: A temperature was given.
        """
        if temperature:
            raise ValueError("a chat model replies with its own temperature; set it where the model is loaded")
        messages = self.model.batch(
            [list(prompt) for prompt in prompts], config={"max_concurrency": self.max_concurrency}
        )
        return [Completion(text_of(message.content)[0]) for message in messages]


@dataclass(frozen=True, slots=True)
class RoleModels:
    """The models of both roles while one of them is trained."""

    model: Any
    """That is trained; in a run with adapters that of the trained role is active."""
    tokenizer: Any
    manage: LocalPolicy
    answer: LocalPolicy
    trained: TrainedRole
    all_weights: bool
    """All weights are trained, not an adapter."""

    def policy(self, role: TrainedRole) -> LocalPolicy:
        """Return what replies in a role."""
        return self.manage if role == "manage" else self.answer

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write what is trained into a folder that `hf:`, PEFT and vLLM load; it appears whole or not at all."""
        target, draft = Path(folder), Path(f"{folder}.part")
        shutil.rmtree(draft, ignore_errors=True)
        if self.all_weights:
            # In float32, as they were scored. A base's weights are bfloat16 numbers, and a change of less than half the
            # distance to the next is rounded away: after 100 steps of 1e-6, by some 2e-5, two of three would be lost.
            self.model.save_pretrained(draft, state_dict=whole_weights(self.model))
            self.tokenizer.save_pretrained(draft)
        else:
            self.model.save_pretrained(draft, selected_adapters=[self.trained], state_dict=whole_weights(self.model))
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        # PEFT writes an adapter into a folder of its name unless it is called `default`; vLLM wants it at the root.
        (draft if self.all_weights else draft / self.trained).replace(target)
        shutil.rmtree(draft, ignore_errors=True)


def load_role_models(
    recipe: Recipe, trained: TrainedRole, folders: Mapping[str, str | os.PathLike[str]], *, reply_prefix: str = ""
) -> RoleModels:
    """Load the base with what was trained so far, and a new adapter for the role that is trained if it has none.

    Args:
        recipe: Which base, and how it is trained.
        trained: The role that is trained.
        folders: What earlier stages have trained: adapters, or whole models where there are none.
        reply_prefix: What every reply of the trained role begins with.

    Raises:
        InputError: The base cannot be loaded or has no chat template, or an adapter does not fit.
    """
    roles: tuple[TrainedRole, ...] = ("manage", "answer")
    prefixes = {role: reply_prefix if role == trained else "" for role in roles}
    if recipe.lora is None:
        pairs = {
            role: load_base(str(folders.get(role, recipe.base)), all_weights=role == trained) for role in roles
        }  # fmt: skip
        policies = {
            role: LocalPolicy(*pairs[role], max_tokens=recipe.max_tokens, reply_prefix=prefixes[role]) for role in roles
        }
        return RoleModels(*pairs[trained], policies["manage"], policies["answer"], trained, all_weights=True)
    base, tokenizer = load_base(recipe.base)
    model = _with_adapters(base, recipe, recipe.lora, trained, folders)
    policies = {
        role: LocalPolicy(model, tokenizer, adapter=role if role in {*folders, trained} else BASE,
                          max_tokens=recipe.max_tokens, reply_prefix=prefixes[role])
        for role in roles
    }  # fmt: skip
    return RoleModels(model, tokenizer, policies["manage"], policies["answer"], trained, all_weights=False)


def _with_adapters(
    base: Any, recipe: Recipe, lora: Lora, trained: TrainedRole, folders: Mapping[str, str | os.PathLike[str]]
) -> Any:
    """The base with the adapters of the folders, and with a fresh one for the trained role if it has none there."""
    from peft import PeftModel

    model: Any = None
    roles: tuple[TrainedRole, ...] = ("manage", "answer")
    for role in roles:
        if role in folders:
            check_adapter(str(folders[role]), base=recipe.base, role=role)
            options = {"adapter_name": role, "is_trainable": role == trained}
            if model is None:
                model = PeftModel.from_pretrained(base, str(folders[role]), **options)
            else:
                model.load_adapter(str(folders[role]), **options)
        elif role == trained:
            if model is None:
                model = PeftModel(base, lora_config(lora), adapter_name=role)
            else:
                model.add_adapter(role, lora_config(lora))
    model.set_adapter(trained)
    return model


def load_base(base: str, *, all_weights: bool = False) -> tuple[Any, Any]:
    """Load a model and its tokenizer.

    Args:
        base: A model on the hub, or its folder.
        all_weights: Whether all of its weights are trained. Then they are float32 on a GPU too, and computing in
            bfloat16 is left to autocast: bfloat16 keeps 8 bits of a weight, so that of steps of the paper's size
            (learning rate 1e-6) 98 % would be rounded away. Adapters are float32 in any case: PEFT sees to that.

    Raises:
        InputError: They cannot be loaded, or there is no chat template.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    silence_libraries()
    cuda = torch.cuda.is_available()
    dtype = torch.bfloat16 if cuda and not all_weights else torch.float32
    try:
        tokenizer = AutoTokenizer.from_pretrained(base)
        model = AutoModelForCausalLM.from_pretrained(base, dtype=dtype)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"The base {base!r} cannot be loaded; give a model's name or folder ({reason})") from error
    if not tokenizer.chat_template:
        raise InputError(f"The base {base!r} has no chat template; give a chat model, or a folder with one.")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model.to("cuda" if cuda else "cpu"), tokenizer


def lora_config(lora: Lora) -> Any:
    """Return an adapter's settings in PEFT's words."""
    from peft import LoraConfig

    return LoraConfig(
        r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=lora.target_modules,
        task_type="CAUSAL_LM",
    )  # fmt: skip


def as_chat(prompt: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """Return messages as TRL and chat templates take them."""
    messages: Any = convert_to_openai_messages(list(prompt), text_format="string")
    return [{"role": message["role"], "content": message["content"]} for message in messages]


def prompt_ids(tokenizer: Any, prompt: Sequence[BaseMessage]) -> list[int]:
    """Return a prompt as tokens, by the same template that `hf:` models and the trainer use."""
    text = tokenizer.apply_chat_template(
        as_chat(prompt), add_generation_prompt=True, tokenize=False, **CHAT_TEMPLATE_KWARGS
    )
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


@contextmanager
def using_adapter(model: Any, adapter: str | None) -> Iterator[None]:
    """Make another adapter the active one for a while; None leaves the active one, `BASE` takes none.

    PEFT's `set_adapter` makes the adapter that it activates trainable, and all others not. The optimizer holds the
    trained one's parameters, so which ones are trained is put back afterwards.
    """
    if adapter is None:
        yield
        return
    if adapter == BASE:
        with model.disable_adapter() if has_adapters(model) else nullcontext():
            yield
        return
    active = model.active_adapter
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.set_adapter(adapter)
    try:
        yield
    finally:
        model.set_adapter(active)
        model.requires_grad_(False)
        for parameter in trained:
            parameter.requires_grad_(True)


def has_adapters(model: Any) -> bool:
    """Return whether it is a `peft` model."""
    from peft import PeftModel

    return isinstance(model, PeftModel)


def silence_libraries() -> None:
    """Stop the bars of transformers and datasets and the deprecations among the libraries; downloads are shown.

    Nobody can do anything about what they say, and their bars would stand across the trainer's own.
    """
    from datasets import disable_progress_bars
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, enable_progress_bars
    from transformers.utils.logging import disable_progress_bar

    downloads = not are_progress_bars_disabled()
    disable_progress_bars()
    disable_progress_bar()  # the hub's too
    if downloads:
        enable_progress_bars()
    # It warns of texts that are too long, which a stage refuses itself, and with what to do about it.
    logging.getLogger("transformers.tokenization_utils_base").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(peft|transformers|trl)\b")
