"""From finished calls to lines on disk: at once in a thread of the app, behind its back where an event loop runs."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from langgraph_memory_r1.traces.calls import Finished, settle
from langgraph_memory_r1.traces.decision import Applied, to_line
from langgraph_memory_r1.traces.folder import FULL, Appender
from langgraph_memory_r1.traces.redaction import Redact, redacted, redacted_applied

_RECENT = 1_000


class Writer:
    """Writes decisions to a folder, redacted.

    Args:
        folder: Made if it is not there.
        redact: Applied to every text.
        full: Bytes after which a new file is begun.

    Raises:
        StoreError: The folder cannot be written.
    """

    def __init__(self, folder: Path, redact: Redact | None = None, full: int = FULL) -> None:
        self.appender = Appender(folder, full)
        self._redact = redact
        self._lock = threading.Lock()
        self._recent: dict[str, None] = {}
        self._thread: ThreadPoolExecutor | None = None
        self._pid = 0

    def write(self, calls: Sequence[Finished], outputs: Any) -> None:
        """Write the decisions of one run of a node."""
        self._do(partial(self._write, calls, outputs))

    def write_applied(self, thread: str | None, operations: Sequence[Any]) -> None:
        """Write operations that were decided in an earlier run."""
        self._do(partial(self._write_applied, Applied(thread, tuple(operations))))

    def has(self, run_id: str) -> bool:
        """Whether something of this run was written lately."""
        self.wait()
        with self._lock:
            return run_id in self._recent

    def wait(self) -> None:
        """Until all is written that was handed over."""
        if self._thread is not None and self._pid == os.getpid():
            self._thread.submit(int).result()

    def close(self) -> None:
        """Wait, and close the file; writing again opens another one."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None and self._pid == os.getpid():
            thread.shutdown()
        self.appender.close()

    def _do(self, work: Callable[[], None]) -> None:
        """Here, or where an event loop runs in the thread, which then does not wait for it."""
        if not _in_event_loop():
            work()
            return
        try:
            self._behind().submit(work)
        except RuntimeError:  # the process is ending, and threads take no more work
            work()

    def _behind(self) -> ThreadPoolExecutor:
        """One thread, so that the order stays; a forked process has none of its parent's."""
        with self._lock:
            if self._thread is None or self._pid != os.getpid():
                self._thread, self._pid = ThreadPoolExecutor(1, thread_name_prefix="memory-r1-traces"), os.getpid()
            return self._thread

    def _write(self, calls: Sequence[Finished], outputs: Any) -> None:
        decisions = settle(calls, outputs)
        if self._redact is not None:
            decisions = [redacted(decision, self._redact) for decision in decisions]
        self.appender.append(b"".join(to_line(decision) for decision in decisions))
        with self._lock:
            self._recent |= dict.fromkeys(decision.run_id for decision in decisions)
            if len(self._recent) > 2 * _RECENT:
                self._recent = dict.fromkeys(list(self._recent)[-_RECENT:])

    def _write_applied(self, applied: Applied) -> None:
        self.appender.append(to_line(applied if self._redact is None else redacted_applied(applied, self._redact)))


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
