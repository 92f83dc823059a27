"""The rows of one namespace prefix in memory: what the hot path of a store answers from.

A mirror is pure data structure: it never reads a disk. `LanceDBStore` fills it, brings it up to date by the rows that
changed and drops it when it grows too large. Vectors are unit vectors, so a score is the cosine similarity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
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
        self.expiring = False
        """Some row has, or had, a time to live."""
        self._recent: list[Row] | None = None
        self._matrix: Vectors = np.empty((0, 0), np.float32)
        self._owners: list[Row | None] = []
        self._places: dict[str, range] = {}
        self._pooled = False
        """Some row has several vectors; its best one counts."""
        for row in rows:
            self.apply(row)

    def __len__(self) -> int:
        return len(self.rows)

    def apply(self, row: Row) -> None:
        """Take over a row as it now is in the table: new, changed or deleted."""
        self.tick += 1
        self._changed_at.pop(row.id, None)
        self._changed_at[row.id] = self.tick
        if self.rows.pop(row.id, None) is not None:
            self._release(row.id)
        self._recent = None
        if not row.live:
            self.deleted[row.id] = row
            return
        self.deleted.pop(row.id, None)
        self.rows[row.id] = row
        self.expiring |= row.expires_at is not None
        self._store_vectors(row)

    def changes(self, since: int) -> list[Row]:
        """Rows, tombstones too, that changed after a tick."""
        ids = takewhile(lambda row_id: self._changed_at[row_id] > since, reversed(self._changed_at))
        return [self.rows.get(row_id) or self.deleted[row_id] for row_id in ids]

    def recent(self) -> list[Row]:
        """All rows, most recently updated first."""
        if self._recent is None:
            self._recent = sorted(
                self.rows.values(), key=lambda row: (-row.updated_at.timestamp(), row.namespace, row.key)
            )
        return self._recent

    def search(
        self, query: Vectors | None, accept: Callable[[Row], bool] | None, limit: int, offset: int
    ) -> list[tuple[Row, float | None]]:
        """Rows by falling similarity, then those without a vector; without a query the most recent first."""
        if query is not None and accept is None and self._places and not self._pooled:
            best = self._best(query, offset + limit)
            if len(best) == offset + limit:
                return best[offset:]
        if query is None:
            found: Iterator[tuple[Row, float | None]] = ((row, None) for row in self.recent())
        else:
            unscored = ((row, None) for row in self.recent() if row.vectors is None)
            found = chain(self._by_score(query, offset + limit), unscored)
        if accept is not None:
            found = ((row, score) for row, score in found if accept(row))
        return list(islice(found, offset, offset + limit))

    def _best(self, query: Vectors, wanted: int) -> list[tuple[Row, float | None]]:
        """The hot path: the best rows where each has one vector, all of them accepted."""
        scores = _rounded(self._matrix[: len(self._owners)] @ query)
        places, values = _top(scores, wanted + len(self._owners) - len(self._places), self._owners)
        rows = [self._owners[place] for place in places]
        found: list[tuple[Row, float | None]] = [(r, v) for r, v in zip(rows, values, strict=True) if r is not None]
        return found[:wanted]

    def _by_score(self, query: Vectors, wanted: int) -> Iterator[tuple[Row, float]]:
        used = len(self._owners)
        if not used:
            return
        scores = _rounded(self._matrix[:used] @ query)
        seen: set[str] = set()
        for place, score in _descending(scores, wanted, self._owners):
            row = self._owners[place]
            if row is not None and row.id not in seen:
                seen.add(row.id)
                yield row, score

    def _store_vectors(self, row: Row) -> None:
        if row.vectors is None:
            return
        start, count = len(self._owners), len(row.vectors)
        self._pooled |= count > 1
        self._reserve(start + count, row.vectors.shape[1])
        self._matrix[start : start + count] = row.vectors
        self._owners.extend([row] * count)
        self._places[row.id] = range(start, start + count)

    def _reserve(self, rows: int, dims: int) -> None:
        if rows <= len(self._matrix):
            return
        grown = np.zeros((max(rows, 2 * len(self._matrix), 16), dims), np.float32)
        if len(self._owners):
            grown[: len(self._owners)] = self._matrix[: len(self._owners)]
        self._matrix = grown

    def _release(self, row_id: str) -> None:
        for place in self._places.pop(row_id, ()):
            self._owners[place] = None
            self._matrix[place] = -1.0
        if len(self._owners) > 64 and len(self._places) * 2 < len(self._owners):
            self._pack()

    def _pack(self) -> None:
        """Drop the vectors of rows that are gone."""
        self._owners, self._places = [], {}
        for row in self.rows.values():
            self._store_vectors(row)


def rank(rows: Iterable[Row], query: Vectors) -> list[tuple[Row, float]]:
    """Rows that have vectors, by falling similarity, ties by name."""
    scored = [(row, float(_rounded(row.vectors @ query).max())) for row in rows if row.vectors is not None]
    return sorted(scored, key=lambda pair: (-pair[1], _name(pair[0])))


def _rounded(scores: Vectors) -> Vectors:
    """Equal vectors tie, whichever way their product was computed."""
    return np.round(scores, 6)


def _descending(scores: Vectors, wanted: int, owners: list[Row | None]) -> Iterator[tuple[int, float]]:
    """(place, score) by falling score; the best few first, since more are seldom asked for."""
    head = min(len(scores), max(2 * wanted, 128))
    places, values = _top(scores, head, owners)
    yield from zip(places, values, strict=True)
    if head < len(scores):
        rest, values = _top(scores, len(scores), owners)
        yield from zip(rest[len(places) :], values[len(places) :], strict=True)


def _top(scores: Vectors, wanted: int, owners: list[Row | None]) -> tuple[list[int], list[float]]:
    """The best places and their scores, by falling score, ties by name, whatever is asked for."""
    if len(scores) > 4 * wanted:
        edge = np.partition(scores, len(scores) - wanted)[len(scores) - wanted]
        places = np.flatnonzero(scores >= edge)
        places = places[np.argsort(-scores[places], kind="stable")]
    else:
        places = np.argsort(-scores, kind="stable")
    ranked = scores[places]
    if len(ranked) > 1 and bool((ranked[1:] == ranked[:-1]).any()):
        order = sorted(
            zip((-ranked).tolist(), (_name(owners[place]) for place in places), places.tolist(), strict=True)
        )
        return [place for *_, place in order[:wanted]], [-value for value, *_ in order[:wanted]]
    return places[:wanted].tolist(), ranked[:wanted].tolist()


def _name(row: Row | None) -> tuple[tuple[str, ...], str]:
    return ((), "") if row is None else (row.namespace, row.key)
