"""`hf:NAME_OR_FOLDER`: a Hugging Face model in this process, with or without a LoRA adapter (extra `local`).

    load_chat_model("hf:Qwen/Qwen3-4B")
    load_chat_model("hf:Qwen/Qwen3-4B", adapter="runs/manager-7", role="manage", four_bit=True)

The weights load at the first call. Models with the same base share it: two adapters cost one base, and take turns on
it. Generation is greedy unless a temperature is given.
"""

from __future__ import annotations

import importlib.util
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from weakref import WeakValueDictionary

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, BaseMessage, convert_to_openai_messages
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import ConfigDict, Field, PrivateAttr

from langgraph_memory_r1.errors import InputError, MissingDependencyError
from langgraph_memory_r1.models.adapters import check_adapter
from langgraph_memory_r1.models.errors import first_line, wrong_setting
from langgraph_memory_r1.models.openai_api import CHAT_TEMPLATE_KWARGS
from langgraph_memory_r1.prompts import Role

NEUTRAL_SAMPLING: Final[Mapping[str, Any]] = {
    "num_beams": 1, "repetition_penalty": 1.0, "no_repeat_ngram_size": 0, "typical_p": 1.0, "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0, "min_p": None, "sequence_bias": None, "bad_words_ids": None, "suppress_tokens": None,
    "begin_suppress_tokens": None, "exponential_decay_length_penalty": None, "guidance_scale": None,
}  # fmt: skip
"""What else of a base's generation_config.json would change probabilities; `generate` takes it over unless told.

Qwen2.5 ships repetition_penalty 1.05 and top_k 20. In training, a greedy reply has to be the likeliest one and samples
have to be drawn from the probabilities that the loss is about (TRL sets the same for its own samples); in a graph, an
adapter has to decide as it was trained to, and a penalty on repetition is one on copying names out of a prompt.
"""
WHOLE_DISTRIBUTION: Final[Mapping[str, Any]] = {"top_k": 0, "top_p": 1.0}
"""Beside a temperature: nothing is cut off."""


class HuggingFaceChatModel(BaseChatModel):
    """A Hugging Face model in this process; async calls generate in a thread."""

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    model: str
    """A name on the hub, or a folder."""
    adapter: str | None = None
    """The folder of a LoRA adapter."""
    four_bit: bool = False
    """Weights in 4 bits; needs a CUDA GPU."""
    device: str | None = None
    """`cpu`, `cuda`, `mps` ...; None: a GPU where there is one."""
    max_tokens: int = 512
    temperature: float = 0.0
    template: dict[str, Any] = Field(default_factory=lambda: dict(CHAT_TEMPLATE_KWARGS))
    """Settings for the model's chat template."""
    _base: _SharedBase | None = PrivateAttr(default=None)

    @property
    def _llm_type(self) -> str:
        return "hf"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {
            name: getattr(self, name)
            for name in ("model", "adapter", "four_bit", "max_tokens", "temperature", "template")
        }

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop, **kwargs)
        params["ls_provider"] = "hf"
        params["ls_model_name"] = f"{self.model}+{Path(self.adapter).name}" if self.adapter else self.model
        return params

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with _loading:
            if self._base is None:
                key = (self.model, self.four_bit, self.device)
                self._base = _bases.get(key) or _load_base(*key)
                _bases[key] = self._base
        max_tokens = kwargs.get("max_tokens", self.max_tokens)
        temperature = kwargs.get("temperature", self.temperature)
        with self._base.using(self.adapter):
            tokens = self._base.tokenize(messages, self.template, max_tokens)
            text, count, ended = self._base.generate(tokens, max_tokens, temperature, stop)
        prompt_count = tokens["input_ids"].shape[1]
        usage = UsageMetadata(input_tokens=prompt_count, output_tokens=count, total_tokens=prompt_count + count)
        info = {"finish_reason": "stop" if ended else "length", "model_name": self.model}
        message = AIMessage(text, usage_metadata=usage)
        return ChatResult(generations=[ChatGeneration(message=message, generation_info=info)])


def huggingface_model(
    model: str, adapter: str | Path | None = None, *, role: Role | None = None, **settings: Any
) -> HuggingFaceChatModel:
    """Return the local model of this name or folder, with all checked that can be checked before it loads.

    Raises:
        MissingDependencyError: A package is not installed; the message is the command.
        InputError: The adapter does not fit, 4 bits are not possible here, or a setting is not known.
    """
    if not model:
        raise InputError("hf: needs a model; give hf:NAME_OR_FOLDER, as hf:Qwen/Qwen3-4B")
    if adapter is not None:
        check_adapter(adapter, base=model, role=role)
    packages = ["torch", "transformers", *(["peft"] if adapter is not None else [])]
    if any(importlib.util.find_spec(package) is None for package in packages):
        raise MissingDependencyError(f"pip install 'langgraph-memory-r1[local]' to use 'hf:{model}'")
    try:
        chat_model = HuggingFaceChatModel(model=model, adapter=None if adapter is None else str(adapter), **settings)
    except ValueError as error:
        raise InputError(f"'hf:{model}' cannot be used so: {wrong_setting(error)}") from error
    if chat_model.four_bit:
        import torch

        if not torch.cuda.is_available() or not (chat_model.device or "cuda").startswith("cuda"):
            raise InputError("four_bit=True needs a CUDA GPU, and here is none; leave it out.")
        if any(importlib.util.find_spec(package) is None for package in ("bitsandbytes", "accelerate")):
            raise MissingDependencyError("pip install bitsandbytes accelerate to load a model in 4 bits")
    return chat_model


class _SharedBase:
    """A model with its tokenizer and the adapters that were loaded onto it; one generation at a time."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self._names: dict[str, str] = {}
        """The name in PEFT of each adapter's folder."""
        self._lock = threading.Lock()

    @contextmanager
    def using(self, adapter: str | None) -> Iterator[None]:
        """Switch to this adapter, or to none, in the block; nobody else uses the base meanwhile."""
        # Which adapter is on is a state of the shared weights: two generations at once would run with one adapter.
        with self._lock:
            if adapter is not None:
                self._switch_to(adapter)
                yield
            elif self._names:
                with self.model.disable_adapter():
                    yield
            else:
                yield

    def tokenize(self, messages: list[BaseMessage], template: dict[str, Any], max_tokens: int) -> Any:
        """Tokenize the conversation, in the model's own chat template if it has one.

        Returns:
            `input_ids` and `attention_mask` of shape (1, tokens), on the model's device.

        Raises:
            InputError: The model cannot hold it together with a reply of `max_tokens`.
        """
        chat: Any = convert_to_openai_messages(messages, text_format="string")
        templated = bool(self.tokenizer.chat_template)
        if templated:
            text = self.tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False, **template)
        else:
            text = "".join(f"{message['role']}: {message['content']}\n\n" for message in chat) + "assistant:"
        # A chat template writes the special tokens itself; a second set in front is not what was trained on.
        tokens = self.tokenizer(text, return_tensors="pt", add_special_tokens=not templated)
        count, capacity = tokens["input_ids"].shape[1], getattr(self.model.config, "max_position_embeddings", None)
        if capacity is not None and count + max_tokens > capacity:
            raise InputError(
                f"The prompt has {count} tokens and the reply may have {max_tokens}, but the model holds {capacity}; "
                "give fewer memories or turns (k=, limits=), or a smaller max_tokens="
            )
        return {name: tokens[name].to(self.model.device) for name in ("input_ids", "attention_mask")}

    def generate(
        self, tokens: Any, max_tokens: int, temperature: float, stop: list[str] | None
    ) -> tuple[str, int, bool]:
        """Generate a reply: its text, the number of its tokens, and whether it came to an end."""
        import torch

        settings: dict[str, Any] = {**NEUTRAL_SAMPLING, "do_sample": False}
        if temperature:
            settings |= {"do_sample": True, "temperature": temperature, **WHOLE_DISTRIBUTION}
        if stop:
            settings |= {"stop_strings": stop, "tokenizer": self.tokenizer}
        padding = self.tokenizer.pad_token_id
        settings["pad_token_id"] = self.tokenizer.eos_token_id if padding is None else padding
        with torch.inference_mode():
            output = self.model.generate(**tokens, max_new_tokens=max_tokens, **settings)
        reply = output[0, tokens["input_ids"].shape[1] :]
        text: str = self.tokenizer.decode(reply, skip_special_tokens=True).strip()
        # What is generated includes the stop string, and whatever else its last token holds.
        end = min((text.find(mark) for mark in stop or [] if mark in text), default=len(text))
        return text[:end], len(reply), len(reply) < max_tokens

    def _switch_to(self, adapter: str) -> None:
        from peft import PeftModel

        name = self._names.get(adapter, f"adapter{len(self._names)}")
        try:
            if not self._names:
                self.model = PeftModel.from_pretrained(self.model, adapter, adapter_name=name)
            elif adapter not in self._names:
                self.model.load_adapter(adapter, adapter_name=name)
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(f"The adapter {adapter!r} cannot be put on its base ({first_line(error)}).") from error
        self._names[adapter] = name
        self.model.set_adapter(name)
        self.model.eval()


# Weak, so that the memory of a base is free again once no chat model uses it.
_bases: WeakValueDictionary[tuple[str, bool, str | None], _SharedBase] = WeakValueDictionary()
_loading = threading.Lock()


def _load_base(model: str, four_bit: bool, device: str | None) -> _SharedBase:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # it is read while the hub's package is imported
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    settings: dict[str, Any] = {"dtype": torch.float32 if device == "cpu" else "auto"}
    if four_bit:
        quantized = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
        )
        settings = {"quantization_config": quantized, "device_map": {"": device}}
    try:
        tokenizer = AutoTokenizer.from_pretrained(model)
        weights = AutoModelForCausalLM.from_pretrained(model, **settings)
    except (OSError, ValueError) as error:
        raise InputError(
            f"The model {model!r} cannot be loaded; give a folder that holds it, or a name that can be downloaded "
            f"({first_line(error)})"
        ) from error
    return _SharedBase((weights if four_bit else weights.to(device)).eval(), tokenizer)
