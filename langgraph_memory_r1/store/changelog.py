"""Which namespaces the newest commits touched, noted beside the table: it spares a reader a query per foreign commit.

Only a hint: a commit that is not in it (killed before it was noted, made by compaction) is found by a query instead.
Writers append under the write lock, once a commit stands; compaction starts the file anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from langgraph_memory_r1.store.tail import Tail, append_lines


class ChangeLog:
    """Notes of commits in a local folder; without one it knows nothing."""

    def __init__(self, path: Path | None) -> None:
        self._tail = Tail(path) if path is not None else None
        self._notes: dict[int, tuple[int, list[str]]] = {}

    def append(self, version: int, seq: int, namespaces: Iterable[str]) -> None:
        """Note a commit: its version, the `seq` of its rows, their encoded namespaces."""
        if self._tail is not None:
            note = {"version": version, "seq": seq, "namespaces": sorted(set(namespaces))}
            append_lines(self._tail.path, [note], {})

    def since(self, version: int, newest: int) -> list[tuple[int, list[str]]] | None:
        """(seq, encoded namespaces) of every commit after `version` up to `newest`; None where one was not noted."""
        if self._tail is None or newest - version > 10_000:
            return None
        anew, records = self._tail.read()
        held = {} if anew else self._notes
        held |= {record["version"]: (record["seq"], record["namespaces"]) for record in records}
        notes = [held.get(number) for number in range(version + 1, newest + 1)]
        self._notes = {number: note for number, note in held.items() if number > newest}
        found = [note for note in notes if note is not None]
        return found if len(found) == len(notes) else None

    def clear(self) -> None:
        """Start anew; the caller holds the write lock."""
        if self._tail is not None:
            self._tail.path.unlink(missing_ok=True)
