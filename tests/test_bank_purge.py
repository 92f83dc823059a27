"""One memory erased for good: its words are in no file any more, and everything else stays."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from langchain_core.messages import HumanMessage
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore

from langgraph_memory_r1 import (
    Add,
    Delete,
    LanceDBStore,
    MemoryBank,
    Noop,
    UnknownMemoryError,
    Update,
    create_memory_graph,
)
from support.stores import folder_bytes, index, slow

SECRET = "Ann is treated for leukaemia"
WIDER = "Ann is treated for leukaemia in Utrecht"


@pytest.fixture(params=["lancedb", slow("lancedb-index"), "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BaseStore]:
    if request.param == "memory":
        yield InMemoryStore()
        return
    with LanceDBStore(tmp_path / "db", index=index("text") if "index" in request.param else None) as store:
        yield store


def remembered(bank: MemoryBank) -> str:
    """A bank with a secret that left traces everywhere it can; the id of the memory."""
    bank.apply([Add("Ann has a dog.", source=("t1",))])
    (added,) = bank.apply([Add(SECRET, source=("t2",), metadata={"ward": "haematology-7"}, tags=("oncology-tag",))])
    assert added.memory_id is not None
    bank.apply([Update(added.memory_id, WIDER, source=("t3",))])
    bank.apply([Noop(f"gave up after 3 conflicts with other writers: {SECRET} | Ann sings.", ("t9",))])
    bank.apply([Noop("She said in other words that her blood is ill.", ("t3",)), Add("Ann sings.", source=("t4",))])
    bank.apply([Add("Ann cooks.", source=("t5",)), Noop(f"known already: {WIDER}", ("t6",))], reason=f"not {SECRET}")
    return added.memory_id


def test_a_purged_memory_is_gone_and_everything_else_stays(store: BaseStore) -> None:
    bank = MemoryBank(store, "ann")
    secret = remembered(bank)
    seen, others = bank.seen(), [change for change in bank.history() if change.memory_id not in (secret, None)]
    MemoryBank(store, "bob").apply([Add("Bob runs.")])
    assert bank.purge(secret) == 2
    for look in (bank, MemoryBank(store, "ann")):
        assert look.texts() == ["Ann has a dog.", "Ann sings.", "Ann cooks."]
        assert look.get(secret) is None
        assert secret not in [hit.memory.id for hit in look.search("leukaemia")]
        assert look.history(secret) == []
        kept = [change for change in look.history() if change.memory_id is not None]
        assert [(change.id, change.after, change.at) for change in kept] == [
            (change.id, change.after, change.at) for change in others
        ]
        assert look.seen() == seen
        assert not any(SECRET in change.reason or "blood" in change.reason for change in look.history())
        assert any("Ann sings." in change.reason for change in look.history())
    assert MemoryBank(store, "bob").texts() == ["Bob runs."]
    undone = bank.undo()
    assert undone.before is not None and undone.before.text == "Ann cooks."


def test_no_file_holds_a_word_of_it(tmp_path: Path) -> None:
    for embedder in (None, index("text")):
        folder = tmp_path / f"db{bool(embedder)}"
        with LanceDBStore(folder, index=embedder) as store, LanceDBStore(folder, index=embedder) as other:
            bank, second = MemoryBank(store, "ann"), MemoryBank(other, "ann")
            secret = remembered(bank)
            assert len(second) == 4 and len(second.history()) == 8
            store.engine.table.full_text("Ann", "live", 3)  # the index of words is a file too
            words = (b"leukaemia", b"Utrecht", b"haematology-7", b"oncology-tag", b"blood is ill")
            assert all(word in folder_bytes(folder) for word in words)
            bank.purge(secret)
            assert not [word for word in words if word in folder_bytes(folder)]
            assert b"Ann has a dog." in folder_bytes(folder)
            assert second.texts() == ["Ann has a dog.", "Ann sings.", "Ann cooks."]
            second.apply([Add("Ann travels.")])
            assert len(bank) == 4
            assert len(second.search("Ann", k=10)) == 4


def test_a_deleted_memory_can_still_be_purged(store: BaseStore) -> None:
    bank = MemoryBank(store, "ann")
    secret = remembered(bank)
    bank.apply([Delete(secret)])
    assert bank.purge(secret) == 3
    assert bank.history(secret) == []
    with pytest.raises(UnknownMemoryError, match="never was one"):
        bank.purge(secret)
    with pytest.raises(UnknownMemoryError, match="nothing"):
        bank.purge("nothing")


def test_it_does_not_come_back_because_a_conversation_is_sent_again(store: BaseStore) -> None:
    graph, bank = create_memory_graph(store, require_user=False), MemoryBank(store, "default")
    messages = [HumanMessage("I have diabetes.", id="m1"), HumanMessage("I have a dog called Zero.", id="m2")]
    graph.invoke({"messages": messages})
    (secret,) = [memory.id for memory in bank.all() if "diabetes" in memory.text]
    bank.purge(secret)
    graph.invoke({"messages": [*messages, HumanMessage("I have a cat called Tom.", id="m3")]})
    assert [text for text in bank.texts() if "diabetes" in text] == []
    assert len(bank) == 2


def test_others_who_append_meanwhile_lose_nothing(tmp_path: Path) -> None:
    with LanceDBStore(tmp_path) as store, LanceDBStore(tmp_path) as other:
        bank, second = MemoryBank(store, "ann"), MemoryBank(other, "ann")
        secret = remembered(bank)
        second.apply([Noop("small talk", ("t7",))])
        bank.purge(secret)
        second.apply([Noop("more small talk", ("t8",))])
        assert {"t7", "t8", "t2"} <= bank.seen() & second.seen() & MemoryBank(store, "ann").seen()


def test_a_short_reason_is_purged_too(store: BaseStore) -> None:
    bank = MemoryBank(store, "ann")
    (added,) = bank.apply([Add("C", source=("t1",))])
    bank.apply([Noop("C", ("t1",))])
    assert added.memory_id is not None and bank.purge(added.memory_id) == 1
    assert len(MemoryBank(store, "ann").history()) == 2
    assert bank.seen() == {"t1"}


def test_the_async_twin_does_the_same(store: BaseStore) -> None:
    bank = MemoryBank(store, "ann")
    secret = remembered(bank)
    assert asyncio.run(bank.apurge(secret)) == 2
    assert len(bank) == 3
