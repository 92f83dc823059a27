"""Append-only lines beside a table, for what must be kept but must not cost a commit: a bank's NOOPs.

One JSONL file per namespace, with the namespace in its first line.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from langgraph_memory_r1.errors import StoreError
from langgraph_memory_r1.store.rows import encode_namespace
from langgraph_memory_r1.store.tail import Tail, append_lines


class Journal:
    """Lines of JSON per namespace, in a local folder."""

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
        """A follower of a namespace's records."""
        return Tail(self._path(namespace))

    def erase(self, namespace: tuple[str, ...], *, below: bool) -> None:
        """Remove the lines of a namespace, and of all below it."""
        if not below:
            self._path(namespace).unlink(missing_ok=True)
            return
        start = encode_namespace(namespace)
        for path in self._folder.glob("*.jsonl"):
            with path.open(encoding="utf-8") as file:
                head = json.loads(file.readline())
            if head["namespace"].startswith(start):
                path.unlink()

    def _path(self, namespace: tuple[str, ...]) -> Path:
        name = hashlib.blake2b(encode_namespace(namespace).encode(), digest_size=16).hexdigest()
        return self._folder / f"{name}.jsonl"
