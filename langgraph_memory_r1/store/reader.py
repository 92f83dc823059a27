"""Reads of a store: from mirrors in memory that follow the table, or from LanceDB where one would be too large."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from langgraph_memory_r1.store.census import Census, ancestors
from langgraph_memory_r1.store.filters import Predicate
from langgraph_memory_r1.store.mirror import Mirror, rank
from langgraph_memory_r1.store.rows import Row, Vectors, encode_namespace, item_id
from langgraph_memory_r1.store.table import BARRIER, LanceTable, literal, under, within

Accept = Callable[[Row], bool]
Found = list[tuple[Row, float | None]]

_SLACK = 64
"""Commits that a new mirror looks back over, in case one was stamped before and committed after it was read."""
_CHUNK = 1000
_ROUNDING = 1e-5


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
        self._leading = False

    @contextmanager
    def leading(self) -> Iterator[None]:
        """While this process holds the write lock and is up to date: nothing but its own commits can be news."""
        with self.lock:
            self._leading = self.sync() and self._table.lock.works
        try:
            yield
        finally:
            self._leading = False

    def sync(self) -> bool:
        """Bring the mirrors up to date; False where the table does not exist yet."""
        with self.lock:
            if self._leading:
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
            if version == self.version + 1:
                self.version = version
                self._watermark = max(self._watermark, *(row.seq for row in rows))

    def rearranged(self) -> None:
        """Files were merged and old versions dropped while leading: there is a newer version with the same rows."""
        with self.lock:
            if self._leading:
                self._table.changed()
                self.version = self._table.newest(self.version)

    def clear(self) -> None:
        """Forget everything that is held in memory."""
        with self.lock:
            self._mirrors.clear()
            self._census, self._leading = None, False

    def current(self, ids: Iterable[tuple[str, str]]) -> dict[str, Row]:
        """The stored rows, tombstones too, of (row id, encoded namespace) pairs; call after `sync`."""
        found: dict[str, Row] = {}
        unknown: dict[str, set[str]] = {}
        with self.lock:
            for row_id, namespace in ids:
                if (mirror := self._covering(namespace)) is not None:
                    row = mirror.rows.get(row_id) or mirror.deleted.get(row_id)
                    found |= {row_id: row} if row else {}
                elif self._census is None or self._census.most(namespace):
                    unknown.setdefault(row_id, set()).add(namespace)
        names = sorted(unknown)
        for start in range(0, len(names), _CHUNK):
            chunk = names[start : start + _CHUNK]
            spaces = sorted(set().union(*(unknown[name] for name in chunk)))
            found |= {
                row.id: row for row in self._table.rows(f"{within('namespace', spaces)} AND {within('id', chunk)}")
            }
        return found

    def get(self, namespace: tuple[str, ...], key: str) -> Row | None:
        """The live row of a key."""
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
    ) -> Found:
        """One page of the rows under a prefix, and their scores where there is a query vector."""
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
        """Encoded namespaces that hold a live row."""
        if not self.sync():
            return []
        return list(dict.fromkeys(self._table.column("namespace", _live(""))))

    def mirror(self, prefix: str) -> Mirror | None:
        """The mirror of an encoded prefix; None where it has too many rows. Call under `lock`, after `sync`."""
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
        """Whether there is, or can be, a mirror of an encoded prefix."""
        with self.lock:
            return prefix in self._mirrors or not self.sync() or self.mirror(prefix) is not None

    def _covering(self, namespace: str) -> Mirror | None:
        return next((self._mirrors[prefix] for prefix in ancestors(namespace) if prefix in self._mirrors), None)

    def _apply(self, row: Row) -> None:
        for prefix in ancestors(encode_namespace(row.namespace)):
            if (mirror := self._mirrors.get(prefix)) is not None:
                mirror.apply(row)
                if len(mirror) > self._mirror_rows:
                    del self._mirrors[prefix]

    def _follow(self, newest: int, census: Census) -> None:
        """Apply what others have committed: one owner's write costs the other owners' mirrors next to nothing."""
        notes = self._table.log.since(self.version, newest)
        since = self._watermark if self._table.lock.works else self._watermark - _SLACK
        changed = self._table.columns(["seq", "namespace"], f"seq > {since}") if notes is None else _flat(notes)
        if not changed:
            return
        names = {namespace for _, namespace in changed}
        for name in names:
            census.add(name)
        if BARRIER in names or len(changed) > self._mirror_rows:
            self.clear()
        elif held := sorted(name for name in names if self._covering(name) is not None):
            for row in self._table.rows(f"seq > {since} AND {within('namespace', held)}"):
                self._apply(row)
        self._watermark = max(self._watermark, *(seq for seq, _ in changed))

    def _page_of_recent(self, where: str, accept: Accept, limit: int, offset: int) -> Found:
        found = [
            (-row.updated_at.timestamp(), row.namespace, row.key, row.id)
            for rows in self._table.scan(where)
            for row in rows
            if accept(row)
        ]
        page = [row_id for *_, row_id in sorted(found)[offset : offset + limit]]
        rows = self._by_id(page)
        return [(rows[row_id], None) for row_id in page if row_id in rows]

    def _page_of_nearest(self, where: str, query: Vectors, accept: Accept, limit: int, offset: int) -> Found:
        wanted = offset + limit
        asked = max(2 * wanted, 64)
        while True:
            nearest = self._table.nearest(query, where, asked)
            rows = self._by_id([row_id for row_id, _ in nearest])
            found = rank([row for row in rows.values() if accept(row)], query)
            whole = len(nearest) < asked
            # What ties with the last one on the page may lie beyond what was asked for.
            if whole or (len(found) >= wanted and found[wanted - 1][1] > nearest[-1][1] + _ROUNDING):
                break
            asked *= 4
        page: Found = list(found)
        if len(page) < wanted:
            page += self._page_of_recent(f"{where} AND vectors IS NULL", accept, wanted - len(page), 0)
        return page[offset:wanted]

    def _by_id(self, ids: Sequence[str]) -> dict[str, Row]:
        chunks = (ids[start : start + _CHUNK] for start in range(0, len(ids), _CHUNK))
        return {row.id: row for chunk in chunks for row in self._table.rows(within("id", chunk))}


def _flat(notes: list[tuple[int, list[str]]]) -> list[tuple[int, str]]:
    return [(seq, namespace) for seq, namespaces in notes for namespace in namespaces]


def _live(prefix: str) -> str:
    return f"{under(prefix)} AND live AND (expires_at IS NULL OR expires_at > {literal(_now())})"


def _accept(test: Predicate | None, now: datetime) -> Accept:
    return lambda row: row.alive(now) and (test is None or test(row.value))


def _now() -> datetime:
    return datetime.now(UTC)
