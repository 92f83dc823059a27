"""A folder of traces: files of lines that several processes append to, and that are read while they are written.

Every process has a file of its own and begins a new one when it is full; a line is written by one call of the system,
so that a process that is killed leaves at most its last line cut in half. Nothing is ever rewritten.
"""

from __future__ import annotations

import errno
import logging
import os
import secrets
import threading
from datetime import UTC, datetime
from pathlib import Path

from langgraph_memory_r1.errors import InputError, StoreError

log = logging.getLogger(__name__)

SUFFIXES = (".jsonl", ".json")
FULL = 64_000_000
"""Bytes after which a file is full."""


class LineAppender:
    """Writes lines to a file of this process.

    `jsonl.write_file` is not for this: it shows a file when it is whole, and here every line has to be on disk at once,
    for readers that look while an agent runs, and in case that the agent is killed.

    Args:
        folder: Made if it is not there.
        full: Bytes after which a new file is begun.

    Raises:
        StoreError: The folder cannot be made or written.
    """

    def __init__(self, folder: str | os.PathLike[str], full: int = FULL) -> None:
        self.folder = Path(folder)
        self.full = full
        self.lost = 0
        """Lines that could not be written: a full disk must not stop an agent."""
        self._lock = threading.Lock()
        self._file: int | None = None
        self._pid = 0
        self._size = 0
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(self.folder, error) from error
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise _unwritable(self.folder, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))

    def __del__(self) -> None:
        self._close()

    def append(self, lines: bytes) -> None:
        """Write whole lines; what cannot be written is counted, and logged the first time."""
        with self._lock:
            try:
                # A forked process has its parent's descriptor, and must not write into the parent's file.
                if self._file is None or self._pid != os.getpid() or self._size >= self.full:
                    self._close()
                    began = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
                    path = self.folder / f"{began}-{os.getpid()}-{secrets.token_hex(3)}.jsonl"
                    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
                    self._file, self._pid, self._size = os.open(path, flags, 0o600), os.getpid(), 0
                written = os.write(self._file, lines)
                self._size += written
                if written < len(lines):
                    self._close()  # the next line must not continue the half one
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError as error:
                self.lose(lines.count(b"\n"), _unwritable(self.folder, error))

    def lose(self, count: int, reason: object) -> None:
        """Count lines that cannot be written, and log the reason the first time."""
        if not self.lost:
            log.warning("Traces cannot be written: %s", reason)
        self.lost += count

    def close(self) -> None:
        """Close the file; the next line begins a new one."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._file is not None and self._pid == os.getpid():
            os.close(self._file)
        self._file = None


def append_shared(path: Path, line: bytes) -> None:
    """Write a line to a file that other processes write to as well; a half line that one of them left is ended first.

    Raises:
        StoreError: It cannot be written.
    """
    try:
        with open(path, "ab+", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            size = file.seek(0, os.SEEK_END)
            if size:
                file.seek(-1, os.SEEK_END)
            ending = file.read(1) if size else b"\n"
            os.write(file.fileno(), line if ending == b"\n" else b"\n" + line)
    except OSError as error:
        raise _unwritable(path, error) from error


def trace_files(path: str | os.PathLike[str]) -> list[Path]:
    """Return the files of a folder in the order in which they were begun, or the file itself.

    Raises:
        InputError: There is nothing.
    """
    folder = Path(path)
    if folder.is_dir():
        return sorted(file for file in folder.iterdir() if file.suffix in SUFFIXES and file.is_file())
    if not folder.exists():
        use = f"config={{'callbacks': [TraceRecorder({str(path)!r})]}}"
        raise InputError(
            f"There are no traces in {path}; record some by memory-r1 chat --traces {path}, or by giving a run {use}."
        )
    return [folder]


def _unwritable(path: Path, error: OSError) -> StoreError:
    return StoreError(f"{path} cannot be written ({error.strerror}); name a folder that can be, on a disk with space.")
