"""`MemoryBank`: one owner's memories, with their history, on any LangGraph store.

    operations ─► plan (pure) ─► one commit: memories + history ─► index ─► search

The memories lie in `(*namespace, "memory")` under their ids, their history outside of the namespace (`spaces.py`). On a
`LanceDBStore` a turn is one commit (without a file lock see `Storage.commit`) and a stale decision is refused across
processes; on another `BaseStore` a turn is one `batch`, conditions hold within the process, NOOPs are stored as items,
and retrieval is lexical (`storage.py`).
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Concatenate, ParamSpec, TypeVar

from langgraph.store.base import BaseStore, PutOp

from langgraph_memory_r1.bank.attributes import Filter, memory_filter
from langgraph_memory_r1.bank.base import Memories
from langgraph_memory_r1.bank.expiry import ExpiryQueue, default_ttl, expiries, has_expired, minutes_left
from langgraph_memory_r1.bank.history import in_order
from langgraph_memory_r1.bank.ledger import ThreadClaims, TurnLedger, TurnMark
from langgraph_memory_r1.bank.purge import redacted, texts_of, tombstone
from langgraph_memory_r1.bank.queue import queue_of
from langgraph_memory_r1.bank.records import (
    Imported,
    change_to_record,
    export_bank,
    memory_from_record,
    memory_to_record,
    read_export,
)
from langgraph_memory_r1.bank.seen import SeenTurns
from langgraph_memory_r1.bank.spaces import HistorySpace, foreign_items, spaces_of
from langgraph_memory_r1.bank.storage import storage_of
from langgraph_memory_r1.errors import UnknownMemoryError
from langgraph_memory_r1.retrieval import Hit, Index
from langgraph_memory_r1.schemas import Change, Memory, Turn
from langgraph_memory_r1.store.rows import Vectors

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

_THREADS = 256
"""Threads of which a bank remembers whose they are; of others it reads that again."""
_CANDIDATES = 500
"""Memories that each of the store's searches proposes, at least, where a bank is too large to rank in memory."""


def _in_thread(
    method: Callable[Concatenate[MemoryBank, P], T],
) -> Callable[Concatenate[MemoryBank, P], Coroutine[Any, Any, T]]:
    """Return the async twin of a blocking method: the same, in a thread, so that an event loop goes on."""

    @functools.wraps(method)
    async def twin(bank: MemoryBank, /, *args: P.args, **kwargs: P.kwargs) -> T:
        # By name, so that what a subclass overrides counts here too.
        result: T = await asyncio.to_thread(getattr(bank, method.__name__), *args, **kwargs)
        return result

    twin.__name__, twin.__doc__ = f"a{method.__name__}", f"Do what `{method.__name__}` does, in a thread."
    return twin


class MemoryBank(Memories):
    """One owner's memories on a store.

    Every method that may block has an async twin with an `a` before its name, which takes the same arguments.

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
        self._spaces = spaces_of(self.namespace)
        self._storage = storage_of(store, *self._spaces)
        text = "\0".join([self._storage.key(), *self.namespace]).encode(errors="surrogatepass")
        self.key = blake2b(text, digest_size=8).hexdigest()
        """Tells this bank apart from others in traces, without saying whose it is."""
        self.queue = queue_of((self._storage.key() or id(store), self.namespace))
        self._lock = threading.RLock()
        """Of everything below: what was read of the storage so far."""
        self._index, self._expiring = Index(), ExpiryQueue()
        self._expired: set[str] = set()
        """Ids of memories whose rows the next commit removes, where the store does not sweep them itself."""
        self._ttl = default_ttl(store)
        self._histories = [HistorySpace(self._storage, space) for space in self._spaces[1:]]
        """Where changes are written, then where an earlier version wrote them; the second only if there are any."""
        self._seen, self._ledger = SeenTurns(), TurnLedger(self._storage, self.namespace)
        self._claims: OrderedDict[tuple[str, str], ThreadClaims] = OrderedDict()
        self._followed = self._read = False
        """The history was read; the index shows the memories, as they were when they were last looked at."""

    def __repr__(self) -> str:
        # The count of the last look: to show itself, a bank does not go to its store.
        count = f", memories={len(self._index)}" if self._read else ""
        return f"MemoryBank({self.namespace!r}{count})"

    @property
    def space(self) -> tuple[str, ...]:
        """Where the memories stand in the store."""
        return self._spaces.memories

    def get(self, memory_id: str) -> Memory | None:
        """Return one memory by id."""
        if not self._storage.too_large():
            return super().get(memory_id)
        item = self.store.get(self._spaces.memories, memory_id, refresh_ttl=False)
        memory = None if item is None else memory_from_record(item.key, item.value)
        return None if memory is None or has_expired(memory, datetime.now(UTC)) else memory

    def search(
        self,
        query: str,
        *,
        k: int = 60,
        per_speaker: int | None = None,
        fill: bool = False,
        filter: Filter | None = None,
    ) -> list[Hit]:
        """Return the k memories that best fit a query, best first; see `Memories.search`.

        A bank that is too large for its store's mirror (`LanceDBStore.mirror_rows`) is not ranked as a whole, but only
        the memories that LanceDB's full-text and vector search propose. How rare a word is, and what was said beside a
        memory, is counted among those alone, so that scores and order may differ from those of a smaller bank. Where a
        filter leaves too few of them, all memories are ranked.
        """
        if not self._storage.too_large():
            return super().search(query, k=k, per_speaker=per_speaker, fill=fill, filter=filter)
        accept, vector = memory_filter(filter), self._storage.embed(query)
        index, now = Index(), datetime.now(UTC)
        for item in self._storage.candidates(query, vector, max(_CANDIDATES, 2 * k)):
            memory = memory_from_record(item.key, item.value)
            if not has_expired(memory, now):
                index.put(memory, item.vector)
        hits = index.rank(
            query, k=k, vector=vector if query.strip() else None, per_speaker=per_speaker, fill=fill, accept=accept
        )
        if accept is not None and len(hits) < k:
            return super().search(query, k=k, per_speaker=per_speaker, fill=fill, filter=filter)
        return hits

    def seen(self) -> set[str]:
        """Return the ids of all turns that some operation, a NOOP too, came from; see `unread` for the others."""
        with self._lock:
            self._follow_history()
            return self._seen.ids()

    def mark(self, turn: Turn, text: str | None = None) -> TurnMark:
        """Return what this bank knows a turn by; `text` is the whole text where the turn is a piece of it."""
        return self._ledger.mark(turn, text)

    def known(self, turns: Sequence[tuple[Turn, TurnMark]], since: datetime | None = None) -> list[bool | None]:
        """Return for each turn whether it was heard; None where it was heard with another text, before it was edited.

        Args:
            turns: Turns with their marks.
            since: Of a replay the time of its checkpoint: what was said in a thread since then is said again.
        """
        with self._lock:
            self._follow_history()
            self._ledger.follow()
            # Banks from before there was a ledger, and operations applied by hand, know turns by their ids alone.
            return [
                True if turn.id in self._seen and not self._ledger.covers(mark) else self._ledger.knows(mark, since)
                for turn, mark in turns
            ]

    def heard(self, turns: Collection[TurnMark]) -> set[str]:
        """Return the keys of those turns that were heard just so."""
        with self._lock:
            self._ledger.follow()
            return {mark.key for mark in turns if self._ledger.holds(mark)}

    def edited(self, mark: TurnMark) -> TurnMark:
        """Return the mark of a turn that is `known` as None, as it is heard now."""
        with self._lock:
            return self._ledger.edited(mark)

    def claim(self, thread: str, memory: str, turns: Sequence[Turn], run: str | None = None) -> list[bool]:
        """Return which turns of a thread were said to this bank, not to one that the thread belonged to before.

        Each `memory` of the application claims the turns, which are made of the thread's messages, for itself; and a
        `run` may send one message to several banks.
        """
        with self._lock:
            claims = self._claims.setdefault((thread, memory), ThreadClaims(self.store, thread, memory))
            self._claims.move_to_end((thread, memory))
            if len(self._claims) > _THREADS:
                self._claims.popitem(last=False)
            return claims.claim(self._ledger.owner, turns, run)

    def history(self, memory_id: str | None = None) -> list[Change]:
        """Return the operations on one memory, or all with the NOOPs, oldest first."""
        with self._lock:
            self._follow_history()
            changes = [change for history in self._histories for change in history.all()]
        selected = [change for change in changes if memory_id is None or change.memory_id == memory_id]
        first = datetime.min.replace(tzinfo=UTC)
        selected.sort(key=lambda change: (change.at or first, change.id))
        if ended := list(expiries(selected)):
            selected = sorted([*selected, *ended], key=lambda change: (change.at or first, change.id))
        return selected

    def forget(self) -> int:
        """Remove this owner for good: memories, history, old versions, files; return how many memories there were.

        On a `LanceDBStore` nothing of it can be found on disk afterwards; another store deletes as it deletes. Hashes
        of the turns stay, so that nothing comes back when a history is sent again.
        """
        with self._lock:
            self._follow_history()
            self._ledger.follow()
            self._ledger.bury({*self._seen.ids(), *self._seen.unread()})
            return self._storage.erase()

    def purge(self, memory_id: str) -> int:
        """Erase one memory for good, with its whole history; return how many operations that were.

        On a `LanceDBStore` no file holds its words afterwards, other memories and their histories stay, and so does
        that its turns were dealt with: it does not come back because a conversation is sent again. Another store
        deletes as it deletes. To take a memory out of what is recalled, with a history that says so, apply a `Delete`.

        Raises:
            UnknownMemoryError: there is no such memory, and there never was one.
        """
        with self._lock:
            memory, history = self.get(memory_id), self.history()
            own = [change for change in history if change.memory_id == memory_id]
            if memory is None and not own:
                raise UnknownMemoryError(f"There is no memory {memory_id!r}, and there never was one.")
            left = tombstone(own)
            self._append_noops([left])
            texts, others = texts_of(own) | ({memory.text} if memory else set()), set(history) - set(own)
            changed = [new for change in others if (new := redacted(change, texts, set(left.source))) is not None]
            for place in self._histories:
                place.overwrite(changed)
            count = len(own)
            while memory is not None or own:  # Again where somebody changed it meanwhile.
                addresses = [(place.space, change.id) for place in self._histories for change in own]
                self._storage.erase_items([(self._spaces.memories, memory_id), *addresses])
                memory, own = self.get(memory_id), self.history(memory_id)
            return count

    def move_history(self) -> int:
        """Move what an earlier version wrote of the history to where a search of the store does not find it.

        Without it the bank reads both places; return how many changes there were to move.
        """
        with self._lock:
            self._follow_history()
            earlier = [change for place in self._histories[1:] for change in place.all()]
            if earlier:
                self._storage.commit([self._change_put(change) for change in earlier if change.event != "NOOP"], {}, ())
                self._append_noops([change for change in earlier if change.event == "NOOP"])
                self._storage.erase_space(self._spaces.earlier_history)
                del self._histories[1:]
            return len(earlier)

    def export_jsonl(self, path: str | os.PathLike[str]) -> int:
        """Write memories and history, one JSON object a line, and return the number of memories.

        Raises:
            InputError: the place cannot be written; what was there before stays.
        """
        return export_bank(path, self.all(), self.history())

    def import_jsonl(self, path: str | os.PathLike[str], *, strict: bool = False) -> Imported:
        """Take over an export, ids and history included; what is here already is left as it is.

        Raises:
            InputError: the file is no export, or with `strict` a line of it is broken; the message names the line.
        """
        history = self.history()
        # A memory that was deleted here since the export was made stays deleted.
        memory_ids = {memory.id for memory in self.all()}
        memory_ids |= {change.memory_id for change in history if change.memory_id}
        memories, changes, result = read_export(path, memory_ids, {change.id for change in history}, strict=strict)
        puts = [self._memory_put(memory.id, memory) for memory in memories]
        puts += [self._change_put(change) for change in changes if change.event != "NOOP"]
        self._storage.commit(puts, {}, ())
        self._append_noops([change for change in changes if change.event == "NOOP"])
        return result

    # What both kinds of memories are made of (see `Memories`)

    @contextmanager
    def _reading(self) -> Iterator[Index]:
        with self._lock:
            items, gone = self._storage.changes(self._spaces.memories)
            for memory_id in gone:
                self._index.discard(memory_id)
            vectors = {item.key: item.vector for item in items}
            # In the order in which they were said: the index keeps memories of the same time as they were put.
            for memory in in_order(memory_from_record(item.key, item.value) for item in items):
                self._index.put(memory, vectors[memory.id])
                self._expiring.add(memory)
            self._expired.update(self._expiring.discard_expired(self._index))
            if not self._read and not len(self._index) and foreign_items(self.store, self.namespace, 1):
                log.warning(
                    "The bank %r has no memories of its own, but its namespace holds items of another library, as "
                    "langmem's; langgraph_memory_r1.importers.adopt_items(bank) takes them over.",
                    self.namespace,
                )
            self._read = True
            yield self._index

    def _current(self, ids: Collection[str]) -> dict[str, Memory | None]:
        if ids and self._storage.too_large():
            return {memory_id: self.get(memory_id) for memory_id in ids}
        return super()._current(ids)

    def _embed(self, query: str) -> Vectors | None:
        return self._storage.embed(query) if query.strip() else None

    def _commit(self, changes: Sequence[Change], turns: Collection[TurnMark]) -> None:
        effective = [change for change in changes if change.memory_id is not None]
        if not effective and self._storage.has_journal():
            self._append_noops(changes)
            if turns:
                self._ledger.append(turns)
            return
        # A turn may change a memory several times: what its first change was based on is the condition, what its last
        # one left is stored. NOOPs beside other operations travel in the same commit, so that a turn is seen whole.
        first = {str(change.memory_id): change for change in reversed(effective)}
        last = {str(change.memory_id): change.after for change in effective}
        puts = [self._memory_put(memory_id, memory) for memory_id, memory in last.items()]
        puts += [self._change_put(change) for change in changes]
        with self._lock:
            swept = self._expired - last.keys()
        puts += [PutOp(self._spaces.memories, memory_id, None) for memory_id in swept]
        expect: dict[tuple[tuple[str, ...], str], dict[str, int] | None] = {}
        new = {(self._spaces.history, change.id) for change in changes}
        for put in self._ledger.puts(turns):
            puts.append(put)
            expect[put.namespace, put.key] = None
        for memory_id, change in first.items():
            if change.event == "ADD" and change.undoes is None:
                new.add(
                    (self._spaces.memories, memory_id)
                )  # The id was made up for it; an undo brings an old one back.
            else:
                before = change.before
                expect[self._spaces.memories, memory_id] = None if before is None else {"rev": before.rev}
        self._storage.commit(puts, expect, new)
        with self._lock:
            self._expired -= swept

    def _append_noops(self, noops: Sequence[Change]) -> None:
        if noops:
            records = [{"id": change.id} | change_to_record(change) for change in noops]
            self._storage.append(self._spaces.history, records)

    def _memory_put(self, memory_id: str, memory: Memory | None) -> PutOp:
        if memory is None:
            return PutOp(self._spaces.memories, memory_id, None)
        ttl = minutes_left(self.store, memory)
        return PutOp(self._spaces.memories, memory_id, memory_to_record(memory), ["text"], ttl=ttl)

    def _change_put(self, change: Change) -> PutOp:
        return PutOp(self._spaces.history, change.id, change_to_record(change), False)

    def _follow_history(self) -> None:
        news = [history.follow() for history in self._histories]
        if not self._followed:  # Most banks are none of an earlier version: those need not look there again.
            self._histories, self._followed = [self._histories[0], *filter(len, self._histories[1:])], True
        if None in news:
            self._seen.clear()
            news = [history.all() for history in self._histories]
        self._seen.update(change for changes in news for change in changes or ())

    # The same without blocking an event loop

    aget = _in_thread(get)
    aall = _in_thread(Memories.all)
    atexts = _in_thread(Memories.texts)
    asearch = _in_thread(search)
    aapply = _in_thread(Memories.apply)
    aundo = _in_thread(Memories.undo)
    ahistory = _in_thread(history)
    aas_of = _in_thread(Memories.as_of)
    adiff = _in_thread(Memories.diff)
    aseen = _in_thread(seen)
    aunread = _in_thread(Memories.unread)
    aretry_unread = _in_thread(Memories.retry_unread)
    amark = _in_thread(mark)
    aknown = _in_thread(known)
    aheard = _in_thread(heard)
    aedited = _in_thread(edited)
    aclaim = _in_thread(claim)
    afork = _in_thread(Memories.fork)
    aforget = _in_thread(forget)
    apurge = _in_thread(purge)
    amove_history = _in_thread(move_history)
    aexport_jsonl = _in_thread(export_jsonl)
    aimport_jsonl = _in_thread(import_jsonl)
