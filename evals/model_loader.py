"""Loads the models of a run, each with its calls kept: an extractor, a manager, an answerer, a judge, an embedder."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.evals.call_cache import CachedChatModel, CachedEmbeddings, CallCache
from langgraph_memory_r1.models import load_chat_model, load_embeddings
from langgraph_memory_r1.prompts import Role

__all__ = ["ModelSpec", "ModelLoader"]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A chat model as it is named on the command line."""

    model: str | BaseChatModel
    adapter: Path | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    """Such as a temperature."""


class ModelLoader:
    """Loads models whose finished calls are kept in one cache."""

    def __init__(self, calls: CallCache) -> None:
        self._calls = calls

    def chat(self, spec: ModelSpec, role: Role | None = None) -> CachedChatModel:
        """Load a chat model.

        Raises:
            InputError: An adapter for the rules, which have no weights; or what `load_chat_model` refuses.
        """
        if spec.model == "rules" and spec.adapter is not None:
            raise InputError(f"rules takes no adapter ({spec.adapter}); name the model that it was trained on")
        settings = spec.settings if spec.model != "rules" else {}
        bound = load_chat_model(spec.model, spec.adapter, role=role, **settings)
        weights = ""
        if spec.adapter is not None:  # by content: after another training other weights lie in the same folder
            digest = hashlib.sha256()
            for path in sorted(path for path in spec.adapter.rglob("*") if path.is_file()):
                digest.update(path.relative_to(spec.adapter).as_posix().encode() + b"\0" + path.read_bytes())
            weights = digest.hexdigest()
        return CachedChatModel(bound=bound, calls=self._calls, weights=weights)

    def embedder(self, spec: str | Embeddings | None) -> CachedEmbeddings | None:
        """Load an embedding model; None where none is named."""
        bound = load_embeddings(spec)
        name = spec if isinstance(spec, str) else f"{type(spec).__module__}.{type(spec).__qualname__}"
        return None if bound is None else CachedEmbeddings(bound, name, self._calls)
