"""A stored item as the store itself sees it: its canonical texts, its place in an Arrow table and back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote, unquote
from uuid import UUID

import numpy as np
from langgraph.store.base import ListNamespacesOp
from numpy.typing import NDArray

from langgraph_memory_r1.tokenizer import terms

if TYPE_CHECKING:
    import pyarrow as pa

Vectors: TypeAlias = NDArray[np.float32]
_TEXT_END, _TERMS = "\x1e", "\x1d"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


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
    """(n, dims) unit vectors, one per indexed text; a view into the matrix of the mirror that holds the row."""
    text: str | None = None
    """The indexed texts, for full-text search, as `join_texts` writes them; None where nothing shall be indexed."""
    flat: bool = True
    """The value holds no list or mapping, so that a shallow copy isolates it."""

    def alive(self, now: datetime) -> bool:
        """Return whether it is neither deleted nor expired."""
        return self.live and (self.expires_at is None or self.expires_at > now)


@lru_cache(maxsize=4096)
def _encode(namespace: tuple[str, ...]) -> str:
    # Ended by "/" and not joined by it: a prefix "a/" must not match the namespace ("ab",).
    return "".join(quote(label, safe="@ +=,:;!()*&$'~") + "/" for label in namespace)


def encode_namespace(namespace: Sequence[str]) -> str:
    """Return the canonical text of a namespace: its labels percent-encoded, each ended by "/".

    Raises:
        ValueError: a label holds a lone surrogate.
    """
    try:
        return _encode(tuple(namespace))
    except UnicodeEncodeError as error:
        raise ValueError(
            f"Namespace {tuple(namespace)!r} holds a lone surrogate, which is not text: {error}."
        ) from None


def decode_namespace(text: str) -> tuple[str, ...]:
    """Return the namespace of a canonical text: the inverse of `encode_namespace`."""
    return tuple(unquote(label) for label in text.split("/")[:-1])


def select_namespaces(namespaces: Iterable[tuple[str, ...]], op: ListNamespacesOp) -> list[tuple[str, ...]]:
    """Return those that meet every condition, cut to `max_depth`, each once, in order, one page of them.

    Raises:
        ValueError: a condition is neither about a prefix nor about a suffix.
    """
    selected = set()
    for condition in op.match_conditions or ():
        if condition.match_type not in ("prefix", "suffix"):
            raise ValueError(f"Unsupported match type: {condition.match_type!r}. Use 'prefix' or 'suffix'.")
    for namespace in namespaces:
        for condition in op.match_conditions or ():
            path = tuple(condition.path)
            part = namespace[: len(path)] if condition.match_type == "prefix" else namespace[-len(path) :]
            if len(path) > len(namespace) or not all(a in ("*", b) for a, b in zip(path, part, strict=False)):
                break
        else:
            selected.add(namespace if op.max_depth is None else namespace[: op.max_depth])
    return sorted(selected)[op.offset : op.offset + op.limit]


def item_id(namespace: Sequence[str], key: str) -> str:
    """Return the primary key of an item: a hash of namespace and key.

    Raises:
        ValueError: one of them holds a lone surrogate, which no text file can hold.
    """
    try:
        text = f"{encode_namespace(namespace)}\0{key}".encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"Key {key!r} holds a lone surrogate, which is not text.") from error
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def join_texts(texts: Sequence[str]) -> str:
    """Return the indexed texts of an item as one, for LanceDB's full-text index.

    Its tokenizer parts English words and takes a Chinese sentence for one of them: the index terms of other scripts
    stand behind the texts.
    """
    text = _TEXT_END.join(texts).encode("utf-8", "replace").decode()
    if text.isascii() and _TERMS not in text:
        return text
    return f"{text}{_TERMS}{other_terms(text)}"


def split_texts(text: str) -> list[str]:
    """Return the indexed texts of an item: the inverse of `join_texts`."""
    head, separator, last = text.rpartition(_TERMS)
    return (head if separator else last).split(_TEXT_END)


def other_terms(text: str) -> str:
    """Return the index terms of a text that hold other letters than English has, with spaces between them."""
    return "" if text.isascii() else " ".join(term for term in terms(text) if not term.isascii())


def dump_value(value: Mapping[str, Any]) -> str:
    """Return the JSON of a value; lone surrogates are escaped, since they are no UTF-8."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        text = json.dumps(value)
    return text


def is_flat(value: Mapping[str, Any]) -> bool:
    """Return whether a shallow copy isolates the value."""
    return not any(isinstance(part, (dict, list)) for part in value.values())


def plain_value(value: Any) -> Any:
    """Return a value as JSON holds it: times and dates in ISO's form, UUIDs as text, enums and dataclasses by content.

    What `SqliteStore` and `PostgresStore` take is taken here too, so that an application may change its store. Anything
    else is returned as it is.
    """
    if isinstance(value, Mapping):
        return {name: plain_value(part) for name, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain_value(part) for part in value]
    if isinstance(value, Enum):
        return plain_value(value.value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain_value(getattr(value, field.name)) for field in fields(value)}
    return value


def _encode_part(value: Any) -> Any:
    plain = plain_value(value)
    if plain is value or isinstance(value, set | frozenset):  # a set has no order that a copy could keep
        raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
    return plain


def check_ttl(namespace: Sequence[str], key: str, ttl: float | None) -> None:
    """Refuse a time to live that leads to no moment.

    Raises:
        ValueError: it is infinite, no number, or too long for a calendar.
    """
    try:
        datetime.now(UTC) + timedelta(minutes=ttl or 0)
    except (OverflowError, TypeError, ValueError):
        raise ValueError(
            f"The ttl of {key!r} in {tuple(namespace)!r} is {ttl!r}; give minutes, or None to keep it for ever."
        ) from None


def clean_value(namespace: Sequence[str], key: str, value: Any) -> dict[str, Any]:
    """Return the value as it will be read back: a copy that went through JSON.

    Raises:
        ValueError: the value is no JSON object.
    """
    if not isinstance(value, Mapping):
        raise ValueError(
            f"The value of {key!r} in {tuple(namespace)!r} is a {type(value).__name__}; a store keeps mappings."
        )
    try:
        copied: dict[str, Any] = json.loads(json.dumps(dict(value), default=_encode_part))
    except (TypeError, RecursionError, ValueError) as error:
        raise ValueError(f"The value of {key!r} in {tuple(namespace)!r} is not JSON: {error}.") from None
    return copied


def copy_value(value: Any) -> Any:
    """Copy a value so deeply that a caller may change the copy."""
    if isinstance(value, dict):
        return {name: copy_value(part) for name, part in value.items()}
    return [copy_value(part) for part in value] if isinstance(value, list) else value


def schema_of(dims: int) -> pa.Schema:
    """Return the table's schema; without vectors where `dims` is 0."""
    import pyarrow as pa

    moment = pa.timestamp("us", tz="UTC")
    fields = [
        pa.field("id", pa.string(), nullable=False),
        pa.field("namespace", pa.string(), nullable=False),
        pa.field("key", pa.string(), nullable=False),
        pa.field("value", pa.string()),
        pa.field("text", pa.string()),
        pa.field("live", pa.bool_(), nullable=False),
        pa.field("rev", pa.int64(), nullable=False),
        pa.field("seq", pa.int64(), nullable=False),
        pa.field("commit", pa.string(), nullable=False),
        pa.field("created_at", moment, nullable=False),
        pa.field("updated_at", moment, nullable=False),
        pa.field("ttl", pa.float64()),
        pa.field("expires_at", moment),
    ]
    if dims:
        fields.append(pa.field("vectors", pa.list_(pa.list_(pa.float32(), dims))))
    return pa.schema(fields)


def to_arrow(rows: Sequence[Row], schema: pa.Schema) -> pa.Table:
    """Turn rows into an Arrow table of this schema."""
    import pyarrow as pa

    plain = ("id", "key", "text", "live", "rev", "seq", "commit", "created_at", "updated_at", "ttl", "expires_at")
    columns: dict[str, Any] = {name: [getattr(row, name) for row in rows] for name in plain}
    columns["namespace"] = [encode_namespace(row.namespace) for row in rows]
    columns["value"] = [dump_value(row.value) if row.live else None for row in rows]
    arrays = {name: pa.array(values, schema.field(name).type) for name, values in columns.items()}
    if "vectors" in schema.names:
        arrays["vectors"] = _vector_array(rows, schema.field("vectors").type)
    return pa.table([arrays[name] for name in schema.names], schema=schema)


def _vector_array(rows: Sequence[Row], kind: pa.ListType) -> pa.Array:
    """Return the rows' vectors as a list array, made from one flat buffer instead of a Python list per number."""
    import pyarrow as pa

    dims = kind.value_type.list_size
    some = [row.vectors for row in rows if row.vectors is not None]
    flat = np.concatenate(some).ravel() if some else np.empty(0, np.float32)
    ends = np.cumsum([0, *(0 if row.vectors is None else len(row.vectors) for row in rows)]).astype(np.int32)
    mask = pa.array([row.vectors is None for row in rows])
    values = pa.FixedSizeListArray.from_arrays(pa.array(flat, pa.float32()), dims)
    return pa.ListArray.from_arrays(pa.array(ends), values, type=kind, mask=mask)


def to_rows(batch: pa.RecordBatch) -> list[Row]:
    """Turn a batch of an Arrow table back into rows; their vectors are views into one matrix."""
    import pyarrow as pa

    if not batch.num_rows:
        return []
    names = [name for name in batch.schema.names if name not in ("vectors", "created_at", "updated_at", "expires_at")]
    columns = {name: batch.column(name).to_pylist() for name in names}
    # As numbers: Arrow's own conversion to datetimes was measured to take ten times as long.
    times = {
        name: [
            None if microseconds is None else _EPOCH + microseconds * _MICROSECOND
            for microseconds in batch.column(name).cast(pa.int64()).to_pylist()
        ]
        for name in ("created_at", "updated_at", "expires_at")
    }
    vectors: list[Vectors | None] = [None] * batch.num_rows
    if "vectors" in batch.schema.names:
        column = batch.column("vectors")
        flat = column.flatten().flatten().to_numpy(zero_copy_only=False)
        matrix = flat.reshape(-1, column.type.value_type.list_size).astype(np.float32, copy=False)
        end = 0
        for i, count in enumerate(column.value_lengths().to_pylist()):
            if count:
                start, end = end, end + count
                vectors[i] = matrix[start:end]
    namespaces = {text: decode_namespace(text) for text in set(columns["namespace"])}
    rows = []
    for i in range(batch.num_rows):
        value = json.loads(columns["value"][i] or "{}")
        rows.append(
            Row(
                id=columns["id"][i],
                namespace=namespaces[columns["namespace"][i]],
                key=columns["key"][i],
                value=value,
                created_at=times["created_at"][i] or _EPOCH,
                updated_at=times["updated_at"][i] or _EPOCH,
                rev=columns["rev"][i],
                seq=columns["seq"][i],
                commit=columns["commit"][i],
                live=columns["live"][i],
                ttl=columns["ttl"][i],
                expires_at=times["expires_at"][i],
                vectors=vectors[i],
                text=columns["text"][i],
                flat=is_flat(value),
            )
        )
    return rows
