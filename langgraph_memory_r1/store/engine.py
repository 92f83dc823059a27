"""What stands behind a `LanceDBStore`: its table with mirrors, commit queue, maintenance, embedder and journal.

The store shows a LangGraph application what every LangGraph store has. A `MemoryBank` needs more of the same table
(commits under a condition, what has changed since the last look, candidates of a search) and reaches it here, through
the bank's `LanceDBStorage`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from langgraph.store.base import IndexConfig, Op, PutOp, SearchOp

from langgraph_memory_r1.errors import StoreError
from langgraph_memory_r1.store.embedder import Embedded, Embedder, mismatch, texts_of, warn_of_words_only
from langgraph_memory_r1.store.journal import Journal
from langgraph_memory_r1.store.maintenance import Maintenance
from langgraph_memory_r1.store.mirror import Mirror
from langgraph_memory_r1.store.pending import PendingFolder
from langgraph_memory_r1.store.reader import Reader
from langgraph_memory_r1.store.rows import (
    Row,
    Vectors,
    check_ttl,
    clean_value,
    encode_namespace,
    item_id,
    join_texts,
    other_terms,
)
from langgraph_memory_r1.store.table import LanceTable, under, within
from langgraph_memory_r1.store.writer import Address, CommitQueue, Expectation, ItemWrite, WriteRequest

log = logging.getLogger(__name__)

_SHOWN = 200
"""Characters of an error in a warning."""
_REFRESH_SHARE = 0.05
"""A read restarts a time to live once this share of it has passed: a busy item costs no commit per read."""
SWEEP_MINUTES = 5
"""Between two looks for expired items, where the store's `ttl` does not say."""


@dataclass(frozen=True, slots=True)
class RowChanges:
    """The rows of a namespace that changed, tombstones too, or all live ones."""

    state: object
    """For the next call."""
    rows: list[Row]
    whole: bool
    """The rows are all that there are."""


class Engine:
    """One LanceDB table of items, with all that reads, writes and keeps it."""

    def __init__(
        self, uri: str, index: IndexConfig | None, sweep_minutes: float | None, mirror_rows: int, mirror_total: int
    ) -> None:
        self.uri = uri
        self.embedder = Embedder(index) if index else None
        self.table = LanceTable(uri)
        self.reader = Reader(self.table, mirror_rows, mirror_total)
        self.maintenance = Maintenance(self.table, self.reader, sweep_minutes or SWEEP_MINUTES)
        self.journal = Journal(Path(uri) / "journal") if self.table.local else None
        """Lines that cost no commit; None on object stores, which cannot append to a file."""
        self.pending = PendingFolder(Path(uri) / "pending") if self.table.local else None
        """What is still to be done; None on object stores, where nobody can tell that a process is dead."""
        self._queue = CommitQueue(self.table, self.reader)
        self._expiring = sweep_minutes is not None
        """Commits look for expired items: the store was opened with a `ttl`, or a put has had one."""
        self._checked = False
        """The embedder is known to fit the table."""
        self._warned = False
        self._query_failed = False
        """The embedder failed on the last query."""
        self._closed = False

    def require_open(self) -> None:
        """Refuse to work on a closed store.

        Raises:
            StoreError: it is closed.
        """
        if self._closed:
            raise StoreError(f"The store {self.uri} is closed; open a new LanceDBStore.")

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def close(self) -> None:
        """Finish what maintenance is running and let go of the files; closing twice is fine."""
        if not self._closed:
            self.maintenance.close()
            self._closed = True
            self.table.close()

    # Embedding

    def embed(self, ops: Sequence[Op]) -> Embedded:
        """Embed what some operations write and ask for."""
        texts, queries, needed = self._to_embed(ops)
        return self.embedder.embed(texts, queries) if self.embedder and needed else Embedded({}, {})

    async def aembed(self, ops: Sequence[Op]) -> Embedded:
        """`embed`, with the embedding model's own async methods."""
        texts, queries, needed = self._to_embed(ops)
        return await self.embedder.aembed(texts, queries) if self.embedder and needed else Embedded({}, {})

    def _to_embed(self, ops: Sequence[Op]) -> tuple[list[str], list[str], bool]:
        if self.embedder is None:
            return [], [], False
        puts = [op for op in ops if isinstance(op, PutOp)]
        texts = [text for put in puts for text in self.embedder.texts(put)]
        queries = list(dict.fromkeys([op.query for op in ops if isinstance(op, SearchOp) and op.query]))
        # A new table keeps a sample vector of its embedder even where nothing else is embedded.
        return texts, queries, bool(texts or queries or (puts and not self._checked))

    def embed_query(self, query: str) -> Vectors | None:
        """Return the unit vector of a query by the store's embedder; None without one, and where it fails.

        Words still find much, and an answer without memories looks like a memory without facts. What is written needs
        its vector, so that a failure there is an error.
        """
        if self.embedder is None:
            self.warn_of_words_only()
            return None
        try:
            vectors = self.embedder.embed((), (query,))
        except Exception as error:  # a model may fail in any way: it is away, or the query is too long for it
            if not self._query_failed:  # once, until it answers again: an outage lasts for many queries
                self._query_failed = True
                log.warning(
                    "The embedding model failed on a query of %d characters (%s: %s); where it does, memories are "
                    "searched by words only.", len(query), type(error).__name__, str(error).partition("\n")[0][:_SHOWN],
                )  # fmt: skip
            return None
        self._query_failed = False
        self.check_embedder(writing=False)
        return vectors.queries[query]

    def check_embedder(self, *, writing: bool) -> None:
        """Refuse an embedder that does not fit the table's; without one, an embedded table can only be read.

        Raises:
            EmbedderMismatchError: it does not fit.
        """
        if self._checked or not self.table.open():
            return
        stored = self.table.metadata()
        if self.embedder is not None:
            self.embedder.check(stored, self.uri)
            self._checked = self.embedder.ready
        elif writing:
            if "embedder" in stored:
                raise mismatch(self.uri, json.loads(stored["embedder"]), None)
            self._checked = True

    def warn_of_words_only(self) -> None:
        """Warn, once, where an embedded table is searched without its embedder."""
        if not self._warned and (stored := self.metadata()):
            self._warned = True
            warn_of_words_only(stored, self.uri)

    def metadata(self) -> dict[str, str]:
        """Return what the table keeps of itself; nothing where nothing was stored yet."""
        self.require_open()
        return self.table.metadata() if self.table.open() else {}

    # Writing

    def commit(
        self,
        puts: Sequence[PutOp],
        *,
        expect: Expectation | None = None,
        new: Collection[Address] = (),
        vectors: Mapping[str, Vectors] | None = None,
    ) -> None:
        """Write all puts, if the items named in `expect` are still as expected: under a file lock in one commit.

        Args:
            puts: Items to write or, with a value of None, to delete.
            expect: (namespace, key) → fields that the current value must have; None: there must be no such item.
            new: (namespace, key) of puts that cannot exist yet; see `Storage.commit`.
            vectors: Those of the texts of the puts, where they are embedded already.

        Raises:
            ConflictError: an item is not as expected. Under a file lock nothing was written; without one (object
                stores, Windows) some of the other puts may have been.
        """
        self.require_open()
        for put in puts:
            if put.ttl is not None:
                check_ttl(put.namespace, put.key, put.ttl)
        if vectors is None:
            vectors = self.embed(puts).documents
        if not puts and not expect:
            return
        writes = []
        for put in puts:
            namespace = tuple(put.namespace)
            write = ItemWrite(item_id(namespace, put.key), namespace, put.key, None)
            if put.value is not None:
                texts = texts_of(put, self.embedder.fields if self.embedder else [])
                matrix = np.stack([vectors[text] for text in texts]) if texts and self.embedder else None
                text = None if put.index is False else join_texts(texts)
                value = clean_value(namespace, put.key, put.value)
                write = ItemWrite(write.id, namespace, put.key, value, put.ttl, matrix, text)
            self._expiring |= put.ttl is not None
            writes.append(write)
        # Only now: a value that is refused must not leave an empty table behind, which fixes the embedder for good.
        self.check_embedder(writing=True)
        if not self.table.open():
            with self.table.lock:
                metadata, dims = (self.embedder.metadata(), self.embedder.dims) if self.embedder else ({}, 0)
                self.table.create(metadata, dims)
        expect = {(tuple(namespace), key): fields for (namespace, key), fields in (expect or {}).items()}
        if self._queue.submit(WriteRequest(writes, expect, new)):
            self.maintenance.committed(self._expiring)

    def refresh_ttl(self, rows: Sequence[Row]) -> None:
        """Restart the time to live of rows that have been read, where enough of it has passed."""
        now = datetime.now(UTC)
        due = [
            (row.namespace, row.key)
            for row in rows
            if row.ttl is not None
            and row.expires_at is not None
            and row.expires_at - now < timedelta(minutes=row.ttl) * (1 - _REFRESH_SHARE)
        ]
        if due and self._queue.submit(WriteRequest(touch=due)):
            self.maintenance.committed(True)

    def erase(self, *namespaces: tuple[str, ...], below: bool) -> int:
        """Remove every item of some namespaces for good, `below` also of those below; return how many there were."""
        self.require_open()
        if self.journal is not None:
            for namespace in namespaces:
                self.journal.erase(namespace, below=below)
        if self.pending is not None:
            for namespace in namespaces:
                self.pending.erase(namespace, below=below)
        encoded = [encode_namespace(namespace) for namespace in namespaces]
        return self.maintenance.erase(
            " OR ".join(f"({under(each)})" for each in encoded) if below else within("namespace", encoded)
        )

    def erase_items(self, addresses: Collection[Address]) -> None:
        """Remove single items for good: from old versions and files too."""
        self.require_open()
        if addresses:
            self.maintenance.erase(within("id", [item_id(namespace, key) for namespace, key in addresses]))

    # What a bank reads

    def changes(self, namespace: tuple[str, ...], since: object = None) -> RowChanges | None:
        """Return what changed in exactly this namespace since an earlier call, or all of its rows.

        Args:
            namespace: Labels; what lies below it does not count.
            since: The `state` of the earlier call; without it, and where its mirror was dropped since, all live rows
                are returned.

        Returns:
            Rows that must not be modified; None where the namespace is too large for a mirror.
        """
        self.require_open()
        with self.reader.lock:
            mirror = self.reader.mirror(encode_namespace(namespace)) if self.reader.sync() else Mirror()
            if mirror is None:
                return None
            # By identity: a mirror that was dropped and made anew counts its ticks from the beginning.
            now = datetime.now(UTC)
            tick, then = since[1:] if isinstance(since, tuple) and since[0] is mirror else (-1, now)
            state = (mirror, mirror.tick, now)
            # An expiry changes no row: where there may have been one since the last look, all rows are compared.
            whole = tick < 0 or mirror.expired_between(then, now)
            if tick == mirror.tick and not whole:
                return RowChanges(state, [], whole=False)
            rows = [row for row in mirror.changes(-1 if whole else tick) if row.namespace == namespace]
            return RowChanges(state, [row for row in rows if not whole or row.alive(now)], whole)

    def mirrored(self, namespace: tuple[str, ...]) -> bool:
        """Return whether `changes` can follow a namespace in memory; to find out builds its mirror, if it has none."""
        self.require_open()
        return self.reader.mirrored(encode_namespace(namespace))

    def scan(self, namespace: tuple[str, ...]) -> Iterator[Row]:
        """Yield all rows of exactly this namespace, read from disk in batches."""
        self.require_open()
        if self.reader.sync():
            now = datetime.now(UTC)
            for rows in self.table.scan(f"{within('namespace', [encode_namespace(namespace)])} AND live"):
                yield from (row for row in rows if row.alive(now))

    def candidates(self, namespace: tuple[str, ...], query: str, vector: Vectors | None, limit: int) -> list[Row]:
        """Return rows of a namespace that LanceDB's full-text and vector search find for a query, in no order."""
        self.require_open()
        # No `sync`: mirrors take no part in it, and LanceDB looks for its newest version itself.
        where = f"{within('namespace', [encode_namespace(namespace)])} AND live"
        ids = dict.fromkeys(self.table.full_text(f"{query} {other_terms(query)}".strip(), where, limit))
        if vector is not None:
            ids |= dict.fromkeys(row_id for row_id, _ in self.table.nearest(vector, where, limit))
        now = datetime.now(UTC)
        return [row for row in self.table.rows(within("id", ids)) if row.alive(now)] if ids else []
