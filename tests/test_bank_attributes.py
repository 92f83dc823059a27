"""Metadata, tags and an end of memories: kept with them on every store, filtered by, refused where they cannot be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore

from langgraph_memory_r1 import Add, Delete, InputError, LanceDBStore, MemoryBank, Update
from langgraph_memory_r1.bank.base import Memories
from langgraph_memory_r1.bank.records import memory_from_record, memory_to_record

AT = datetime(2024, 5, 1, 12, tzinfo=UTC)
LATER = datetime(2999, 1, 1, tzinfo=UTC)


@pytest.fixture(params=["lancedb", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BaseStore]:
    if request.param == "memory":
        yield InMemoryStore()
        return
    with LanceDBStore(tmp_path) as store:
        yield store


@pytest.fixture
def bank(store: BaseStore) -> MemoryBank:
    return MemoryBank(store, "ann")


def found(bank: Memories, conditions: dict[str, Any], query: str = "Ann", **options: Any) -> set[str]:
    """The texts that a search with a filter finds."""
    return {hit.memory.text for hit in bank.search(query, filter=conditions, **options)}


# ---- kept


def test_metadata_and_tags_are_kept_and_can_be_changed(bank: MemoryBank, store: BaseStore) -> None:
    metadata = {"team": "red", "order": {"id": 7, "paid": False}, "scores": [1, 2.5, None]}
    (added,) = bank.apply([Add("Ann has a dog.", metadata=metadata, tags=("pets", "home"), expires_at=LATER)])
    again = MemoryBank(store, "ann")
    (memory,) = again.all()
    assert (memory.metadata, memory.tags, memory.expires_at) == (metadata, ("pets", "home"), LATER)
    again.apply([Update(memory.id, "Ann has a dog, Zero.")])
    (kept,) = bank.all()
    assert (kept.metadata, kept.tags, kept.expires_at) == (metadata, ("pets", "home"), LATER)
    bank.apply([Update(memory.id, kept.text, metadata={"team": "blue"}, tags=())])
    (changed,) = bank.all()
    assert (changed.metadata, changed.tags, changed.expires_at) == ({"team": "blue"}, (), LATER)
    assert [change.after.metadata.get("team") for change in bank.history(memory.id) if change.after] == [
        "red", "red", "blue",
    ]  # fmt: skip
    bank.undo()
    assert bank.all()[0].metadata == metadata
    bank.apply([Delete(memory.id)])
    bank.undo()
    assert bank.all()[0].tags == ("pets", "home")
    assert {memory, added.after} == {memory}  # they can stand in a set, as they could before


def test_what_is_read_of_a_memory_cannot_change_the_bank(bank: MemoryBank, store: BaseStore) -> None:
    given = {"team": {"name": "red"}}
    bank.apply([Add("Ann has a dog.", metadata=given)])
    given["team"]["name"] = "changed"
    MemoryBank(store, "ann").all()[0].metadata["team"]["name"] = "changed"  # type: ignore[index]
    assert MemoryBank(store, "ann").all()[0].metadata == {"team": {"name": "red"}}


def test_an_export_loses_nothing_of_them(bank: MemoryBank, store: BaseStore, tmp_path: Path) -> None:
    bank.apply([Add("Ann has a dog.", metadata={"team": "red"}, tags=("pets",), expires_at=LATER), Add("Ann sings.")])
    bank.export_jsonl(tmp_path / "ann.jsonl")
    copy = MemoryBank(store, "copy")
    copy.import_jsonl(tmp_path / "ann.jsonl")
    assert copy.all() == bank.all()
    assert copy.history() == bank.history()


def test_records_of_old_banks_are_read_and_plain_memories_look_like_them() -> None:
    record = {
        "text": "Ann has a dog.", "speaker": None, "at": None, "source": ["D1:1"], "session": None, "rev": 1,
        "created_at": AT.isoformat(), "updated_at": AT.isoformat(),
    }  # fmt: skip
    memory = memory_from_record("m1", record)
    assert (memory.metadata, memory.tags, memory.expires_at) == ({}, (), None)
    assert memory_to_record(memory) == record


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"metadata": ["a"]}, "metadata is list"),
        ({"metadata": {"when": AT}}, r"metadata\['when'\] is datetime"),
        ({"metadata": {"a": {"b": [1, {2}]}}}, r"metadata\['a'\]\['b'\]\[1\] is set"),
        ({"metadata": {"a": float("nan")}}, r"metadata\['a'\] is nan"),
        ({"metadata": {1: "a"}}, "metadata has the name 1"),
        ({"tags": "work"}, "tags is 'work'"),
        ({"tags": ("work", " ")}, "tags holds ' '"),
        ({"tags": (1,)}, "tags holds 1"),
        ({"expires_at": "tomorrow"}, "expires_at is 'tomorrow'"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_its_name(bank: MemoryBank, fields: dict[str, Any], sentence: str) -> None:
    (added,) = bank.apply([Add("Ann has a dog.")])
    assert added.memory_id is not None
    for operation in (Add("Ann sings.", **fields), Update(added.memory_id, "Ann sings.", **fields)):
        with pytest.raises(InputError, match=sentence):
            bank.apply([operation])
    assert [memory.text for memory in bank.all()] == ["Ann has a dog."]


# ---- filters


@pytest.fixture
def team(bank: MemoryBank) -> MemoryBank:
    east = timezone(timedelta(hours=5))
    bank.apply(
        [
            Add("Ann plays chess.", "Ann", AT, metadata={"team": "red", "level": 3}, tags=("games", "work")),
            Add("Ann plays go.", "Ann", AT.replace(year=2025), metadata={"team": "blue", "level": 5}, tags=("games",)),
            Add("Ann runs.", "Bob", datetime(2024, 1, 1, 3, tzinfo=east), ("D1:1",), "s1", metadata={"speaker": "crm"}),
            Add("Ann sings."),
        ]
    )
    return bank


CHESS, GO, RUNS, SINGS = "Ann plays chess.", "Ann plays go.", "Ann runs.", "Ann sings."


@pytest.mark.parametrize(
    ("conditions", "texts"),
    [
        ({"team": "red"}, {CHESS}),
        ({"metadata.team": {"$eq": "red"}}, {CHESS}),
        ({"team": {"$ne": "red"}}, {GO, RUNS, SINGS}),
        ({"level": {"$gt": 3}}, {GO}),
        ({"level": {"$gte": 3}}, {CHESS, GO}),
        ({"level": {"$lt": 5}}, {CHESS}),
        ({"level": {"$lte": 5}}, {CHESS, GO}),
        ({"team": {"$in": ["red", "green"]}}, {CHESS}),
        ({"team": {"$nin": ["red", "blue"]}}, {RUNS, SINGS}),
        ({"tags": {"$contains": "games"}}, {CHESS, GO}),
        ({"tags": {"$contains": ["games", "work"]}}, {CHESS}),
        ({"tags": []}, {RUNS, SINGS}),
        ({"$and": [{"tags": {"$contains": "games"}}, {"level": 5}]}, {GO}),
        ({"$or": [{"team": "red"}, {"session": "s1"}]}, {CHESS, RUNS}),
        ({"$not": {"tags": {"$contains": "games"}}}, {RUNS, SINGS}),
        ({"speaker": "Bob"}, {RUNS}),
        ({"metadata.speaker": "crm"}, {RUNS}),
        ({"source": {"$contains": "D1:1"}}, {RUNS}),
        ({"text": {"$contains": "chess"}}, {CHESS}),
        ({"at": {"$gte": AT}}, {CHESS, GO}),
        ({"at": {"$lt": "2024-01-01"}}, {RUNS}),  # 3 o'clock in the east is the day before in UTC
        ({"at": None}, {SINGS}),
        ({}, {CHESS, GO, RUNS, SINGS}),
        ({"nothing": {"$gt": 1}}, set()),
    ],
)
def test_a_search_finds_only_what_a_filter_lets_through(
    team: MemoryBank, conditions: dict[str, Any], texts: set[str]
) -> None:
    assert found(team, conditions) == texts
    assert found(team.fork(), conditions) == texts


def test_k_counts_what_the_filter_lets_through(bank: MemoryBank) -> None:
    bank.apply([Add(f"Ann has dog {number}.", "Ann" if number % 3 else "Bob") for number in range(30)])
    bank.apply([Add(f"Ann once saw a dog in town {number}.", tags=("rare",)) for number in range(3)])
    assert len(found(bank, {"tags": {"$contains": "rare"}}, "dog", k=2)) == 2
    assert len(found(bank, {"speaker": "Bob"}, "dog", k=5, per_speaker=3)) == 3
    assert len(found(bank, {"speaker": {"$ne": None}}, "dog", k=10, per_speaker=3, fill=True)) == 10


@pytest.mark.parametrize("conditions", [{"team": {"$near": 1}}, {"$or": 1}, ["team"], {"a;b": 1}, {"team": {"$in": 1}}])
def test_a_filter_that_is_none_is_refused_in_a_sentence(bank: MemoryBank, conditions: Any) -> None:
    bank.apply([Add("Ann sings.")])
    for target in (bank, bank.fork()):
        with pytest.raises(InputError, match="The filter cannot be used: "):
            target.search("Ann", filter=conditions)


def test_a_bank_too_large_for_memory_is_filtered_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LanceDBStore, "mirror_rows", 50)
    monkeypatch.setattr("langgraph_memory_r1.bank.memory_bank._CANDIDATES", 20)
    with LanceDBStore(tmp_path) as store:
        bank = MemoryBank(store, "ann")
        bank.apply([Add(f"Ann has dog {number}.") for number in range(200)])
        bank.apply([Add("Ann once saw a very large dog in the middle of a street in town.", tags=("rare",))])
        assert len(found(bank, {"tags": {"$contains": "rare"}}, "dog", k=2)) == 1
        assert len(found(bank, {"tags": []}, "dog", k=2)) == 2


def test_a_filter_reaches_no_other_owner(store: BaseStore) -> None:
    MemoryBank(store, "bob").apply([Add("Ann owes Bob money.", tags=("secret",))])
    ann = MemoryBank(store, "ann")
    ann.apply([Add("Ann sings.", tags=("secret",))])
    assert found(ann, {"$or": [{"tags": {"$contains": "secret"}}, {"speaker": None}]}) == {"Ann sings."}


def test_the_state_of_a_graph_and_json_show_them_where_they_are_set(bank: MemoryBank) -> None:
    from langgraph_memory_r1.state import memory_as_dict

    bank.apply([Add("Ann sings."), Add("Ann runs.", metadata={"team": "red"}, tags=("sports",))])
    plain, full = (memory_as_dict(memory) for memory in bank.all())
    assert not {"metadata", "tags", "expires_at"} & set(plain)
    assert json.loads(json.dumps(full))["tags"] == ["sports"]
    assert full["metadata"] == {"team": "red"}
