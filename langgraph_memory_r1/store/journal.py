"""Append-only files of JSON lines beside a table, for what must be kept, or told, but must not cost a commit.

`Journal` keeps a bank's NOOPs; `ChangeLog` notes which namespaces the newest commits touched. Both write with
`append_lines` and follow what other processes write with a `Tail`.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from langgraph_memory_r1.errors import StoreError
from langgraph_memory_r1.store.rows import decode_namespace, dump_value, encode_namespace


class Journal:
    """Lines of JSON in a local folder: one file per namespace, with the namespace in its first line."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def append(self, namespace: tuple[str, ...], records: list[dict[str, Any]]) -> None:
        """Add records; they outlive this process from here on."""
        path = self._path(namespace)
        try:
            append_lines(path, records, {"namespace": encode_namespace(namespace)})
        except OSError as error:
            raise StoreError(
                f"{path} could not be written: {error.strerror}. Make room or give another folder."
            ) from error

    def tail(self, namespace: tuple[str, ...]) -> Tail:
        """Return a follower of a namespace's records."""
        return Tail(self._path(namespace))

    def replace(self, namespace: tuple[str, ...], new: Callable[[dict[str, Any]], dict[str, Any] | None]) -> None:
        """Overwrite records where they stand; `new` returns one, which must not be longer, or None to leave it.

        In place, since other processes append meanwhile: a file that took the place of this one would lose their lines.
        """
        try:
            with self._path(namespace).open("r+b") as file:
                start = 0
                for line in file.read().splitlines(keepends=True):
                    record = _record_of(line)
                    changed = None if record is None or "mark" in record else new(record)
                    if changed is not None:
                        text = dump_value(changed).encode().ljust(len(line) - 1)
                        if len(text) >= len(line):
                            raise ValueError(f"the record {changed!r:.80} has grown")
                        file.seek(start)
                        file.write(text + b"\n")
                    start += len(line)
                file.flush()
                os.fsync(file.fileno())
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreError(
                f"{error.filename} could not be written: {error.strerror}. Check its permissions."
            ) from error

    def erase(self, namespace: tuple[str, ...], *, below: bool) -> None:
        """Remove the lines of a namespace, and with `below` those of all namespaces below it."""
        if not below:
            self._path(namespace).unlink(missing_ok=True)
            return
        prefix = encode_namespace(namespace)
        for path, encoded in self._heads():
            if encoded.startswith(prefix):
                path.unlink()

    def namespaces(self) -> list[tuple[str, ...]]:
        """Return the namespaces that have records: of some nothing else is in the store."""
        return [decode_namespace(encoded) for _, encoded in self._heads()]

    def _heads(self) -> list[tuple[Path, str]]:
        """Return every file with the encoded namespace in its first line."""
        heads = []
        for path in self._folder.glob("*.jsonl"):
            with path.open(encoding="utf-8") as file:
                heads.append((path, str(json.loads(file.readline())["namespace"])))
        return heads

    def _path(self, namespace: tuple[str, ...]) -> Path:
        # A hash, since labels may hold any characters and be longer than a file's name.
        name = hashlib.blake2b(encode_namespace(namespace).encode(), digest_size=16).hexdigest()
        return self._folder / f"{name}.jsonl"


class ChangeLog:
    """Which namespaces the newest commits touched: it spares a reader a query per commit of another process.

    Only a hint: a commit that is not in it (killed before it was noted, made by compaction) is found by a query.
    Writers append under the write lock, once a commit stands; a vacuum starts the file anew. Without a local folder it
    knows nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._tail = Tail(path) if path is not None else None
        self._pending: dict[int, tuple[int, list[str]]] = {}
        """Notes of commits that are newer than any that was asked about."""

    def append(self, version: int, seq: int, namespaces: Iterable[str]) -> None:
        """Note a commit: its version, the `seq` of its rows, their encoded namespaces."""
        if self._tail is not None:
            note = {"version": version, "seq": seq, "namespaces": sorted(set(namespaces))}
            append_lines(self._tail.path, [note], {})

    def since(self, version: int, newest: int) -> list[tuple[int, list[str]]] | None:
        """Return (seq, encoded namespaces) of each commit after `version` up to `newest`; None where one is missing."""
        if self._tail is None or newest - version > 10_000:
            return None
        restarted, records = self._tail.read()
        notes = {} if restarted else self._pending
        notes |= {record["version"]: (record["seq"], record["namespaces"]) for record in records}
        self._pending = {number: note for number, note in notes.items() if number > newest}
        numbers = range(version + 1, newest + 1)
        return [notes[number] for number in numbers] if all(number in notes for number in numbers) else None

    def clear(self) -> None:
        """Start anew; the caller holds the write lock."""
        if self._tail is not None:
            self._tail.path.unlink(missing_ok=True)


def append_lines(path: Path, records: Sequence[dict[str, Any]], head: dict[str, Any]) -> None:
    """Add records with one write, so that processes do not mix theirs; a new file begins with `head` and a mark.

    Raises:
        OSError: The file cannot be written, or the disk is full.
    """
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
    """Follows an append-only file: each call returns what is new."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._mark = b""
        self._offset = 0
        self._stamp: tuple[int, int, int] | None = None
        """The file as it was last time: nothing is read while it is still like that."""

    def read(self) -> tuple[bool, list[dict[str, Any]]]:
        """Return whether the file started anew (nothing read before counts), and its new records."""
        try:
            status = os.stat(self.path)
            stamp = status.st_ino, status.st_size, status.st_mtime_ns
            if stamp == self._stamp:
                return False, []
            with self.path.open("rb") as file:
                mark = file.readline()
                restarted = mark != self._mark
                # Not the inode: the system gives a removed file's number to the next one.
                self._mark, self._offset = mark, len(mark) if restarted else self._offset
                file.seek(self._offset)
                text = file.read()
        except (FileNotFoundError, NotADirectoryError):
            restarted, self._mark, self._offset, self._stamp = bool(self._mark), b"", 0, None
            return restarted, []
        self._stamp = stamp  # Of before it was read: what is written meanwhile makes the next look see another one.
        end = text.rfind(b"\n") + 1  # A line that is being written is read next time.
        self._offset += end
        records = []
        for line in text[:end].splitlines():
            record = _record_of(line)
            # Two processes that made the file at once have both begun it: the second head is no record.
            if record is not None and "mark" not in record:
                records.append(record)
        return restarted, records


def _record_of(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line) if line.strip() else None
    except ValueError:  # A crash cut it short.
        return None
    return record if isinstance(record, dict) else None
