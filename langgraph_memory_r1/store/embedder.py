"""Turns items and queries into unit vectors, and knows whether stored vectors come from the same model."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from langgraph.store.base import IndexConfig, PutOp, ensure_embeddings, get_text_at_path

from langgraph_memory_r1.errors import EmbedderMismatchError
from langgraph_memory_r1.store.rows import Vectors

log = logging.getLogger(__name__)

CANARY = "Ann moved to Lisbon in May and takes her two dogs, Buddy and Scout, to the river on Sundays."
"""Its stored vector shows when a model changed under an unchanged name."""
_SAME = 0.999


class Embedder:
    """The `index` of a store: which texts of a value are embedded, and by what."""

    def __init__(self, index: IndexConfig) -> None:
        self.dims = index["dims"]
        self.embeddings = ensure_embeddings(index["embed"])
        self.fields = list(index.get("fields") or ["$"])
        model, spec = _model_name(index["embed"]), _spec(index["embed"])
        self.identity = {"model": model, "spec": spec, "dims": self.dims, "fields": self.fields}
        """What a table keeps to name its embedder; `spec` is what `--embedder` takes, where there is such a word."""
        self._canary: Vectors | None = None

    def texts(self, op: PutOp) -> list[str]:
        """The texts of a put that are embedded: by its own paths, the store's, or none."""
        return texts_of(op, self.fields)

    def embed(self, texts: Sequence[str], queries: Sequence[str]) -> dict[str, Vectors]:
        """Unit vectors (dims,) of texts and queries; queries are keyed as `"?" + query`."""
        wanted = self._documents(texts)
        vectors = self.embeddings.embed_documents(wanted) if wanted else []
        return self._collect(wanted, vectors, queries, [self.embeddings.embed_query(query) for query in queries])

    async def aembed(self, texts: Sequence[str], queries: Sequence[str]) -> dict[str, Vectors]:
        """`embed`, with the embedding model's own async methods."""
        wanted = self._documents(texts)
        vectors = await self.embeddings.aembed_documents(wanted) if wanted else []
        return self._collect(wanted, vectors, queries, [await self.embeddings.aembed_query(query) for query in queries])

    @property
    def ready(self) -> bool:
        """The model has been used, so that `check` compares what it really returns."""
        return self._canary is not None

    def metadata(self) -> dict[str, str]:
        """What a table keeps to recognise this embedder; call after a first `embed`."""
        assert self._canary is not None
        return {"embedder": json.dumps(self.identity), "canary": base64.b64encode(self._canary.tobytes()).decode()}

    def check(self, stored: dict[str, str], uri: str) -> None:
        """Refuse to mix vectors of different models.

        Raises:
            EmbedderMismatchError: the table at `uri` was embedded by another model, width or fields.
        """
        known = json.loads(stored["embedder"]) if "embedder" in stored else None
        if known is None or known["dims"] != self.dims or known["fields"] != self.fields:
            raise mismatch(uri, known, self.identity)
        canary = np.frombuffer(base64.b64decode(stored["canary"]), np.float32)
        if self._canary is not None and float(canary @ self._canary) < _SAME:
            raise mismatch(uri, known, self.identity)

    def _documents(self, texts: Sequence[str]) -> list[str]:
        first = [CANARY] if self._canary is None else []
        return list(dict.fromkeys([*first, *texts]))

    def _collect(self, texts: list[str], vectors: Any, queries: Sequence[str], asked: list[Any]) -> dict[str, Vectors]:
        found = {text: self._unit(vector) for text, vector in zip(texts, vectors, strict=True)}
        if self._canary is None:
            self._canary = found[CANARY]
        return found | {"?" + query: self._unit(vector) for query, vector in zip(queries, asked, strict=True)}

    def _unit(self, vector: Any) -> Vectors:
        array = np.asarray(vector, np.float32)
        if array.shape != (self.dims,):
            raise ValueError(
                f"The embedding model returned {array.shape} numbers; the store's index says dims={self.dims}."
            )
        if not np.isfinite(array).all():
            raise ValueError("The embedding model returned a vector with NaN or infinity.")
        norm = float(np.linalg.norm(array))
        return array / norm if norm else array


def texts_of(op: PutOp, fields: Sequence[str]) -> list[str]:
    """The indexed texts of a put: at its own paths, at `fields` where it names none, nowhere with `index=False`."""
    if op.value is None or op.index is False:
        return []
    paths = fields if op.index is None else op.index
    found = (text for path in paths for text in get_text_at_path(op.value, path))
    return [text for text in found if text.strip()]


def mismatch(uri: str, stored: dict[str, Any] | None, given: dict[str, Any] | None) -> EmbedderMismatchError:
    """The error for vectors of another embedder, with the command that embeds anew."""
    spec = given.get("spec") if given else "none"
    own = "" if spec else " (in Python, for an embedder of your own: LanceDBStore.reembed)"
    return EmbedderMismatchError(
        f"{uri} was embedded by {_describe(stored)}, but is now used with {_describe(given)}. Open it with the former"
        f"{_how(stored)}, or embed everything anew: "
        f"memory-r1 reembed --db {uri} --embedder {spec or 'PROVIDER:MODEL'}{own}"
    )


def warn_of_words_only(stored: dict[str, str], uri: str) -> None:
    """Says that a table with vectors is searched by words only."""
    if "embedder" in stored:
        known = json.loads(stored["embedder"])
        log.warning(
            "%s was embedded by %s and is searched by words only, because it was opened without an embedder; "
            "open it with that one%s.", uri, _describe(known), _how(known),
        )  # fmt: skip


def _describe(identity: dict[str, Any] | None) -> str:
    if identity is None:
        return "no embedder"
    return f"{identity['model']!r} ({identity['dims']} dimensions, fields {', '.join(identity['fields'])})"


def _how(identity: dict[str, Any] | None) -> str:
    spec = identity.get("spec") if identity else None
    return f" (embedder={spec!r}, or --embedder {spec})" if spec else ""


def _spec(embed: Any) -> str | None:
    """What `load_embeddings` and `--embedder` take for this model, where they can make it."""
    known = embed if isinstance(embed, str) else getattr(embed, "spec", None)
    return known if isinstance(known, str) else None


def _model_name(embed: Any) -> str:
    if isinstance(embed, str):
        return embed
    for attribute in ("model", "model_name"):
        if isinstance(name := getattr(embed, attribute, None), str):
            return name
    return str(getattr(embed, "__qualname__", type(embed).__qualname__))
