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
    """The lines of `stages.jsonl`.

    This file is appended to while a run lasts, so it is not written by `jsonl.write_file`: each line has to be there
    after a kill at any moment, without the thousands before it being written again. For the same reason it is read
    here: a last line without its line end is what a kill left, and is cut off before the next one is appended.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, dict[str, Any]] = {}
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        whole_bytes = 0
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.endswith(b"\n"):
                    break
                try:
                    entry = json.loads(line)
                    self._values[entry["key"]] = entry["value"]
                except (ValueError, KeyError, TypeError) as error:
                    raise InputError(f"{path}, line {number} is broken; remove it, or give another --out") from error
                whole_bytes += len(line)
        os.ftruncate(self._file, whole_bytes)

    def get(self, key: str) -> dict[str, Any] | None:
        """Return what a stage gave, None if it was not finished."""
        return self._values.get(key)

    def put(self, key: str, stage: Stage, value: dict[str, Any]) -> None:
        """Keep what a stage gave."""
        line = (json.dumps({"key": key, "stage": stage, "value": value}, ensure_ascii=True) + "\n").encode()
        with self._lock:  # os.write may take only a part of a line: no other thread's may come between
            while line:
                line = line[os.write(self._file, line) :]
            self._values[key] = value

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)
