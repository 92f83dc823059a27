"""What is done so far in a run's folder, for one process at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.evals.calls import CallCache
from langgraph_memory_r1.evals.records import Records
from langgraph_memory_r1.evals.runs import RunFolder
from langgraph_memory_r1.store.locks import FileLock

__all__ = ["workplace"]


@contextmanager
def workplace(folder: RunFolder) -> Iterator[tuple[Records, CallCache]]:
    """The stages and the model calls that are done, for as long as nobody else works in the folder.

    Raises:
        InputError: somebody else does.
    """
    lock = FileLock(folder.path / "lock")
    if not lock.acquire(blocking=False):
        raise InputError(f"Another run works in {folder.path}; wait for it, or give another folder with --out.")
    try:
        records, calls = Records(folder.path / "stages.jsonl"), CallCache(folder.path / "calls.sqlite")
        try:
            yield records, calls
        finally:
            records.close()
            calls.close()
    finally:
        lock.release()
        lock.close()
