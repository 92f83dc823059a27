"""Rows as Arrow tables and back: the table's schema and its two converters."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from langgraph_memory_r1.store.rows import Row, Vectors, decode_namespace, dump_value, encode_namespace, is_flat

if TYPE_CHECKING:
    import pyarrow as pa

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def schema_of(dims: int) -> pa.Schema:
    """The table's schema; without vectors where `dims` is 0."""
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
    """Rows as a table of this schema."""
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
    import pyarrow as pa

    dims = kind.value_type.list_size
    some = [row.vectors for row in rows if row.vectors is not None]
    flat = np.concatenate(some).ravel() if some else np.empty(0, np.float32)
    ends = np.cumsum([0, *(0 if row.vectors is None else len(row.vectors) for row in rows)]).astype(np.int32)
    mask = pa.array([row.vectors is None for row in rows])
    values = pa.FixedSizeListArray.from_arrays(pa.array(flat, pa.float32()), dims)
    return pa.ListArray.from_arrays(pa.array(ends), values, type=kind, mask=mask)


def to_rows(batch: pa.RecordBatch) -> list[Row]:
    """The inverse of `to_arrow`."""
    if not batch.num_rows:
        return []
    names = [name for name in batch.schema.names if name not in ("vectors", "created_at", "updated_at", "expires_at")]
    columns = {name: batch.column(name).to_pylist() for name in names}
    times = {name: _datetimes(batch.column(name)) for name in ("created_at", "updated_at", "expires_at")}
    vectors = _row_vectors(batch.column("vectors")) if "vectors" in batch.schema.names else [None] * batch.num_rows
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


def _datetimes(column: pa.Array) -> list[datetime | None]:
    import pyarrow as pa

    return [None if us is None else _EPOCH + us * _MICROSECOND for us in column.cast(pa.int64()).to_pylist()]


def _row_vectors(column: pa.ListArray) -> list[Vectors | None]:
    dims = column.type.value_type.list_size
    matrix = column.flatten().flatten().to_numpy(zero_copy_only=False).reshape(-1, dims).astype(np.float32, copy=False)
    counts = [0 if count is None else count for count in column.value_lengths().to_pylist()]
    ends = np.cumsum(counts)
    return [matrix[end - count : end].copy() if count else None for end, count in zip(ends, counts, strict=True)]
