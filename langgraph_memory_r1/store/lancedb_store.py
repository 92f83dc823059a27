"""`LanceDBStore`: LangGraph's `BaseStore` on LanceDB.

    batch / abatch ─► reads:  mirrors in memory, checked against the table's version ─► LanceDB where too large
                   └► writes: embed ─► lock ─► look at what is there ─► one commit ─► mirrors

`batch` is the whole store: get, search, put, delete and list_namespaces derive from it. Its reads see the state before
its puts; all its puts are one commit. `commit` is `batch` for puts under a condition; `erase` removes for good.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from langgraph.store.base import (
    BaseStore,
    GetOp,
    IndexConfig,
    Item,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
    validate_op_namespace,
)

from langgraph_memory_r1.errors import StoreError
from langgraph_memory_r1.store.embedder import Embedder, mismatch, texts_of, warn_of_words_only
from langgraph_memory_r1.store.filters import compile_filter
from langgraph_memory_r1.store.journal import Journal
from langgraph_memory_r1.store.maintenance import Upkeep
from langgraph_memory_r1.store.mirror import Mirror
from langgraph_memory_r1.store.namespaces import select_namespaces
from langgraph_memory_r1.store.reader import Reader
from langgraph_memory_r1.store.rows import (
    TEXT_END,
    Row,
    Vectors,
    clean_value,
    copy_value,
    decode_namespace,
    encode_namespace,
)
from langgraph_memory_r1.store.table import LanceTable, under, within
from langgraph_memory_r1.store.writer import Address, Expectation, Put, Request, Writer


@dataclass(frozen=True, slots=True)
class Changes:
    """The rows of a namespace that changed, tombstones too, or all live ones."""

    state: object
    """For the next call."""
    rows: list[Row]
    whole: bool
    """The rows are all that there are."""


_REFRESH_SHARE = 0.05
"""A read restarts a time to live once this share of it has passed: a busy item costs no commit per read."""


class LanceDBStore(BaseStore):
    """A LangGraph store in a LanceDB folder or object-store URI.

    Args:
        uri: A folder (made when first written to) or `s3://`, `gs://`, `az://`, `memory://`.
        index: Embedding model, its width and the fields that it embeds; without it there is no semantic search.
        ttl: Defaults for time to live; expired items are invisible at once and are swept by the store itself.

    Example:
        ```python
        with LanceDBStore("./memory") as store:
            store.put(("users", "ann"), "pet", {"text": "Ann has a dog, Buddy."})
            store.search(("users",), filter={"text": {"$contains": "Buddy"}})
        ```
    """

    supports_ttl = True

    mirror_rows = 20_000
    """Prefixes with more rows than this are searched by LanceDB instead of in memory."""
    mirror_total = 100_000
    """Rows that all mirrors hold together; the least recently used make room."""

    def __init__(
        self, uri: str | os.PathLike[str], *, index: IndexConfig | None = None, ttl: TTLConfig | None = None
    ) -> None:
        self.uri = os.fspath(uri)
        self.index_config = index
        self.ttl_config = ttl
        self.embedder = Embedder(index) if index else None
        self._table = LanceTable(self.uri)
        self._reader = Reader(self._table, self.mirror_rows, self.mirror_total)
        self._writer = Writer(self._table, self._reader)
        self._upkeep = Upkeep(self._table, self._reader, (ttl or {}).get("sweep_interval_minutes") or 5)
        self.journal = Journal(Path(self.uri) / "journal") if self._table.local else None
        """Lines that cost no commit; None on object stores."""
        self._checked = self._remarked = False
        self._closed = False
        self._expiring = ttl is not None

    # The store contract

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Run operations; results in their order."""
        ops = self._validated(ops)
        texts, queries = self._to_embed(ops)
        vectors = self.embedder.embed(texts, queries) if self.embedder and self._must_embed(ops, texts, queries) else {}
        return self._run(ops, vectors)

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """`batch` that never blocks the event loop."""
        ops = self._validated(ops)
        texts, queries = self._to_embed(ops)
        needed = self.embedder and self._must_embed(ops, texts, queries)
        vectors = await self.embedder.aembed(texts, queries) if self.embedder and needed else {}
        return await asyncio.to_thread(self._run, ops, vectors)

    def commit(
        self, puts: Sequence[PutOp], *, expect: Expectation | None = None, fresh: Collection[Address] = ()
    ) -> None:
        """Write all puts in one commit, if the items named in `expect` are still as expected.

        Args:
            puts: Items to write or, with a value of None, to delete.
            expect: (namespace, key) → fields that the current value must have; None: there must be no such item.
            fresh: (namespace, key) of puts whose key the caller has just made up, so that nobody else can have used it.

        Raises:
            ConflictError: an item is not as expected; nothing was written.
        """
        ops = self._validated(puts)
        texts, _ = self._to_embed(ops)
        vectors = self.embedder.embed(texts, ()) if self.embedder and self._must_embed(ops, texts, ()) else {}
        self._write(ops, vectors, expect or {}, fresh)

    def erase(self, namespace: tuple[str, ...], *, below: bool = True) -> int:
        """Remove every item of a namespace for good: from old versions and files on disk too.

        Args:
            namespace: Labels.
            below: Also what lies in namespaces below it.

        Returns:
            How many items there were.
        """
        self._require_open()
        if self.journal is not None:
            self.journal.erase(namespace, below=below)
        encoded = encode_namespace(namespace)
        return self._upkeep.erase(under(encoded) if below else within("namespace", [encoded]))

    def sweep_ttl(self) -> int:
        """Remove expired items now; returns how many. The store also does it by itself."""
        self._require_open()
        return self._upkeep.sweep()

    def compact(self) -> bool:
        """Merge small files now; False where another process is at it. The store also does it by itself."""
        self._require_open()
        return self._table.open() and self._upkeep.tidy()

    def changes(self, namespace: tuple[str, ...], since: object = None) -> Changes | None:
        """What changed in exactly this namespace since an earlier `Changes.state`; None where it is too large to hold.

        Without `since`, or where that is too long ago, all of its rows. They must not be modified.
        """
        self._require_open()
        with self._reader.lock:
            mirror = self._reader.mirror(encode_namespace(namespace)) if self._reader.sync() else Mirror()
            if mirror is None:
                return None
            known = since if isinstance(since, tuple) and since[0] is mirror else (mirror, -1)
            if known[1] == mirror.tick and not mirror.expiring:
                return Changes(known, [], whole=False)
            whole = known[1] < 0 or mirror.expiring
            now = datetime.now(UTC)
            rows = [row for row in mirror.changes(-1 if whole else known[1]) if row.namespace == namespace]
            return Changes((mirror, mirror.tick), [row for row in rows if not whole or row.alive(now)], whole)

    def mirrored(self, namespace: tuple[str, ...]) -> bool:
        """Whether a namespace is small enough to be held in memory, for `changes` to follow it there."""
        self._require_open()
        return self._reader.mirrored(encode_namespace(namespace))

    def scan(self, namespace: tuple[str, ...]) -> Iterator[Row]:
        """All rows of exactly this namespace, read from disk in batches."""
        self._require_open()
        if self._reader.sync():
            now = datetime.now(UTC)
            for rows in self._table.scan(f"{within('namespace', [encode_namespace(namespace)])} AND live"):
                yield from (row for row in rows if row.alive(now))

    def candidates(self, namespace: tuple[str, ...], query: str, limit: int) -> list[Row]:
        """Rows of a namespace that LanceDB's full-text and vector search find for a query, in no order."""
        vector = self.embed_query(query)
        where = f"{within('namespace', [encode_namespace(namespace)])} AND live"
        ids = dict.fromkeys(self._table.full_text(query, where, limit))
        if vector is not None:
            ids |= dict.fromkeys(row_id for row_id, _ in self._table.nearest(vector, where, limit))
        now = datetime.now(UTC)
        return [row for row in self._table.rows(within("id", ids)) if row.alive(now)] if ids else []

    def embed_query(self, query: str) -> Vectors | None:
        """The unit vector of a query by the store's embedder; None without one."""
        if self.embedder is None:
            self._remark()
            return None
        vectors = self.embedder.embed((), (query,))
        self._check_embedder(writing=False)
        return vectors["?" + query]

    def about(self) -> dict[str, str]:
        """What the table keeps of itself: `format`, and as JSON the `embedder`; empty where nothing was stored yet."""
        self._require_open()
        return self._table.metadata() if self._table.open() else {}

    @classmethod
    def reembed(
        cls, uri: str | os.PathLike[str], index: IndexConfig | None, progress: Callable[[int, int], None] | None = None
    ) -> int:
        """Embed everything in a store anew, by another model or by none, and return how many items there are.

        Args:
            uri: The store's folder or URI; other processes should not write to it meanwhile.
            index: The new embedding model, width and fields; None drops all vectors.
            progress: Called with (items done, items in all).
        """
        with cls(uri, index=index) as store:
            return store._upkeep.reembed(store.embedder, progress)

    # Opening and closing

    def close(self) -> None:
        """Finish running upkeep and let go of the files; closing twice is fine."""
        if not self._closed:
            self._upkeep.close()
            self._closed = True
            self._table.close()

    async def aclose(self) -> None:
        """`close`, without blocking the event loop."""
        await asyncio.to_thread(self.close)

    def __enter__(self) -> LanceDBStore:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    async def __aenter__(self) -> LanceDBStore:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    # Parts of a batch

    def _validated(self, ops: Iterable[Op]) -> list[Op]:
        self._require_open()
        checked = list(ops)
        for op in checked:
            validate_op_namespace(op)
        return checked

    def _to_embed(self, ops: Sequence[Op]) -> tuple[list[str], list[str]]:
        if self.embedder is None:
            return [], []
        texts = [text for op in ops if isinstance(op, PutOp) for text in self.embedder.texts(op)]
        queries = [op.query for op in ops if isinstance(op, SearchOp) and op.query]
        return texts, list(dict.fromkeys(queries))

    def _must_embed(self, ops: Sequence[Op], texts: Sequence[str], queries: Sequence[str]) -> bool:
        """A new table keeps a sample vector of its embedder even where nothing else is embedded."""
        return bool(texts or queries or (not self._checked and any(isinstance(op, PutOp) for op in ops)))

    def _run(self, ops: Sequence[Op], vectors: dict[str, Vectors]) -> list[Result]:
        results: list[Result] = [None] * len(ops)
        touched: list[Row] = []
        self._check_embedder(writing=False)
        for i, op in enumerate(ops):
            if isinstance(op, GetOp):
                results[i] = self._get(op, touched)
            elif isinstance(op, SearchOp):
                results[i] = self._search(op, vectors, touched)
            elif isinstance(op, ListNamespacesOp):
                results[i] = select_namespaces(map(decode_namespace, self._reader.namespaces()), op)
            elif not isinstance(op, PutOp):
                raise ValueError(f"Unknown operation: {op!r}")
        self._write(ops, vectors, {})
        self._refresh(touched)
        return results

    def _get(self, op: GetOp, touched: list[Row]) -> Item | None:
        row = self._reader.get(tuple(op.namespace), op.key)
        if row is None:
            return None
        if op.refresh_ttl:
            touched.append(row)
        times = {"created_at": row.created_at, "updated_at": row.updated_at}
        return Item(value=_value(row), key=row.key, namespace=row.namespace, **times)

    def _search(self, op: SearchOp, vectors: dict[str, Vectors], touched: list[Row]) -> list[SearchItem]:
        query = vectors["?" + op.query] if op.query and self.embedder else None
        if op.query and query is None:
            self._remark()
        test = compile_filter(op.filter)
        found = self._reader.search(tuple(op.namespace_prefix), query, test, max(op.limit, 0), max(op.offset, 0))
        if op.refresh_ttl:
            touched.extend([row for row, _ in found if row.ttl is not None])
        return [_search_item(row, score) for row, score in found]

    def _write(
        self, ops: Sequence[Op], vectors: dict[str, Vectors], expect: Expectation, fresh: Collection[Address] = ()
    ) -> None:
        puts = [self._put(op, vectors) for op in ops if isinstance(op, PutOp)]
        if not puts and not expect:
            return
        self._check_embedder(writing=True)
        self._create()
        self._expiring |= any(put.ttl is not None for put in puts)
        conditions = {(tuple(ns), key): wanted for (ns, key), wanted in expect.items()}
        if self._writer.submit(Request(puts, conditions, fresh)):
            self._upkeep.committed(self._expiring)

    def _put(self, op: PutOp, vectors: dict[str, Vectors]) -> Put:
        namespace = tuple(op.namespace)
        if op.value is None:
            return Put(namespace, op.key, None)
        texts = texts_of(op, self.embedder.fields if self.embedder else [])
        matrix = np.stack([vectors[text] for text in texts]) if texts and self.embedder else None
        text = None if op.index is False else TEXT_END.join(texts).encode("utf-8", "replace").decode()
        return Put(namespace, op.key, clean_value(namespace, op.key, op.value), op.ttl, matrix, text)

    def _refresh(self, rows: Sequence[Row]) -> None:
        now = datetime.now(UTC)
        due = [row for row in rows if row.ttl is not None and _worn(row, row.ttl, now)]
        if due and self._writer.submit(Request(touch=[(row.namespace, row.key) for row in due])):
            self._upkeep.committed(True)

    def _check_embedder(self, writing: bool) -> None:
        """Does the table's embedder fit the one given? Without one, an embedded table can only be read."""
        if self._checked or not self._table.open():
            return
        stored = self._table.metadata()
        if self.embedder is not None:
            self.embedder.check(stored, self.uri)
            self._checked = self.embedder.ready
        elif writing:
            if "embedder" in stored:
                raise mismatch(self.uri, json.loads(stored["embedder"]), None)
            self._checked = True

    def _remark(self) -> None:
        """Says once that an embedded table is searched without its embedder."""
        if not self._remarked and (stored := self.about()):
            self._remarked = True
            warn_of_words_only(stored, self.uri)

    def _create(self) -> None:
        if not self._table.open():
            with self._table.lock:
                self._table.create(
                    self.embedder.metadata() if self.embedder else {}, self.embedder.dims if self.embedder else 0
                )

    def _require_open(self) -> None:
        if self._closed:
            raise StoreError(f"The store {self.uri} is closed; open a new LanceDBStore.")


def _worn(row: Row, ttl: float, now: datetime) -> bool:
    life = timedelta(minutes=ttl)
    return row.expires_at is not None and row.expires_at - now < life * (1 - _REFRESH_SHARE)


def _search_item(row: Row, score: float | None) -> SearchItem:
    """Without `__init__`, which looks for times given as text: 60 results a search make that the largest cost."""
    item = SearchItem.__new__(SearchItem)
    item.value = dict(row.value) if row.flat else copy_value(row.value)
    item.key, item.namespace, item.score = row.key, row.namespace, score
    item.created_at, item.updated_at = row.created_at, row.updated_at
    return item


def _value(row: Row) -> dict[str, Any]:
    return dict(row.value) if row.flat else copy_value(row.value)
