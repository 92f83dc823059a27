"""Work that is done a little later, off the conversation: what comes in meanwhile is done together with it.

The threads are no daemons: a process that ends normally ends only after they are done. While they wait they watch the
main thread, so that nobody waits for a delay that has no purpose any more.
"""

from __future__ import annotations

import atexit
import threading
import time
import weakref
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

J = TypeVar("J")

_THREADS = 8
_GLANCE = 0.1
"""Seconds between two looks at whether the process is ending."""


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[J]):
    job: J
    due: float


class Background(Generic[J]):
    """Does jobs after a delay, one at a time for each key.

    Args:
        work: Does a job; returns what has to be done again later, or None. Must not raise.
        merge: Makes one job of two with the same key, the older first.
        delay: Seconds of silence before a job is done.
    """

    def __init__(self, work: Callable[[J], J | None], merge: Callable[[J, J], J], delay: float) -> None:
        self._work = work
        self._merge = merge
        self._delay = delay
        self._state = threading.Condition()
        self._waiting: dict[Hashable, _Waiting[J]] = {}
        self._failed: dict[Hashable, J] = {}
        self._running: set[Hashable] = set()
        self._threads = 0
        atexit.register(_drain, weakref.ref(self))

    def submit(self, key: Hashable, job: J) -> None:
        """Does the job after the delay, together with what waits under the same key or failed before."""
        with self._state:
            self._put(key, job, time.monotonic() + self._delay)
            self._start()

    def flush(self, timeout: float | None = None) -> bool:
        """Does now all that waits, and tries again what failed; False if that takes longer than the timeout."""
        with self._state:
            for key in [*self._waiting, *self._failed]:
                self._put(key, None, 0.0)
            self._start()
            self._state.notify_all()
            return self._state.wait_for(lambda: not self._waiting and not self._running, timeout)

    def drain(self) -> None:
        """Tries once more what failed, on this thread: at the end of a process no thread can be started."""
        with self._state:
            left = [*self._failed.values(), *(waiting.job for waiting in self._waiting.values())]
            self._failed.clear()
            self._waiting.clear()
        for job in left:
            self._work(job)

    def _put(self, key: Hashable, job: J | None, due: float) -> None:
        failed = self._failed.pop(key, None)
        waiting = self._waiting.get(key)
        parts = [part for part in (failed, waiting.job if waiting else None, job) if part is not None]
        merged = parts[0]
        for part in parts[1:]:
            merged = self._merge(merged, part)
        self._waiting[key] = _Waiting(merged, due)

    def _start(self) -> None:
        while self._threads < min(_THREADS, len(self._waiting) + len(self._running)):
            self._threads += 1
            threading.Thread(target=self._run, name="memory-r1", daemon=False).start()

    def _run(self) -> None:
        with self._state:
            while self._waiting:
                key = self._due()
                if key is None:
                    self._state.wait(_GLANCE)
                    continue
                job = self._waiting.pop(key).job
                self._running.add(key)
                self._state.release()
                try:
                    left = self._work(job)
                finally:
                    self._state.acquire()
                    self._running.discard(key)
                if left is not None:
                    self._keep(key, left)
                self._state.notify_all()
            self._threads -= 1
            self._state.notify_all()

    def _due(self) -> Hashable | None:
        """A key whose time has come and that no other thread works on."""
        now = time.monotonic() if threading.main_thread().is_alive() else float("inf")
        free = ((waiting.due, key) for key, waiting in self._waiting.items() if key not in self._running)
        due = min(free, key=lambda pair: pair[0], default=None)
        return due[1] if due is not None and due[0] <= now else None

    def _keep(self, key: Hashable, left: J) -> None:
        """What failed waits for the next job under its key, or for a flush."""
        if key in self._waiting:
            newer = self._waiting[key]
            self._waiting[key] = _Waiting(self._merge(left, newer.job), newer.due)
        else:
            self._failed[key] = left


def _drain(background: weakref.ref[Background[J]]) -> None:
    if (alive := background()) is not None:
        alive.drain()
