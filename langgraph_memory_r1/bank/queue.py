"""Turns of one bank, one after the other: what is decided from a bank's memories is applied before the next looks.

Without that, conversations of one owner that go on at once would decide from the same memories, and all but one of
them would have to decide anew, with another call of a model: of 64 at once a memory would see 2,000 calls.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Hashable
from concurrent.futures import Future

Ticket = Future
"""Done when its holder is the first of the queue."""


class TurnQueue:
    """A queue of this process, for threads and event loops alike: a ticket can be waited for in either."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tickets: deque[Future[None]] = deque()

    def join(self) -> Future[None]:
        """Return a ticket, which is done once it is the first; it has to `leave` in any case."""
        ticket: Future[None] = Future()
        with self._lock:
            self._tickets.append(ticket)
            first = len(self._tickets) == 1
        if first:
            ticket.set_result(None)
        return ticket

    def leave(self, ticket: Future[None]) -> None:
        """Give the place up, be it the first or not."""
        with self._lock:
            was_first = self._tickets[0] is ticket
            self._tickets.remove(ticket)
            first = self._tickets[0] if was_first and self._tickets else None
        if first is not None:
            first.set_result(None)


_queues: weakref.WeakValueDictionary[Hashable, TurnQueue] = weakref.WeakValueDictionary()
_guard = threading.Lock()


def queue_of(bank: Hashable) -> TurnQueue:
    """Return the queue that all `MemoryBank` objects of one bank share."""
    with _guard:
        return _queues.setdefault(bank, TurnQueue())
