"""Decisions with their feedback as one file, which `read_traces` reads again."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.traces.decision import Decision, to_line


def write_decisions(path: str | os.PathLike[str], decisions: Iterable[Decision]) -> int:
    """Write decisions to a JSONL file and return how many; the file appears whole or not at all.

    Raises:
        InputError: The place cannot be written.
    """
    target = Path(path)
    unfinished = target.with_name(f"{target.name}.{os.getpid()}.part")
    count = 0
    try:
        with unfinished.open("wb") as file:
            for decision in decisions:
                file.write(to_line(decision))
                count += 1
        unfinished.replace(target)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}); name a file in a writable folder.") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return count
