"""How memories end by themselves: out of the index in the moment they expire, and told by the history.

Nothing is written when a memory expires, so no two processes can disagree about it: that it did, and when, follows from
what its last change left. Its row is swept by the store, or goes along with the bank's next commit.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from langgraph.store.base import BaseStore

from langgraph_memory_r1.retrieval import Index
from langgraph_memory_r1.schemas import Change, Memory

EXPIRED = "expired"
"""The reason of the change with which the history of an expired memory ends."""

_TICK = datetime.resolution
_LONGEST = timedelta(days=100 * 366)
"""A longer life is none that ends; the arithmetic of times would overflow long before the store's clock does."""


def default_ttl(store: BaseStore) -> timedelta | None:
    """Return the time to live that a store gives to what does not say its own; None where it has none."""
    minutes = (store.ttl_config or {}).get("default_ttl")
    if minutes is None or not math.isfinite(minutes) or minutes <= 0 or minutes > _LONGEST / timedelta(minutes=1):
        return None
    return timedelta(minutes=minutes)


def minutes_left(store: BaseStore, memory: Memory) -> float | None:
    """Return the time to live of a memory's row, for stores that sweep rows themselves."""
    if memory.expires_at is None or not store.supports_ttl:
        return None
    left = memory.expires_at - datetime.now(UTC)
    return None if left > _LONGEST else left / timedelta(minutes=1)


def has_expired(memory: Memory, now: datetime) -> bool:
    """Return whether a memory has come to its end."""
    return memory.expires_at is not None and memory.expires_at <= now


class ExpiryQueue:
    """The memories of an index that will expire, the next one first; empty where none has an end, and then free."""

    def __init__(self, ends: Iterable[tuple[datetime, str]] = ()) -> None:
        self._ends = list(ends)

    def add(self, memory: Memory) -> None:
        """Note when a memory ends; an older note of it is passed over when its time comes."""
        if memory.expires_at is not None:
            heapq.heappush(self._ends, (memory.expires_at, memory.id))

    def discard_expired(self, index: Index) -> list[str]:
        """Take what has expired out of the index, and return the ids."""
        expired: list[str] = []
        if self._ends and self._ends[0][0] <= (now := datetime.now(UTC)):
            while self._ends and self._ends[0][0] <= now:
                memory_id = heapq.heappop(self._ends)[1]
                memory = index.get(memory_id)
                if memory is not None and has_expired(memory, now):
                    index.discard(memory_id)
                    expired.append(memory_id)
        return expired

    def copy(self) -> ExpiryQueue:
        """Return an independent copy."""
        return ExpiryQueue(self._ends)


def is_expiry(change: Change) -> bool:
    """Return whether a change says that a memory expired; nobody can have deleted it by then."""
    end = None if change.before is None else change.before.expires_at
    return change.event == "DELETE" and end is not None and change.at is not None and change.at >= end


def expiries(history: Sequence[Change]) -> Iterator[Change]:
    """Yield the changes with which the histories of expired memories end.

    Args:
        history: What was written, oldest first.
    """
    now = datetime.now(UTC)
    last = {change.memory_id: change for change in history if change.memory_id is not None}
    for memory_id, change in last.items():
        if change.after is not None and change.after.expires_at is not None and change.after.expires_at <= now:
            at = max(change.after.expires_at, change.at + _TICK) if change.at else change.after.expires_at
            rev = change.after.rev + 1
            yield Change(f"{memory_id}.{rev}", "DELETE", memory_id, change.after, reason=EXPIRED, at=at)
