"""One owner's memories on any LangGraph store: turns applied whole, with a history that explains and undoes them."""

from __future__ import annotations

import asyncio
import inspect
from datetime import UTC, datetime
from pathlib import Path

import pytest
from langgraph.store.base import BaseStore

from langgraph_memory_r1 import (
    Add,
    Change,
    ConflictError,
    Delete,
    InputError,
    LanceDBStore,
    Memory,
    MemoryBank,
    Noop,
    UnknownMemoryError,
    Update,
)
from support.stores import folder_bytes, index, slow, versions

AT = datetime(2024, 5, 1, 12, tzinfo=UTC)


@pytest.fixture(params=["lancedb", "lancedb-index", "memory"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def add(bank: MemoryBank, text: str, turn: str = "") -> str:
    """Remember a text; the new memory's id."""
    (change,) = bank.apply([Add(text, source=(turn,) if turn else ())])
    assert change.memory_id is not None
    return change.memory_id


def texts(memories: list[Memory]) -> list[str]:
    return [memory.text for memory in memories]


def state(bank: MemoryBank) -> tuple[list[Memory], int]:
    return bank.all(), len(bank.history())


# ---- applying


def test_a_new_bank_is_empty(bank: MemoryBank) -> None:
    assert bank.all() == []
    assert bank.history() == []
    assert bank.get("nothing") is None
    assert len(bank) == 0
    assert bank.search("anything") == []
    assert bank.seen() == set()


def test_add_keeps_everything_that_it_was_given(bank: MemoryBank) -> None:
    operation = Add("Ann adopted Buddy.", speaker="Ann", at=AT, source=("D1:1", "D1:2"), session="session_1")
    (change,) = bank.apply([operation], model="rules", reason="new fact")
    assert change.memory_id is not None
    memory = bank.get(change.memory_id)
    assert memory is not None
    given = (memory.text, memory.speaker, memory.at, memory.source, memory.session, memory.rev)
    assert given == ("Ann adopted Buddy.", "Ann", AT, ("D1:1", "D1:2"), "session_1", 1)
    assert memory.created_at is not None
    assert memory.created_at.utcoffset() is not None
    assert (change.event, change.before, change.after) == ("ADD", None, memory)
    assert (change.model, change.reason, change.source) == ("rules", "new fact", ("D1:1", "D1:2"))
    assert bank.all() == [memory]


def test_update_keeps_the_id_and_grows_rev_and_sources(bank: MemoryBank) -> None:
    key = add(bank, "Ann has a dog, Buddy.", "D1:1")
    (change,) = bank.apply([Update(key, "Ann has two dogs, Buddy and Scout.", source=("D2:1",))])
    memory = bank.get(key)
    assert memory is not None
    assert (memory.text, memory.rev, memory.source) == ("Ann has two dogs, Buddy and Scout.", 2, ("D1:1", "D2:1"))
    assert change.before is not None
    assert (change.event, change.before.text, change.after) == ("UPDATE", "Ann has a dog, Buddy.", memory)
    assert memory.created_at == change.before.created_at


def test_delete_supersedes_but_is_remembered(bank: MemoryBank) -> None:
    key = add(bank, "Ann lives in Rome.")
    (change,) = bank.apply([Delete(key, source=("D3:1",), reason="she moved")])
    assert bank.get(key) is None
    assert bank.all() == []
    assert bank.search("Rome") == []
    assert (change.event, change.after, change.reason) == ("DELETE", None, "she moved")
    assert change.before is not None
    assert change.before.text == "Ann lives in Rome."
    assert [record.event for record in bank.history(key)] == ["ADD", "DELETE"]


def test_a_turn_returns_one_change_per_operation(bank: MemoryBank) -> None:
    first, second = add(bank, "one"), add(bank, "two")
    operations = [Update(first, "one and a half"), Delete(second), Add("three"), Noop("small talk")]
    changes = bank.apply(operations)
    assert [change.event for change in changes] == ["UPDATE", "DELETE", "ADD", "NOOP"]
    assert [change.memory_id for change in changes[:2]] == [first, second]
    assert len({change.id for change in changes}) == 4
    assert sorted(texts(bank.all())) == ["one and a half", "three"]
    assert len(bank) == 2


def test_no_operation_changes_nothing(bank: MemoryBank) -> None:
    assert bank.apply([]) == []
    assert state(bank) == ([], 0)


@pytest.mark.parametrize("wrong", [Update("nothing", "x"), Delete("nothing")], ids=["update", "delete"])
def test_an_unknown_id_refuses_the_whole_turn(bank: MemoryBank, wrong: Update | Delete) -> None:
    add(bank, "kept")
    before = state(bank)
    with pytest.raises(UnknownMemoryError, match="nothing"):
        bank.apply([Add("not this either"), wrong])
    assert state(bank) == before


def test_a_deleted_memory_is_unknown(bank: MemoryBank) -> None:
    key = add(bank, "one")
    bank.apply([Delete(key)])
    for operation in (Update(key, "two"), Delete(key)):
        with pytest.raises(UnknownMemoryError):
            bank.apply([operation])
    assert [change.event for change in bank.history(key)] == ["ADD", "DELETE"]


def test_an_operation_on_a_stale_revision_is_refused_whole(bank: MemoryBank) -> None:
    key, other = add(bank, "one"), add(bank, "other")
    bank.apply([Update(key, "two")])
    before = state(bank)
    with pytest.raises(ConflictError) as caught:
        bank.apply([Update(other, "changed"), Update(key, "three")], expect={key: 1, other: 1})
    assert caught.value.keys == (key,)
    assert state(bank) == before
    bank.apply([Update(key, "three")], expect={key: 2})
    assert {memory.text for memory in bank.all()} == {"three", "other"}


def test_expecting_what_was_deleted_is_a_conflict(bank: MemoryBank) -> None:
    key = add(bank, "one")
    bank.apply([Delete(key)])
    with pytest.raises((ConflictError, UnknownMemoryError)):
        bank.apply([Update(key, "two")], expect={key: 1})
    assert bank.all() == []


def test_memories_come_in_the_order_in_which_they_were_said(bank: MemoryBank) -> None:
    bank.apply([Add("later", at=AT.replace(month=7)), Add("first", at=AT), Add("middle", at=AT.replace(month=6))])
    assert texts(bank.all()) == ["first", "middle", "later"]


def test_times_without_a_zone_are_utc(bank: MemoryBank) -> None:
    bank.apply([Add("second", at=datetime(2024, 5, 2)), Add("first", at=AT), Add("third")])
    assert texts(bank.all()) == ["first", "second", "third"]
    assert bank.all()[1].at == datetime(2024, 5, 2, tzinfo=UTC)


def test_several_operations_on_one_memory_in_a_turn(bank: MemoryBank) -> None:
    key = add(bank, "text 1")
    bank.apply([Update(key, f"text {number}") for number in range(2, 13)])
    assert [(memory.text, memory.rev) for memory in bank.all()] == [("text 12", 12)]
    after = [change.after for change in bank.history(key)]
    assert [memory and memory.rev for memory in after] == list(range(1, 13))
    with pytest.raises(UnknownMemoryError):
        bank.apply([Delete(key), Update(key, "gone")])
    assert len(bank) == 1


# ---- searching


def test_search_ranks_by_the_query(bank: MemoryBank) -> None:
    bank.apply([Add("Ann plays the violin."), Add("Ann adopted a dog, Buddy."), Add("Ann drinks green tea.")])
    hits = bank.search("Which dog did Ann adopt?")
    assert hits[0].memory.text == "Ann adopted a dog, Buddy."
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert len(bank.search("Ann", k=2)) == 2


def test_search_sees_every_change_at_once(bank: MemoryBank) -> None:
    key = add(bank, "Ann likes jazz.")
    assert texts([hit.memory for hit in bank.search("jazz", k=1)]) == ["Ann likes jazz."]
    bank.apply([Update(key, "Ann likes opera.")])
    assert texts([hit.memory for hit in bank.search("opera", k=1)]) == ["Ann likes opera."]
    bank.apply([Delete(key)])
    assert bank.search("opera") == []


def test_search_can_take_so_many_of_each_speaker(bank: MemoryBank) -> None:
    bank.apply([Add(f"Ann walks the dog {n}", speaker="Ann") for n in range(6)])
    bank.apply([Add(f"Bob sees a dog {n}", speaker="Bob") for n in range(3)])
    speakers = [hit.memory.speaker for hit in bank.search("dog", per_speaker=2)]
    assert sorted(speakers) == ["Ann", "Ann", "Bob", "Bob"]


def test_another_bank_on_the_same_namespace_sees_it(store: BaseStore, bank: MemoryBank) -> None:
    add(bank, "one")
    other = MemoryBank(store, "ann@example.com")
    assert texts(other.all()) == ["one"]
    add(other, "two")
    assert sorted(texts(bank.all())) == ["one", "two"]
    assert len(bank.search("two")) >= 1


# ---- forgetting, seen, forks, files


def test_seen_names_the_turns_of_every_operation(bank: MemoryBank) -> None:
    key = add(bank, "one", "D1:1")
    bank.apply([Noop("small talk", source=("D1:2",)), Update(key, "two", source=("D1:3",))])
    bank.apply([Delete(key, source=("D1:4",)), Noop("bye", source=("D1:5", "D1:6"))])
    assert bank.seen() == {f"D1:{n}" for n in range(1, 7)}


def test_forget_leaves_nothing(store: BaseStore, bank: MemoryBank) -> None:
    key = add(bank, "one", "D1:1")
    bank.apply([Update(key, "two"), Add("three"), Noop("small talk")])
    other = MemoryBank(store, "bob@example.com")
    add(other, "bob's")
    assert bank.forget() > 0
    assert (bank.all(), bank.history(), bank.seen(), bank.search("two")) == ([], [], set(), [])
    assert bank.get(key) is None
    assert texts(other.all()) == ["bob's"]
    add(bank, "again")
    assert texts(bank.all()) == ["again"]
    assert bank.forget() > 0
    assert bank.forget() == 0


def test_a_fork_is_a_bank_of_its_own(bank: MemoryBank) -> None:
    key = add(bank, "Ann has a dog.")
    before = state(bank)
    one, two = bank.fork(), bank.fork()
    one.apply([Update(key, "Ann has two dogs."), Add("Ann likes tea.")])
    two.apply([Delete(key)])
    assert sorted(texts(one.all())) == ["Ann has two dogs.", "Ann likes tea."]
    assert texts([hit.memory for hit in one.search("tea", k=1)]) == ["Ann likes tea."]
    assert two.all() == []
    deeper = one.fork()
    deeper.apply([Delete(key)])
    assert len(one.all()) == 2
    assert texts(deeper.all()) == ["Ann likes tea."]
    assert state(bank) == before
    add(bank, "new in the bank")
    assert "new in the bank" not in texts(one.all())


def test_a_fork_refuses_what_the_bank_refuses(bank: MemoryBank) -> None:
    key = add(bank, "one")
    fork = bank.fork()
    with pytest.raises(UnknownMemoryError):
        fork.apply([Add("x"), Update("nothing", "y")])
    with pytest.raises(ConflictError):
        fork.apply([Update(key, "y")], expect={key: 7})
    assert texts(fork.all()) == ["one"]


def test_export_and_import_are_lossless_and_idempotent(store: BaseStore, bank: MemoryBank, tmp_path: Path) -> None:
    bank.apply([Add('quo"te \\ é 🐕\nline', speaker="Ann", at=AT, source=("D1:1",), session="s"), Add("gone")])
    gone = next(memory for memory in bank.all() if memory.text == "gone")
    bank.apply([Delete(gone.id, reason="why"), Noop("small talk", source=("D1:9",))], model="rules")
    bank.undo(bank.apply([Add("undone")])[0].id)
    path = tmp_path / "bank.jsonl"
    bank.export_jsonl(path)
    copy = MemoryBank(store, "copy")
    for _ in range(2):
        copy.import_jsonl(path)
        assert copy.all() == bank.all()
        assert copy.history() == bank.history()
        assert copy.seen() == bank.seen()
    again = tmp_path / "again.jsonl"
    copy.export_jsonl(again)
    assert again.read_text("utf-8").splitlines()[1:] == path.read_text("utf-8").splitlines()[1:]


def test_an_old_export_does_not_bring_back_what_was_deleted_since(bank: MemoryBank, tmp_path: Path) -> None:
    key = add(bank, "Ann lives in Rome.")
    bank.export_jsonl(tmp_path / "bank.jsonl")
    bank.apply([Delete(key)])
    before = state(bank)
    bank.import_jsonl(tmp_path / "bank.jsonl")
    assert state(bank) == before


def test_an_imported_bank_goes_on(store: BaseStore, bank: MemoryBank, tmp_path: Path) -> None:
    key = add(bank, "one")
    bank.export_jsonl(tmp_path / "bank.jsonl")
    copy = MemoryBank(store, "copy")
    copy.import_jsonl(tmp_path / "bank.jsonl")
    (change,) = copy.apply([Update(key, "two")], expect={key: 1})
    copy.undo(change.id)
    assert texts(copy.all()) == ["one"]
    assert [record.event for record in copy.history(key)] == ["ADD", "UPDATE", "UPDATE"]
    assert texts(bank.all()) == ["one"]


# ---- owners


def test_an_owner_below_another_outlives_it(store: BaseStore) -> None:
    """Also where its name is one that a bank might use inside."""
    upper = MemoryBank(store, ("team",))
    lower = [MemoryBank(store, ("team", name)) for name in ("memory", "history", "ann")]
    for bank in (upper, *lower):
        add(bank, "one")
    assert (len(upper), len(upper.history())) == (1, 1)
    upper.forget()
    assert [(len(bank), len(bank.history())) for bank in lower] == [(1, 1)] * 3


OWNERS: list[str | tuple[str, ...]] = [
    "ann@example.com",
    "ann@example_com",
    "ann",
    "ann/b",
    ("ann", "b"),
    "..",
    ".",
    "",
    "%",
    "_",
    "it's",
    "\\' OR 1=1) --",
    "a\x00b",
    "a\nb",
    "langgraph",
    "🐕",
    "%2E%2E",
    ("x", "..", "y"),
]


@pytest.mark.parametrize("backend", ["lancedb", slow("lancedb-index"), "memory"], indirect=True)
def test_owners_of_any_name_are_apart(store: BaseStore) -> None:
    banks = [MemoryBank(store, owner) for owner in OWNERS]
    for number, bank in enumerate(banks):
        bank.apply([Add(f"belongs to {number}", source=(f"T{number}",)), Noop("x", source=(f"N{number}",))])
    for number, bank in enumerate(banks):
        assert texts(bank.all()) == [f"belongs to {number}"], OWNERS[number]
        assert {hit.memory.text for hit in bank.search("belongs to")} == {f"belongs to {number}"}
        assert bank.seen() == {f"T{number}", f"N{number}"}
        assert len(bank.history()) == 2
    banks[2].forget()
    assert [len(bank) for bank in banks] == [0 if number == 2 else 1 for number in range(len(banks))]


BLOCKING = sorted(name for name in dir(MemoryBank) if not name.startswith("_") and callable(getattr(MemoryBank, name)))
TWINS = [name for name in BLOCKING if name.startswith("a") and name[1:] in BLOCKING]


@pytest.mark.parametrize("name", [name for name in BLOCKING if name not in TWINS])
def test_every_method_has_an_async_twin(name: str) -> None:
    method, twin = getattr(MemoryBank, name), getattr(MemoryBank, f"a{name}", None)
    assert twin is not None, f"MemoryBank.{name} may block; give it a twin: a{name} = _in_thread({name})"
    assert inspect.iscoroutinefunction(twin)
    assert inspect.signature(twin) == inspect.signature(method)
    assert (twin.__name__, bool(twin.__doc__)) == (f"a{name}", True)


def test_a_twin_does_what_its_method_does(bank: MemoryBank, tmp_path: Path) -> None:
    """All of them, with the same results."""

    async def use() -> None:
        first, second = await bank.aapply([Add("Ann likes jazz.", source=("D1:1",)), Add("Ann likes tea.")])
        assert first.at is not None and second.at is not None
        assert await bank.aget(first.memory_id or "") == bank.get(first.memory_id or "")
        assert await bank.aall() == bank.all() and await bank.atexts() == bank.texts()
        assert await bank.asearch("jazz", k=1, per_speaker=1, fill=True) == bank.search("jazz", k=1)
        assert await bank.ahistory() == bank.history() and await bank.aseen() == bank.seen() == {"D1:1"}
        assert await bank.aas_of(first.at) == bank.as_of(first.at)
        assert await bank.adiff(first.at, second.at) == bank.diff(first.at, second.at)
        assert (await bank.afork()).all() == bank.all()
        assert await bank.aexport_jsonl(tmp_path / "bank.jsonl") == 2
        assert (await bank.aundo()).undoes == second.id
        assert (await bank.aimport_jsonl(tmp_path / "bank.jsonl", strict=True)).existing > 0
        assert await bank.aforget() == 1

    asyncio.run(use())


# ---- shown


def test_a_bank_shows_whose_it_is_and_how_much_is_known(store: BaseStore, bank: MemoryBank) -> None:
    assert repr(MemoryBank(store, "bob")) == "MemoryBank(('memories', 'bob'))"
    add(bank, "one")
    assert len(bank) == 1
    assert repr(bank) == "MemoryBank(('memories', 'ann@example.com'), memories=1)"
    fork = bank.fork()
    fork.apply([Add("two")])
    assert repr(fork) == "MemoryFork(memories=2, changes=1)"


def test_memories_and_changes_show_themselves_on_one_line() -> None:
    memory = Memory("m1", "Ann adopted a dog, Buddy, on the first of May.\n" * 9, "Ann", AT, ("D1:1",), "s", 2)
    shown = "Memory('m1', 'Ann adopted a dog, Buddy, on the first of May.\\nAnn adopted …', "
    assert repr(memory) == shown + "speaker='Ann', at=2024-05-01, rev=2)"
    assert repr(Memory("m1", "short")) == "Memory('m1', 'short')"
    change = Change("m1.2", "UPDATE", "m1", Memory("m1", "one"), Memory("m1", "two", rev=2), undoes="m1.1")
    assert repr(change) == "Change('m1.2', UPDATE: 'one' → 'two', undoes='m1.1')"
    assert repr(Change("noop-1", "NOOP", reason="small talk")) == "Change('noop-1', NOOP: 'small talk')"


def test_async_twins(bank: MemoryBank) -> None:
    async def use() -> None:
        (change,) = await bank.aapply([Add("Ann likes jazz.", source=("D1:1",))])
        assert texts(await bank.aall()) == ["Ann likes jazz."]
        assert [hit.memory.text for hit in await bank.asearch("jazz", k=1)] == ["Ann likes jazz."]
        assert [record.id for record in await bank.ahistory()] == [change.id]
        await bank.aapply([Update(change.memory_id or "", "Ann likes opera.")], expect={change.memory_id or "": 1})
        assert texts(bank.all()) == ["Ann likes opera."]

    asyncio.run(use())


# ---- on LanceDB


def test_a_turn_is_one_commit_and_a_noop_none(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    with LanceDBStore(str(folder)) as store:
        bank = MemoryBank(store, "ann")
        key = add(bank, "one")
        start = versions(folder)
        bank.apply([Update(key, "two"), Add("three"), Add("four"), Noop("x")])
        assert versions(folder) == start + 1
        for number in range(5):
            bank.apply([Noop(f"small talk {number}", source=(f"T{number}",))])
        assert versions(folder) == start + 1
        assert [change.reason for change in bank.history()][-5:] == [f"small talk {n}" for n in range(5)]
        before = bank.history()
    with LanceDBStore(str(folder)) as store:
        again = MemoryBank(store, "ann")
        assert again.history() == before
        assert again.seen() == {f"T{n}" for n in range(5)}


def test_another_store_sees_a_noop_too(tmp_path: Path) -> None:
    with LanceDBStore(str(tmp_path / "db")) as one, LanceDBStore(str(tmp_path / "db")) as two:
        MemoryBank(one, "ann").apply([Noop("small talk", source=("T1",))])
        assert MemoryBank(two, "ann").seen() == {"T1"}


def test_forget_leaves_no_byte_on_disk(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    with LanceDBStore(str(folder), index=index("text")) as store:
        bank, other = MemoryBank(store, "ann"), MemoryBank(store, "bob")
        key = add(bank, "secretword one")
        bank.apply([Update(key, "secretword two"), Noop("secretword three", source=("secretword",))])
        bank.apply([Delete(key, reason="secretword four")])
        add(other, "publicword")
        assert b"secretword" in folder_bytes(folder)
        bank.forget()
        assert b"secretword" not in folder_bytes(folder)
        assert texts(other.all()) == ["publicword"]
    assert b"secretword" not in folder_bytes(folder)
    assert b"publicword" in folder_bytes(folder)


def test_an_export_that_fails_leaves_what_was_there(bank: MemoryBank, tmp_path: Path) -> None:
    add(bank, "one")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        bank.export_jsonl(tmp_path / "folder")
    assert not list(tmp_path.glob("*.part"))
