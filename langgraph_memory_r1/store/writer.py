"""Writes of a store: one commit for all that waits, its conditions checked under the lock.

Threads that want to write queue up while one commits; then the first of them commits for all that wait (group commit).
Under a file lock each request is all or nothing: its conditions are checked against the state that the commit goes on
from. Without one (object stores, Windows) LanceDB decides row by row which ones come too late, and the others stand by
then: a request that is refused for a row under a condition may have written its other rows.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from langgraph_memory_r1.errors import ConflictError, StoreError
from langgraph_memory_r1.store.reader import Reader
from langgraph_memory_r1.store.rows import Row, Vectors, encode_namespace, is_flat, item_id
from langgraph_memory_r1.store.table import LanceTable

Address: TypeAlias = tuple[tuple[str, ...], str]
"""(namespace, key)."""
Expectation: TypeAlias = Mapping[Address, Mapping[str, Any] | None]
"""(namespace, key) → fields that the current value must have; None: there must be no such item."""

_ATTEMPTS = 8
"""Commits, of ever fewer rows, before a write without a file lock gives up; under one the first takes them all."""
_TICK = datetime.resolution


@dataclass(frozen=True, slots=True)
class ItemWrite:
    """One item to write; a value of None deletes it."""

    id: str
    """`item_id`, made before others' requests join: a key that is no text must fail its own request alone."""
    namespace: tuple[str, ...]
    key: str
    value: dict[str, Any] | None
    ttl: float | None = None
    vectors: Vectors | None = None
    text: str | None = None


@dataclass(slots=True, eq=False)
class WriteRequest:
    """What one caller writes under its conditions: all or nothing under a file lock (see above)."""

    writes: Sequence[ItemWrite] = ()
    expect: Expectation = field(default_factory=dict)
    new: Collection[Address] = ()
    """Addresses that cannot exist yet, and need not be looked up: see `Storage.commit`."""
    touch: Sequence[Address] = ()
    """Items whose time to live starts again."""
    error: Exception | None = None
    leads: bool = False
    """It is for its thread to commit what waits."""
    wakeup: threading.Lock = field(default_factory=threading.Lock)
    """Its thread waits for this to be released: by then the request is done, or leads."""


class CommitQueue:
    """Commits requests to the table and shows them to the reader."""

    def __init__(self, table: LanceTable, reader: Reader) -> None:
        self._table = table
        self._reader = reader
        self._waiting: deque[WriteRequest] = deque()
        self._busy = False
        """Some thread commits, or has been told to."""
        self._guard = threading.Lock()
        """Of the two above."""

    def submit(self, request: WriteRequest) -> bool:
        """Commit a request, together with those of other threads that wait.

        Returns:
            Whether this thread led: one thread of each commit has to look whether maintenance is due.

        Raises:
            ConflictError: a condition does not hold. Under a file lock nothing of the request was written; without one
                some of its rows may have been.
            StoreError: the table cannot be written.
        """
        # A signal, not a guard: taken here, so that a second `acquire` waits until another thread releases it.
        request.wakeup.acquire()
        with self._guard:
            self._waiting.append(request)
            request.leads, self._busy = not self._busy, True
        try:
            if not request.leads:
                request.wakeup.acquire()
            if request.leads:
                with self._guard:
                    requests = list(self._waiting)
                    self._waiting.clear()
                try:
                    self._commit(requests)
                finally:
                    with self._guard:
                        self._hand_over()
                    for each in requests:
                        each.wakeup.release()
        except BaseException:
            # An interrupt (Ctrl-C) while it waited: nobody may go on waiting for this thread to lead.
            with self._guard:
                if request in self._waiting:
                    self._waiting.remove(request)
                    if request.leads:
                        self._hand_over()
            raise
        if request.error is not None:
            raise request.error
        return request.leads

    def _hand_over(self) -> None:
        """Let the first who came meanwhile commit for all who did; call under the guard."""
        self._busy = bool(self._waiting)
        if self._busy:
            self._waiting[0].leads = True
            self._waiting[0].wakeup.release()

    def _commit(self, requests: list[WriteRequest]) -> None:
        """Commit the requests whose conditions hold, and give each of the others its error.

        What fails after `_stage`, be it the commit or a condition that somebody overtook, is the error of all of them:
        their rows are one commit, and nothing tells any more whose part of it stands.
        """
        error: Exception | None = None
        try:
            with self._table.lock, self._reader.sole_writer():
                rows = self._stage(requests)
                for attempt in range(_ATTEMPTS):
                    if not rows:
                        return
                    applied, version = self._table.write(rows)
                    if applied == len(rows):
                        self._table.note(rows, version)
                        self._reader.applied(rows, version)
                        return
                    # Only without a file lock: another machine (or where there is no `fcntl`, another process of this
                    # one) was quicker with some of these keys. What was not overtaken is committed by now.
                    self._reader.clear()
                    # Longer each time, and by chance: writers that collided must not meet again in step.
                    time.sleep(0.02 * (attempt + 1) * (1 + secrets.randbelow(100) / 100))
                    conditional = {item_id(*address) for request in requests for address in request.expect}
                    rows = self._overtaken(rows, conditional)
                keys = [row.key for row in rows]
                raise ConflictError(f"{self._table.uri} is written by too many others at once; try again.", keys)
        except Exception as failure:  # Every waiting thread has to hear of it, not only the one that commits.
            error = failure
        except BaseException:
            error = StoreError(f"A commit to {self._table.uri} was interrupted; read again what is there.")
            raise
        finally:
            for request in requests:
                request.error = request.error or error

    def _stage(self, requests: list[WriteRequest]) -> list[Row]:
        """Make the new rows of all requests whose conditions hold, each request seeing those before it."""
        looked_up = set()
        for request in requests:
            for write in request.writes:
                if (write.namespace, write.key) not in request.new:
                    looked_up.add((write.id, encode_namespace(write.namespace)))
            for namespace, key in (*request.expect, *request.touch):
                looked_up.add((item_id(namespace, key), encode_namespace(namespace)))
        stored = self._reader.current(looked_up)
        seq, commit, now = self._reader.version + 1, secrets.token_hex(8), datetime.now(UTC)
        staged: dict[str, Row] = {}
        for request in requests:
            if changed := _unmet(request.expect, stored | staged, now):
                request.error = _conflict(changed)
                continue
            for write in request.writes:
                old = stored.get(write.id)
                if row := _next_row(write, staged.get(write.id) or old, now):
                    staged[write.id] = replace(row, rev=old.rev + 1 if old else 1, seq=seq, commit=commit)
            for address in request.touch:
                row_id = item_id(*address)
                old = stored.get(row_id)
                if row_id not in staged and old and old.alive(now) and old.ttl is not None:
                    expires = now + timedelta(minutes=old.ttl)
                    staged[row_id] = replace(old, rev=old.rev + 1, seq=seq, commit=commit, expires_at=expires)
        # What was made and deleted in the same commit leaves nothing behind, not even a tombstone.
        return [row for row_id, row in staged.items() if row.live or row_id in stored]

    def _overtaken(self, rows: list[Row], conditional: set[str]) -> list[Row]:
        """Move the rows that were not applied on to the present revision; refuse those under a condition."""
        self._reader.sync()
        present = self._reader.current({(row.id, encode_namespace(row.namespace)) for row in rows})
        lost = [row for row in rows if present[row.id].commit != row.commit]
        if refused := [row.key for row in lost if row.id in conditional]:
            raise _conflict(refused)
        return [replace(row, rev=present[row.id].rev + 1, seq=self._reader.version + 1) for row in lost]


def _unmet(expect: Expectation, rows: Mapping[str, Row], now: datetime) -> list[str]:
    """Return the keys whose present value is not as expected."""
    changed = []
    for (namespace, key), expected in expect.items():
        row = rows.get(item_id(namespace, key))
        value = row.value if row is not None and row.alive(now) else None
        if expected is None or value is None:
            met = expected is None and value is None
        else:
            met = all(value.get(name) == part for name, part in expected.items())
        if not met:
            changed.append(key)
    return changed


def _next_row(write: ItemWrite, old: Row | None, now: datetime) -> Row | None:
    """Return the row that a write leaves behind, its `rev` and `seq` still to be set.

    None where an item that is not there is to be deleted; but its tombstone, if it has one, is returned once more.
    """
    alive = old is not None and old.alive(now)
    if write.value is None and not alive:
        return old if old is not None and not old.live else None
    # The times of one key grow, even where the clock of another machine or process is ahead.
    moment = max(now, old.updated_at + _TICK) if old is not None else now
    return Row(
        id=write.id,
        namespace=write.namespace,
        key=write.key,
        value=write.value or {},
        created_at=old.created_at if old is not None and alive else moment,
        updated_at=moment,
        rev=1,
        seq=0,
        live=write.value is not None,
        ttl=write.ttl,
        expires_at=None if write.ttl is None else moment + timedelta(minutes=write.ttl),
        vectors=write.vectors,
        text=write.text,
        flat=write.value is None or is_flat(write.value),
    )


def _conflict(keys: Iterable[str]) -> ConflictError:
    keys = list(keys)
    return ConflictError(
        f"Changed by another writer since it was read: {', '.join(keys)}. Read again and decide anew.", keys
    )
