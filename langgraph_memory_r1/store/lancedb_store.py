"""`LanceDBStore`: LangGraph's `BaseStore` on LanceDB.

    batch / abatch ─► reads:  mirrors in memory, checked against the table's version ─► LanceDB where too large
                   └► writes: embed ─► lock ─► look at what is there ─► one commit ─► mirrors

`batch` is the whole store: get, search, put, delete and list_namespaces derive from it. Its reads see the state before
its puts; all its puts are one commit, save those that another machine overtakes where no file lock reaches it
(`writer.py`). What does the work is the `Engine`; `erase` removes for good.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Sequence

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

from langgraph_memory_r1.store.embedder import Embedded
from langgraph_memory_r1.store.engine import SWEEP_MINUTES, Engine
from langgraph_memory_r1.store.filters import compile_filter
from langgraph_memory_r1.store.rows import Row, check_ttl, copy_value, decode_namespace, plain_value, select_namespaces


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
        if ttl is not None:
            check_ttl((), "default_ttl", ttl.get("default_ttl"))
        sweep_minutes = None if ttl is None else ttl.get("sweep_interval_minutes") or SWEEP_MINUTES
        self.engine = Engine(self.uri, index, sweep_minutes, self.mirror_rows, self.mirror_total)
        """The table behind the store; for a bank's storage, not for applications."""

    def __repr__(self) -> str:
        # Without a look at the table: a store may be shown on an event loop, and by a debugger before it is whole.
        dims = f", dims={self.index_config['dims']}" if self.index_config else ""
        closed = ", closed" if "engine" in self.__dict__ and self.engine.closed else ""
        return f"LanceDBStore({self.uri!r}{dims}{closed})"

    # The store contract

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Run operations; results in their order."""
        ops = self._validated(ops)
        return self._run(ops, self.engine.embed(ops))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """`batch` that never blocks the event loop."""
        ops = self._validated(ops)
        return await asyncio.to_thread(self._run, ops, await self.engine.aembed(ops))

    def _validated(self, ops: Iterable[Op]) -> list[Op]:
        self.engine.require_open()
        checked = list(ops)
        for op in checked:
            validate_op_namespace(op)
        return checked

    def _run(self, ops: Sequence[Op], vectors: Embedded) -> list[Result]:
        results: list[Result] = [None] * len(ops)
        read: list[Row] = []
        self.engine.check_embedder(writing=False)
        for i, op in enumerate(ops):
            if isinstance(op, GetOp):
                row = self.engine.reader.get(tuple(op.namespace), op.key)
                if row is not None:
                    results[i] = Item(
                        value=dict(row.value) if row.flat else copy_value(row.value),
                        key=row.key,
                        namespace=row.namespace,
                        created_at=row.created_at,
                        updated_at=row.updated_at,
                    )
                    read += [row] if op.refresh_ttl else []
            elif isinstance(op, SearchOp):
                results[i] = self._search(op, vectors, read)
            elif isinstance(op, ListNamespacesOp):
                results[i] = select_namespaces(map(decode_namespace, self.engine.reader.namespaces()), op)
            elif not isinstance(op, PutOp):
                raise ValueError(f"Unknown operation: {op!r}")
        if puts := [op for op in ops if isinstance(op, PutOp)]:
            self.engine.commit(puts, vectors=vectors.documents)
        if read:
            self.engine.refresh_ttl(read)
        return results

    def _search(self, op: SearchOp, vectors: Embedded, read: list[Row]) -> list[SearchItem]:
        query = vectors.queries[op.query] if op.query and self.engine.embedder else None
        if op.query and query is None:
            self.engine.warn_of_words_only()
        test = compile_filter(plain_value(op.filter))
        limit, offset = max(op.limit, 0), max(op.offset, 0)
        page = self.engine.reader.search(tuple(op.namespace_prefix), query, test, limit, offset)
        if op.refresh_ttl:
            read.extend([row for row, _ in page if row.ttl is not None])
        items = []
        for row, score in page:
            # Past `__init__`, which looks for times given as text: 60 results a search make that the largest cost.
            item = SearchItem.__new__(SearchItem)
            item.value = dict(row.value) if row.flat else copy_value(row.value)
            item.key, item.namespace, item.score = row.key, row.namespace, score
            item.created_at, item.updated_at = row.created_at, row.updated_at
            items.append(item)
        return items

    # What it has beyond the contract

    def erase(self, namespace: tuple[str, ...], *, below: bool = True) -> int:
        """Remove every item of a namespace for good: from old versions and files on disk too.

        Args:
            namespace: Labels.
            below: Also what lies in namespaces below it.

        Returns:
            How many items there were.
        """
        return self.engine.erase(namespace, below=below)

    def sweep_ttl(self) -> int:
        """Remove expired items now; returns how many. The store also does it by itself."""
        self.engine.require_open()
        return self.engine.maintenance.sweep()

    def compact(self) -> bool:
        """Merge small files now; False where another process is at it. The store also does it by itself."""
        self.engine.require_open()
        return self.engine.table.open() and self.engine.maintenance.vacuum()

    def about(self) -> dict[str, str]:
        """What the table keeps of itself: `format`, and as JSON the `embedder`; empty where nothing was stored yet."""
        return self.engine.metadata()

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
            return store.engine.maintenance.reembed(store.engine.embedder, progress)

    # Opening and closing

    def close(self) -> None:
        """Finish what maintenance is running and let go of the files; closing twice is fine."""
        self.engine.close()

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
