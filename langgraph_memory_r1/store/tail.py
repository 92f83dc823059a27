"""An append-only file of JSON lines that processes share, and that may start anew."""

from __future__ import annotations

import errno
import json
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from langgraph_memory_r1.store.rows import dump_value


def append_lines(path: Path, records: Sequence[dict[str, Any]], head: dict[str, Any]) -> None:
    """Add records with one write, so that processes do not mix theirs; a new file begins with `head` and a mark."""
    flags, first = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, ""
    lines = "".join(dump_value(record) + "\n" for record in records)
    try:
        handle = os.open(path, flags)
    except FileNotFoundError:
        first = json.dumps(head | {"mark": secrets.token_hex(8)}) + "\n"
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, flags | os.O_CREAT, 0o644)
    try:
        # A line feed before them: a line that a crash cut short does not swallow the next one.
        text = f"{first}\n{lines}".encode()
        if os.write(handle, text) < len(text):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(handle)


class Tail:
    """Follows such a file: each call returns what is new."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._mark = b""
        self._offset = 0
        self._stamp: tuple[int, int, int] | None = None
        """The file as it was last time: nothing is read while it is still like that."""

    def read(self) -> tuple[bool, list[dict[str, Any]]]:
        """Whether the file is another one than last time (nothing read before counts), and its new records."""
        try:
            stamp = self._stamp_now()
            if stamp == self._stamp:
                return False, []
            with self.path.open("rb") as file:
                mark = file.readline()
                anew = mark != self._mark
                # Not the inode: the system gives a removed file's number to the next one.
                self._mark, self._offset = mark, len(mark) if anew else self._offset
                file.seek(self._offset)
                text = file.read()
        except (FileNotFoundError, NotADirectoryError):
            anew, self._mark, self._offset, self._stamp = bool(self._mark), b"", 0, None
            return anew, []
        self._stamp = stamp  # Of before it was read: what is written meanwhile makes the next look find another one.
        whole = text.rfind(b"\n") + 1  # A line that is being written is read next time.
        self._offset += whole
        return anew, [record for line in text[:whole].splitlines() if (record := _record(line)) is not None]

    def _stamp_now(self) -> tuple[int, int, int]:
        state = os.stat(self.path)
        return state.st_ino, state.st_size, state.st_mtime_ns


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line) if line.strip() else None
    except ValueError:
        return None
    return found if isinstance(found, dict) and "mark" not in found else None
