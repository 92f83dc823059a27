"""Reads of a store: from mirrors in memory that follow the table, or from LanceDB where one would be too large."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeAlias

from langgraph_memory_r1.store.filters import Predicate
from langgraph_memory_r1.store.mirror import Mirror, rank
from langgraph_memory_r1.store.rows import Row, Vectors, encode_namespace, item_id
from langgraph_memory_r1.store.table import BARRIER, LanceTable, literal, under, within

Accept: TypeAlias = Callable[[Row], bool]
ScoredRows: TypeAlias = list[tuple[Row, float | None]]

_SLACK = 64
"""Commits that a new mirror looks back over, in case one was stamped before and committed after it was read."""
_CHUNK = 1000
"""Ids that one query names at most."""
_ROUNDING = 1e-5
"""Scores that are nearer to each other than this may tie: ours are rounded, LanceDB's are not."""


class Census:
    """How many rows a table holds below each prefix, at most: spares a new owner the queries that would find nothing.

    Upper bounds by encoded prefix; it knows nothing where there are more prefixes than it may hold.
    """

    def __init__(self, rows: Mapping[str, int] | None, room: int) -> None:
        """Start from the rows of each namespace; None where that is not known."""
        self._most: dict[str, float] | None = None if rows is None else {}
        self._room = room
        for namespace, count in (rows or {}).items():
            self.add(namespace, count)

    def add(self, namespace: str, rows: float = math.inf) -> None:
        """Note that so many rows have come to a namespace; by default nobody knows how many."""
        if self._most is None:
            return
        for prefix in ancestors(namespace):
            self._most[prefix] = self._most.get(prefix, 0) + rows
        if len(self._most) > self._room:
            self._most = None

    def counted(self, prefix: str, rows: int) -> None:
        """Note that there are exactly so many rows below a prefix."""
        if self._most is not None:
            self._most[prefix] = rows

    def most(self, prefix: str) -> float:
        """Return how many rows there are at most below a prefix."""
        return math.inf if self._most is None else self._most.get(prefix, 0)


def ancestors(namespace: str) -> list[str]:
    """Return the namespace itself and every prefix of it, the longest first: `a/b/`, `a/`, ``."""
    return [namespace[: i + 1] for i in range(len(namespace) - 1, -1, -1) if namespace[i] == "/"] + [""]


class Reader:
    """Answers gets, searches and listings, and follows what other processes commit."""

    def __init__(self, table: LanceTable, mirror_rows: int, total_rows: int) -> None:
        self.lock = threading.RLock()
        self.version = -1
        """The table version that the mirrors show."""
        self._table = table
        self._mirror_rows = mirror_rows
        self._total_rows = total_rows
        self._mirrors: OrderedDict[str, Mirror] = OrderedDict()
        self._census: Census | None = None
        """Kept as soon as there is a mirror."""
        self._watermark = -1
        """The highest `seq` that the mirrors show: newer rows are asked for by it."""
        self._sole_writer = False

    @contextmanager
    def sole_writer(self) -> Iterator[None]:
        """While this process holds the write lock and is up to date: nothing but its own commits can be new.

        It saves a commit the look at the disk that every other read needs.
        """
        with self.lock:
            self._sole_writer = self.sync() and self._table.lock.works
        try:
            yield
        finally:
            self._sole_writer = False

    def sync(self) -> bool:
        """Bring the mirrors up to date; False where the table does not exist yet."""
        with self.lock:
            if self._sole_writer:
                return True
            if not self._table.open():
                return False
            newest = self._table.newest(self.version)
            if newest != self.version:
                self._table.changed()
                if self._census is not None:
                    self._follow(newest, self._census)
            self.version = newest
            return True

    def applied(self, rows: Sequence[Row], version: int) -> None:
        """Take over what this process has just committed."""
        with self.lock:
            for row in rows:
                self._apply(row)
                if self._census is not None:
                    self._census.add(encode_namespace(row.namespace), 1)
            # Otherwise there was another commit between, of a compaction or of a machine that no lock reaches, which
            # `sync` has to look at.
            if version == self.version + 1:
                self.version = version
                self._watermark = max(self._watermark, *(row.seq for row in rows))

    def vacuumed(self) -> None:
        """Take over, as the sole writer, that there is a newer version with the same rows: files were merged."""
        with self.lock:
            if self._sole_writer:
                self._table.changed()
                self.version = self._table.newest(self.version)

    def clear(self) -> None:
        """Forget everything that is held in memory."""
        with self.lock:
            self._mirrors.clear()
            self._census, self._sole_writer = None, False

    def current(self, ids: Iterable[tuple[str, str]]) -> dict[str, Row]:
        """Return the stored rows, tombstones too, of (row id, encoded namespace) pairs; call after `sync`."""
        rows: dict[str, Row] = {}
        unmirrored: dict[str, set[str]] = {}
        with self.lock:
            for row_id, namespace in ids:
                if (mirror := self._covering(namespace)) is not None:
                    row = mirror.rows.get(row_id) or mirror.deleted.get(row_id)
                    rows |= {row_id: row} if row else {}
                elif self._census is None or self._census.most(namespace):
                    unmirrored.setdefault(row_id, set()).add(namespace)
        row_ids = sorted(unmirrored)
        for start in range(0, len(row_ids), _CHUNK):
            chunk = row_ids[start : start + _CHUNK]
            # The ids alone would do; the namespaces let LanceDB use its index, for there is none on `id`.
            namespaces = sorted(set().union(*(unmirrored[row_id] for row_id in chunk)))
            where = f"{within('namespace', namespaces)} AND {within('id', chunk)}"
            rows |= {row.id: row for row in self._table.rows(where)}
        return rows

    def get(self, namespace: tuple[str, ...], key: str) -> Row | None:
        """Return the live row of a key."""
        row_id, encoded = item_id(namespace, key), encode_namespace(namespace)
        with self.lock:
            if not self.sync():
                return None
            mirror = self._covering(encoded)
            mirror = self.mirror(encoded) if mirror is None else mirror
            if mirror is not None:
                row = mirror.rows.get(row_id)
            else:
                row = next(iter(self._table.rows(f"namespace = {literal(encoded)} AND id = {literal(row_id)}")), None)
        return row if row is not None and row.alive(_now()) else None

    def search(
        self, prefix: tuple[str, ...], query: Vectors | None, test: Predicate | None, limit: int, offset: int
    ) -> ScoredRows:
        """Return one page of the rows under a prefix, and their scores where there is a query vector."""
        encoded = encode_namespace(prefix)
        with self.lock:
            if not self.sync():
                return []
            mirror = self.mirror(encoded)
            if mirror is not None:
                accept = _accept(test, _now()) if test or mirror.expiring else None
                return mirror.search(query, accept, limit, offset)
        accept = _accept(test, _now())
        if query is None:
            return self._page_of_recent(_live(encoded), accept, limit, offset)
        return self._page_of_nearest(_live(encoded), query, accept, limit, offset)

    def namespaces(self) -> list[str]:
        """Return the encoded namespaces that hold a live row."""
        if not self.sync():
            return []
        return list(dict.fromkeys(self._table.column("namespace", _live(""))))

    def mirror(self, prefix: str) -> Mirror | None:
        """Return the mirror of an encoded prefix; None where it has too many rows. Call under `lock`, after `sync`."""
        if prefix in self._mirrors:
            self._mirrors.move_to_end(prefix)
            return self._mirrors[prefix]
        if self._census is None:
            self._watermark = self.version - _SLACK
            self._census = Census(self._table.namespaces(self._total_rows), self._total_rows)
        most = self._census.most(prefix)
        if most > self._mirror_rows:
            most = self._table.count(under(prefix))
            self._census.counted(prefix, most)
            if most > self._mirror_rows:
                return None
        mirror = self._mirrors[prefix] = Mirror(self._table.rows(under(prefix)) if most else ())
        while len(self._mirrors) > 1 and sum(map(len, self._mirrors.values())) > self._total_rows:
            self._mirrors.popitem(last=False)
        return mirror

    def mirrored(self, prefix: str) -> bool:
        """Return whether an encoded prefix fits a mirror, which is built to find out, unless there is one already."""
        with self.lock:
            return prefix in self._mirrors or not self.sync() or self.mirror(prefix) is not None

    def _covering(self, namespace: str) -> Mirror | None:
        return next((self._mirrors[prefix] for prefix in ancestors(namespace) if prefix in self._mirrors), None)

    def _apply(self, row: Row) -> None:
        for prefix in ancestors(encode_namespace(row.namespace)):
            if (mirror := self._mirrors.get(prefix)) is not None:
                # A row of its own for each mirror: its vectors are a view, which must not keep another's matrix alive.
                mirror.apply(replace(row))
                if len(mirror) > self._mirror_rows:
                    del self._mirrors[prefix]

    def _follow(self, newest: int, census: Census) -> None:
        """Apply what others have committed: one owner's write costs the other owners' mirrors next to nothing."""
        notes = self._table.log.since(self.version, newest)
        # Without a file lock commits may come in another order than their `seq` says: look back a little further.
        since = self._watermark if self._table.lock.works else self._watermark - _SLACK
        if notes is None:
            changed = self._table.columns(["seq", "namespace"], f"seq > {since}")
        else:
            changed = [(seq, namespace) for seq, namespaces in notes for namespace in namespaces]
        if not changed:
            return
        names = {namespace for _, namespace in changed}
        for name in names:
            census.add(name)
        if BARRIER in names or len(changed) > self._mirror_rows:
            self.clear()
        elif mirrored := sorted(name for name in names if self._covering(name) is not None):
            for row in self._table.rows(f"seq > {since} AND {within('namespace', mirrored)}"):
                self._apply(row)
        self._watermark = max(self._watermark, *(seq for seq, _ in changed))

    def _page_of_recent(self, where: str, accept: Accept, limit: int, offset: int) -> ScoredRows:
        # Only what sorts them is kept of all the rows; those of the page are read once more.
        order = sorted(
            (-row.updated_at.timestamp(), row.namespace, row.key, row.id)
            for rows in self._table.scan(where)
            for row in rows
            if accept(row)
        )
        page = [row_id for *_, row_id in order[offset : offset + limit]]
        rows = self._by_id(page)
        return [(rows[row_id], None) for row_id in page if row_id in rows]

    def _page_of_nearest(self, where: str, query: Vectors, accept: Accept, limit: int, offset: int) -> ScoredRows:
        end = offset + limit
        asked = max(2 * end, 64)
        while True:
            nearest = self._table.nearest(query, where, asked)
            rows = self._by_id([row_id for row_id, _ in nearest])
            ranked = rank([row for row in rows.values() if accept(row)], query)
            whole = len(nearest) < asked
            # What ties with the last one on the page may lie beyond what was asked for.
            if whole or (len(ranked) >= end and ranked[end - 1][1] > nearest[-1][1] + _ROUNDING):
                break
            asked *= 4
        page: ScoredRows = list(ranked)
        if len(page) < end:
            page += self._page_of_recent(f"{where} AND vectors IS NULL", accept, end - len(page), 0)
        return page[offset:end]

    def _by_id(self, ids: Sequence[str]) -> dict[str, Row]:
        chunks = (ids[start : start + _CHUNK] for start in range(0, len(ids), _CHUNK))
        return {row.id: row for chunk in chunks for row in self._table.rows(within("id", chunk))}


def _live(prefix: str) -> str:
    return f"{under(prefix)} AND live AND (expires_at IS NULL OR expires_at > {literal(_now())})"


def _accept(test: Predicate | None, now: datetime) -> Accept:
    return lambda row: row.alive(now) and (test is None or test(row.value))


def _now() -> datetime:
    return datetime.now(UTC)
