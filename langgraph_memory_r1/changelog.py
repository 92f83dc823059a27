"""Which namespaces the newest commits touched, noted beside the table: it spares a reader a query per foreign commit.

Only a hint: a commit that is not in it (killed before it was noted, made by compaction) is found by a query instead.
Writers append under the write lock, once a commit stands; compaction starts the file anew.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path


class ChangeLog:
    """Notes of commits in a local folder; without one it knows nothing."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file = -1
        self._offset = 0
        self._notes: dict[int, tuple[int, list[str]]] = {}

    def append(self, version: int, seq: int, namespaces: Iterable[str]) -> None:
        """Note a commit: its version, the `seq` of its rows, their encoded namespaces."""
        if self._path is None:
            return
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.write(handle, f"{json.dumps([version, seq, sorted(set(namespaces))])}\n".encode())
        finally:
            os.close(handle)

    def since(self, version: int, newest: int) -> list[tuple[int, list[str]]] | None:
        """(seq, encoded namespaces) of every commit after `version` up to `newest`; None where one was not noted."""
        if self._path is None or newest - version > 10_000:
            return None
        self._read()
        notes = [self._notes.get(number) for number in range(version + 1, newest + 1)]
        self._notes = {number: note for number, note in self._notes.items() if number > newest}
        found = [note for note in notes if note is not None]
        return found if len(found) == len(notes) else None

    def clear(self) -> None:
        """Start anew; the caller holds the write lock."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _read(self) -> None:
        assert self._path is not None
        try:
            with self._path.open("rb") as file:
                status = os.fstat(file.fileno())
                if status.st_ino != self._file or status.st_size < self._offset:
                    self._file, self._offset = status.st_ino, 0
                file.seek(self._offset)
                lines = file.read()
        except FileNotFoundError:
            return
        whole = lines.rfind(b"\n") + 1  # A line that is being written is read next time.
        self._offset += whole
        for line in lines[:whole].splitlines():
            version, seq, namespaces = json.loads(line)
            self._notes[version] = (seq, namespaces)
