"""Memories that end: gone at once wherever one looks, and their history says why."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from langgraph.store.base import BaseStore, TTLConfig
from langgraph.store.memory import InMemoryStore

from langgraph_memory_r1 import Add, ConflictError, LanceDBStore, MemoryBank, UnknownMemoryError, Update
from langgraph_memory_r1.tools import create_search_memory_tool

SHORT = timedelta(seconds=0.5)


class ShortLived(InMemoryStore):
    """LangGraph's own store with a default time to live, which it leaves to others to keep."""

    def __init__(self) -> None:
        super().__init__()
        self.ttl_config: TTLConfig | None = {"default_ttl": SHORT / timedelta(minutes=1)}


@contextmanager
def opened(kind: str, folder: Path) -> Iterator[BaseStore]:
    if kind == "memory":
        yield ShortLived()
        return
    ttl: TTLConfig = {"default_ttl": SHORT / timedelta(minutes=1), "sweep_interval_minutes": 60}
    if kind == "sqlite":
        sqlite = pytest.importorskip("langgraph.store.sqlite")
        with sqlite.SqliteStore.from_conn_string(str(folder / "store.db"), ttl=ttl) as store:
            store.setup()
            yield store
        return
    with LanceDBStore(folder, ttl=ttl) as store:
        yield store


@pytest.fixture(params=["lancedb", "memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BaseStore]:
    with opened(request.param, tmp_path) as store:
        yield store


def wait() -> None:
    time.sleep(SHORT / timedelta(seconds=1) + 0.05)


def test_the_stores_time_to_live_holds_for_memories_and_for_the_tools(store: BaseStore) -> None:
    bank, search = MemoryBank(store, "ann"), create_search_memory_tool(store, ("memories", "ann"))
    (added,) = bank.apply([Add("Ann has a dog.", source=("t1",))])
    assert added.after is not None and added.after.expires_at is not None and added.memory_id is not None
    assert added.after.expires_at == added.at + SHORT if added.at else False
    wait()
    for look in (bank, MemoryBank(store, "ann")):
        assert look.all() == [] and len(look) == 0 and look.texts() == []
        assert look.get(added.memory_id) is None
        assert look.search("dog") == []
        assert asyncio.run(look.aall()) == []
        ended = look.history(added.memory_id)[-1]
        assert (ended.event, ended.reason, ended.at) == ("DELETE", "expired", added.after.expires_at)
        assert ended.before == added.after
        assert look.seen() == {"t1"}  # it does not come back because a history is sent again
        assert look.as_of(datetime.now(UTC)) == []
        assert [memory.id for memory in look.as_of(added.after.expires_at - timedelta(milliseconds=1))] == [
            ended.memory_id
        ]
    assert search.invoke({"query": "dog"}) == "[]"
    with pytest.raises(UnknownMemoryError):
        bank.apply([Update(added.memory_id, "Ann has two dogs.")])


def test_an_end_of_its_own_beats_the_stores(store: BaseStore) -> None:
    bank = MemoryBank(store, "ann")
    later = datetime.now(UTC) + timedelta(hours=1)
    bank.apply([Add("Ann has a dog.", expires_at=later), Add("Ann has a cat.")])
    wait()
    (left,) = bank.all()
    assert left.expires_at == later
    bank.apply([Update(left.id, "Ann has a dog, Zero.")])
    assert bank.all()[0].expires_at == later
    bank.apply([Update(left.id, "Ann had a dog.", expires_at=datetime.now(UTC))])
    assert bank.all() == []


def test_an_update_gives_the_default_anew(store: BaseStore) -> None:
    bank = MemoryBank(store, "ann")
    (added,) = bank.apply([Add("Ann has a dog.")])
    assert added.memory_id is not None
    (updated,) = bank.apply([Update(added.memory_id, "Ann has a dog, Zero.")])
    assert updated.after is not None and updated.at is not None
    assert updated.after.expires_at == updated.at + SHORT
    wait()
    assert bank.all() == []


def test_what_has_expired_cannot_be_taken_back_and_does_not_bar_the_way(store: BaseStore) -> None:
    bank = MemoryBank(store, "ann")
    later = datetime.now(UTC) + timedelta(hours=1)
    bank.apply([Add("Ann plays chess.", expires_at=later)])
    (added,) = bank.apply([Add("Ann has a dog.")])
    wait()
    with pytest.raises(ConflictError, match="expired at"):
        bank.undo(added.id)
    assert bank.undo().before is not None
    assert bank.all() == []


def test_a_fork_forgets_too(store: BaseStore) -> None:
    bank = MemoryBank(store, "ann")
    bank.apply([Add("Ann has a dog.")])
    fork = bank.fork()
    fork.apply([Add("Ann has a cat.")])
    wait()
    assert len(fork.history()) == 1
    assert fork.all() == [] and fork.search("Ann") == []


def test_rows_of_expired_memories_do_not_stay_in_the_store(store: BaseStore) -> None:
    bank = MemoryBank(store, "ann")
    bank.apply([Add("Ann has a dog."), Add("Ann has a cat.")])
    wait()
    bank.all()
    bank.apply([Add("Ann sings.")])
    items = store.search(("memories", "ann", "memory"))
    assert [item.value["text"] for item in items] == ["Ann sings."]


def test_sweeping_removes_the_rows_and_leaves_the_history(tmp_path: Path) -> None:
    with opened("lancedb", tmp_path) as store, opened("lancedb", tmp_path) as other:
        bank, second = MemoryBank(store, "ann"), MemoryBank(other, "ann")
        bank.apply([Add("Ann has a dog.")])
        second.all()
        wait()
        assert isinstance(store, LanceDBStore) and store.sweep_ttl() == 1
        assert bank.all() == second.all() == []
        assert [change.event for change in second.history()] == ["ADD", "DELETE"]
        assert second.history() == bank.history()


def test_an_export_with_expired_memories_is_lossless(store: BaseStore, tmp_path: Path) -> None:
    bank, copy = MemoryBank(store, "ann"), MemoryBank(store, "copy")
    bank.apply([Add("Ann has a dog.")])
    bank.export_jsonl(tmp_path / "before.jsonl")
    wait()
    bank.export_jsonl(tmp_path / "after.jsonl")
    for name in ("before.jsonl", "after.jsonl"):
        copy.import_jsonl(tmp_path / name)
        assert copy.all() == []
        assert copy.history() == bank.history()


def test_without_an_end_nothing_expires(tmp_path: Path) -> None:
    with LanceDBStore(tmp_path) as store:
        bank = MemoryBank(store, "ann")
        bank.apply([Add("Ann has a dog."), Add("Ann sings.", expires_at=datetime(9999, 12, 31, 23, 59, tzinfo=UTC))])
        assert len(bank.all()) == 2


def test_a_time_without_a_zone_is_utc(tmp_path: Path) -> None:
    with LanceDBStore(tmp_path) as store:
        bank = MemoryBank(store, "ann")
        bank.apply([Add("Ann has a dog.", expires_at=datetime(2999, 1, 1))])
        assert bank.all()[0].expires_at == datetime(2999, 1, 1, tzinfo=UTC)
        bank.apply([Add("Ann had a cat.", expires_at=datetime(2001, 1, 1))])
        assert len(bank.all()) == 1
        assert [change.event for change in bank.history()] == ["ADD", "ADD", "DELETE"]


def test_reading_costs_nothing_while_nothing_expires(tmp_path: Path) -> None:
    """Rows with an end were all compared at every look before."""
    space = ("memories", "ann", "memory")
    with LanceDBStore(tmp_path, ttl={"default_ttl": 60}) as store:
        bank = MemoryBank(store, "ann")
        bank.apply([Add(f"Ann has dog {number}.") for number in range(20)])
        first = store.engine.changes(space)
        assert first is not None and len(first.rows) == 20
        again = store.engine.changes(space, first.state)
        assert again is not None and again.rows == [] and not again.whole
