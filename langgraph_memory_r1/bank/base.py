"""What can be done with memories, wherever they are: in a bank (`memory_bank.py`) or in a fork of one in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timedelta

from langgraph_memory_r1.bank.attributes import Filter, aware, memory_filter
from langgraph_memory_r1.bank.expiry import ExpiryQueue
from langgraph_memory_r1.bank.history import RETRY, Diff, compare, in_order, invert, plan_changes, replay, standing
from langgraph_memory_r1.bank.ledger import TurnMark, keys_of
from langgraph_memory_r1.bank.queue import TurnQueue
from langgraph_memory_r1.bank.seen import SeenTurns
from langgraph_memory_r1.errors import ConflictError, UnknownMemoryError
from langgraph_memory_r1.retrieval import Hit, Index, Vector
from langgraph_memory_r1.schemas import Change, Delete, Memory, Noop, Operation, Update

_ATTEMPTS = 8
"""Times that operations without `expect` are planned, the first included, before a conflict is raised."""


class Memories(ABC):
    """Reading, ranking and applying, the same for a bank on disk and for a fork in memory."""

    queue: TurnQueue | None = None
    """Where those wait who decide from these memories; nobody else can see a fork."""
    _ttl: timedelta | None = None
    """How long a memory lives that does not say it itself; None: for ever."""
    _expiring: ExpiryQueue
    """Of the memories in the index."""

    @abstractmethod
    def _reading(self) -> AbstractContextManager[Index]:
        """Hold the index over the newest state, which stays as it is meanwhile."""

    @abstractmethod
    def _commit(self, changes: Sequence[Change], turns: Collection[TurnMark]) -> None:
        """Make changes visible, and note that these turns were heard; see `Storage.commit`.

        Raises:
            ConflictError: What they were planned on has changed, or a turn was heard meanwhile.
        """

    @abstractmethod
    def history(self, memory_id: str | None = None) -> list[Change]:
        """Return the operations on one memory, or all with the NOOPs, oldest first."""

    def _current(self, ids: Collection[str]) -> dict[str, Memory | None]:
        """Return the present state of some memories."""
        if not ids:  # A turn that only adds: nothing has to be read.
            return {}
        with self._reading() as index:
            return {memory_id: index.get(memory_id) for memory_id in ids}

    def _embed(self, query: str) -> Vector | None:
        """Return the vector of a query; None where there is nothing to embed it with."""
        return None

    def __len__(self) -> int:
        with self._reading() as index:
            return len(index)

    def all(self) -> list[Memory]:
        """Return all memories, in the order in which they were said."""
        with self._reading() as index:
            return in_order(index)

    def texts(self) -> list[str]:
        """Return what all memories say."""
        with self._reading() as index:
            return [memory.text for memory in index]

    def get(self, memory_id: str) -> Memory | None:
        """Return one memory by id."""
        with self._reading() as index:
            return index.get(memory_id)

    def search(
        self,
        query: str,
        *,
        k: int = 60,
        per_speaker: int | None = None,
        fill: bool = False,
        filter: Filter | None = None,
    ) -> list[Hit]:
        """Return the k memories that best fit a query, best first.

        Args:
            query: A question or a fact.
            k: How many; 60 is what the Answer Agent reads (Memory-R1, section 4.1).
            per_speaker: At most so many of each speaker (Memory-R1: 30 of each of two).
            fill: Where these are fewer than `k`, the best of the others come after them.
            filter: Only memories with these fields, tags or metadata, in the filter language of the store:
                `{"tags": {"$contains": "work"}, "team": {"$in": ["red", "blue"]}}`; see `bank.attributes`.

        Raises:
            InputError: The filter is none.
        """
        accept, vector = memory_filter(filter), self._embed(query)
        with self._reading() as index:
            return index.rank(query, k=k, vector=vector, per_speaker=per_speaker, fill=fill, accept=accept)

    def apply(
        self,
        operations: Sequence[Operation],
        *,
        expect: Mapping[str, int] | None = None,
        model: str | None = None,
        reason: str = "",
        turns: Collection[TurnMark] = (),
    ) -> list[Change]:
        """Apply what a Memory Manager decided: all operations and their history become visible together, or none.

        That is so in a fork and on a `LanceDBStore` with a file lock; of other stores see `Storage.commit`.

        Args:
            operations: NOOPs are kept in the history too. Where there is nothing else, they cost a `LanceDBStore` in a
                local folder no commit; beside others they travel in the commit of those.
            expect: Memory id → `rev` that the decision was based on.
            model: Who decided, for the history.
            reason: Why, where an operation does not say it itself.
            turns: The turns that the operations come from, which are known from then on; see `MemoryBank.mark`.

        Returns:
            One `Change` per operation, in their order.

        Raises:
            ConflictError: a memory has changed since, or a turn was heard meanwhile (its key is among the error's);
                nothing was applied, save what `Storage.commit` says of stores without a file lock.
            UnknownMemoryError: an operation names a memory that is not there; nothing was applied.
            InputError: metadata, tags or an expiry are not what they have to be; nothing was applied.
        """
        touched = {operation.id for operation in operations if isinstance(operation, (Update, Delete))}
        for attempt in range(_ATTEMPTS):
            memories = self._current({*touched, *(expect or ())})
            stale = [
                memory_id
                for memory_id, rev in (expect or {}).items()
                if (memory := memories[memory_id]) is None or memory.rev != rev
            ]
            if stale:
                message = f"Changed since the decision was made: {', '.join(stale)}. Read again and decide anew."
                raise ConflictError(message, stale)
            changes = plan_changes(operations, memories.get, model=model, reason=reason, ttl=self._ttl)
            try:
                self._commit(changes, turns)
            except ConflictError as error:
                # Somebody else was quicker. Without `expect` the operations hold whatever the memories say now; what
                # was made of a turn that was heard meanwhile does not.
                if expect is not None or attempt == _ATTEMPTS - 1 or keys_of(turns, error.keys):
                    raise
            else:
                return changes
        raise AssertionError("unreachable")

    def undo(self, op_id: str | None = None) -> Change:
        """Take an operation back; without an id the newest one that still stands: repeating it goes further back.

        Taking back an undo, by its id, does the operation again.

        Raises:
            UnknownMemoryError: there is no such operation, or it changed nothing.
            ConflictError: a later operation on the same memory has to be taken back first; the message names it.
        """
        history = self.history()
        undoable = standing(history) if op_id is None else [change for change in history if change.id == op_id]
        if not undoable:
            raise UnknownMemoryError(
                "There is nothing to take back." if op_id is None else f"There is no operation {op_id!r}."
            )
        memory_id = undoable[-1].memory_id
        change = invert(undoable[-1], self.get(memory_id) if memory_id else None, history)
        self._commit([change], ())
        return change

    def as_of(self, when: datetime) -> list[Memory]:
        """Return the memories as they were at a moment (time-zone aware; without a zone UTC)."""
        return in_order(replay(self.history(), aware(when)).values())

    def diff(self, start: datetime, end: datetime) -> Diff:
        """Return what was added, updated and removed between two moments."""
        history = self.history()
        return compare(replay(history, aware(start)), replay(history, aware(end)))

    def seen(self) -> set[str]:
        """Return the ids of all turns that some operation, a NOOP too, came from."""
        return {turn for change in self.history() for turn in change.source}

    def heard(self, turns: Collection[TurnMark]) -> set[str]:
        """Return the keys of those turns that were heard just so."""
        return set()

    def unread(self) -> dict[str, int]:
        """Return the ids of the turns whose facts could not be read so far, and how often that was tried.

        Three later runs that see such a turn try again.
        """
        turns = SeenTurns()
        turns.update(self.history())
        return turns.unread()

    def retry_unread(self) -> int:
        """Let the turns that could not be read be tried anew when they are sent again; return how many there are."""
        turns = self.unread()
        if turns:
            self.apply([Noop(RETRY, tuple(turns))])
        return len(turns)

    def fork(self) -> MemoryFork:
        """Return a copy-on-write copy in memory, made in microseconds and never written to disk."""
        with self._reading() as index:
            return MemoryFork(index.fork(), self._expiring, self._ttl)


class MemoryFork(Memories):
    """What a bank would become: for trying operations out, as reinforcement learning does.

    It shares the bank's index, but not its history, which would have to be read from the store for every fork. So
    `history`, `as_of`, `diff` and `seen` know only what was applied to the fork, and `undo` takes only that back. It
    has no embedder either: `search` ranks by words alone, also where the bank ranks by vectors too.
    """

    def __init__(self, index: Index, expiring: ExpiryQueue | None = None, ttl: timedelta | None = None) -> None:
        self._index = index
        self._expiring = ExpiryQueue() if expiring is None else expiring.copy()
        self._ttl = ttl
        self._changes: list[Change] = []
        self.turns: list[TurnMark] = []
        """The turns that what was applied came from."""

    def __repr__(self) -> str:
        return f"MemoryFork(memories={len(self)}, changes={len(self._changes)})"

    def history(self, memory_id: str | None = None) -> list[Change]:
        """Return what was applied to this fork."""
        return [change for change in self._changes if memory_id is None or change.memory_id == memory_id]

    def fork(self) -> MemoryFork:
        """Return a copy of this copy, with its changes."""
        copy = super().fork()
        copy._changes = list(self._changes)
        copy.turns = list(self.turns)
        return copy

    def _reading(self) -> AbstractContextManager[Index]:
        self._expiring.discard_expired(self._index)
        return nullcontext(self._index)

    def _commit(self, changes: Sequence[Change], turns: Collection[TurnMark]) -> None:
        for change in changes:
            if change.after is not None:
                self._index.put(change.after)
                self._expiring.add(change.after)
            elif change.memory_id is not None:
                self._index.discard(change.memory_id)
        self._changes.extend(changes)
        self.turns.extend(turns)
