"""How many rows a table holds below each prefix, at most: spares a new owner the queries that would find nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping


class Census:
    """Upper bounds by encoded prefix; it knows nothing where there are more prefixes than it may hold."""

    def __init__(self, rows: Mapping[str, int] | None, room: int) -> None:
        """Starts from the rows of each namespace; None where that is not known."""
        self._most: dict[str, float] | None = None if rows is None else {}
        self._room = room
        for namespace, count in (rows or {}).items():
            self.add(namespace, count)

    def add(self, namespace: str, rows: float = math.inf) -> None:
        """So many rows have come to a namespace; by default nobody knows how many."""
        if self._most is None:
            return
        for prefix in ancestors(namespace):
            self._most[prefix] = self._most.get(prefix, 0) + rows
        if len(self._most) > self._room:
            self._most = None

    def counted(self, prefix: str, rows: int) -> None:
        """There are exactly so many rows below a prefix."""
        if self._most is not None:
            self._most[prefix] = rows

    def most(self, prefix: str) -> float:
        """There are no more rows than this below a prefix."""
        return math.inf if self._most is None else self._most.get(prefix, 0)


def ancestors(namespace: str) -> list[str]:
    """The namespace itself and every prefix of it, the longest first: `a/b/`, `a/`, ``."""
    return [namespace[: i + 1] for i in range(len(namespace) - 1, -1, -1) if namespace[i] == "/"] + [""]
