"""Follows what one namespace of a store holds, by what has changed since the last look."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

from langgraph.store.base import BaseStore, PutOp

from langgraph_memory_r1.errors import ConflictError
from langgraph_memory_r1.rows import Vectors

Address: TypeAlias = tuple[tuple[str, ...], str]
Expectation: TypeAlias = Mapping[Address, Mapping[str, Any] | None]

_PAGE = 1000


class Stored(Protocol):
    """What a bank needs of a stored item."""

    key: str
    value: dict[str, Any]


@runtime_checkable
class ConditionalStore(Protocol):
    """A store that can write under a condition; others are guarded within one process only."""

    def commit(self, puts: Sequence[PutOp], *, expect: Expectation | None = None) -> None:
        """Write all or, if something is not as expected, nothing."""


@runtime_checkable
class MirroredStore(Protocol):
    """A store that holds a namespace in memory and says when it changes."""

    def state(self, namespace: tuple[str, ...]) -> object | None:
        """Equal as long as nothing has changed; None where the namespace is too large to hold."""

    def held(self, namespace: tuple[str, ...]) -> Mapping[str, Any]:
        """The rows of exactly this namespace, by key; the same object as long as a row is unchanged."""

    def scan(self, namespace: tuple[str, ...]) -> Iterator[Any]:
        """The same, read from disk, where there are too many to hold."""


class Feed:
    """The items of exactly one namespace, as changes since the last `refresh`."""

    def __init__(self, store: BaseStore, namespace: tuple[str, ...]) -> None:
        self._store = store
        self._namespace = namespace
        self._known: dict[str, Any] = {}
        self._state: object | None = None

    def too_large(self) -> bool:
        """The namespace should be searched in the store, not read into memory."""
        return isinstance(self._store, MirroredStore) and self._store.state(self._namespace) is None

    def refresh(self) -> tuple[list[Stored], list[str]]:
        """Items that are new or changed, and keys that are gone."""
        if isinstance(self._store, MirroredStore):
            state = self._store.state(self._namespace)
            if state is not None and state == self._state:
                return [], []
            self._state = state
            return self._replace(dict(self._store.held(self._namespace)) if state is not None else self._read())
        return self._replace(self._read())

    def _replace(self, items: dict[str, Any]) -> tuple[list[Stored], list[str]]:
        changed = [item for key, item in items.items() if not _same(self._known.get(key), item)]
        gone = [key for key in self._known if key not in items]
        self._known = items
        return changed, gone

    def _read(self) -> dict[str, Any]:
        if isinstance(self._store, MirroredStore):
            return {row.key: row for row in self._store.scan(self._namespace)}
        found: dict[str, Any] = {}
        offset = 0
        while page := self._store.search(self._namespace, limit=_PAGE, offset=offset):
            found |= {item.key: item for item in page if tuple(item.namespace) == self._namespace}
            offset += len(page)
        return found


def write(store: BaseStore, puts: Sequence[PutOp], expect: Expectation) -> None:
    """Write puts together, if what they were based on still stands.

    Raises:
        ConflictError: it does not; nothing was written.
    """
    if isinstance(store, ConditionalStore):
        store.commit(puts, expect=expect)
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
