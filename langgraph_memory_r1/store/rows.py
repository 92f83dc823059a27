"""A stored item as the store itself sees it, and the canonical texts of namespaces, keys and values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, TypeAlias
from urllib.parse import quote, unquote

import numpy as np
from numpy.typing import NDArray

Vectors: TypeAlias = NDArray[np.float32]
TEXT_END = "\x1e"


@dataclass(slots=True, eq=False)
class Row:
    """One stored item with what the store itself needs to know about it."""

    id: str
    """Hash of namespace and key: the primary key."""
    namespace: tuple[str, ...]
    key: str
    value: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    rev: int
    """Counts the writes of this key: the compare-and-set token."""
    seq: int
    """Grows from commit to commit over the whole table."""
    commit: str = ""
    """Names the commit that wrote it."""
    live: bool = True
    """False: deleted; kept until no reader can miss the deletion."""
    ttl: float | None = None
    """Minutes of life after the last write or read."""
    expires_at: datetime | None = None
    vectors: Vectors | None = None
    """(n, dims) unit vectors: one per indexed text."""
    text: str | None = None
    """The indexed texts, for full-text search, with `TEXT_END` between them; None where nothing shall be indexed."""
    flat: bool = True
    """The value holds no list or mapping, so that a shallow copy isolates it."""

    def alive(self, now: datetime) -> bool:
        """Neither deleted nor expired."""
        return self.live and (self.expires_at is None or self.expires_at > now)


@lru_cache(maxsize=4096)
def _encode(namespace: tuple[str, ...]) -> str:
    return "".join(quote(label, safe="@ +=,:;!()*&$'~") + "/" for label in namespace)


def encode_namespace(namespace: Sequence[str]) -> str:
    """Canonical text of a namespace: labels percent-encoded, each ended by "/", so that a prefix ends at a label."""
    try:
        return _encode(tuple(namespace))
    except UnicodeEncodeError as error:
        raise ValueError(
            f"Namespace {tuple(namespace)!r} holds a lone surrogate, which is not text: {error}."
        ) from None


def decode_namespace(text: str) -> tuple[str, ...]:
    """The inverse of `encode_namespace`."""
    return tuple(unquote(label) for label in text.split("/")[:-1])


def item_id(namespace: Sequence[str], key: str) -> str:
    """The primary key of an item: a hash of namespace and key.

    Raises:
        ValueError: one of them holds a lone surrogate, which no text file can hold.
    """
    try:
        text = f"{encode_namespace(namespace)}\0{key}".encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"Key {key!r} holds a lone surrogate, which is not text.") from error
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def dump_value(value: Mapping[str, Any]) -> str:
    """JSON of a value; lone surrogates are escaped, since they are no UTF-8."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        text = json.dumps(value)
    return text


def is_flat(value: Mapping[str, Any]) -> bool:
    """Whether a shallow copy isolates the value."""
    return not any(isinstance(part, (dict, list)) for part in value.values())


def clean_value(namespace: Sequence[str], key: str, value: Any) -> dict[str, Any]:
    """The value as it will be read back: a copy that went through JSON.

    Raises:
        ValueError: the value is no JSON object.
    """
    if not isinstance(value, Mapping):
        raise ValueError(
            f"The value of {key!r} in {tuple(namespace)!r} is a {type(value).__name__}; a store keeps mappings."
        )
    try:
        copied: dict[str, Any] = json.loads(json.dumps(dict(value)))
    except (TypeError, RecursionError, ValueError) as error:
        raise ValueError(f"The value of {key!r} in {tuple(namespace)!r} is not JSON: {error}.") from None
    return copied


def copy_value(value: Any) -> Any:
    """A copy that a caller may change."""
    if isinstance(value, dict):
        return {name: copy_value(part) for name, part in value.items()}
    return [copy_value(part) for part in value] if isinstance(value, list) else value
