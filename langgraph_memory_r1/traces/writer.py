"""From finished calls to redacted lines on disk: at once in a thread of the app, in the background of an event loop."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from langgraph_memory_r1.traces.calls import FinishedCall, decisions_of_node
from langgraph_memory_r1.traces.decision import Applied, Decision, to_line
from langgraph_memory_r1.traces.folder import FULL, LineAppender

Redact: TypeAlias = Callable[[str], str]
"""Takes out of a text what must not be kept."""

_RECENT = 1_000
_NAMES = frozenset(
    {"role", "type", "id", "op_id", "memory_id", "undoes", "event", "at", "source", "model", "tool_call_id"}
)
"""Keys whose values are no words of people or models."""


class TraceWriter:
    """Writes decisions to a folder, redacted.

    Args:
        folder: Made if it is not there.
        redact: Applied to every text.
        full: Bytes after which a new file is begun.

    Raises:
        StoreError: The folder cannot be written.
    """

    def __init__(self, folder: Path, redact: Redact | None = None, full: int = FULL) -> None:
        self.appender = LineAppender(folder, full)
        self._redact = redact
        self._lock = threading.Lock()
        self._recent: dict[str, None] = {}
        self._executor: ThreadPoolExecutor | None = None
        self._pid = 0

    def write(self, calls: Sequence[FinishedCall], output: Any) -> None:
        """Write the decisions of one run of a node, which returned `output`."""
        self._run(lambda: self._append(len(calls), lambda: decisions_of_node(calls, output)))

    def write_applied(self, applied: Applied) -> None:
        """Write operations that were decided in an earlier run."""
        self._run(lambda: self._append(1, lambda: [applied]))

    def has(self, run_id: str) -> bool:
        """Return whether something of this run was written lately."""
        self.wait()
        with self._lock:
            return run_id in self._recent

    def wait(self) -> None:
        """Wait until everything that was handed over is written."""
        if self._executor is not None and self._pid == os.getpid():
            self._executor.submit(int).result()

    def close(self) -> None:
        """Wait, and close the file; writing again opens another one."""
        with self._lock:
            executor, self._executor = self._executor, None
        if executor is not None and self._pid == os.getpid():
            executor.shutdown()
        self.appender.close()

    def _run(self, work: Callable[[], None]) -> None:
        """Do the work here, or, where an event loop runs in this thread, in another: the loop waits for no disk."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            work()
            return
        with self._lock:
            # One thread, so that the lines keep their order; a forked process has none of its parent's threads.
            if self._executor is None or self._pid != os.getpid():
                self._executor = ThreadPoolExecutor(1, thread_name_prefix="memory-r1-traces")
                self._pid = os.getpid()
            executor = self._executor
        try:
            executor.submit(work)
        except RuntimeError:  # the process is ending, and threads take no more work
            work()

    def _append(self, count: int, make_records: Callable[[], Sequence[Decision | Applied]]) -> None:
        try:
            records = make_records()
            if self._redact is not None:
                records = [redacted(record, self._redact) for record in records]
            lines = b"".join(map(to_line, records))
        except Exception as error:  # of `redact`, or of an app's values; in the background nobody would see it
            self.appender.lose(count, f"{type(error).__name__}: {error}")
            return
        self.appender.append(lines)
        with self._lock:
            self._recent |= dict.fromkeys(record.run_id for record in records if isinstance(record, Decision))
            if len(self._recent) > 2 * _RECENT:
                self._recent = dict.fromkeys(list(self._recent)[-_RECENT:])


def redacted(record: Decision | Applied, redact: Redact) -> Decision | Applied:
    """Return the record with every text redacted."""
    if isinstance(record, Applied):
        return replace(record, operations=_redacted_value(record.operations, redact))
    messages, completion = _redacted_value(record.messages, redact), redact(record.completion)
    same_prompt, same_completion = messages == record.messages, completion == record.completion
    return replace(
        record,
        messages=messages,
        completion=completion,
        tool_calls=_redacted_value(record.tool_calls, redact),
        operations=_redacted_value(record.operations, redact),
        answer=None if record.answer is None else redact(record.answer),
        error=None if record.error is None else redact(record.error),
        # Token ids spell out the text, so they would tell what was taken out of it.
        prompt_token_ids=record.prompt_token_ids if same_prompt else (),
        token_ids=record.token_ids if same_completion else (),
        logprobs=record.logprobs if same_completion else (),
    )


def _redacted_value(value: Any, redact: Redact) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: part if key in _NAMES else _redacted_value(part, redact) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_redacted_value(part, redact) for part in value)
    return value
