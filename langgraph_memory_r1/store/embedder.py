"""Turns items and queries into unit vectors, and knows whether stored vectors come from the same model."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from langgraph.store.base import IndexConfig, PutOp, ensure_embeddings, get_text_at_path

from langgraph_memory_r1.errors import EmbedderMismatchError
from langgraph_memory_r1.store.rows import Vectors, plain_value

log = logging.getLogger(__name__)

CANARY = "Ann moved to Lisbon in May and takes her two dogs, Buddy and Scout, to the river on Sundays."
"""Its stored vector shows when a model changed under an unchanged name."""
_SAME = 0.999
"""Cosine of the canary's two vectors, stored and new, from which on the model counts as unchanged."""


class Embedded(NamedTuple):
    """Unit vectors (dims,) by text; a model may embed a text in another way as a query than as a document."""

    documents: Mapping[str, Vectors]
    queries: Mapping[str, Vectors]


class Embedder:
    """The `index` of a store: which texts of a value are embedded, and by what."""

    def __init__(self, index: IndexConfig) -> None:
        self.dims = index["dims"]
        self.embeddings = ensure_embeddings(index["embed"])
        self.fields = list(index.get("fields") or ["$"])
        embed: Any = index["embed"]
        names = [embed, *(getattr(embed, name, None) for name in ("model", "model_name"))]
        fallback = getattr(embed, "__qualname__", type(embed).__qualname__)
        model = next((name for name in names if isinstance(name, str)), str(fallback))
        spec = next((name for name in (embed, getattr(embed, "spec", None)) if isinstance(name, str)), None)
        self.identity = {"model": model, "spec": spec, "dims": self.dims, "fields": self.fields}
        """What a table keeps to name its embedder; `spec` is what `--embedder` takes, where there is such a word."""
        self._canary: Vectors | None = None

    def texts(self, op: PutOp) -> list[str]:
        """Return the texts of a put that are embedded: by its own paths, the store's, or none."""
        return texts_of(op, self.fields)

    def embed(self, texts: Sequence[str], queries: Sequence[str]) -> Embedded:
        """Embed texts as documents and queries as queries; each by its text, as a unit vector (dims,)."""
        documents = self._documents(texts)
        vectors = self.embeddings.embed_documents(documents) if documents else []
        return self._embedded(documents, vectors, queries, [self.embeddings.embed_query(query) for query in queries])

    async def aembed(self, texts: Sequence[str], queries: Sequence[str]) -> Embedded:
        """`embed`, with the embedding model's own async methods."""
        documents = self._documents(texts)
        vectors = await self.embeddings.aembed_documents(documents) if documents else []
        return self._embedded(
            documents, vectors, queries, [await self.embeddings.aembed_query(query) for query in queries]
        )

    @property
    def ready(self) -> bool:
        """The model has been used, so that `check` compares what it really returns."""
        return self._canary is not None

    def metadata(self) -> dict[str, str]:
        """Return what a table keeps to recognise this embedder; call after a first `embed`."""
        assert self._canary is not None
        return {"embedder": json.dumps(self.identity), "canary": base64.b64encode(self._canary.tobytes()).decode()}

    def check(self, stored: dict[str, str], uri: str) -> None:
        """Refuse to mix vectors of different models.

        Raises:
            EmbedderMismatchError: the table at `uri` was embedded by another model, width or fields.
        """
        identity = json.loads(stored["embedder"]) if "embedder" in stored else None
        if identity is None or identity["dims"] != self.dims or identity["fields"] != self.fields:
            raise mismatch(uri, identity, self.identity)
        canary = np.frombuffer(base64.b64decode(stored["canary"]), np.float32)
        if self._canary is not None and float(canary @ self._canary) < _SAME:
            raise mismatch(uri, identity, self.identity)

    def _documents(self, texts: Sequence[str]) -> list[str]:
        """Return each text once, after the canary where its vector is not known yet."""
        first = [CANARY] if self._canary is None else []
        return list(dict.fromkeys([*first, *texts]))

    def _embedded(
        self, documents: Sequence[str], vectors: Any, queries: Sequence[str], query_vectors: Sequence[Any]
    ) -> Embedded:
        embedded = Embedded(
            {text: self._unit(vector) for text, vector in zip(documents, vectors, strict=True)},
            {query: self._unit(vector) for query, vector in zip(queries, query_vectors, strict=True)},
        )
        if self._canary is None:
            self._canary = embedded.documents[CANARY]
        return embedded

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
    """Return the indexed texts of a put: at its own paths, else at `fields`; none with `index=False`."""
    if op.value is None or op.index is False:
        return []
    paths = fields if op.index is None else op.index
    try:
        value = plain_value(op.value) if paths else None
    except RecursionError:  # a value that holds itself, which is refused with its key when it is written
        return []
    return [text for path in paths for text in get_text_at_path(value, path) if text.strip()]


def mismatch(uri: str, stored: dict[str, Any] | None, identity: dict[str, Any] | None) -> EmbedderMismatchError:
    """Return the error for vectors of another embedder, with the command that embeds anew."""
    spec = identity.get("spec") if identity else "none"
    own = "" if spec else " (in Python, for an embedder of your own: LanceDBStore.reembed)"
    return EmbedderMismatchError(
        f"{uri} was embedded by {_describe(stored)}, but is now used with {_describe(identity)}. "
        f"Open it with the former{_how(stored)}, or embed everything anew: "
        f"memory-r1 reembed --db {uri} --embedder {spec or 'PROVIDER:MODEL'}{own}"
    )


def warn_of_words_only(stored: dict[str, str], uri: str) -> None:
    """Warn that a table with vectors is searched by words only."""
    if "embedder" in stored:
        identity = json.loads(stored["embedder"])
        log.warning(
            "%s was embedded by %s and is searched by words only, because it was opened without an embedder; "
            "open it with that one%s.", uri, _describe(identity), _how(identity),
        )  # fmt: skip


def _describe(identity: dict[str, Any] | None) -> str:
    if identity is None:
        return "no embedder"
    return f"{identity['model']!r} ({identity['dims']} dimensions, fields {', '.join(identity['fields'])})"


def _how(identity: dict[str, Any] | None) -> str:
    spec = identity.get("spec") if identity else None
    return f" (embedder={spec!r}, or --embedder {spec})" if spec else ""
