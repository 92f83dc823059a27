"""The rows of one namespace prefix in memory: what the hot path of a store answers from.

A mirror is pure data structure: it never reads a disk. `Reader` fills it, brings it up to date by the rows that changed
and drops it when it grows too large. Vectors are unit vectors, so a score is the cosine similarity.

The matrix is the one place that holds the vectors: `Row.vectors` are views into it. A place of it is never written
twice, so that whoever still holds an older row reads that row's own vectors.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import chain, islice, takewhile

import numpy as np

from langgraph_memory_r1.store.rows import Row, Vectors


class Mirror:
    """All live rows under one prefix, with their vectors in one matrix."""

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self.rows: dict[str, Row] = {}
        self.deleted: dict[str, Row] = {}
        """Tombstones, whose revisions a later put of the same key goes on from."""
        self.tick = 0
        """Grows with every change."""
        self._changed_at: dict[str, int] = {}
        """Row id → the tick of its last change, in the order of the changes."""
        self._ends: list[datetime] = []
        """When rows expire, or would have, in order."""
        self._recent: list[Row] | None = None
        self._matrix: Vectors = np.empty((0, 0), np.float32)
        self._owners: list[Row | None] = []
        """Position in the matrix → the row that the vector is of; None where that row is gone."""
        self._positions: dict[str, range] = {}
        """Row id → the positions of its vectors."""
        self._pooled = False
        """Some row has several vectors; its best one counts."""
        rows = list(rows)
        self._reserve([row.vectors for row in rows if row.vectors is not None])
        for row in rows:
            self.apply(row)

    def __len__(self) -> int:
        return len(self.rows)

    def apply(self, row: Row) -> None:
        """Take over a row as it now is in the table: new, changed or deleted."""
        self.tick += 1
        self._changed_at.pop(row.id, None)
        self._changed_at[row.id] = self.tick
        self._recent = None
        if self.rows.pop(row.id, None) is not None:
            for position in self._positions.pop(row.id, ()):
                self._owners[position] = None
            if len(self._owners) > 64 and len(self._positions) * 2 < len(self._owners):
                self._pack()
        if not row.live:
            self.deleted[row.id] = row
            return
        self.deleted.pop(row.id, None)
        self.rows[row.id] = row
        if row.expires_at is not None:
            insort(self._ends, row.expires_at)
        if row.vectors is not None:
            self._reserve([row.vectors])
            self._place(row, row.vectors)

    @property
    def expiring(self) -> bool:
        """Some row has, or had, a time to live."""
        return bool(self._ends)

    def expired_between(self, then: datetime, now: datetime) -> bool:
        """Return whether a row may have expired after one time and up to another: that leaves no other mark here."""
        return bisect_right(self._ends, then) < bisect_right(self._ends, now)

    def changes(self, since: int) -> list[Row]:
        """Return rows, tombstones too, that changed after a tick."""
        ids = takewhile(lambda row_id: self._changed_at[row_id] > since, reversed(self._changed_at))
        return [self.rows.get(row_id) or self.deleted[row_id] for row_id in ids]

    def recent(self) -> list[Row]:
        """Return all rows, most recently updated first."""
        if self._recent is None:
            self._recent = sorted(
                self.rows.values(), key=lambda row: (-row.updated_at.timestamp(), row.namespace, row.key)
            )
        return self._recent

    def search(
        self, query: Vectors | None, accept: Callable[[Row], bool] | None, limit: int, offset: int
    ) -> list[tuple[Row, float | None]]:
        """Return rows by falling similarity, then those without a vector; without a query the most recent first."""
        end = offset + limit
        if query is not None and accept is None and end and self._positions and not self._pooled:
            # The hot path: each row has one vector, and all of them are accepted. Rows that are gone may be among the
            # best, so many more are asked for.
            scores = _rounded(self._matrix[: len(self._owners)] @ query)
            positions, values = _top(scores, end + len(self._owners) - len(self._positions), self._owners)
            owners = [self._owners[position] for position in positions]
            best: list[tuple[Row, float | None]] = [
                (row, value) for row, value in zip(owners, values, strict=True) if row is not None
            ]
            if len(best) >= end:
                return best[offset:end]
        if query is None:
            scored: Iterator[tuple[Row, float | None]] = ((row, None) for row in self.recent())
        else:
            unscored = ((row, None) for row in self.recent() if row.vectors is None)
            scored = chain(self._by_score(query, end), unscored)
        if accept is not None:
            scored = ((row, score) for row, score in scored if accept(row))
        return list(islice(scored, offset, end))

    def _by_score(self, query: Vectors, asked: int) -> Iterator[tuple[Row, float]]:
        """Yield each row once, by its best vector."""
        used, done = len(self._owners), 0
        if not used:
            return
        scores = _rounded(self._matrix[:used] @ query)
        seen: set[str] = set()
        # The best few first, since more are seldom asked for; all of them only where a filter refuses many.
        for count in sorted({min(used, max(2 * asked, 128)), used}):
            positions, values = _top(scores, count, self._owners)
            for position, score in zip(positions[done:], values[done:], strict=True):
                row = self._owners[position]
                if row is not None and row.id not in seen:
                    seen.add(row.id)
                    yield row, score
            done = count

    def _place(self, row: Row, vectors: Vectors) -> None:
        """Copy a row's vectors to the end of the matrix, where there is room, and let the row hold a view of them."""
        start, end = len(self._owners), len(self._owners) + len(vectors)
        self._pooled |= len(vectors) > 1
        self._matrix[start:end] = vectors
        self._owners.extend([row] * len(vectors))
        self._positions[row.id] = range(start, end)
        row.vectors = self._matrix[start:end]

    def _reserve(self, vectors: list[Vectors]) -> None:
        """Make room in the matrix; a first filling takes no more than it needs, later ones a quarter more."""
        needed = len(self._owners) + sum(map(len, vectors))
        if needed <= len(self._matrix):
            return
        used = len(self._owners)
        room = max(needed, len(self._matrix) * 5 // 4 + 16) if used else needed
        grown = np.empty((room, vectors[0].shape[1]), np.float32)
        if used:
            grown[:used] = self._matrix[:used]
        self._matrix = grown
        for row_id, positions in self._positions.items():  # Or the old matrix would live on in their views.
            self.rows[row_id].vectors = grown[positions.start : positions.stop]

    def _pack(self) -> None:
        """Drop the vectors of rows that are gone; into a new matrix, since views of the old one may be held."""
        rows = [(row, row.vectors) for row in self.rows.values() if row.vectors is not None]
        self._matrix = np.empty_like(self._matrix)
        self._owners, self._positions = [], {}
        for row, vectors in rows:
            self._place(row, vectors)


def rank(rows: Iterable[Row], query: Vectors) -> list[tuple[Row, float]]:
    """Return the rows that have vectors, by falling similarity, ties by name."""
    scored = [(row, float(_rounded(row.vectors @ query).max())) for row in rows if row.vectors is not None]
    return sorted(scored, key=lambda pair: (-pair[1], _name(pair[0])))


def _rounded(scores: Vectors) -> Vectors:
    """Round scores so that equal vectors tie, whichever way their product was computed."""
    return np.round(scores, 6)


def _top(scores: Vectors, count: int, owners: list[Row | None]) -> tuple[list[int], list[float]]:
    """Return the best positions and their scores, by falling score, ties by name, however many are asked for."""
    if len(scores) > 4 * count:
        edge = np.partition(scores, len(scores) - count)[len(scores) - count]
        positions = np.flatnonzero(scores >= edge)
        positions = positions[np.argsort(-scores[positions], kind="stable")]
    else:
        positions = np.argsort(-scores, kind="stable")
    ranked = scores[positions]
    if len(ranked) > 1 and bool((ranked[1:] == ranked[:-1]).any()):
        order = sorted(zip((-ranked).tolist(), (_name(owners[p]) for p in positions), positions.tolist(), strict=True))
        return [position for *_, position in order[:count]], [-value for value, *_ in order[:count]]
    return positions[:count].tolist(), ranked[:count].tolist()


def _name(row: Row | None) -> tuple[tuple[str, ...], str]:
    return ((), "") if row is None else (row.namespace, row.key)
