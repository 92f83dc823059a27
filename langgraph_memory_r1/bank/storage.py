"""Where a bank keeps its items: one protocol, two classes.

`LanceDBStorage` stands on the engine of a `LanceDBStore`: it is told what has changed, commits under conditions across
processes, and keeps NOOPs in a journal. `BaseStoreStorage` makes do with what every LangGraph store has: it reads
everything and compares, its conditions hold within the process, and NOOPs are items. `storage_of` picks the class.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

from langchain_core.embeddings import Embeddings
from langgraph.store.base import BaseStore, IndexConfig, Item, PutOp

from langgraph_memory_r1.errors import ConflictError
from langgraph_memory_r1.store import LanceDBStore
from langgraph_memory_r1.store.journal import Tail
from langgraph_memory_r1.store.rows import Row, Vectors
from langgraph_memory_r1.store.writer import Address, Expectation

Records: TypeAlias = list[dict[str, Any]]

_PAGE = 1000


class StoredItem(NamedTuple):
    """What a bank needs of a stored item."""

    key: str
    value: Mapping[str, Any]
    vector: Vectors | None = None
    """The embedding of its text, where its store keeps one in memory."""


class ItemChanges(NamedTuple):
    """What has changed in a namespace since the last look."""

    items: Sequence[StoredItem]
    """New ones, and those with another value."""
    gone: Sequence[str]
    """Keys."""


class Storage(Protocol):
    """Some namespaces of a store: the first holds a bank's memories, the others their history.

    `changes`, `append` and `read_appended` work on any other namespace too: on the bank's ledger, say.
    """

    def key(self) -> str:
        """Return what tells this place apart from others: a path or URI; empty where the store has neither."""

    def too_large(self) -> bool:
        """Return whether the memories should be searched in the store, not read into memory.

        To find out may read them: a `LanceDBStore` builds their mirror, which `changes` needs anyway.
        """

    def changes(self, namespace: tuple[str, ...]) -> ItemChanges:
        """Return what has changed in a namespace since the last call for it; at first all that is there.

        What comes is the difference between then and now: an item that was written twice comes once, as it is now; one
        that an earlier call returned and that is deleted now comes as its key among `gone`, whatever came before;
        one that was both made and deleted in between does not come at all.
        """

    def candidates(self, query: str, vector: Vectors | None, limit: int) -> list[StoredItem]:
        """Return memories that the store's own search proposes for a query, in no order."""

    def embed(self, query: str) -> Vectors | None:
        """Return the vector of a query by the store's embedder; None where memories have no vectors."""

    def commit(self, puts: Sequence[PutOp], expect: Expectation, new: Collection[Address]) -> None:
        """Write all puts, if what they were based on still stands.

        They become visible together on a `LanceDBStore` with a file lock. Without one (object stores, Windows) rows
        that somebody else overtook follow in a commit of their own; on another store it is for its `batch` to say.

        Args:
            puts: Items to write or, with a value of None, to delete.
            expect: (namespace, key) → fields that the present value must have; None: there must be no such item.
            new: (namespace, key) of puts that cannot exist yet and are not looked up: ids that were just made up, and
                ids of the history, "<memory id>.<rev>", whose memory stands in `new` or `expect` too.

        Raises:
            ConflictError: it does not; nothing was written, except where a `LanceDBStore` has no file lock: there some
                of the other puts may have been.
        """

    def append(self, namespace: tuple[str, ...], records: Records) -> None:
        """Keep records that never change, each with its `id`, as cheaply as the store can."""

    def has_journal(self) -> bool:
        """Return whether appended records cost no commit, because they are no items."""

    def read_appended(self, namespace: tuple[str, ...]) -> tuple[bool, Records]:
        """Return those that were added since the last call, and whether all earlier ones are gone.

        Where they are kept as items of the namespace, `changes` returns them, and there are none here.
        """

    def replace_appended(
        self, namespace: tuple[str, ...], new: Callable[[dict[str, Any]], dict[str, Any] | None]
    ) -> None:
        """Overwrite appended records: `new` returns one that is not longer, or None to leave it."""

    def erase_items(self, addresses: Collection[Address]) -> None:
        """Remove single items, as thoroughly as the store can."""

    def erase_space(self, namespace: tuple[str, ...]) -> int:
        """Remove one namespace, as thoroughly as the store can; return how many items there were."""

    def erase(self) -> int:
        """Remove all of them, as thoroughly as the store can; return how many memories there were."""


def storage_of(store: BaseStore, memories: tuple[str, ...], *histories: tuple[str, ...]) -> Storage:
    """Return the storage of a bank on a store: the one place that asks which store it is."""
    if isinstance(store, LanceDBStore):
        return LanceDBStorage(store, memories, *histories)
    return BaseStoreStorage(store, memories, *histories)


def memory_index_config(embeddings: Embeddings | None) -> IndexConfig | None:
    """Return the `index` of a new store whose memories an embedding model shall find; None without one."""
    if embeddings is None:
        return None
    # A model does not say how wide its vectors are: any text tells.
    return {"dims": len(embeddings.embed_query("width")), "embed": embeddings, "fields": ["text"]}


class LanceDBStorage:
    """A bank's storage on a `LanceDBStore`."""

    def __init__(self, store: LanceDBStore, memories: tuple[str, ...], *histories: tuple[str, ...]) -> None:
        self._engine = store.engine
        self._memories = memories
        self._histories = histories
        self._states: dict[tuple[str, ...], object] = {}
        self._commits: dict[tuple[str, ...], dict[str, str]] = {}
        """Key → the commit that wrote what `changes` returned last."""
        self._tails: dict[tuple[str, ...], Tail] = {}

    def key(self) -> str:
        """Return the folder's absolute path, or the URI."""
        uri = self._engine.uri
        return os.path.abspath(uri) if uri and "://" not in uri else uri

    def too_large(self) -> bool:
        """Return whether the memories are more than the store mirrors in memory; builds the mirror if they are not."""
        return not self._engine.mirrored(self._memories)

    def changes(self, namespace: tuple[str, ...]) -> ItemChanges:
        """Return what has changed since the last call, from the mirror; of too large a namespace by reading it all."""
        commits = self._commits.setdefault(namespace, {})
        changes = self._engine.changes(namespace, self._states.get(namespace))
        if changes is not None:
            self._states[namespace] = changes.state
        if changes is not None and not changes.whole:
            rows, gone = changes.rows, [row.key for row in changes.rows if not row.live and row.key in commits]
        else:
            rows = list(self._engine.scan(namespace) if changes is None else changes.rows)
            present = {row.key for row in rows}
            gone = [key for key in commits if key not in present]
            rows = [row for row in rows if commits.get(row.key) != row.commit]
        for key in gone:
            del commits[key]
        live = [row for row in rows if row.live]
        commits.update((row.key, row.commit) for row in live)
        return ItemChanges([_item_of(row) for row in live], gone)

    def candidates(self, query: str, vector: Vectors | None, limit: int) -> list[StoredItem]:
        """Return what LanceDB's full-text and vector search find."""
        return [_item_of(row) for row in self._engine.candidates(self._memories, query, vector, limit)]

    def embed(self, query: str) -> Vectors | None:
        """Return the query's unit vector; None without an embedder."""
        return self._engine.embed_query(query)

    def commit(self, puts: Sequence[PutOp], expect: Expectation, new: Collection[Address]) -> None:
        """Write all puts, under a file lock in one commit of LanceDB; conditions are checked across processes."""
        self._engine.commit(puts, expect=expect, new=new)

    def append(self, namespace: tuple[str, ...], records: Records) -> None:
        """Append to the journal: a NOOP must not make a version of the table; on an object store they are items."""
        if self._engine.journal is not None:
            self._engine.journal.append(namespace, records)
        else:
            self._engine.commit(_puts(namespace, records))

    def has_journal(self) -> bool:
        """Return whether the store lies in a local folder."""
        return self._engine.journal is not None

    def read_appended(self, namespace: tuple[str, ...]) -> tuple[bool, Records]:
        """Return what is new in the journal."""
        if self._engine.journal is None:
            return False, []
        if namespace not in self._tails:
            self._tails[namespace] = self._engine.journal.tail(namespace)
        return self._tails[namespace].read()

    def replace_appended(
        self, namespace: tuple[str, ...], new: Callable[[dict[str, Any]], dict[str, Any] | None]
    ) -> None:
        """Overwrite them in the journal."""
        if self._engine.journal is not None:
            self._engine.journal.replace(namespace, new)

    def erase_items(self, addresses: Collection[Address]) -> None:
        """Remove items from old versions and files on disk too."""
        self._engine.erase_items(addresses)

    def erase_space(self, namespace: tuple[str, ...]) -> int:
        """Remove a namespace from old versions and files on disk too."""
        return self._engine.erase(namespace, below=False)

    def erase(self) -> int:
        """Remove all namespaces from old versions and files on disk too."""
        count = self.erase_space(self._memories)
        self._engine.erase(*self._histories, below=False)
        return count


class BaseStoreStorage:
    """A bank's storage on any LangGraph store."""

    def __init__(self, store: BaseStore, memories: tuple[str, ...], *histories: tuple[str, ...]) -> None:
        self._store = store
        self._memories = memories
        self._histories = histories
        self._items: dict[tuple[str, ...], dict[str, Item]] = {}
        """What `changes` returned last, by key."""

    def key(self) -> str:
        """Return nothing: a store does not say where it is."""
        return ""

    def too_large(self) -> bool:
        """Return False: the store has no search of its own that could replace the index."""
        return False

    def changes(self, namespace: tuple[str, ...]) -> ItemChanges:
        """Read everything and compare it with the last time: a store does not say what has changed."""
        before, now = self._items.get(namespace, {}), self._read(namespace)
        self._items[namespace] = now
        changed = [
            StoredItem(key, item.value)
            for key, item in now.items()
            if (old := before.get(key)) is None or (old.updated_at, old.value) != (item.updated_at, item.value)
        ]
        return ItemChanges(changed, [key for key in before if key not in now])

    def candidates(self, query: str, vector: Vectors | None, limit: int) -> list[StoredItem]:
        """Return all memories; only a bank that is `too_large` asks, which here none is."""
        return [StoredItem(key, item.value) for key, item in self._read(self._memories).items()]

    def embed(self, query: str) -> Vectors | None:
        """Return None: a store keeps its vectors to itself, so that memories are ranked by words."""
        return None

    def commit(self, puts: Sequence[PutOp], expect: Expectation, new: Collection[Address]) -> None:
        """Write one batch, as atomic as the store's; a lock of this process guards the conditions: a store has none."""
        with _commit_locks.setdefault(self._store, threading.Lock()):
            changed = []
            for (namespace, key), expected in expect.items():
                item = self._store.get(namespace, key, refresh_ttl=False)
                if expected is None or item is None:
                    met = expected is None and item is None
                else:
                    met = all(item.value.get(name) == part for name, part in expected.items())
                if not met:
                    changed.append(key)
            if changed:
                raise ConflictError(f"Changed by another writer since it was read: {', '.join(changed)}.", changed)
            self._store.batch(list(puts))

    def append(self, namespace: tuple[str, ...], records: Records) -> None:
        """Put them among the namespace's items."""
        self._store.batch(_puts(namespace, records))

    def has_journal(self) -> bool:
        """Return False: a store has items and nothing else."""
        return False

    def read_appended(self, namespace: tuple[str, ...]) -> tuple[bool, Records]:
        """Return none: they come among the changes of the namespace."""
        return False, []

    def replace_appended(
        self, namespace: tuple[str, ...], new: Callable[[dict[str, Any]], dict[str, Any] | None]
    ) -> None:
        """Do nothing: they are items, which a commit replaces."""

    def erase_items(self, addresses: Collection[Address]) -> None:
        """Delete items; another store deletes as it deletes."""
        self._store.batch([PutOp(namespace, key, None) for namespace, key in addresses])

    def erase_space(self, namespace: tuple[str, ...]) -> int:
        """Delete every item of a namespace; another store deletes as it deletes."""
        items = self._read(namespace)
        self._store.batch([PutOp(namespace, key, None) for key in items])
        return len(items)

    def erase(self) -> int:
        """Delete every item; another store deletes as it deletes."""
        count = self.erase_space(self._memories)
        for history in self._histories:
            self.erase_space(history)
        return count

    def _read(self, namespace: tuple[str, ...]) -> dict[str, Item]:
        items: dict[str, Item] = {}
        offset = 0
        while page := self._store.search(namespace, limit=_PAGE, offset=offset, refresh_ttl=False):
            # A search is by prefix: another bank may lie below this one.
            items |= {item.key: item for item in page if tuple(item.namespace) == namespace}
            offset += len(page)
        return items


_commit_locks: weakref.WeakKeyDictionary[BaseStore, threading.Lock] = weakref.WeakKeyDictionary()


def _item_of(row: Row) -> StoredItem:
    return StoredItem(row.key, row.value, None if row.vectors is None else row.vectors[0])


def _puts(namespace: tuple[str, ...], records: Records) -> list[PutOp]:
    return [
        PutOp(namespace, record["id"], {name: part for name, part in record.items() if name != "id"}, False)
        for record in records
    ]
