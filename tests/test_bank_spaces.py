"""Where a bank's items lie: memories where a search of the store finds them, their history where it does not."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore

from langgraph_memory_r1 import Add, Delete, LanceDBStore, MemoryBank, Noop, Update, create_memory_graph
from langgraph_memory_r1.bank import memory_bank
from langgraph_memory_r1.bank.spaces import Spaces, spaces_of
from langgraph_memory_r1.cli.store import list_owners
from langgraph_memory_r1.importers import adopt_items
from support.stores import folder_bytes


@pytest.fixture(params=["lancedb", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BaseStore]:
    if request.param == "memory":
        yield InMemoryStore()
        return
    with LanceDBStore(tmp_path / "db") as store:
        yield store


def fill(bank: MemoryBank) -> None:
    (added,) = bank.apply([Add("Ann has a dog.", source=("t1",))])
    assert added.memory_id is not None
    bank.apply([Update(added.memory_id, "Ann has a dog, Zero.", ("t2",))])
    bank.apply([Noop("small talk", ("t3",))])
    (cat,) = bank.apply([Add("Ann has a cat.", source=("t4",))])
    assert cat.memory_id is not None
    bank.apply([Delete(cat.memory_id)])


@pytest.fixture
def earlier(store: BaseStore, monkeypatch: pytest.MonkeyPatch) -> BaseStore:
    """A store with a bank whose history lies where it lay before."""
    with monkeypatch.context() as patch:

        def spaces(namespace: tuple[str, ...]) -> Spaces:
            memories, _, history = spaces_of(namespace)
            return Spaces(memories, history, (*history, "none"))

        patch.setattr(memory_bank, "spaces_of", spaces)
        fill(MemoryBank(store, "ann"))
    return store


def test_a_search_of_the_store_finds_memories_and_nothing_else(store: BaseStore) -> None:
    bank = MemoryBank(store, "ann")
    fill(bank)
    create_memory_graph(store, namespace=("memories", "ann")).invoke({"messages": [("user", "I play chess.")]})
    items = store.search(("memories", "ann"), limit=100)
    assert sorted(item.value["text"] for item in items) == ["Ann has a dog, Zero.", "User plays chess."]
    assert all("event" not in item.value for item in store.search(("memories",), limit=100))


def test_a_bank_of_an_earlier_version_stays_whole(earlier: BaseStore) -> None:
    bank, other = MemoryBank(earlier, "ann"), MemoryBank(earlier, "ann")
    assert [change.event for change in bank.history()] == ["ADD", "UPDATE", "NOOP", "ADD", "DELETE"]
    assert bank.seen() == {"t1", "t2", "t3", "t4"}
    bank.apply([Add("Ann sings.", source=("t5",)), Noop("small talk", ("t6",))])
    assert len(bank.history()) == len(other.history()) == 7
    assert bank.undo().event == "DELETE"
    undone = bank.undo()
    assert undone.after is not None and undone.after.text == "Ann has a cat."
    assert MemoryBank(earlier, "ann").history() == bank.history() == other.history()
    assert other.seen() == {"t1", "t2", "t3", "t4", "t5", "t6"}


def test_an_earlier_history_can_be_moved(earlier: BaseStore) -> None:
    bank, other = MemoryBank(earlier, "ann"), MemoryBank(earlier, "ann")
    before = other.history()
    assert bank.move_history() == 5
    assert bank.history() == other.history() == MemoryBank(earlier, "ann").history() == before
    assert [item.value["text"] for item in earlier.search(("memories", "ann"), limit=100)] == ["Ann has a dog, Zero."]
    assert bank.move_history() == 0
    assert bank.seen() == {"t1", "t2", "t3", "t4"}


def test_forget_and_purge_reach_an_earlier_history(earlier: BaseStore, tmp_path: Path) -> None:
    bank = MemoryBank(earlier, "ann")
    cat = next(change.memory_id for change in bank.history() if change.after and "cat" in change.after.text)
    assert cat is not None and bank.purge(cat) == 2
    fresh = MemoryBank(earlier, "ann")
    assert not any("cat" in (change.after.text if change.after else "") for change in fresh.history())
    if isinstance(earlier, LanceDBStore):
        assert b"Ann has a cat" not in folder_bytes(tmp_path / "db")
    assert fresh.forget() == 1
    assert MemoryBank(earlier, "ann").history() == bank.history() == []
    if isinstance(earlier, LanceDBStore):
        assert b"Ann has a dog" not in folder_bytes(tmp_path / "db")


def test_owners_with_a_history_alone_are_listed(tmp_path: Path) -> None:
    with LanceDBStore(tmp_path) as store:
        for owner in ("ann", "b/%o.b"):
            (added,) = MemoryBank(store, owner).apply([Add("has a dog")])
            assert added.memory_id is not None
            MemoryBank(store, owner).apply([Delete(added.memory_id)])
        assert list_owners(store) == ["ann", "b/%o.b"]


def test_no_two_banks_share_a_place() -> None:
    words = ("memories", "memory_history", "memory", "history", "changes", "ann")
    names = [(), *((a,) for a in words), *((a, b) for a in words for b in words)]
    names += [(a, b, c) for a in words for b in words for c in words]
    spaces = [space for name in names if name for space in spaces_of(name)]
    assert len(set(spaces)) == len(spaces)


# ---- langmem's items in the same namespace


def test_items_of_langmem_are_said_and_can_be_adopted(store: BaseStore, caplog: pytest.LogCaptureFixture) -> None:
    store.put(("memories", "ann"), "k1", {"kind": "Memory", "content": {"content": "Ann loves pizza."}})
    store.put(("memories", "ann"), "k2", {"content": "Ann sings.", "tags": ["music"]})
    store.put(("memories", "ann"), "k3", {"kind": "Memory", "content": None})
    store.put(("memories", "ann", "deeper"), "k4", {"content": "Ann's other things."})
    bank = MemoryBank(store, "ann")
    with caplog.at_level(logging.WARNING):
        assert bank.all() == [] and bank.all() == []
    (record,) = caplog.records
    assert "adopt_items(bank)" in record.getMessage()
    result = adopt_items(bank)
    assert len(result.broken) == 1 and "'k3'" in result.broken[0]
    assert sorted(bank.texts()) == ["Ann loves pizza.", "Ann sings."]
    assert [hit.memory.text for hit in bank.search("music", filter={"tags": ["music"]})] == ["Ann sings."]
    before = bank.history()
    adopt_items(bank)
    assert bank.history() == before
    assert store.get(("memories", "ann"), "k1") is not None


def test_a_bank_of_its_own_says_nothing(store: BaseStore, caplog: pytest.LogCaptureFixture) -> None:
    store.put(("memories", "bob"), "k1", {"content": "Bob sings."})
    with caplog.at_level(logging.WARNING):
        MemoryBank(store, "ann").all()
        bank = MemoryBank(store, "bob")
        bank.apply([Add("Bob runs.")])
        bank.all()
    assert caplog.records == []
