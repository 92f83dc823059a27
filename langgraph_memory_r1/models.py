"""From a string to a chat model or an embedding model; whatever is heavy loads when it is asked for.

    load_chat_model("rules")                     the no-model baseline of rules.py, as an ordinary chat model
    load_chat_model("openai:gpt-5-mini")         any provider that LangChain knows, if its package is installed
    load_embeddings("minilm")                    a local sentence-transformers model (extra `local`)

Nothing here turns on tracing or telemetry of a library.
"""

from __future__ import annotations

import importlib.util
import os
import re
import threading
from typing import Any, Final

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from langgraph_memory_r1 import prompts, rules
from langgraph_memory_r1.errors import InputError, MissingDependencyError
from langgraph_memory_r1.testing import HashEmbeddings

__all__ = ["RulesChatModel", "SentenceTransformerEmbeddings", "load_chat_model", "load_embeddings", "model_name"]

MINILM: Final = "sentence-transformers/all-MiniLM-L6-v2"
_CHAT_SPECS = (
    "'rules' (no model), 'provider:model' such as 'openai:gpt-5-mini' or 'ollama:qwen3', or a chat model object"
)
_EMBEDDING_SPECS = (
    "'hash' (no model), 'minilm', 'hf:NAME_OR_FOLDER', 'provider:model' such as 'openai:text-embedding-3-small', "
    "or an Embeddings object"
)


class RulesChatModel(BaseChatModel):
    """The no-model baseline as a chat model: it reads a role's prompt, applies rules and writes a reply."""

    @property
    def _llm_type(self) -> str:
        return "rules"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        message = AIMessage(_play(prompts.read(messages)))
        return ChatResult(generations=[ChatGeneration(message=message)])


def _play(given: prompts.RoleInput) -> str:
    if isinstance(given, prompts.ExtractInput):
        return prompts.write(tuple(rules.extract_facts(given.turns)), given)
    if isinstance(given, prompts.ManageInput):
        return prompts.write(tuple(rules.decide(given.facts, given.memories)), given)
    return prompts.write(rules.answer(given.question, given.memories, given.at), given)


def load_chat_model(spec: str | BaseChatModel, **kwargs: Any) -> BaseChatModel:
    """The chat model that a string names; a model object is passed through.

    Args:
        spec: `"rules"`, `"provider:model"`, or a chat model.
        **kwargs: Settings for a provider's model, such as `temperature=0`.

    Raises:
        MissingDependencyError: The provider's package is not installed; the message is the command.
        InputError: Nothing is known under this name.
    """
    if not isinstance(spec, str):
        return spec
    if spec == "rules":
        return RulesChatModel()
    if not spec:
        raise InputError(f"the model's name is empty; give {_CHAT_SPECS}")
    if spec.startswith("ollama:") and importlib.util.find_spec("langchain_ollama") is None:
        raise _missing(spec)  # langchain would fall back on a package that no longer has it
    from langchain.chat_models import init_chat_model

    try:
        model: BaseChatModel = init_chat_model(spec, **kwargs)
    except ImportError as error:
        raise _missing(spec, str(error)) from error
    except ValueError as error:
        raise InputError(f"no model {spec!r} can be made; give {_CHAT_SPECS} ({_first_line(error)})") from error
    return model


def model_name(model: BaseChatModel) -> str:
    """The name under which a bank's history records a model: `openai:gpt-5-mini`, `rules`."""
    if isinstance(model, RulesChatModel):
        return "rules"
    known = model._get_ls_params()
    name, provider = known.get("ls_model_name"), known.get("ls_provider")
    return f"{provider}:{name}" if name and provider else name or model._llm_type


def load_embeddings(spec: str | Embeddings | None) -> Embeddings | None:
    """The embedding model that a string names; an object and None are passed through.

    Raises:
        MissingDependencyError: A package is not installed; the message is the command.
        InputError: Nothing is known under this name.
    """
    if not isinstance(spec, str):
        return spec
    if spec == "hash":
        return HashEmbeddings()
    if spec == "minilm" or spec.startswith("hf:"):
        return SentenceTransformerEmbeddings(MINILM if spec == "minilm" else spec.removeprefix("hf:"))
    from langchain.embeddings import init_embeddings

    try:
        embeddings: Embeddings = init_embeddings(spec)
    except ImportError as error:
        raise _missing(spec, str(error)) from error
    except ValueError as error:
        raise InputError(f"no embedder {spec!r} can be made; give {_EMBEDDING_SPECS} ({_first_line(error)})") from error
    return embeddings


class SentenceTransformerEmbeddings(Embeddings):
    """A local sentence-transformers model, loaded at its first use; vectors have length 1."""

    def __init__(self, model: str) -> None:
        if importlib.util.find_spec("sentence_transformers") is None:
            raise MissingDependencyError("pip install 'langgraph-memory-r1[local]' to embed with a local model")
        self.model = model
        self._lock = threading.Lock()
        self._loaded: Any = None

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One vector for each text."""
        with self._lock:
            self._loaded = self._loaded or _sentence_transformer(self.model)
            vectors = self._loaded.encode(texts, normalize_embeddings=True, show_progress_bar=False)
        found: list[list[float]] = vectors.astype("float32").tolist()
        return found

    def embed_query(self, text: str) -> list[float]:
        """The vector of one text."""
        return self.embed_documents([text])[0]


def _sentence_transformer(model: str) -> Any:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from sentence_transformers import SentenceTransformer

    try:
        return SentenceTransformer(model)
    except OSError as error:
        raise InputError(
            f"the embedding model {model!r} cannot be loaded; give a folder that holds it, or a name that can be "
            f"downloaded ({_first_line(error)})"
        ) from error


def _missing(spec: str, error: str = "") -> MissingDependencyError:
    named = re.search(r"pip install (?:-U )?([\w.-]+)", error)
    package = named[1] if named else f"langchain-{spec.partition(':')[0].replace('_', '-')}"
    return MissingDependencyError(f"pip install {package} to use {spec!r}")


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200]
