"""The models of a run, each with its calls kept: an extractor, a manager, an answerer, a judge, an embedder."""

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

    spec: str | BaseChatModel
    adapter: Path | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    """Such as a temperature."""


class ModelLoader:
    """Loads models whose finished calls are kept in one cache."""

    def __init__(self, calls: CallCache) -> None:
        self._calls = calls

    def chat(self, chosen: ModelSpec, role: Role | None = None) -> CachedChatModel:
        """A chat model.

        Raises:
            InputError: An adapter for the rules, which have no weights; or what `load_chat_model` refuses.
        """
        if chosen.spec == "rules" and chosen.adapter is not None:
            raise InputError(f"rules takes no adapter ({chosen.adapter}); name the model that it was trained on")
        settings = chosen.settings if chosen.spec != "rules" else {}
        bound = load_chat_model(chosen.spec, chosen.adapter, role=role, **settings)
        return CachedChatModel(bound=bound, calls=self._calls, weights=_content(chosen.adapter))

    def embedder(self, spec: str | Embeddings | None) -> CachedEmbeddings | None:
        """An embedding model, None where none is named."""
        bound = load_embeddings(spec)
        name = spec if isinstance(spec, str) else f"{type(spec).__module__}.{type(spec).__qualname__}"
        return None if bound is None else CachedEmbeddings(bound, name, self._calls)


def _content(folder: Path | None) -> str:
    """A hash of an adapter's files: another one may come to lie in the same place."""
    if folder is None:
        return ""
    found = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        found.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return found.hexdigest()
