"""Exports of chats and of other memory products, in the shapes that these products write."""

from __future__ import annotations

import json
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langgraph.store.memory import InMemoryStore

from langgraph_memory_r1 import Delete, InputError, MemoryBank, Update
from langgraph_memory_r1.importers import FORMATS, Export, detect, import_memories, read_export
from langgraph_memory_r1.importers.fields import LONGEST, parse_time
from support.exports import DATA, at, chat_database, said, turns

DOGS = "0b6a1f0e-1111-4c1e-9d0a-000000000001"
LOOKS = {
    "mem0.json": "mem0",
    "langmem.json": "langmem",
    "openai.jsonl": "messages",
    "langchain.json": "messages",
    "chatgpt.json": "messages",
    "WhatsApp Chat with Bob.txt": "whatsapp",
    "whatsapp_ios.txt": "whatsapp",
    "telegram.json": "telegram",
    "slack": "slack",
    "message_1.json": "facebook",
}


def bring(bank: MemoryBank, export: Export) -> list[str]:
    return [change.event for some in import_memories(bank, export.memories, export.format) for change in some.changes]


@pytest.fixture
def backend() -> str:
    return "memory"


# Which format


@pytest.mark.parametrize(("name", "format"), LOOKS.items())
def test_formats_are_told_by_what_is_in_a_file(name: str, format: str) -> None:
    assert detect(DATA / name) == format
    assert read_export(DATA / name).format == format


def test_every_format_has_an_export_in_the_tests(tmp_path: Path) -> None:
    assert detect(chat_database(tmp_path / "chat.db")) == "imessage"
    assert {*LOOKS.values(), "imessage", "jsonl"} == set(FORMATS)


@pytest.mark.parametrize(
    ("value", "format"),
    [
        ({"count": 1, "next": None, "previous": None, "results": [{"id": "1", "memory": "x"}]}, "mem0"),
        ([{"id": "h", "memory_id": "1", "old_memory": None, "new_memory": "x", "event": "ADD"}], "mem0"),
        ({"id": "1", "payload": {"data": "x", "user_id": "ann"}}, "mem0"),
        ([{"kind": "Memory", "content": {"content": "x"}}], "langmem"),
        ({"items": [{"namespace": ["a"], "key": "1", "value": {"text": "x"}}]}, "langmem"),
        ([["human", "x"], ["ai", "y"]], "messages"),
        ([{"role": "user", "content": "x"}], "messages"),
        ({"values": {"messages": [{"type": "human", "content": "x"}]}}, "messages"),
        ({"chats": {"list": [{"name": "Bob", "type": "personal_chat", "id": 1, "messages": []}]}}, "telegram"),
        ({"id": "c1", "turns": []}, "jsonl"),
    ],
)
def test_other_shapes_of_a_product(write: Any, value: Any, format: str) -> None:
    assert detect(write(value)) == format


@pytest.mark.parametrize("value", ["", "Some notes.\nMore notes.", '{"a": 1}', "[]", "[1, 2]", "null", "[" * 5, '"x"'])
def test_what_is_no_export_is_refused(write: Any, value: str) -> None:
    with pytest.raises(InputError, match=r"export\.json"):
        read_export(write(value))


def test_an_empty_folder_a_missing_file_and_an_unknown_format_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no export that is known"):
        read_export(tmp_path)
    with pytest.raises(InputError, match=r"none\.json cannot be read"):
        read_export(tmp_path / "none.json")
    with pytest.raises(InputError, match=r"none\.json cannot be read"):
        read_export(tmp_path / "none.json", "mem0")
    with pytest.raises(InputError, match="give one of jsonl, messages"):
        read_export(DATA / "mem0.json", "myspace")


# mem0


def test_mem0_memories_bring_owner_times_and_earlier_wordings() -> None:
    export = read_export(DATA / "mem0.json")
    dogs, cello, agent = export.memories
    assert [wording.text for wording in dogs.versions] == [
        "Adopted a dog, Buddy",
        "Adopted two dogs, Buddy and Scout",
    ]
    assert [wording.at for wording in dogs.versions] == [at(2024, 5, 1, 15), at(2024, 6, 1, 16)]
    assert (dogs.id, dogs.owner, dogs.speaker) == (f"mem0:{DOGS}", "ann@example.com", "Ann")
    assert (cello.owner, cello.versions[0].at) == ("bob", at(2024, 5, 3, 10))
    assert agent.owner == "agent:bob"
    assert [line.partition("mem0.json, ")[2] for line in export.broken] == [
        "results, entry 4: it has no id",
        "results, entry 3: its text is empty",
    ]


def test_mem0_becomes_operations_with_history_and_a_second_run_changes_nothing(bank: MemoryBank) -> None:
    export = read_export(DATA / "mem0.json")
    assert bring(bank, export) == ["ADD", "ADD", "ADD", "UPDATE"]
    dogs = next(memory for memory in bank.all() if "dogs" in memory.text)
    assert (dogs.text, dogs.at, dogs.rev) == ("Adopted two dogs, Buddy and Scout", at(2024, 6, 1, 16), 2)
    assert dogs.source[0] == f"mem0:{DOGS}"
    assert [(c.event, c.model, c.reason) for c in bank.history(dogs.id)] == [
        ("ADD", "mem0", "imported from mem0"),
        ("UPDATE", "mem0", "imported from mem0"),
    ]
    before = bank.history()
    assert bring(bank, export) == []
    assert bank.history() == before


def test_a_newer_wording_is_an_update_and_one_that_was_deleted_there_goes(bank: MemoryBank, write: Any) -> None:
    item = {"id": "m1", "memory": "Lives in Boston", "created_at": "2024-01-01T00:00:00Z", "updated_at": None}
    row = {
        "memory_id": "m1",
        "old_memory": "Lives in Denver",
        "new_memory": None,
        "event": "DELETE",
        "is_deleted": True,
    }
    assert bring(bank, read_export(write([item]))) == ["ADD"]
    newer = item | {"memory": "Lives in Denver", "updated_at": "2024-02-01T00:00:00Z"}
    assert bring(bank, read_export(write({"results": [newer]}))) == ["UPDATE"]
    assert [(memory.text, memory.at) for memory in bank.all()] == [("Lives in Denver", at(2024, 2, 1))]
    rows = [row | {"id": "h", "created_at": "2024-03-01T00:00:00Z"}]
    assert bring(bank, read_export(write({"results": [], "history": rows}))) == ["DELETE"]
    assert bank.all() == []


def test_what_was_changed_or_deleted_here_since_stays(bank: MemoryBank, write: Any) -> None:
    items = [{"id": f"m{n}", "memory": f"Old {n}", "updated_at": "2024-01-01T00:00:00Z"} for n in range(2)]
    bring(bank, read_export(write(items)))
    first, second = bank.all()
    bank.apply([Update(first.id, "Better"), Delete(second.id)])
    newer = [item | {"memory": f"New {n}", "updated_at": "2024-02-01T00:00:00Z"} for n, item in enumerate(items)]
    assert bring(bank, read_export(write(newer))) == ["NOOP", "NOOP"]
    assert [memory.text for memory in bank.all()] == ["Better"]
    assert bring(bank, read_export(write(newer))) == []


def test_a_history_that_comes_later_is_not_replayed_over_the_import(bank: MemoryBank, write: Any) -> None:
    whole = json.loads((DATA / "mem0.json").read_text())
    bring(bank, read_export(write({"results": whole["results"]})))
    assert bring(bank, read_export(DATA / "mem0.json")) == []
    assert "Adopted two dogs, Buddy and Scout" in [memory.text for memory in bank.all()]


def test_deleted_memories_go_to_the_owner_of_the_export_or_to_nobody(write: Any) -> None:
    item = {"id": "m1", "memory": "Lives in Boston", "user_id": "ann"}
    rows = [
        {"id": "h1", "memory_id": "m2", "old_memory": None, "new_memory": "Has a cat", "event": "ADD"},
        {"id": "h2", "memory_id": "m2", "old_memory": "Has a cat", "new_memory": None, "event": "DELETE"},
    ]
    anns = read_export(write({"results": [item], "history": rows}))
    assert [(kept.owner, len(kept.versions)) for kept in anns.memories] == [("ann", 1), ("ann", 2)]
    both = read_export(write({"results": [item, item | {"id": "m3", "user_id": "bob"}], "history": rows}))
    assert [kept.id for kept in both.memories] == ["mem0:m1", "mem0:m3"]
    assert both.skipped["history of a deleted memory of an unknown owner"] == 1
    assert not read_export(write(rows)).personal


def test_an_import_that_was_cut_short_goes_on(bank: MemoryBank, write: Any) -> None:
    items = [{"id": f"m{n:04}", "memory": f"Fact number {n}"} for n in range(450)]
    export = read_export(write(items))
    steps = import_memories(bank, export.memories, "mem0")
    assert (next(steps).memories, len(bank)) == (200, 200)
    again = list(import_memories(bank, export.memories, "mem0"))
    assert [(some.memories, some.existing, len(some.changes)) for some in again] == [
        (200, 200, 0),
        (200, 0, 200),
        (50, 0, 50),
    ]
    assert len({memory.text for memory in bank.all()}) == len(bank) == 450


@pytest.mark.parametrize(
    "item",
    [
        {"id": "1", "memory": None},
        {"id": "1", "memory": 7},
        {"id": "1", "memory": "\x00\ud800 "},
        {"id": "1", "memory": "x" * (LONGEST + 1)},
        {"id": True, "memory": "x"},
        {"id": "1", "memory": "x", "user_id": "  "},
        {"id": "1", "memory": "x", "created_at": "last week"},
        {"id": "1", "memory": "x", "updated_at": 1e300},
        [[[[[1]]]]],
        "text",
        None,
    ],
)
def test_broken_memories_are_named_and_the_rest_is_read(write: Any, item: Any) -> None:
    export = read_export(write([item, {"id": "2", "memory": "Good"}]), "mem0")
    assert [kept.versions[0].text for kept in export.memories] == ["Good"]
    (line,) = export.broken
    assert "export.json, entry 1" in line and "\n" not in line
    with pytest.raises(InputError, match="leave strict out"):
        read_export(write([item, {"id": "2", "memory": "Good"}]), "mem0", strict=True)


@pytest.mark.parametrize("user", ["a'b\"c", "Zoë 😀", "../..", "%", "x\x00y", "a.b@c", "a" * 5000])
def test_owners_of_any_characters_come_through(write: Any, user: str) -> None:
    (kept,) = read_export(write([{"id": "1", "memory": "x", "user_id": user}])).memories
    assert kept.owner == user


# langmem


def test_langmem_items_bring_owner_and_time() -> None:
    export = read_export(DATA / "langmem.json")
    assert [(kept.owner, kept.versions[0].text, kept.versions[0].at) for kept in export.memories] == [
        ("ann", "Ann loves pizza with pineapple.", at(2024, 3, 2, 12)),
        ("ann", "UserProfile: name: Ann; languages: English, Dutch", at(2024, 3, 1, 12)),
        ("bob", "Bob moved to Denver.", at(2024, 3, 4, 12)),
    ]
    assert [line.partition(", ")[2] for line in export.broken] == [
        "entry 4: its content is missing",
        "entry 5: it is str, no item of a store",
    ]


def test_items_of_a_real_store_and_their_bare_values(bank: MemoryBank, write: Any) -> None:
    store = InMemoryStore()
    store.put(("users", "ann", "memories"), "1", {"kind": "Memory", "content": {"content": "Ann has a cat."}})
    store.put(("users", "bob", "memories"), "1", {"text": "Bob has a cat."})
    items = [item.dict() for item in store.search(())]
    export = read_export(write(items))
    assert {(kept.owner, kept.versions[0].text) for kept in export.memories} == {
        ("ann", "Ann has a cat."),
        ("bob", "Bob has a cat."),
    }
    assert len({kept.id for kept in export.memories}) == 2
    values = "\n".join(json.dumps(item["value"]) for item in items[:1] * 2)
    bring(bank, read_export(write(values, "values.jsonl")))
    assert [memory.text for memory in bank.all()] == [export.memories[0].versions[0].text]


# Hostile files


def test_a_zip_whose_names_lead_outside_writes_nothing_there(tmp_path: Path) -> None:
    path = tmp_path / "in" / "chat.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../evil.txt", "22/01/2023, 18:30 - Ann: I play the cello.")
    assert said(read_export(path)) == [("Ann", "I play the cello.")]
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == ["chat.zip"]


def test_what_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "chat.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("chat.txt", b"0" * 3_000_000)
    monkeypatch.setattr("langgraph_memory_r1.importers.files.LARGEST", 2**21)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "chat.txt").write_bytes(b"0" * 3_000_000)
    for export_of in (path, tmp_path / "folder", tmp_path / "folder" / "chat.txt"):
        with pytest.raises(InputError, match="holds more than 2 MB"):
            read_export(export_of, "whatsapp")


def test_damaged_files_are_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "chat.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("chat.txt", "22/01/2023, 18:30 - Ann: I play the cello." * 100)
    data = bytearray((tmp_path / "chat.zip").read_bytes())
    data[60] ^= 0xFF
    (tmp_path / "chat.zip").write_bytes(data)
    (tmp_path / "chat.db").write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    (tmp_path / "latin.txt").write_bytes("22/01/2023, 18:30 - Ann: Caf\xe9".encode("latin-1"))
    (tmp_path / "deep.json").write_text("[" * 200_000)
    for name in ("chat.zip", "chat.db", "latin.txt", "deep.json"):
        with pytest.raises(InputError, match=name):
            read_export(tmp_path / name)


def test_a_mark_at_the_start_and_utf_16_are_read(tmp_path: Path) -> None:
    text = json.dumps([{"role": "user", "content": "I have a café."}], ensure_ascii=False)
    for coding in ("utf-8-sig", "utf-16"):
        (tmp_path / "chat.json").write_text(text, encoding=coding)
        assert [turn.text for turn in turns(read_export(tmp_path / "chat.json"))] == ["I have a café."]


FIELDS = (
    "id memory results history memory_id new_memory value key kind content namespace messages role type data text"
    " mapping message author parts user_id metadata created_at date from chats list sender_name title timestamp_ms"
    " participants payload additional_kwargs lc kwargs values current_node parent turns name"
).split()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5),
    max_leaves=20,
)


def read_or_refused(path: Any) -> None:
    for format in ("auto", "mem0", "langmem", "messages", "telegram", "facebook"):
        try:
            export = read_export(path, format)
        except InputError as error:
            assert "export.json" in str(error)
        else:
            assert all(turn.text and turn.id for turn in turns(export))
            assert all(wording.text != "" for kept in export.memories for wording in kept.versions)


@given(value=JSON)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_json_is_read_or_refused_in_a_sentence(write: Any, value: Any) -> None:
    read_or_refused(write(value))


@pytest.mark.slow
@given(value=JSON)
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_lot_of_json_is_read_or_refused_in_a_sentence(write: Any, value: Any) -> None:
    read_or_refused(write(value))


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("2024-05-01", at(2024, 5, 1)),
        ("2024-05-01T10:00:00+02:00", at(2024, 5, 1, 8)),
        (1714557660, at(2024, 5, 1, 10, 1)),
        ("1714557660.5", at(2024, 5, 1, 10, 1, 0, 500_000)),
        (1714557660000, at(2024, 5, 1, 10, 1)),
        (1714557660000000000, at(2024, 5, 1, 10, 1)),
        (None, None),
        ("", None),
    ],
)
def test_times_in_every_notation(value: Any, wanted: datetime | None) -> None:
    assert parse_time(value) == wanted


# What products keep beside the words


MEM0 = {
    "id": "m1",
    "memory": "Lives in Boston",
    "hash": "d41d8cd9",
    "score": 0.5,
    "user_id": "ann",
    "agent_id": "travel",
    "run_id": "r7",
    "metadata": {"team": "red", "nested": {"a": [1, None]}},
    "categories": ["places", "home"],
    "immutable": True,
    "created_at": "2024-01-01T00:00:00Z",
}


def test_mem0_fields_survive(bank: MemoryBank, write: Any) -> None:
    bring(bank, read_export(write([MEM0])))
    (memory,) = bank.all()
    assert memory.metadata == {
        "team": "red", "nested": {"a": [1, None]}, "agent_id": "travel", "run_id": "r7", "immutable": True,
    }  # fmt: skip
    assert (memory.tags, memory.session, memory.expires_at) == (("places", "home"), "r7", None)
    assert [hit.memory.text for hit in bank.search("Boston", filter={"agent_id": "travel", "team": "red"})]


def test_rows_of_mem0s_vector_store_keep_their_payload(bank: MemoryBank, write: Any) -> None:
    payload = {"data": "Lives in Boston", "hash": "x", "user_id": "ann", "run_id": "r7", "team": "red"}
    bring(bank, read_export(write([{"id": "m1", "payload": payload}]), "mem0"))
    assert bank.all()[0].metadata == {"run_id": "r7", "team": "red"}


@pytest.mark.parametrize("field", ["expiration_date", "expires_at"])
@pytest.mark.parametrize("end", ["2025-01-01", "2025-01-01T10:00:00+02:00", 1735689600])
def test_what_expired_there_is_not_live_here_but_told(bank: MemoryBank, write: Any, end: Any, field: str) -> None:
    rows = [
        {"id": "h1", "memory_id": "m1", "new_memory": "Lives in Rome", "event": "ADD"},
        {"id": "h2", "memory_id": "m1", "new_memory": "Lives in Boston", "event": "UPDATE"},
    ]
    export = read_export(write({"results": [MEM0 | {field: end}, MEM0 | {"id": "m2"}], "history": rows}))
    steps = list(import_memories(bank, export.memories, "mem0"))
    assert sum(step.expired for step in steps) == 1
    assert [memory.source[0] for memory in bank.all()] == ["mem0:m2"]
    assert bank.history()[-1].reason == "expired" or any(change.reason == "expired" for change in bank.history())
    assert bring(bank, export) == []
    longer = read_export(write([MEM0 | {field: "2999-01-01", "updated_at": "2026-01-01T00:00:00Z"}]))
    assert bring(bank, longer) == ["ADD"]
    assert {memory.expires_at and memory.expires_at.year for memory in bank.all()} == {None, 2999}


def test_a_date_without_a_time_is_the_last_day(bank: MemoryBank, write: Any) -> None:
    (memory,) = read_export(write([MEM0 | {"expiration_date": "2025-01-01"}])).memories
    assert memory.expires_at == at(2025, 1, 2)


def test_fields_that_change_there_change_here(bank: MemoryBank, write: Any) -> None:
    bring(bank, read_export(write([MEM0])))
    newer = MEM0 | {"metadata": {"team": "blue"}, "categories": None, "updated_at": "2024-05-01T00:00:00Z"}
    assert bring(bank, read_export(write([newer]))) == ["UPDATE"]
    (memory,) = bank.all()
    assert (memory.metadata["team"], memory.tags) == ("blue", ())
    assert bring(bank, read_export(write([newer | {"updated_at": "2024-06-01T00:00:00Z"}]))) == ["NOOP"]


@pytest.mark.parametrize(
    ("fields", "skipped"),
    [
        ({"metadata": "red"}, "metadata that is no object"),
        ({"metadata": {"a": float("nan"), "b": 1}}, "unusable metadata"),
        ({"metadata": {"": 1}}, "unusable metadata"),
        ({"categories": ["ok", {"name": "x"}]}, "unusable tag"),
        ({"categories": 7}, "unusable tag"),
        ({"expiration_date": "next week"}, "unreadable expiry"),
        ({"expiration_date": True}, "unreadable expiry"),
    ],
)
def test_what_cannot_be_kept_is_counted(bank: MemoryBank, write: Any, fields: Any, skipped: str) -> None:
    export = read_export(write([MEM0 | fields]))
    assert +export.skipped == {skipped: 1}
    assert bring(bank, export) == ["ADD"]


def test_langmem_items_keep_what_stands_beside_the_words(bank: MemoryBank, write: Any) -> None:
    item = {
        "namespace": ["memories", "ann"],
        "key": "k1",
        "value": {"content": "Ann loves pizza.", "tags": ["food"], "source": "crm", "metadata": {"team": "red"}},
        "created_at": "2024-03-02T12:00:00Z",
        "updated_at": "2024-03-02T12:00:00Z",
        "score": None,
        "pinned": True,
    }
    export = read_export(write([item]))
    bring(bank, export)
    (memory,) = bank.all()
    assert (memory.metadata, memory.tags) == ({"team": "red", "source": "crm"}, ("food",))
    assert +export.skipped == {"field 'pinned'": 1}


def test_a_purged_memory_does_not_come_back_with_the_next_export(bank: MemoryBank, write: Any) -> None:
    bring(bank, read_export(write([MEM0])))
    bank.purge(bank.all()[0].id)
    assert bring(bank, read_export(write([MEM0]))) == []
    newer = MEM0 | {"memory": "Lives in Denver", "updated_at": "2024-02-01T00:00:00Z"}
    assert bring(bank, read_export(write([newer]))) == ["NOOP"]
    assert bank.all() == []
