"""What can be done with memories, wherever they are: a bank on disk (`bank.py`) or a fork of one in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import Any

from langgraph_memory_r1.bank.history import Diff, aware, compare, in_order, invert, plan, replay, standing
from langgraph_memory_r1.errors import ConflictError, UnknownMemoryError
from langgraph_memory_r1.retrieval import Hit, Index
from langgraph_memory_r1.schemas import Change, Delete, Memory, Operation, Update

_ATTEMPTS = 8


class Memories(ABC):
    """Reading, ranking and applying, the same for a bank on disk and for a fork in memory."""

    @abstractmethod
    def _reading(self) -> AbstractContextManager[Index]:
        """The index over the newest state, which stays as it is meanwhile."""

    @abstractmethod
    def _commit(self, changes: Sequence[Change]) -> None:
        """Make changes visible, all or none; ConflictError if what they were planned on has changed."""

    @abstractmethod
    def history(self, memory_id: str | None = None) -> list[Change]:
        """The operations on one memory, or all with the NOOPs, oldest first."""

    def _known(self, ids: Collection[str]) -> dict[str, Memory | None]:
        """The present state of some memories; where there are none to look up, nothing is read."""
        if not ids:
            return {}
        with self._reading() as index:
            return {memory_id: index.get(memory_id) for memory_id in ids}

    def _vector(self, query: str) -> Any:
        return None

    def __len__(self) -> int:
        with self._reading() as index:
            return len(index)

    def all(self) -> list[Memory]:
        """All memories, in the order in which they were said."""
        with self._reading() as index:
            return in_order(index)

    def texts(self) -> list[str]:
        """What all memories say."""
        with self._reading() as index:
            return [memory.text for memory in index]

    def get(self, memory_id: str) -> Memory | None:
        """One memory by id."""
        with self._reading() as index:
            return index.get(memory_id)

    def search(self, query: str, *, k: int = 60, per_speaker: int | None = None, fill: bool = False) -> list[Hit]:
        """The k memories that best fit a query, best first.

        Args:
            query: A question or a fact.
            k: How many; 60 is what the Answer Agent reads (Memory-R1, section 4.1).
            per_speaker: At most so many of each speaker (Memory-R1: 30 of each of two).
            fill: Where these are fewer than `k`, the best of the others come after them.
        """
        vector = self._vector(query)
        with self._reading() as index:
            return index.rank(query, k=k, vector=vector, per_speaker=per_speaker, fill=fill)

    def apply(
        self,
        operations: Sequence[Operation],
        *,
        expect: Mapping[str, int] | None = None,
        model: str | None = None,
        reason: str = "",
    ) -> list[Change]:
        """Apply what a Memory Manager decided: all operations and their history become visible together, or none.

        Args:
            operations: NOOPs are kept in the history too, but cost no commit.
            expect: Memory id → `rev` that the decision was based on.
            model: Who decided, for the history.
            reason: Why, where an operation does not say it itself.

        Returns:
            One `Change` per operation, in their order.

        Raises:
            ConflictError: a memory in `expect` has changed since; nothing was applied.
            UnknownMemoryError: an operation names a memory that is not there; nothing was applied.
        """
        touched = {operation.id for operation in operations if isinstance(operation, (Update, Delete))}
        for attempt in range(_ATTEMPTS):
            known = self._known({*touched, *(expect or ())})
            _check(expect or {}, known)
            changes = plan(operations, known.get, model=model, reason=reason)
            try:
                self._commit(changes)
            except ConflictError:
                if expect is not None or attempt == _ATTEMPTS - 1:
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
        done = standing(history) if op_id is None else [change for change in history if change.id == op_id]
        if not done:
            raise UnknownMemoryError(
                "There is nothing to take back." if op_id is None else f"There is no operation {op_id!r}."
            )
        memory_id = done[-1].memory_id
        change = invert(done[-1], self.get(memory_id) if memory_id else None, history)
        self._commit([change])
        return change

    def as_of(self, when: datetime) -> list[Memory]:
        """The memories as they were at a moment (time-zone aware; without a zone UTC)."""
        return in_order(replay(self.history(), aware(when)).values())

    def diff(self, start: datetime, end: datetime) -> Diff:
        """What was added, updated and removed between two moments."""
        history = self.history()
        return compare(replay(history, aware(start)), replay(history, aware(end)))

    def seen(self) -> set[str]:
        """Ids of all turns that some operation, a NOOP too, came from."""
        return {turn for change in self.history() for turn in change.source}

    def fork(self) -> MemoryFork:
        """A copy-on-write copy in memory, made in microseconds and never written to disk."""
        with self._reading() as index:
            return MemoryFork(index.fork())


class MemoryFork(Memories):
    """What a bank would become: for trying operations out, as reinforcement learning does."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._changes: list[Change] = []

    def history(self, memory_id: str | None = None) -> list[Change]:
        """What was applied to this fork."""
        return [change for change in self._changes if memory_id is None or change.memory_id == memory_id]

    def fork(self) -> MemoryFork:
        """A copy of this copy, with its changes."""
        copy = super().fork()
        copy._changes = list(self._changes)
        return copy

    def _reading(self) -> AbstractContextManager[Index]:
        return nullcontext(self._index)

    def _commit(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if change.after is not None:
                self._index.put(change.after)
            elif change.memory_id is not None:
                self._index.discard(change.memory_id)
        self._changes.extend(changes)


def _check(expect: Mapping[str, int], known: Mapping[str, Memory | None]) -> None:
    stale = [key for key, rev in expect.items() if (memory := known[key]) is None or memory.rev != rev]
    if stale:
        message = f"Changed since the decision was made: {', '.join(stale)}. Read again and decide anew."
        raise ConflictError(message, stale)
