"""A folder that is no store, or a disk that takes no more: one clear error that names it, and nothing half-written."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from enum import Enum
from pathlib import Path
from uuid import UUID

import lancedb
import pyarrow as pa
import pytest
from langgraph.store.base import PutOp
from langgraph.store.sqlite import SqliteStore

from langgraph_memory_r1 import Add, LanceDBStore, MemoryBank, Noop, StoreError, StoreFormatError
from support.stores import index, keys, slow

NS = ("docs",)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A healthy store of a few commits, closed."""
    folder = tmp_path / "db"
    with LanceDBStore(str(folder)) as store:
        for n in range(5):
            store.put(NS, str(n), {"text": f"word{n}"})
    return folder


def use(folder: Path) -> None:
    """Open a store and do everything with it."""
    with LanceDBStore(str(folder)) as store:
        store.search(())
        store.get(NS, "1")
        store.put(NS, "new", {"text": "new"})


@pytest.mark.parametrize(
    ("damage", "part"),
    [
        *[(damage, part) for damage in ("truncated", "garbled", "empty") for part in ("_versions", "data")],
        ("missing", "_versions"),
        slow("missing", "data"),  # what is gone is looked for several times
    ],
)
def test_a_damaged_folder_is_named(folder: Path, damage: str, part: str) -> None:
    for path in (folder / "items.lance" / part).iterdir():
        content = path.read_bytes()
        if damage == "missing":
            path.unlink()
        else:
            kept = {"truncated": content[: len(content) // 2], "garbled": bytes(len(content)), "empty": b""}
            path.write_bytes(kept[damage])
    with pytest.raises(StoreError) as caught:
        use(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_foreign_table_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    rows = pa.table({"id": ["1"], "text": ["foreign"]})
    lancedb.connect(folder).create_table("items", rows)
    with pytest.raises(StoreFormatError, match="items") as caught:
        use(folder)
    assert str(folder) in str(caught.value)
    assert lancedb.connect(folder).open_table("items").to_arrow().equals(rows)


def test_a_newer_format_is_refused(folder: Path) -> None:
    table = lancedb.connect(folder).open_table("items")
    newer = table.to_arrow().replace_schema_metadata({**table.schema.metadata, b"format": b"99"})
    lancedb.connect(folder).create_table("items", newer, mode="overwrite")
    with pytest.raises(StoreFormatError, match="99"):
        use(folder)
    assert lancedb.connect(folder).open_table("items").count_rows() == newer.num_rows


def test_other_tables_beside_ours_are_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    lancedb.connect(folder).create_table("theirs", pa.table({"x": [1, 2]}))
    use(folder)
    with LanceDBStore(str(folder)) as store:
        store.erase(())
    assert lancedb.connect(folder).open_table("theirs").to_arrow()["x"].to_pylist() == [1, 2]


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    place = tmp_path / "notes.txt"
    place.write_text("mine")
    with pytest.raises(StoreError, match=r"notes\.txt"):
        use(place)
    assert place.read_text() == "mine"


def test_a_file_among_the_parents(tmp_path: Path) -> None:
    place = tmp_path / "notes.txt"
    place.write_text("mine")
    with pytest.raises(StoreError, match=r"notes\.txt"):
        use(place / "db")
    assert place.read_text() == "mine"


def test_an_index_that_names_no_embedding_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises((KeyError, ValueError)):
        LanceDBStore(str(tmp_path / "db"), index={"dims": 3})
    assert not (tmp_path / "db").exists()


@contextmanager
def mounted(place: Path, *options: str) -> Iterator[None]:
    """Mount something over `place`; skips where this machine does not let us."""
    place.mkdir(exist_ok=True)
    if shutil.which("mount") is None or subprocess.run(["mount", *options, str(place)], capture_output=True).returncode:
        pytest.skip("mounting a file system needs rights that this machine does not give")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True, capture_output=True)


def test_a_read_only_folder_is_read_but_not_written(folder: Path) -> None:
    with mounted(folder, "--bind", str(folder)):
        subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)
        with LanceDBStore(str(folder)) as store:
            assert len(store.search(())) == 5
            with pytest.raises(StoreError, match="db"):
                store.put(NS, "new", {"text": "new"})
            assert len(store.search(())) == 5
    with LanceDBStore(str(folder)) as store:
        assert len(store.search(())) == 5


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    place = tmp_path / "ro"
    with mounted(place, "-t", "tmpfs", "-o", "ro,size=64k", "tmpfs"), pytest.raises(StoreError, match="ro"):
        use(place / "db")


@pytest.mark.slow
def test_a_full_disk_leaves_every_committed_batch_and_no_part_of_another(tmp_path: Path) -> None:
    place = tmp_path / "small"
    with mounted(place, "-t", "tmpfs", "-o", "size=2m", "tmpfs"):
        written = 0
        with LanceDBStore(str(place / "db"), index=index("t")) as store:
            with pytest.raises(StoreError, match="small"):
                for n in range(100):
                    store.batch(
                        [PutOp((f"batch{n}",), str(m), {"t": f"{n} {m}", "pad": _noise(n, m)}) for m in range(4)]
                    )
                    written += 1
            assert 0 < written < 100
            assert len(store.search((), limit=1000)) == 4 * written
        with LanceDBStore(str(place / "db"), index=index("t")) as store:
            found = [(hit.namespace, hit.key) for hit in store.search((), limit=1000)]
            assert sorted(found) == sorted(((f"batch{n}",), str(m)) for n in range(written) for m in range(4))


def _noise(n: int, m: int) -> str:
    """Text that does not compress."""
    return "".join(chr(33 + (n * 7919 + m * 104729 + i * i * 31 + i * 17) % 90) for i in range(8000))


def test_a_full_disk_leaves_a_bank_whole(tmp_path: Path) -> None:
    place = tmp_path / "small"
    with mounted(place, "-t", "tmpfs", "-o", "size=2m", "tmpfs"):
        written = 0
        with LanceDBStore(str(place / "db")) as store:
            bank = MemoryBank(store, "ann")
            with pytest.raises(StoreError, match="small"):
                for n in range(100):
                    bank.apply([Add(f"{n} {m} {_noise(n, m)}", source=(f"T{n}",)) for m in range(4)])
                    written += 1
        with LanceDBStore(str(place / "db")) as store:
            bank = MemoryBank(store, "ann")
            assert len(bank) == len(bank.history()) == 4 * written
            assert bank.seen() == {f"T{n}" for n in range(written)}


def test_a_noop_on_a_full_disk_is_kept_or_refused(tmp_path: Path) -> None:
    place = tmp_path / "small"
    with mounted(place, "-t", "tmpfs", "-o", "size=1m", "tmpfs"), LanceDBStore(str(place / "db")) as store:
        bank = MemoryBank(store, "ann")
        bank.apply([Add("one"), Noop("small talk")])
        before = bank.history()
        _fill(place)
        with pytest.raises(StoreError, match="small"):
            bank.apply([Noop("x" * 100_000, source=("T1",))])
        assert bank.history() == before


def _fill(place: Path) -> None:
    """Leave no byte free on this file system."""
    with (place / "filler").open("wb", buffering=0) as filler:
        for size in (65536, 512, 1):
            with suppress(OSError):
                while filler.write(b"x" * size) == size:
                    pass


def test_a_turn_is_whole_even_where_a_part_of_it_cannot_be_written(folder: Path) -> None:
    """Something else lies where the bank keeps the NOOPs that have no commit to travel with."""
    (folder / "journal").write_text("in the way")
    with LanceDBStore(str(folder)) as store:
        bank = MemoryBank(store, "ann")
        with suppress(StoreError):
            bank.apply([Add("one"), Noop("small talk")])
        (folder / "journal").unlink()
        assert [change.event for change in bank.history()] in ([], ["ADD", "NOOP"])
        assert len(bank) == len(bank.history()) / 2


def test_what_was_written_before_the_damage_elsewhere_is_still_read(folder: Path) -> None:
    """Files that a killed writer left behind are no damage."""
    (folder / "items.lance" / "data" / "left-behind.lance").write_bytes(b"half a file")
    (folder / "items.lance" / "_versions" / ".tmp_left-behind").write_bytes(b"half a manifest")
    (folder / "items.lance" / "_transactions").mkdir(exist_ok=True)
    use(folder)
    with LanceDBStore(str(folder)) as store:
        assert sorted(keys(store.search(()))) == ["0", "1", "2", "3", "4", "new"]


class Plan(Enum):
    PRO = "pro"


@dataclass
class Point:
    x: int
    when: date


def test_values_of_other_stores_are_taken_as_they_take_them(tmp_path: Path) -> None:
    value = {
        "at": datetime(2024, 5, 20, 18, 30, 0, 5, tzinfo=UTC), "day": date(2024, 5, 20), "hour": time(18, 30),
        "id": UUID(int=7), "plan": Plan.PRO, "point": Point(1, date(2024, 5, 20)), "pair": (1, 2.5, None),
        "deep": [{"at": datetime(2024, 5, 20)}],
    }  # fmt: skip
    with LanceDBStore(str(tmp_path / "db"), index=index()) as store, SqliteStore.from_conn_string(":memory:") as sqlite:
        sqlite.setup()
        for each in (store, sqlite):
            each.put(NS, "a", value)
            each.put(NS, "b", {"at": datetime(2024, 5, 21, tzinfo=UTC), "plan": "free"})
        item, expected = store.get(NS, "a"), sqlite.get(NS, "a")
        assert item is not None and expected is not None and item.value == expected.value
        assert item.value["at"] == "2024-05-20T18:30:00.000005+00:00"
        assert keys(store.search(NS, filter={"at": {"$gt": datetime(2024, 5, 20, 20, tzinfo=UTC)}})) == ["b"]
        assert keys(store.search(NS, filter={"at": value["at"]})) == ["a"]
        assert keys(store.search(NS, filter={"plan": {"$in": [Plan.PRO]}})) == ["a"]
    with LanceDBStore(str(tmp_path / "db"), index=index()) as store:
        again = store.get(NS, "a")
        assert again is not None and again.value == item.value


@pytest.mark.parametrize("part", [object(), {1, 2}, b"bytes", 1j])
def test_what_is_no_json_is_still_refused_with_its_key(tmp_path: Path, part: object) -> None:
    with (
        LanceDBStore(str(tmp_path / "db")) as store,
        pytest.raises(ValueError, match=r"'a' in \('docs',\) is not JSON"),
    ):
        store.put(NS, "a", {"part": part})


@pytest.mark.parametrize("ttl", [float("inf"), float("nan"), -float("inf"), 1e300, 1e12])
def test_a_time_to_live_that_leads_nowhere_is_refused(tmp_path: Path, ttl: float) -> None:
    with LanceDBStore(str(tmp_path / "db")) as store:
        with pytest.raises(ValueError, match=r"The ttl of 'a' in \('docs',\) is .*; give minutes, or None"):
            store.put(NS, "a", {"n": 1}, ttl=ttl)
        with pytest.raises(ValueError, match="give minutes, or None"):
            store.batch([PutOp(NS, "b", {"n": 1}), PutOp(NS, "a", {"n": 1}, ttl=ttl)])
        assert store.search(NS) == []
    with pytest.raises(ValueError, match="default_ttl"):
        LanceDBStore(str(tmp_path / "db"), ttl={"default_ttl": ttl})
