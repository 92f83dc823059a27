"""Append-only lines beside a table, for what must be kept but must not cost a commit: a bank's NOOPs.

One JSONL file per namespace. A line is appended with one write, so that processes do not mix theirs; one that a crash
cut short is passed over by readers.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from langgraph_memory_r1.rows import dump_value, encode_namespace


class Journal:
    """Lines of JSON per namespace, in a local folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def append(self, namespace: tuple[str, ...], records: list[dict[str, Any]]) -> None:
        """Add records; they are on disk when this returns."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(namespace)
        lines = "".join(dump_value(record) + "\n" for record in records)
        head = "" if path.exists() else json.dumps({"namespace": encode_namespace(namespace)}) + "\n"
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.write(handle, f"\n{head}{lines}".encode())
        finally:
            os.close(handle)

    def read(self, namespace: tuple[str, ...]) -> list[dict[str, Any]]:
        """All records of a namespace, in the order of their writing."""
        path = self._path(namespace)
        if not path.exists():
            return []
        records = (_record(line) for line in path.read_bytes().split(b"\n"))
        return [record for record in records if record is not None and "namespace" not in record]

    def erase(self, namespace: tuple[str, ...], *, below: bool) -> None:
        """Remove the lines of a namespace, and of all below it."""
        if not below:
            self._path(namespace).unlink(missing_ok=True)
            return
        start = encode_namespace(namespace)
        for path in self._folder.glob("*.jsonl"):
            heads = (_record(line) for line in path.read_bytes().split(b"\n"))
            if any(str(head.get("namespace", "")).startswith(start) for head in heads if head and "namespace" in head):
                path.unlink()

    def _path(self, namespace: tuple[str, ...]) -> Path:
        name = hashlib.blake2b(encode_namespace(namespace).encode(), digest_size=16).hexdigest()
        return self._folder / f"{name}.jsonl"


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line) if line.strip() else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
