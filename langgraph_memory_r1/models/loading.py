"""Chat models by name: the branch of each kind of provider, and what is the same for all of them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.models.adapters import check_adapter
from langgraph_memory_r1.models.errors import first_line, missing_package
from langgraph_memory_r1.models.limits import LimitedChatModel, with_limits
from langgraph_memory_r1.models.rules_model import RulesChatModel
from langgraph_memory_r1.prompts import Role

_SPECS = (
    "'rules' (no model), 'provider:model' such as 'openai:gpt-5-mini' or 'ollama:qwen3', 'vllm:NAME@http://HOST:PORT', "
    "'hf:NAME_OR_FOLDER', or a chat model object"
)


def load_chat_model(
    spec: str | BaseChatModel,
    adapter: str | Path | None = None,
    *,
    role: Role | None = None,
    retries: int = 4,
    max_concurrency: int | None = None,
    **kwargs: Any,
) -> BaseChatModel:
    """Load the chat model that a string names; a model object is passed through.

    Args:
        spec: `"rules"`, `"provider:model"`, `"vllm:NAME@http://host:port"`, `"hf:NAME_OR_FOLDER"`, or a chat model.
        adapter: The folder of a LoRA adapter. `hf:` loads it; a server behind `vllm:` must have loaded it under NAME:
            its manifest is checked, also against the base that the server, which has to be up, has below NAME.
        role: What the model is for: an adapter for something else is refused, and a server behind `vllm:` holds the
            model to the JSON of this role, greedily unless `temperature=` is given.
        retries: Further tries, with growing waits, after a rate limit or a time-out, for models behind a network. Their
            packages' own tries are switched off, or each of ours would be several; `max_retries=` among the settings
            leaves them to the package instead.
        max_concurrency: Most calls at the same time, sync and async together.
        **kwargs: Settings of the model, such as `temperature=0`; for `hf:` also `four_bit=True`.

    Raises:
        MissingDependencyError: A package is not installed; the message is the command.
        InputError: Nothing is known under this name, or the adapter does not fit.
    """
    if not isinstance(spec, str):
        return spec
    if spec == "rules":
        return RulesChatModel()
    if spec.startswith("hf:"):
        from langgraph_memory_r1.models.huggingface import huggingface_model

        model: BaseChatModel = huggingface_model(spec.removeprefix("hf:"), adapter, role=role, **kwargs)
        # A model in this process has no outages to wait out.
        return with_limits(model, retries=0, max_concurrency=max_concurrency) if max_concurrency else model
    if spec.startswith("vllm:"):
        from langgraph_memory_r1.models.vllm import vllm_model

        if adapter is not None:
            check_adapter(adapter, role=role)  # first without the server, which may be down
        server_model = vllm_model(spec, **kwargs)
        if adapter is not None:
            check_adapter(adapter, base=server_model.base_model(), role=role, on_server=True)
        model = server_model.with_role(role) if role else server_model
    elif adapter is not None:
        raise InputError(f"{spec!r} takes no adapter; give 'hf:NAME_OR_FOLDER', or 'vllm:NAME@http://HOST:PORT'")
    else:
        model = _load_from_provider(spec, kwargs)
        retries = 0 if "max_retries" in kwargs else retries
    return with_limits(model, retries=retries, max_concurrency=max_concurrency)


def for_role(model: Runnable[Any, BaseMessage], role: Role) -> Runnable[Any, BaseMessage]:
    """Hold a model to the JSON of a role, greedily, where it is a server's behind `vllm:`; others stay as they are.

    One model can so play several roles; `structured=False` when it is loaded keeps it free in all of them.
    """
    inner = model.bound if isinstance(model, LimitedChatModel) else model
    # By its type first: importing the module of `vllm:` to ask would cost everybody else its loading time.
    if not isinstance(inner, BaseChatModel) or inner._llm_type != "vllm":
        return model
    from langgraph_memory_r1.models.vllm import VLLMChatModel

    settings = inner.role_settings(role) if isinstance(inner, VLLMChatModel) else {}
    return model.bind(**settings) if settings else model


def model_name(model: BaseChatModel) -> str:
    """Return the name under which a bank's history records a model: `openai:gpt-5-mini`, `rules`."""
    if isinstance(model, RulesChatModel):
        return "rules"
    params = model._get_ls_params()
    name, provider = params.get("ls_model_name"), params.get("ls_provider")
    return f"{provider}:{name}" if name and provider else name or model._llm_type


def _load_from_provider(spec: str, settings: dict[str, Any]) -> BaseChatModel:
    """Load the model of a provider that LangChain knows."""
    if not spec:
        raise InputError(f"the model's name is empty; give {_SPECS}")
    if spec.startswith("ollama:") and importlib.util.find_spec("langchain_ollama") is None:
        raise missing_package(spec)  # langchain would fall back on a package that no longer has it
    from langchain.chat_models import init_chat_model

    try:
        model: BaseChatModel = init_chat_model(spec, **settings)
        if "max_retries" in type(model).model_fields and "max_retries" not in settings:
            # Anew: a package hands the number to its client when the model is made. 3 tries of OpenAI's client for each
            # of our 5 were 15 requests for one call, just when the server asks for fewer.
            model = init_chat_model(spec, **settings, max_retries=0)
    except ImportError as error:
        raise missing_package(spec, str(error)) from error
    except ValueError as error:
        raise InputError(f"no model {spec!r} can be made; give {_SPECS} ({first_line(error)})") from error
    return model
