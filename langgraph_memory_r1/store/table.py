"""One LanceDB table of items: the only file that knows LanceDB.

What it guarantees to the rest of the store, and why it is done this way (all measured on LanceDB 0.40):

- One call of `write` is one commit. `id` is an unenforced primary key without an index of its own, so that a
  concurrent insert of the same key collides; an update is applied only to the revision that it was based on.
- On a local disk a file lock lets one writer at a time read, check and commit; rows that are known to be new are then
  appended, which costs a third of a merge. Elsewhere (object stores) the revision check inside the merge decides.
- Whether another process has committed is seen by the name of the next manifest file: two `stat` calls, no open.
- Filters are SQL strings built here from quoted literals only; nothing that a user wrote is ever parsed as SQL.
"""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from langgraph_memory_r1.errors import StoreError, StoreFormatError
from langgraph_memory_r1.store.journal import ChangeLog
from langgraph_memory_r1.store.locks import FileLock
from langgraph_memory_r1.store.rows import Row, Vectors, encode_namespace, schema_of, to_arrow, to_rows

if TYPE_CHECKING:
    import pyarrow as pa
    from lancedb.table import Table

T = TypeVar("T")

TABLE = "items"
FORMAT = "1"
BARRIER = ""
"""Namespace of the row that tells other processes to drop what they hold in memory."""
_LANCE_ERRORS = (OSError, RuntimeError, ValueError)
"""What LanceDB raises, whatever went wrong; which it was, only the text says."""
_TRANSIENT = ("commit conflict", "preempted", "concurrent writers", "not found:")
_RETRIES = 8
"""Attempts, the first included; the waits between them begin at 10 ms, double, and come to 1.3 s."""
_GRACE = timedelta(seconds=1)
"""How long a version is kept after the next one, for whoever is reading it."""
_FAR_GRACE = timedelta(hours=1)
"""The same where no lock reaches the other machines."""
_CACHE_BYTES = 16 * 2**20
"""Of LanceDB's own caches: their defaults are gigabytes, and the hot path has its mirrors."""


def literal(value: str | int | datetime) -> str:
    """Return a SQL literal."""
    # Doubling quotes is all that DataFusion needs: a backslash is an ordinary character. LanceDB's own expressions are
    # not used: rendered to SQL they leave a quote after a backslash alone, which lets a name inject a condition.
    if isinstance(value, datetime):
        return f"timestamp '{value.astimezone(UTC).strftime('%Y-%m-%d %H:%M:%S.%f')}'"
    return str(int(value)) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"


def under(prefix: str) -> str:
    """Return the condition that a row's namespace lies at or below an encoded prefix."""
    return f"starts_with(namespace, {literal(prefix)})" if prefix else f"namespace <> {literal(BARRIER)}"


def within(column: str, values: Iterable[str]) -> str:
    """Return the condition that a column has one of the values."""
    return f"{column} IN ({', '.join(literal(value) for value in values)})"


class LanceTable:
    """The table of items in one LanceDB folder or URI; opened on first use."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.local = "://" not in uri
        folder = Path(uri) if self.local else None
        self.lock = FileLock(folder / ".write.lock" if folder else None)
        self.log = ChangeLog(folder / ".changes" if folder else None)
        self.maintenance_lock = FileLock(folder / ".upkeep.lock" if folder else None)
        self._manifests = f"{self.uri}/{TABLE}.lance/_versions" if self.local else None
        self._manifests_named = False
        """The manifests' files are named as this code expects, so that their names tell the version."""
        self._seen_stamp = -1
        self._session: Any = None
        self._db: Any = None
        self._table: Table | None = None
        self._schema: pa.Schema | None = None
        self._appender: Table | None = None
        """The table without a look at its newest version before each use: a quarter of the cost of an append."""
        self._current = False
        """The appender stands at the newest version."""
        self._opening = threading.Lock()

    # Opening

    @property
    def is_open(self) -> bool:
        """Whether the table has been opened."""
        return self._table is not None

    def open(self) -> bool:
        """Open the table if it exists; False where nothing has been written yet."""
        if self._table is not None:
            return True
        with self._opening, self._errors("opened"):
            if self._table is None and self._exists():
                self._take(self._connect().open_table(TABLE))
        return self._table is not None

    def create(self, metadata: Mapping[str, str], dims: int) -> None:
        """Create the empty table; another process may have been quicker, which is fine."""
        if self.open():
            return
        with self._opening, self._errors("created"):
            if self.local:
                Path(self.uri).mkdir(parents=True, exist_ok=True)
            schema = schema_of(dims).with_metadata({"format": FORMAT, **metadata})
            table = self._connect().create_table(TABLE, schema=schema, exist_ok=True)
            table.set_unenforced_primary_key("id")
            _index(table)
            self._take(table)

    def metadata(self) -> dict[str, str]:
        """Return what was given to `create`."""
        return {key.decode(): value.decode() for key, value in (self._open().schema.metadata or {}).items()}

    def close(self) -> None:
        """Let go of the table and of the lock files."""
        self._table, self._appender, self._db = None, None, None
        self.lock.close()
        self.maintenance_lock.close()

    def _exists(self) -> bool:
        if not self.local:
            return TABLE in self._connect().table_names(limit=1000)
        folder = Path(self.uri)
        if folder.exists() and not folder.is_dir():
            raise StoreError(f"{self.uri} is a file; give the folder that holds (or shall hold) the memory bank.")
        return (folder / f"{TABLE}.lance").is_dir()

    def _connect(self) -> Any:
        if self._db is None:
            self._db = self._connected(timedelta(0))
        return self._db

    def _connected(self, consistency: timedelta | None) -> Any:
        import lancedb

        if self._session is None:
            self._session = lancedb.Session(_CACHE_BYTES, _CACHE_BYTES)
        return lancedb.connect(self.uri, read_consistency_interval=consistency, session=self._session)

    def _take(self, table: Table) -> None:
        version = (table.schema.metadata or {}).get(b"format", b"").decode()
        if version != FORMAT:
            what = f"has format {version!r}" if version else "was not written by this library"
            raise StoreFormatError(
                f"The table {TABLE!r} in {self.uri} {what}; this version reads format {FORMAT!r}. Use another folder."
            )
        self._table, self._appender = table, None
        self.changed()
        self._manifests_named = self._manifests is not None and os.path.exists(self._manifest(int(table.version)))

    def _open(self) -> Table:
        if not self.open() or self._table is None:
            raise StoreError(f"Nothing has been stored in {self.uri} yet.")
        return self._table

    # Freshness

    @property
    def version(self) -> int:
        """The newest committed version."""
        with self._errors("read"):
            return int(self._open().version)

    def changed(self) -> None:
        """Take note of a version that `write` did not make; it may have another schema."""
        self._schema, self._current = None, False

    def newest(self, version: int) -> int:
        """Return the newest committed version; where that is `version` still, two `stat` calls tell on a local disk."""
        if not self._manifests_named or self._manifests is None:
            return self.version
        stamp = os.stat(self._manifests).st_mtime_ns
        # While nothing was cleaned up, the next commit's manifest is there if there is one.
        if stamp == self._seen_stamp and not os.access(self._manifest(version + 1), os.F_OK):
            return version
        # Lance numbers the manifests downwards, so that the newest one is the first by name.
        newest = min(name for name in os.listdir(self._manifests) if name.endswith(".manifest"))
        self._seen_stamp = stamp
        return 2**64 - 1 - int(newest.removesuffix(".manifest"))

    def _manifest(self, version: int) -> str:
        return f"{self._manifests}/{2**64 - 1 - version:020d}.manifest"

    # Reading

    def rows(self, where: str, limit: int | None = None) -> list[Row]:
        """Return all rows for a condition, with values and vectors."""
        return [row for batch in self.scan(where, limit) for row in batch]

    def scan(self, where: str, limit: int | None = None) -> Iterator[list[Row]]:
        """Yield the same in batches."""
        query = self._open().search().where(where)
        table = self._read(lambda: (query.limit(limit) if limit is not None else query).to_arrow())
        for batch in table.to_batches(max_chunksize=4096):
            yield to_rows(batch)

    def column(self, name: str, where: str) -> list[Any]:
        """Return one column of the rows for a condition."""
        return [values[0] for values in self.columns([name], where)]

    def columns(self, names: list[str], where: str) -> list[tuple[Any, ...]]:
        """Return some columns of the rows for a condition."""
        table = self._read(self._open().search().where(where).select(names).to_arrow)
        return list(zip(*(table[name].to_pylist() for name in names), strict=True))

    def namespaces(self, limit: int) -> dict[str, int] | None:
        """Count the rows of each encoded namespace, tombstones too; None where the table has more than `limit`."""
        if self._read(lambda: self._open().count_rows()) > limit:
            return None
        query = self._open().search().where(under("")).select(["namespace"])
        counts = self._read(query.to_arrow)["namespace"].value_counts()
        return {pair["values"]: pair["counts"] for pair in counts.to_pylist()}

    def count(self, where: str) -> int:
        """Return how many rows meet a condition."""
        return int(self._read(lambda: self._open().count_rows(where)))

    def nearest(self, vector: Vectors, where: str, limit: int) -> list[tuple[str, float]]:
        """Return (row id, cosine similarity) of the rows nearest to a unit vector, by LanceDB's vector search."""
        query: Any = self._open().search(vector, vector_column_name="vectors").where(where)
        query = query.distance_type("cosine").limit(limit).select(["id", "_distance"])
        nearest = self._read(query.to_arrow)
        distances = zip(nearest["id"].to_pylist(), nearest["_distance"].to_pylist(), strict=True)
        return [(row_id, 1.0 - distance) for row_id, distance in distances]

    def full_text(self, text: str, where: str, limit: int) -> list[str]:
        """Return row ids by BM25, from LanceDB's full-text index, which is built when first needed."""
        from lancedb.index import FTS

        if not any("text" in index.columns for index in self._open().list_indices()):
            with self._errors("written"), self.lock:
                self._open().create_index("text", config=FTS())
        query = self._open().search(text, query_type="fts", fts_columns="text").where(where)
        return [str(key) for key in self._read(query.limit(limit).select(["id", "_score"]).to_arrow)["id"].to_pylist()]

    def _read(self, read: Callable[[], T]) -> T:
        """Read, again where a vacuum removes a file under a running read: the next attempt sees the newest version."""
        with self._errors("read"):
            return _retried(read)

    # Writing (all of it under `lock`)

    def write(self, rows: Sequence[Row]) -> tuple[int, int]:
        """Commit rows at once; return how many took effect (the others were stale) and the new version."""
        table = self._open()
        with self._errors("written"):
            self._schema = schema = self._schema or table.schema
            data = to_arrow(rows, schema)
            # Under a file lock nobody can have written these keys since they were looked up: appended, they make no
            # duplicates, at a third of the cost of a merge.
            append = self.lock.works and all(row.rev == 1 for row in rows)
            # Until it is done: a failure may leave the appender behind.
            appender_is_current, self._current = self._current, False
            for attempt in range(_RETRIES):
                try:
                    if not append:
                        merge = table.merge_insert("id").when_matched_update_all(where="target.rev = source.rev - 1")
                        # By the primary key and without an index: only so do concurrent inserts of a key collide.
                        result: Any = merge.when_not_matched_insert_all().use_index(False).execute(data)
                        return int(result.num_updated_rows + result.num_inserted_rows), int(result.version)
                    if self._appender is None:
                        self._appender = self._connected(None).open_table(TABLE)
                    elif not appender_is_current:
                        self._appender.checkout_latest()  # type: ignore[no-untyped-call]
                    version = int(self._appender.add(data).version)
                    self._current = True
                    return len(rows), version
                except _LANCE_ERRORS as error:
                    if not _worth_another_attempt(error, attempt):
                        raise
                    appender_is_current = False
        raise AssertionError("unreachable")

    def note(self, rows: Sequence[Row], version: int) -> None:
        """Let other processes know what a commit of this one touched."""
        with suppress(OSError):  # A hint only: readers find the commit without it.
            self.log.append(version, max(row.seq for row in rows), (encode_namespace(row.namespace) for row in rows))

    def delete(self, where: str) -> None:
        """Remove rows that no mirror shows any more: expired ones."""
        with self._errors("written"):
            _retried(lambda: self._open().delete(where))

    def replace(self, where: str, barrier: Row) -> None:
        """Remove rows and make every other process drop what it holds in memory, in one commit."""
        table = self._open()
        data = to_arrow([barrier], table.schema)
        with self._errors("written"):
            merge = table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
            _retried(lambda: merge.when_not_matched_by_source_delete(where).use_index(False).execute(data))

    def overwrite(self, rows: Sequence[Row], metadata: Mapping[str, str], dims: int) -> None:
        """Replace the whole table, schema included, in one commit."""
        schema = schema_of(dims).with_metadata({"format": FORMAT, **metadata})
        data = to_arrow(rows, schema)
        with self._errors("written"):
            table = self._connect().create_table(TABLE, data=data, schema=schema, mode="overwrite")
            table.set_unenforced_primary_key("id")
            _index(table)
            self._take(table)

    # Maintenance

    def fragments(self) -> tuple[int, int]:
        """Return how many small fragments the table has, and how many rows in all."""
        with self._errors("read"):
            stats: Any = self._open().stats()
        return int(stats["fragment_stats"]["num_small_fragments"]), int(stats["num_rows"])

    def compact(self) -> bool:
        """Merge small fragments and drop old versions beside running readers and writers; False where one was quicker.

        A reader or writer that is still at a dropped version is sent to the newest one (`_retried`).
        """
        with self._errors("compacted"):
            try:
                self._optimize(_GRACE if self.lock.works else _FAR_GRACE, leftovers=False)
            except RuntimeError as error:
                if not _transient(error):
                    raise
                return False
        return True

    def vacuum(self) -> None:
        """Merge fragments, drop every version but the newest, and what killed processes left behind.

        The caller holds both locks, so that nobody is at work on this machine.
        """
        self.log.clear()
        with self._errors("compacted"):
            _retried(lambda: self._optimize(timedelta(0), leftovers=self.lock.works and self.maintenance_lock.works))

    def _optimize(self, age: timedelta, leftovers: bool) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "optimize", UserWarning)
            self._open().optimize(cleanup_older_than=age, delete_unverified=leftovers)

    def rewrite(self) -> None:
        """Write every row anew, so that no file holds a deleted one any more."""
        with self._errors("written"):
            table = self._open()
            for index in table.list_indices():
                table.drop_index(index.name)
            _retried(lambda: table.update(where="true", values_sql={"rev": "rev"}))
            _index(table)

    @contextmanager
    def _errors(self, done: str) -> Iterator[None]:
        try:
            yield
        except (StoreError, UnicodeError):
            raise
        except _LANCE_ERRORS as error:
            kind = StoreFormatError if done in ("opened", "read") else StoreError
            hint = " Restore the folder from a backup or an export." if kind is StoreFormatError else ""
            lines = str(error).strip().splitlines()
            reason = (lines[0] if lines else type(error).__name__)[:300].rstrip(". ")
            raise kind(f"{self.uri} could not be {done}: {reason}.{hint}") from error


def _retried(call: Callable[[], T]) -> T:
    for attempt in range(_RETRIES):
        try:
            return call()
        except _LANCE_ERRORS as error:
            if not _worth_another_attempt(error, attempt):
                raise
    raise AssertionError("unreachable")


def _worth_another_attempt(error: Exception, attempt: int) -> bool:
    """Return whether an error comes from another's commit or clean-up; then wait a little, longer each time."""
    if attempt == _RETRIES - 1 or not _transient(error):
        return False
    time.sleep(0.01 * 2**attempt)
    return True


def _transient(error: Exception) -> bool:
    text = str(error).lower()
    return any(mark in text for mark in _TRANSIENT)


def _index(table: Table) -> None:
    # None on `id`: with one, concurrent inserts of the same new key were measured to make duplicates.
    from lancedb.index import BTree

    table.create_index("namespace", config=BTree(), replace=True)
