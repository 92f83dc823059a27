"""What keeps a store small and clean: compaction, expiry, erasure, embedding anew.

Compaction runs by itself, in one process at a time, beside readers and writers; now and then, and at the end, what was
left behind is removed under the write lock (a vacuum).
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import numpy as np
from langgraph.store.base import PutOp

from langgraph_memory_r1.errors import StoreError
from langgraph_memory_r1.store.embedder import Embedder
from langgraph_memory_r1.store.reader import Reader
from langgraph_memory_r1.store.rows import Row, item_id, join_texts, split_texts
from langgraph_memory_r1.store.table import BARRIER, LanceTable, literal

logger = logging.getLogger(__name__)

_CHECK_EVERY = 8
"""Commits between two looks at the number of fragments."""
_PATIENCE = 2.0
"""Fragments times this over the root of the rows: there merging them costs about as much as leaving them does."""
_SMALL = 4000
"""Rows that are merged so quickly that writers can wait for it, which keeps a small folder small."""
_PAUSE = 2.0
"""Seconds that a writer waits at most for a compaction that lags behind."""
_VACUUM_EVERY = 20
"""Compactions between two vacuums, which remove what lost compactions and killed writers left behind."""
_BATCH = 256
"""Items that are embedded together."""
_TOMBSTONE_AGE = timedelta(hours=1)
_TOMBSTONES = 1000
"""So many deletions are kept for readers that have not seen them before they are cleared away."""


class Maintenance:
    """Keeps one table small: after commits, when it is closed, and when it is told to."""

    def __init__(self, table: LanceTable, reader: Reader, sweep_minutes: float) -> None:
        self._table = table
        self._reader = reader
        self._sweep_seconds = sweep_minutes * 60
        self._swept = time.monotonic()
        self._commits = 0
        self._compactions = 0
        self._thread: threading.Thread | None = None

    def committed(self, expiring: bool) -> None:
        """Start what is due after a commit."""
        self._commits += 1
        if expiring and time.monotonic() - self._swept > self._sweep_seconds:
            self.sweep()
        if self._commits % _CHECK_EVERY:
            return
        fragments, rows = self._table.fragments()
        due = max(32, _PATIENCE * rows**0.5)
        if fragments > due and not self.running:
            work = self.vacuum if rows < _SMALL else self.compact
            self._thread = threading.Thread(
                target=self._put_off, args=(work,), name="memory-r1-compaction", daemon=True
            )
            self._thread.start()
        if fragments > 2 * due and self._thread is not None:
            # Commits without a pause make LanceDB begin its compaction again and again: give it room to finish.
            self._thread.join(_PAUSE)

    @property
    def running(self) -> bool:
        """A compaction is under way in this process."""
        return self._thread is not None and self._thread.is_alive()

    def close(self) -> None:
        """Wait for a running compaction; leave a compact folder where this process wrote much."""
        if self._thread is not None:
            self._thread.join()
        if self._commits >= _CHECK_EVERY:
            self._put_off(self.vacuum)

    def compact(self) -> bool:
        """Merge small fragments beside running readers and writers; False where another process is at it."""
        with self._alone() as alone:
            if alone:
                self._compactions += 1
                self._table.compact()
                if self._compactions % _VACUUM_EVERY == 0:
                    self._vacuum()
        return alone

    def vacuum(self) -> bool:
        """Bring the folder down to its newest version while writers wait; False where another process is at it."""
        with self._alone() as alone:
            if alone:
                self._vacuum()
        return alone

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Hold the lock of maintenance where nobody else does; yield whether it is held."""
        taken = self._table.maintenance_lock.acquire(blocking=False)
        try:
            yield taken
        finally:
            if taken:
                self._table.maintenance_lock.release()

    def _vacuum(self) -> None:
        with self._table.lock:
            old = literal(datetime.now(UTC) - _TOMBSTONE_AGE)
            where = f"NOT live AND updated_at < {old} AND namespace <> {literal(BARRIER)}"
            if self._table.count(where) > _TOMBSTONES:
                self._reader.sync()
                self._table.replace(where, self._barrier())
                self._reader.clear()
            with self._reader.sole_writer():
                self._table.vacuum()
                self._reader.vacuumed()

    def sweep(self) -> int:
        """Remove expired rows. They are invisible already, so no reader has to be told."""
        self._swept = time.monotonic()
        where = f"expires_at <= {literal(datetime.now(UTC))}"
        with self._table.lock:
            if not self._reader.sync() or not (expired := self._table.count(f"{where} AND live")):
                return 0
            self._table.delete(where)
            self._reader.clear()
        return expired

    def erase(self, where: str) -> int:
        """Remove every row for a condition, from old versions and files too."""
        with self._table.maintenance_lock, self._table.lock:
            if not self._reader.sync():
                return 0
            erased = self._table.count(f"{where} AND live")
            self._table.replace(where, self._barrier())
            self._reader.clear()
            self._table.rewrite()
            self._table.vacuum()
        return erased

    def reembed(self, embedder: Embedder | None, progress: Callable[[int, int], None] | None) -> int:
        """Replace every vector by another embedder's, in one commit."""
        with self._table.maintenance_lock, self._table.lock:
            if not self._reader.sync():
                return 0
            rows = self._table.rows(f"live AND namespace <> {literal(BARRIER)}")
            for start in range(0, len(rows), _BATCH):
                _reembed(rows[start : start + _BATCH], embedder)
                if progress is not None:
                    progress(min(start + _BATCH, len(rows)), len(rows))
            metadata, dims = ({}, 0) if embedder is None else (embedder.metadata(), embedder.dims)
            self._table.overwrite([*rows, self._barrier()], metadata, dims)
            self._reader.clear()
            self._table.vacuum()
        return len(rows)

    def _barrier(self) -> Row:
        now = datetime.now(UTC)
        seq = self._table.version + 1
        return Row(item_id((), ""), (), "", {}, now, now, rev=seq, seq=seq, commit=secrets.token_hex(8), live=False)

    def _put_off(self, work: Callable[[], object]) -> None:
        """Do some work whose failure is no failure of the commit, or the closing, that it was started by."""
        try:
            work()
        except StoreError as error:  # The data is safe; the next commit tries again.
            logger.warning("Compaction was put off: %s", error)


def _reembed(rows: list[Row], embedder: Embedder | None) -> None:
    """Give rows the vectors of an embedder."""
    if embedder is None:
        for row in rows:
            row.vectors = None
        return
    texts: list[list[str]] = []
    for row in rows:
        if row.text is None:  # Nothing of it shall be indexed.
            texts.append([])
        elif row.text:
            texts.append(split_texts(row.text))
        else:  # What would have been indexed if there had been an embedder.
            texts.append(embedder.texts(PutOp(row.namespace, row.key, row.value)))
    vectors = embedder.embed([text for of_row in texts for text in of_row], ()).documents
    for row, of_row in zip(rows, texts, strict=True):
        row.vectors = np.stack([vectors[text] for text in of_row]) if of_row else None
        row.text = None if row.text is None else join_texts(of_row)
