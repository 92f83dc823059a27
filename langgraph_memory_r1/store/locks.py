"""A fair lock between the threads and processes of one machine, freed by the system when its holder dies.

Fair: who waits comes before who comes back. Without that a writer in a loop keeps compaction, and other processes, out
for as long as it writes.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import TracebackType

from langgraph_memory_r1.errors import StoreError

try:
    import fcntl
except ImportError:  # Windows: the revision check inside each commit still decides between writers.
    fcntl = None  # type: ignore[assignment]


class FileLock:
    """Exclusive between threads and, where there is a file for it, between processes; re-entrant."""

    def __init__(self, path: Path | None) -> None:
        self.works = path is not None and fcntl is not None
        """Whether it excludes other processes."""
        self._path = path
        self._files: tuple[int, int] | None = None
        """The queue, where at most one waits for the lock proper, and the lock proper."""
        self._queue = threading.Lock()
        self._lock = threading.Lock()
        self._owner: int | None = None
        self._depth = 0

    def acquire(self, blocking: bool = True) -> bool:
        """Take the lock; without blocking, False where somebody else holds it or waits for it."""
        if self._owner != threading.get_ident():
            if not self._lock_thread(blocking):
                return False
            try:
                taken = not self.works or self._lock_files(blocking)
            except BaseException:
                self._lock.release()
                raise
            if not taken:
                self._lock.release()
                return False
            self._owner = threading.get_ident()
        self._depth += 1
        return True

    def release(self) -> None:
        """Give the lock back."""
        self._depth -= 1
        if self._depth == 0:
            self._owner = None
            if self._files is not None:
                fcntl.flock(self._files[1], fcntl.LOCK_UN)
            self._lock.release()

    def close(self) -> None:
        """Let go of the files; the lock can be taken again."""
        with self._queue, self._lock:
            for file in self._files or ():
                os.close(file)
            self._files = None

    def _lock_thread(self, blocking: bool) -> bool:
        if not self._queue.acquire(blocking):
            return False
        try:
            return self._lock.acquire(blocking)
        finally:
            self._queue.release()

    def _lock_files(self, blocking: bool) -> bool:
        assert self._path is not None
        try:
            if self._files is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
                self._files = os.open(f"{self._path}.queue", flags, 0o644), os.open(self._path, flags, 0o644)
            queue, lock = self._files
            if not blocking:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            fcntl.flock(queue, fcntl.LOCK_EX)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
            finally:
                fcntl.flock(queue, fcntl.LOCK_UN)
        except BlockingIOError:
            return False
        except OSError as error:
            folder = self._path.parent
            raise StoreError(f"{folder} cannot be written to: {error.strerror}. Give another folder.") from error
        return True

    def __enter__(self) -> FileLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
