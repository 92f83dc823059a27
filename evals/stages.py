"""What is done of a run, one line for each finished stage of a question: a run that was stopped goes on from there.

A line is known by its key, a hash of all that determines it (data, question, configuration, memories, stage); of two
lines with the same key the later one holds. A line that a kill cut short is dropped.
"""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any, Literal, TypeAlias

from langgraph_memory_r1.errors import InputError

Stage: TypeAlias = Literal["ingest", "retrieve", "answer", "judge"]


class StageLog:
    """The lines of `stages.jsonl`."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, dict[str, Any]] = {}
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        os.ftruncate(self._file, self._read(path))

    def _read(self, path: Path) -> int:
        """Take in all whole lines; returns how many bytes they have."""
        whole = 0
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.endswith(b"\n"):
                    break
                try:
                    record = json.loads(line)
                    self._values[record["key"]] = record["value"]
                except (ValueError, KeyError, TypeError) as error:
                    raise InputError(f"{path}, line {number} is broken; remove it, or give another --out") from error
                whole += len(line)
        return whole

    def get(self, key: str) -> dict[str, Any] | None:
        """What a stage gave, if it was finished."""
        return self._values.get(key)

    def put(self, key: str, stage: Stage, value: dict[str, Any]) -> None:
        """Keep what a stage gave."""
        line = json.dumps({"key": key, "stage": stage, "value": value}, ensure_ascii=True) + "\n"
        with self._lock:
            _write(self._file, line.encode())
            self._values[key] = value

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)


def _write(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]
