"""A lock between the processes of one machine, freed by the system when its holder dies."""

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
    """Exclusive between threads and, where the place is a local folder, between processes; re-entrant."""

    def __init__(self, path: Path | None) -> None:
        self.works = path is not None and fcntl is not None
        """Whether it excludes other processes."""
        self._path = path
        self._file: int | None = None
        self._thread_lock = threading.RLock()
        self._depth = 0

    def acquire(self, blocking: bool = True) -> bool:
        """Take the lock; without blocking, False where somebody else holds it."""
        if not self._thread_lock.acquire(blocking):
            return False
        if self._depth == 0 and self.works and not self._lock_file(blocking):
            self._thread_lock.release()
            return False
        self._depth += 1
        return True

    def release(self) -> None:
        """Give the lock back."""
        self._depth -= 1
        if self._depth == 0 and self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        self._thread_lock.release()

    def close(self) -> None:
        """Let go of the file; the lock can be taken again."""
        with self._thread_lock:
            if self._file is not None and self._depth == 0:
                os.close(self._file)
                self._file = None

    def _lock_file(self, blocking: bool) -> bool:
        assert self._path is not None
        try:
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            fcntl.flock(self._file, fcntl.LOCK_EX | (0 if blocking else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        except OSError as error:
            self._thread_lock.release()
            place = self._path.parent
            raise StoreError(f"{place} cannot be written to: {error.strerror}. Give another folder.") from error
        return True

    def __enter__(self) -> FileLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
