"""Follows what one namespace of a store holds, by what has changed since the last look."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from langgraph.store.base import BaseStore, PutOp

from langgraph_memory_r1.errors import ConflictError
from langgraph_memory_r1.store import LanceDBStore
from langgraph_memory_r1.store.rows import Row, Vectors
from langgraph_memory_r1.store.writer import Address, Expectation

_PAGE = 1000


class Stored(Protocol):
    """What a bank needs of a stored item."""

    key: str
    value: dict[str, Any]


class Feed:
    """The items of exactly one namespace, as changes since the last `refresh`."""

    def __init__(self, store: BaseStore, namespace: tuple[str, ...]) -> None:
        self._store = store
        self._namespace = namespace
        self._known: dict[str, Any] = {}
        self._state: object = None

    def too_large(self) -> bool:
        """The namespace should be searched in the store, not read into memory."""
        return isinstance(self._store, LanceDBStore) and not self._store.mirrored(self._namespace)

    def refresh(self) -> tuple[list[Stored], list[str]]:
        """Items that are new or changed, and keys that are gone."""
        changes = self._store.changes(self._namespace, self._state) if isinstance(self._store, LanceDBStore) else None
        if changes is None:
            return self._replace(self._read())
        self._state = changes.state
        if changes.whole:
            return self._replace({row.key: row for row in changes.rows})
        return self._update(changes.rows)

    def _update(self, rows: Sequence[Row]) -> tuple[list[Stored], list[str]]:
        changed: list[Stored] = [row for row in rows if row.live]
        gone = [row.key for row in rows if not row.live and row.key in self._known]
        self._known |= {item.key: item for item in changed}
        for key in gone:
            del self._known[key]
        return changed, gone

    def _replace(self, items: dict[str, Any]) -> tuple[list[Stored], list[str]]:
        changed = [item for key, item in items.items() if not _same(self._known.get(key), item)]
        gone = [key for key in self._known if key not in items]
        self._known = items
        return changed, gone

    def _read(self) -> dict[str, Any]:
        if isinstance(self._store, LanceDBStore):
            return {row.key: row for row in self._store.scan(self._namespace)}
        found: dict[str, Any] = {}
        offset = 0
        while page := self._store.search(self._namespace, limit=_PAGE, offset=offset):
            found |= {item.key: item for item in page if tuple(item.namespace) == self._namespace}
            offset += len(page)
        return found


def write(store: BaseStore, puts: Sequence[PutOp], expect: Expectation, fresh: Collection[Address] = ()) -> None:
    """Write puts together, if what they were based on still stands; `fresh` keys cannot exist yet.

    Raises:
        ConflictError: it does not; nothing was written.
    """
    if isinstance(store, LanceDBStore):
        store.commit(puts, expect=expect, fresh=fresh)
        return
    with _guard(store):
        changed = [key for (namespace, key), wanted in expect.items() if not _met(store, namespace, key, wanted)]
        if changed:
            raise ConflictError(f"Changed by another writer since it was read: {', '.join(changed)}.", changed)
        store.batch(list(puts))


def vector_of(item: Stored) -> Any:
    """The stored embedding of an item's text, where its store keeps one in memory."""
    vectors: Vectors | None = getattr(item, "vectors", None)
    return None if vectors is None else vectors[0]


_guards: weakref.WeakKeyDictionary[BaseStore, threading.Lock] = weakref.WeakKeyDictionary()


def _guard(store: BaseStore) -> threading.Lock:
    return _guards.setdefault(store, threading.Lock())


def _met(store: BaseStore, namespace: tuple[str, ...], key: str, wanted: Mapping[str, Any] | None) -> bool:
    item = store.get(namespace, key)
    if wanted is None or item is None:
        return wanted is None and item is None
    return all(item.value.get(name) == part for name, part in wanted.items())


def _same(known: Any, item: Any) -> bool:
    return known is item or (known is not None and known.updated_at == item.updated_at and known.value == item.value)
