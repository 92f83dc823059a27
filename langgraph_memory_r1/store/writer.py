"""Writes of a store: one commit for all that waits, conditions checked under the lock, nothing half done.

Threads that want to write queue up while one commits; then the first of them commits for all that wait. Each request
is all or nothing: its conditions and its rows are checked against the state that the commit goes on from.
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
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Put:
    """One item to write; a value of None deletes it."""

    namespace: tuple[str, ...]
    key: str
    value: dict[str, Any] | None
    ttl: float | None = None
    vectors: Vectors | None = None
    text: str | None = None


@dataclass(slots=True, eq=False)
class Request:
    """What becomes visible together or not at all."""

    puts: Sequence[Put] = ()
    expect: Expectation = field(default_factory=dict)
    fresh: Collection[Address] = ()
    """Keys that cannot exist yet, and need not be looked up."""
    touch: Sequence[Address] = ()
    """Items whose time to live starts again."""
    error: Exception | None = None
    leads: bool = False
    """It is for its thread to commit what waits."""
    news: threading.Lock = field(default_factory=threading.Lock)
    """Its thread waits for this to be released: by then the request is done, or leads."""


class Writer:
    """Commits requests to the table and shows them to the reader."""

    def __init__(self, table: LanceTable, reader: Reader) -> None:
        self._table = table
        self._reader = reader
        self._waiting: deque[Request] = deque()
        self._busy = False
        """Some thread commits, or has been told to."""
        self._queue = threading.Lock()

    def submit(self, request: Request) -> bool:
        """Commit a request, together with those of other threads that wait; whether it was this thread that did it.

        Raises:
            ConflictError: a condition does not hold; nothing of the request was written.
            StoreError: the table cannot be written.
        """
        request.news.acquire()
        with self._queue:
            self._waiting.append(request)
            request.leads, self._busy = not self._busy, True
        try:
            if not request.leads:
                request.news.acquire()
            if request.leads:
                self._lead()
        except BaseException:
            self._leave(request)
            raise
        if request.error is not None:
            raise request.error
        return request.leads

    def _lead(self) -> None:
        """Commit what waits; then it is the turn of the first who came meanwhile."""
        with self._queue:
            requests = list(self._waiting)
            self._waiting.clear()
        try:
            self._commit(requests)
        finally:
            with self._queue:
                self._pass_on()
            for request in requests:
                request.news.release()

    def _leave(self, request: Request) -> None:
        """The thread of a request that waits was interrupted."""
        with self._queue:
            if request in self._waiting:
                self._waiting.remove(request)
                if request.leads:
                    self._pass_on()

    def _pass_on(self) -> None:
        self._busy = bool(self._waiting)
        if self._busy:
            self._waiting[0].leads = True
            self._waiting[0].news.release()

    def _commit(self, requests: list[Request]) -> None:
        try:
            with self._table.lock, self._reader.leading():
                self._write(requests, self._stage(requests))
        except Exception as error:  # Every waiting thread has to hear of it, not only the one that happened to commit.
            _fail(requests, error)
        except BaseException:
            _fail(requests, StoreError(f"A commit to {self._table.uri} was interrupted; read again what is there."))
            raise

    def _stage(self, requests: list[Request]) -> dict[str, Row]:
        """The new rows of all requests whose conditions hold, each request seeing those before it."""
        view = self._reader.current({pair for request in requests for pair in _addresses(request)})
        seq, commit, now = self._reader.version + 1, secrets.token_hex(8), datetime.now(UTC)
        staged: dict[str, Row] = {}
        for request in requests:
            if changed := _unmet(request.expect, view | staged, now):
                request.error = _conflict(changed)
                continue
            for put in request.puts:
                row_id = item_id(put.namespace, put.key)
                stored = view.get(row_id)
                if row := _next_row(row_id, put, staged.get(row_id) or stored, now):
                    staged[row_id] = replace(row, rev=stored.rev + 1 if stored else 1, seq=seq, commit=commit)
            for address in request.touch:
                row_id = item_id(*address)
                if (
                    row_id not in staged
                    and (stored := view.get(row_id))
                    and stored.alive(now)
                    and stored.ttl is not None
                ):
                    expires = now + timedelta(minutes=stored.ttl)
                    staged[row_id] = replace(stored, rev=stored.rev + 1, seq=seq, commit=commit, expires_at=expires)
        return {row_id: row for row_id, row in staged.items() if row.live or row_id in view}

    def _write(self, requests: list[Request], staged: dict[str, Row]) -> None:
        rows = list(staged.values())
        if not rows:
            return
        for attempt in range(_ATTEMPTS):
            applied, version = self._table.write(rows)
            if applied == len(rows):
                self._table.note(rows, version)
                self._reader.applied(rows, version)
                return
            self._reader.clear()
            # Only without a file lock: another machine was quicker with some of these keys.
            time.sleep(0.02 * (attempt + 1) * (1 + secrets.randbelow(100) / 100))
            rows = self._overtaken(rows, {item_id(*address) for request in requests for address in request.expect})
        raise ConflictError(
            f"{self._table.uri} is written by too many others at once; try again.", [row.key for row in rows]
        )

    def _overtaken(self, rows: list[Row], conditional: set[str]) -> list[Row]:
        """The rows that were not applied, moved on to the present revision; refused where there was a condition."""
        self._reader.sync()
        now = self._reader.current({(row.id, encode_namespace(row.namespace)) for row in rows})
        lost = [row for row in rows if now[row.id].commit != row.commit]
        if refused := [row.key for row in lost if row.id in conditional]:
            raise _conflict(refused)
        return [replace(row, rev=now[row.id].rev + 1, seq=self._reader.version + 1) for row in lost]


def _fail(requests: Iterable[Request], error: Exception) -> None:
    for request in requests:
        request.error = request.error or error


def _addresses(request: Request) -> Iterable[tuple[str, str]]:
    written = ((put.namespace, put.key) for put in request.puts if (put.namespace, put.key) not in request.fresh)
    for namespace, key in [*written, *request.expect, *request.touch]:
        yield item_id(namespace, key), encode_namespace(namespace)


def _unmet(expect: Expectation, view: Mapping[str, Row], now: datetime) -> list[str]:
    """Keys whose present value is not as expected."""
    changed = []
    for (namespace, key), wanted in expect.items():
        row = view.get(item_id(namespace, key))
        value = row.value if row is not None and row.alive(now) else None
        if wanted is None or value is None:
            met = wanted is None and value is None
        else:
            met = all(value.get(name) == part for name, part in wanted.items())
        if not met:
            changed.append(key)
    return changed


def _next_row(row_id: str, put: Put, old: Row | None, now: datetime) -> Row | None:
    """The row that a put leaves behind; None where there is nothing to delete."""
    alive = old is not None and old.alive(now)
    if put.value is None and not alive:
        return old if old is not None and not old.live else None
    moment = max(now, old.updated_at + _TICK) if old is not None else now
    row = Row(row_id, put.namespace, put.key, put.value or {}, moment, moment, rev=1, seq=0, live=put.value is not None)
    if old is not None and alive:
        row.created_at = old.created_at
    if put.value is not None:
        row.ttl, row.vectors, row.text, row.flat = put.ttl, put.vectors, put.text, is_flat(put.value)
        row.expires_at = None if put.ttl is None else moment + timedelta(minutes=put.ttl)
    return row


def _conflict(keys: Sequence[str]) -> ConflictError:
    return ConflictError(
        f"Changed by another writer since it was read: {', '.join(keys)}. Read again and decide anew.", keys
    )
