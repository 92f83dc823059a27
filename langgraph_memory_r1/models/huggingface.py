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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
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
from langgraph_memory_r1.models.errors import first_line
from langgraph_memory_r1.models.openai_api import CHAT_TEMPLATE_KWARGS
from langgraph_memory_r1.prompts import Role


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
    _base: _Base | None = PrivateAttr(default=None)

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
        base = self._loaded()
        most, temperature = kwargs.get("max_tokens", self.max_tokens), kwargs.get("temperature", self.temperature)
        with base.wearing(self.adapter):
            prompt, templated = base.prompt(messages, self.template)
            ids = base.ids(prompt, templated=templated, room=most)
            text, count, ended = base.generate(ids, most, temperature, stop)
        sent = ids["input_ids"].shape[1]
        usage = UsageMetadata(input_tokens=sent, output_tokens=count, total_tokens=sent + count)
        info = {"finish_reason": "stop" if ended else "length", "model_name": self.model}
        message = AIMessage(text, usage_metadata=usage)
        return ChatResult(generations=[ChatGeneration(message=message, generation_info=info)])

    def _loaded(self) -> _Base:
        with _loading:
            if self._base is None:
                key = (self.model, self.four_bit, self.device)
                self._base = _bases.get(key) or _load(*key)
                _bases[key] = self._base
            return self._base


def huggingface_model(
    model: str, adapter: str | Path | None = None, *, role: Role | None = None, **settings: Any
) -> HuggingFaceChatModel:
    """The local model of this name or folder; everything that can be checked without loading it is checked.

    Raises:
        MissingDependencyError: A package is not installed; the message is the command.
        InputError: The adapter does not fit, 4 bits are not possible here, or a setting is not known.
    """
    if not model:
        raise InputError("hf: needs a model; give hf:NAME_OR_FOLDER, as hf:Qwen/Qwen3-4B")
    if adapter is not None:
        check_adapter(adapter, base=model, role=role)
    needed = ["torch", "transformers", *(["peft"] if adapter is not None else [])]
    if any(importlib.util.find_spec(package) is None for package in needed):
        raise MissingDependencyError(f"pip install 'langgraph-memory-r1[local]' to use 'hf:{model}'")
    try:
        made = HuggingFaceChatModel(model=model, adapter=None if adapter is None else str(adapter), **settings)
    except ValueError as error:
        raise InputError(f"'hf:{model}' cannot be used so: {' '.join(str(error).splitlines()[1:3])}") from error
    if made.four_bit:
        _check_four_bit(made.device)
    return made


def _check_four_bit(device: str | None) -> None:
    import torch

    if not torch.cuda.is_available() or not (device or "cuda").startswith("cuda"):
        raise InputError("four_bit=True needs a CUDA GPU, and here is none; leave it out.")
    if any(importlib.util.find_spec(package) is None for package in ("bitsandbytes", "accelerate")):
        raise MissingDependencyError("pip install bitsandbytes accelerate to load a model in 4 bits")


class _Base:
    """A model with its tokenizer and the adapters that were put on it; one generation at a time."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self._adapters: dict[str, str] = {}
        self._lock = threading.Lock()

    @contextmanager
    def wearing(self, adapter: str | None) -> Iterator[None]:
        """The base with this adapter, or as it is; nobody else uses it meanwhile."""
        with self._lock:
            if adapter is not None:
                self._put_on(adapter)
                yield
            elif self._adapters:
                with self.model.disable_adapter():
                    yield
            else:
                yield

    def prompt(self, messages: list[BaseMessage], template: dict[str, Any]) -> tuple[str, bool]:
        """The conversation as one text, and whether the model's own template wrote it."""
        said: Any = convert_to_openai_messages(messages, text_format="string")
        if self.tokenizer.chat_template:
            return self.tokenizer.apply_chat_template(
                said, add_generation_prompt=True, tokenize=False, **template
            ), True
        return "".join(f"{message['role']}: {message['content']}\n\n" for message in said) + "assistant:", False

    def ids(self, prompt: str, *, templated: bool, room: int) -> Any:
        """The prompt as tokens on the model's device.

        Raises:
            InputError: The model cannot hold so many.
        """
        ids = self.tokenizer(prompt, return_tensors="pt", add_special_tokens=not templated)
        count, most = ids["input_ids"].shape[1], getattr(self.model.config, "max_position_embeddings", None)
        if most is not None and count + room > most:
            raise InputError(
                f"The prompt has {count} tokens and the reply may have {room}, but the model holds {most}; "
                "give fewer memories or turns (k=, limits=), or a smaller max_tokens="
            )
        return {name: ids[name].to(self.model.device) for name in ("input_ids", "attention_mask")}

    def generate(self, ids: Any, most: int, temperature: float, stop: list[str] | None) -> tuple[str, int, bool]:
        """What the model says, its tokens, and whether it came to an end."""
        import torch

        how: dict[str, Any] = {"do_sample": True, "temperature": temperature} if temperature else {"do_sample": False}
        if stop:
            how |= {"stop_strings": stop, "tokenizer": self.tokenizer}
        with torch.inference_mode():
            whole = self.model.generate(**ids, max_new_tokens=most, pad_token_id=self._padding(), **how)
        new = whole[0, ids["input_ids"].shape[1] :]
        text: str = self.tokenizer.decode(new, skip_special_tokens=True)
        return _until(text.strip(), stop), len(new), len(new) < most

    def _padding(self) -> int | None:
        padding: int | None = self.tokenizer.pad_token_id
        return self.tokenizer.eos_token_id if padding is None else padding

    def _put_on(self, adapter: str) -> None:
        from peft import PeftModel

        name = self._adapters.get(adapter, f"adapter{len(self._adapters)}")
        try:
            if not self._adapters:
                self.model = PeftModel.from_pretrained(self.model, adapter, adapter_name=name)
            elif adapter not in self._adapters:
                self.model.load_adapter(adapter, adapter_name=name)
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(f"The adapter {adapter!r} cannot be put on its base ({first_line(error)}).") from error
        self._adapters[adapter] = name
        self.model.set_adapter(name)
        self.model.eval()


_bases: WeakValueDictionary[tuple[str, bool, str | None], _Base] = WeakValueDictionary()
_loading = threading.Lock()


def _load(model: str, four_bit: bool, device: str | None) -> _Base:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    place = device or ("cuda" if torch.cuda.is_available() else "cpu")
    how: dict[str, Any] = {"dtype": torch.float32 if place == "cpu" else "auto"}
    if four_bit:
        quantized = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
        )
        how = {"quantization_config": quantized, "device_map": {"": place}}
    try:
        tokenizer = AutoTokenizer.from_pretrained(model)
        loaded = AutoModelForCausalLM.from_pretrained(model, **how)
    except (OSError, ValueError) as error:
        raise InputError(
            f"The model {model!r} cannot be loaded; give a folder that holds it, or a name that can be downloaded "
            f"({first_line(error)})"
        ) from error
    return _Base((loaded if four_bit else loaded.to(place)).eval(), tokenizer)


def _until(text: str, stop: list[str] | None) -> str:
    """The text up to the first of the marks that end it."""
    return text[: min((text.find(mark) for mark in stop or [] if mark in text), default=len(text))]
