"""Decisions with their feedback as one file, which `read_traces` reads again."""

from __future__ import annotations

import os
from collections.abc import Iterable

from langgraph_memory_r1.jsonl import write_file
from langgraph_memory_r1.traces.decision import Decision, to_line


def write_decisions(path: str | os.PathLike[str], decisions: Iterable[Decision]) -> int:
    """Write decisions to a JSONL file and return how many; the file appears whole or not at all.

    Raises:
        InputError: The place cannot be written.
    """
    return write_file(path, map(to_line, decisions))
