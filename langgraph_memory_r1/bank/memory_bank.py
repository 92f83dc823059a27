"""`MemoryBank`: one owner's memories, with their history, on any LangGraph store.

    operations ─► plan (pure) ─► one commit: memories + history ─► index ─► search

The memories lie in `(*namespace, "memory")` under their ids, their history in `(*namespace, "history")`. On a
`LanceDBStore` a turn is one commit and a stale decision is refused across processes; on another `BaseStore` a turn is
one `batch`, conditions hold within the process, NOOPs are stored as items, and retrieval is lexical.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

from langgraph.store.base import BaseStore, PutOp

from langgraph_memory_r1.bank.base import Memories
from langgraph_memory_r1.bank.history import in_order
from langgraph_memory_r1.bank.records import (
    change_from_record,
    change_to_record,
    encode_label,
    memory_from_record,
    memory_to_record,
)
from langgraph_memory_r1.bank.storage import Feed, vector_of, write
from langgraph_memory_r1.bank.transfer import Imported, export_bank, import_bank
from langgraph_memory_r1.retrieval import Hit, Index
from langgraph_memory_r1.schemas import Change, Memory, Operation
from langgraph_memory_r1.store import LanceDBStore

_CANDIDATES = 500
"""Memories that the store proposes where a bank is too large to rank in memory."""


class MemoryBank(Memories):
    """One owner's memories on a store.

    Args:
        store: `LanceDBStore`, or any LangGraph `BaseStore`.
        namespace: Labels of any characters; a single string names an owner: `("memories", owner)`.

    Example:
        ```python
        with LanceDBStore("./memory") as store:
            bank = MemoryBank(store, "ann@example.com")
            bank.apply([Add("Ann adopted a dog, Buddy.")])
            bank.search("pets")[0].memory.text
        ```
    """

    def __init__(self, store: BaseStore, namespace: str | Sequence[str]) -> None:
        self.store = store
        self.namespace = ("memories", namespace) if isinstance(namespace, str) else tuple(namespace)
        base = tuple(encode_label(label, root=not place) for place, label in enumerate(self.namespace))
        self.key = _key(store, self.namespace)
        """Tells this bank apart from others in traces, without saying whose it is."""
        self._memory_space = (*base, "memory")
        self._history_space = (*base, "history")
        self._journal = store.journal if isinstance(store, LanceDBStore) else None
        self._journal_tail = self._journal.tail(self._history_space) if self._journal is not None else None
        self._lock = threading.RLock()
        self._memories = Feed(store, self._memory_space)
        self._records = Feed(store, self._history_space)
        self._index = Index()
        self._changes: dict[str, Change] = {}
        self._noops: dict[str, Change] = {}
        self._seen: set[str] = set()

    def get(self, memory_id: str) -> Memory | None:
        """One memory by id."""
        if not self._memories.too_large():
            return super().get(memory_id)
        item = self.store.get(self._memory_space, memory_id)
        return None if item is None else memory_from_record(item.key, item.value)

    def search(self, query: str, *, k: int = 60, per_speaker: int | None = None, fill: bool = False) -> list[Hit]:
        """The k memories that best fit a query, best first; in a very large bank out of those that LanceDB proposes."""
        if not (isinstance(self.store, LanceDBStore) and self._memories.too_large()):
            return super().search(query, k=k, per_speaker=per_speaker, fill=fill)
        index = Index()
        for row in self.store.candidates(self._memory_space, query, max(_CANDIDATES, 2 * k)):
            index.put(memory_from_record(row.key, row.value), vector_of(row))
        return index.rank(query, k=k, vector=self._vector(query), per_speaker=per_speaker, fill=fill)

    def _known(self, ids: Collection[str]) -> dict[str, Memory | None]:
        if ids and self._memories.too_large():
            return {memory_id: self.get(memory_id) for memory_id in ids}
        return super()._known(ids)

    def seen(self) -> set[str]:
        """Ids of all turns that some operation, a NOOP too, came from."""
        with self._lock:
            self._follow_history()
            return set(self._seen)

    def history(self, memory_id: str | None = None) -> list[Change]:
        """The operations on one memory, or all with the NOOPs, oldest first."""
        with self._lock:
            self._follow_history()
            found = [*self._changes.values(), *self._noops.values()]
        wanted = [change for change in found if memory_id is None or change.memory_id == memory_id]
        first = datetime.min.replace(tzinfo=UTC)
        return sorted(wanted, key=lambda change: (change.at or first, change.id))

    def forget(self) -> int:
        """Remove this owner for good: memories, history, old versions, files; returns how many memories there were.

        On a `LanceDBStore` nothing of it can be found on disk afterwards; another store deletes as it deletes.
        """
        with self._lock:
            count = len(self)
            if isinstance(self.store, LanceDBStore):
                self.store.erase(self._memory_space, below=False)
                self.store.erase(self._history_space, below=False)
            else:
                self.store.batch([PutOp(self._memory_space, memory.id, None) for memory in self.all()])
                self.store.batch([PutOp(self._history_space, change.id, None) for change in self.history()])
        return count

    def export_jsonl(self, path: str | os.PathLike[str]) -> int:
        """Write memories and history, one JSON object a line; returns the number of memories."""
        return export_bank(path, self.all(), self.history())

    def import_jsonl(self, path: str | os.PathLike[str], *, strict: bool = False) -> Imported:
        """Take over an export, ids and history included; what is here already is left as it is.

        Raises:
            InputError: the file is no export, or with `strict` a line of it is broken; the message names the line.
        """
        history = self.history()
        # A memory that was deleted here since the export was made stays deleted.
        held = {memory.id for memory in self.all()} | {change.memory_id for change in history if change.memory_id}
        memories, changes, result = import_bank(path, held, {change.id for change in history}, strict=strict)
        puts = [_memory_put(self._memory_space, memory) for memory in memories]
        puts += [_change_put(self._history_space, change) for change in changes if change.event != "NOOP"]
        write(self.store, puts, {})
        self._note([change for change in changes if change.event == "NOOP"])
        return result

    def _follow_history(self) -> None:
        changed, gone = self._records.refresh()
        for key in gone:
            del self._changes[key]
        self._changes |= {item.key: change_from_record(item.key, item.value) for item in changed}
        anew, lines = self._journal_tail.read() if self._journal_tail is not None else (False, [])
        fresh = {record["id"]: change_from_record(record["id"], record) for record in lines}
        if anew:
            self._noops.clear()
        self._noops.update(fresh)
        if gone or anew:
            self._seen = {turn for change in [*self._changes.values(), *self._noops.values()] for turn in change.source}
        self._seen.update(turn for item in changed for turn in self._changes[item.key].source)
        self._seen.update(turn for change in fresh.values() for turn in change.source)

    @contextmanager
    def _reading(self) -> Iterator[Index]:
        with self._lock:
            changed, gone = self._memories.refresh()
            for key in gone:
                self._index.discard(key)
            fresh = {item.key: vector_of(item) for item in changed}
            for memory in in_order(memory_from_record(item.key, item.value) for item in changed):
                self._index.put(memory, fresh[memory.id])
            yield self._index

    def _commit(self, changes: Sequence[Change]) -> None:
        real = [change for change in changes if change.memory_id is not None]
        if not real:
            self._note(changes)
        else:
            first = {change.memory_id: change for change in reversed(real)}
            last = {change.memory_id: change.after for change in real}
            puts = [_memory_put(self._memory_space, after, key) for key, after in last.items()]
            puts += [_change_put(self._history_space, change) for change in changes]
            based = {(self._memory_space, str(key)): change for key, change in first.items()}
            expect = {place: _rev_of(change.before) for place, change in based.items() if not _invents(change)}
            fresh = {place for place, change in based.items() if _invents(change)}
            fresh |= {(self._history_space, change.id) for change in changes}
            write(self.store, puts, expect, fresh)

    def _note(self, noops: Sequence[Change]) -> None:
        if noops and self._journal is not None:
            self._journal.append(
                self._history_space, [{"id": change.id} | change_to_record(change) for change in noops]
            )
        elif noops:
            self.store.batch([_change_put(self._history_space, change) for change in noops])

    def _vector(self, query: str) -> Any:
        return self.store.embed_query(query) if isinstance(self.store, LanceDBStore) and query.strip() else None

    # The same without blocking an event loop

    async def asearch(
        self, query: str, *, k: int = 60, per_speaker: int | None = None, fill: bool = False
    ) -> list[Hit]:
        """`search` in a thread."""
        return await asyncio.to_thread(self.search, query, k=k, per_speaker=per_speaker, fill=fill)

    async def aapply(
        self,
        operations: Sequence[Operation],
        *,
        expect: Mapping[str, int] | None = None,
        model: str | None = None,
        reason: str = "",
    ) -> list[Change]:
        """`apply` in a thread."""
        return await asyncio.to_thread(self.apply, operations, expect=expect, model=model, reason=reason)

    async def aall(self) -> list[Memory]:
        """`all` in a thread."""
        return await asyncio.to_thread(self.all)

    async def aget(self, memory_id: str) -> Memory | None:
        """`get` in a thread."""
        return await asyncio.to_thread(self.get, memory_id)

    async def ahistory(self, memory_id: str | None = None) -> list[Change]:
        """`history` in a thread."""
        return await asyncio.to_thread(self.history, memory_id)

    async def aundo(self, op_id: str | None = None) -> Change:
        """`undo` in a thread."""
        return await asyncio.to_thread(self.undo, op_id)

    async def aforget(self) -> int:
        """`forget` in a thread."""
        return await asyncio.to_thread(self.forget)


def _key(store: BaseStore, namespace: Sequence[str]) -> str:
    place = store.uri if isinstance(store, LanceDBStore) else ""
    place = os.path.abspath(place) if place and "://" not in place else place
    return blake2b("\0".join([place, *namespace]).encode(errors="surrogatepass"), digest_size=8).hexdigest()


def _rev_of(memory: Memory | None) -> dict[str, int] | None:
    return None if memory is None else {"rev": memory.rev}


def _invents(change: Change) -> bool:
    """The memory's id is new, not brought back by an undo."""
    return change.event == "ADD" and change.undoes is None


def _memory_put(namespace: tuple[str, ...], memory: Memory | None, key: str | None = None) -> PutOp:
    if memory is None:
        return PutOp(namespace, str(key), None)
    return PutOp(namespace, memory.id, memory_to_record(memory), ["text"])


def _change_put(namespace: tuple[str, ...], change: Change) -> PutOp:
    return PutOp(namespace, change.id, change_to_record(change), False)
