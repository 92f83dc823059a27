"""Exports of chats and of other memory products, in the shapes that these products write."""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, message_to_dict, messages_to_dict
from langgraph.store.memory import InMemoryStore

from langgraph_memory_r1 import Delete, InputError, MemoryBank, MissingDependencyError, Turn, Update
from langgraph_memory_r1.importers import FORMATS, Harvest, adopt, detect, read_export
from langgraph_memory_r1.importers.fields import LONGEST, moment

DATA = Path(__file__).parent / "data"
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


def at(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]


def turns(harvest: Harvest) -> list[Turn]:
    return [turn for talk in harvest.talks for turn in talk.conversation.turns]


def said(harvest: Harvest) -> list[tuple[str, str]]:
    return [(turn.speaker, turn.text) for turn in turns(harvest)]


def bring(bank: MemoryBank, harvest: Harvest) -> list[str]:
    return [change.event for some in adopt(bank, harvest.kept, harvest.format) for change in some.changes]


@pytest.fixture
def bank() -> MemoryBank:
    return MemoryBank(InMemoryStore(), "ann")


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(value: Any, name: str = "export.json") -> Path:
        path = tmp_path / name
        path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
        return path

    return write


@pytest.fixture
def chat_db(tmp_path: Path) -> Iterator[Path]:
    """The tables of macOS's chat.db that matter, with two chats in them."""
    path = tmp_path / "chat.db"
    base = 736_000_000 * 10**9  # nanoseconds since 2001
    body = b"streamtyped\x81\xe8\x03NSString\x01\x94\x84\x01+\x11I play the cello.\x86"
    with sqlite3.connect(path) as db:
        db.executescript(
            "CREATE TABLE handle (ROWID INTEGER PRIMARY KEY, id TEXT);"
            "CREATE TABLE message (ROWID INTEGER PRIMARY KEY, date INTEGER, text TEXT, is_from_me INTEGER,"
            " handle_id INTEGER, attributedBody BLOB);"
            "CREATE TABLE chat_message_join (chat_id INTEGER, message_id INTEGER);"
            "INSERT INTO handle VALUES (1, '+31612345678'), (2, 'eve@example.com');"
            "INSERT INTO chat_message_join VALUES (1, 1), (1, 2), (1, 3), (1, 4), (2, 5);"
        )
        rows = [
            (1, base, "I adopted a dog called Buddy.", 1, 1, None),
            (2, base + 10**9, "I moved to Denver.", 0, 1, None),
            (3, base + 2 * 10**9, None, 1, 1, body),
            (4, base + 3 * 10**9, None, 0, 1, b"NSString"),
            (5, base + 4 * 10**9, "I hate mushrooms.", 0, 2, None),
        ]
        db.executemany("INSERT INTO message VALUES (?, ?, ?, ?, ?, ?)", rows)
    db.close()
    yield path


# Which format


@pytest.mark.parametrize(("name", "format"), LOOKS.items())
def test_formats_are_told_by_what_is_in_a_file(name: str, format: str) -> None:
    assert detect(DATA / name) == format
    assert read_export(DATA / name).format == format


def test_every_format_has_an_export_in_the_tests(chat_db: Path) -> None:
    assert detect(chat_db) == "imessage"
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
    harvest = read_export(DATA / "mem0.json")
    dogs, cello, agent = harvest.kept
    assert [wording.text for wording in dogs.wordings] == ["Adopted a dog, Buddy", "Adopted two dogs, Buddy and Scout"]
    assert [wording.at for wording in dogs.wordings] == [at(2024, 5, 1, 15), at(2024, 6, 1, 16)]
    assert (dogs.id, dogs.owner, dogs.speaker) == (f"mem0:{DOGS}", "ann@example.com", "Ann")
    assert (cello.owner, cello.wordings[0].at) == ("bob", at(2024, 5, 3, 10))
    assert agent.owner == "agent:bob"
    assert [line.partition("mem0.json, ")[2] for line in harvest.broken] == [
        "results, entry 4: it has no id",
        "results, entry 3: its text is empty",
    ]


def test_mem0_becomes_operations_with_history_and_a_second_run_changes_nothing(bank: MemoryBank) -> None:
    harvest = read_export(DATA / "mem0.json")
    assert bring(bank, harvest) == ["ADD", "ADD", "ADD", "UPDATE"]
    dogs = next(memory for memory in bank.all() if "dogs" in memory.text)
    assert (dogs.text, dogs.at, dogs.rev) == ("Adopted two dogs, Buddy and Scout", at(2024, 6, 1, 16), 2)
    assert dogs.source[0] == f"mem0:{DOGS}"
    assert [(c.event, c.model, c.reason) for c in bank.history(dogs.id)] == [
        ("ADD", "mem0", "imported from mem0"),
        ("UPDATE", "mem0", "imported from mem0"),
    ]
    before = bank.history()
    assert bring(bank, harvest) == []
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


def test_an_import_that_was_cut_short_goes_on(bank: MemoryBank, write: Any) -> None:
    items = [{"id": f"m{n:04}", "memory": f"Fact number {n}"} for n in range(450)]
    harvest = read_export(write(items))
    steps = adopt(bank, harvest.kept, "mem0")
    assert (next(steps).done, len(bank)) == (200, 200)
    again = list(adopt(bank, harvest.kept, "mem0"))
    assert [(some.done, some.known, len(some.changes)) for some in again] == [(200, 200, 0), (200, 0, 200), (50, 0, 50)]
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
    harvest = read_export(write([item, {"id": "2", "memory": "Good"}]), "mem0")
    assert [kept.wordings[0].text for kept in harvest.kept] == ["Good"]
    (line,) = harvest.broken
    assert "export.json, entry 1" in line and "\n" not in line
    with pytest.raises(InputError, match="--strict"):
        read_export(write([item, {"id": "2", "memory": "Good"}]), "mem0", strict=True)


@pytest.mark.parametrize("user", ["a'b\"c", "Zoë 😀", "../..", "%", "x\x00y", "a.b@c", "a" * 5000])
def test_owners_of_any_characters_come_through(write: Any, user: str) -> None:
    (kept,) = read_export(write([{"id": "1", "memory": "x", "user_id": user}])).kept
    assert kept.owner == user


# langmem


def test_langmem_items_bring_owner_and_time() -> None:
    harvest = read_export(DATA / "langmem.json")
    assert [(kept.owner, kept.wordings[0].text, kept.wordings[0].at) for kept in harvest.kept] == [
        ("ann", "Ann loves pizza with pineapple.", at(2024, 3, 2, 12)),
        ("ann", "UserProfile: name: Ann; languages: English, Dutch", at(2024, 3, 1, 12)),
        ("bob", "Bob moved to Denver.", at(2024, 3, 4, 12)),
    ]
    assert [line.partition(", ")[2] for line in harvest.broken] == [
        "entry 4: its content is missing",
        "entry 5: it is str, no item of a store",
    ]


def test_items_of_a_real_store_and_their_bare_values(bank: MemoryBank, write: Any) -> None:
    store = InMemoryStore()
    store.put(("users", "ann", "memories"), "1", {"kind": "Memory", "content": {"content": "Ann has a cat."}})
    store.put(("users", "bob", "memories"), "1", {"text": "Bob has a cat."})
    items = [item.dict() for item in store.search(())]
    harvest = read_export(write(items))
    assert {(kept.owner, kept.wordings[0].text) for kept in harvest.kept} == {
        ("ann", "Ann has a cat."),
        ("bob", "Bob has a cat."),
    }
    assert len({kept.id for kept in harvest.kept}) == 2
    values = "\n".join(json.dumps(item["value"]) for item in items[:1] * 2)
    bring(bank, read_export(write(values, "values.jsonl")))
    assert [memory.text for memory in bank.all()] == [harvest.kept[0].wordings[0].text]


# Messages


def test_openai_messages_keep_what_was_said_and_count_the_rest() -> None:
    harvest = read_export(DATA / "openai.jsonl")
    assert said(harvest) == [
        ("user", "I adopted a dog called Buddy."),
        ("assistant", "How lovely!"),
        ("user", "I moved to Denver."),
    ]
    assert [talk.owner for talk in harvest.talks] == ["ann", "bob"]
    assert harvest.skipped["system"] == harvest.skipped["tool"] == harvest.skipped["image_url"] == 1
    assert [line.partition("jsonl:")[2].split(":")[0] for line in harvest.broken] == ["3", "2, message 3"]


def test_langchain_messages_in_every_notation(write: Any) -> None:
    messages = [HumanMessage("I play the cello.", name="Ann"), AIMessage("Since when?")]
    wanted = [("Ann", "I play the cello."), ("assistant", "Since when?")]
    notations = [
        messages_to_dict(messages),
        {"messages": [message.model_dump(mode="json") for message in messages]},
        {"values": {"messages": [message.to_json() for message in messages]}},
    ]
    for notation in notations:
        assert said(read_export(write(notation))) == wanted
    lines = "\n".join(json.dumps(message_to_dict(message)) for message in messages)
    assert said(read_export(write(lines, "one-a-line.jsonl"))) == wanted


def test_recalled_memories_are_never_imported_as_said() -> None:
    harvest = read_export(DATA / "langchain.json")
    first, _ = turns(harvest)
    assert (first.speaker, first.at, first.id) == ("Ann", at(2024, 5, 20, 10), "0e9b8a4e-3333-4a6b-9c57-000000000001")
    assert harvest.skipped["recalled"] == 1


def test_chatgpt_conversations_follow_their_current_branch() -> None:
    harvest = read_export(DATA / "chatgpt.json")
    assert said(harvest) == [
        ("user", "I adopted a dog called Buddy."),
        ("assistant", "How lovely!"),
        ("user", "I adopted another dog, Scout!"),
        ("user", "I play the cello."),
    ]
    assert harvest.personal and turns(harvest)[0].at == datetime.fromtimestamp(1715000001, UTC)


def test_a_conversation_whose_nodes_go_in_a_circle_ends(write: Any) -> None:
    node = {"author": {"role": "user"}, "content": {"parts": ["I play the cello."]}}
    mapping = {"a": {"message": node, "parent": "b"}, "b": {"message": None, "parent": "a"}}
    assert len(turns(read_export(write([{"mapping": mapping, "current_node": "a"}])))) == 1


def test_turn_ids_come_from_words_and_place(write: Any) -> None:
    chat = [{"role": "user", "content": text} for text in ("I have a dog.", "Yes.", "I have a cat.", "Yes.")]
    first = [turn.id for turn in turns(read_export(write(chat)))]
    assert len(set(first)) == 4
    assert [turn.id for turn in turns(read_export(write(chat, "renamed.json")))] == first
    grown = read_export(write([*chat, {"role": "user", "content": "Bye."}]))
    assert [turn.id for turn in turns(grown)][:4] == first
    other = [{"role": "user", "content": "No."}, *chat[1:]]
    assert not {turn.id for turn in turns(read_export(write(other)))} & set(first)


@pytest.mark.parametrize("content", [None, 7, {}, [], [None], [{"type": "image"}], " ", "\x00", "\ud83d"])
def test_content_without_text_is_counted_not_imported(write: Any, content: Any) -> None:
    chat = [{"role": "user", "content": content}, {"role": "user", "content": "Good."}]
    harvest = read_export(write(chat), "messages")
    assert [turn.text for turn in turns(harvest)] == ["Good."]
    assert harvest.skipped.total() >= 1


# Apps


def test_whatsapp_lines_of_several_phones() -> None:
    android = read_export(DATA / "WhatsApp Chat with Bob.txt")
    assert said(android) == [
        ("Ann", "I adopted a dog called Buddy."),
        ("Bob", "I moved to Denver. It is sunny here."),
        ("Ann", "I play the cello."),
    ]
    assert [turn.at for turn in turns(android)] == [
        at(2023, 1, 22, 18, 30),
        at(2023, 1, 22, 18, 32),
        at(2023, 1, 23, 9, 7),
    ]
    assert android.talks[0].conversation.id == "Bob"
    assert (android.skipped["notice"], android.skipped["without words"]) == (2, 2)
    ios = read_export(DATA / "whatsapp_ios.txt")
    assert [turn.at for turn in turns(ios)] == [at(2023, 1, 22, 18, 30, 5), at(2023, 1, 23, 9, 7)]


@pytest.mark.parametrize(
    ("line", "when"),
    [
        ("03.02.21, 18:30 - Ann: Hi there", at(2021, 2, 3, 18, 30)),
        ("2021-02-03, 18:30 - Ann: Hi there", at(2021, 2, 3, 18, 30)),
        ("2/3/21, 6:30 PM - Ann: Hi there", at(2021, 2, 3, 18, 30)),
        ("[03/02/2021, 18:30:15] Ann: Hi there", at(2021, 2, 3, 18, 30, 15)),
        ("03/02/2021, 6:30 p.m. - Ann: Hi there\n13/02/2021, 6:30 p.m. - Ann: Bye", at(2021, 2, 3, 18, 30)),
        ("99/99/21, 18:30 - Ann: Hi there", None),
    ],
)
def test_whatsapp_dates(write: Any, line: str, when: datetime | None) -> None:
    first = turns(read_export(write(line, "chat.txt")))[0]
    assert (first.speaker, first.text, first.at) == ("Ann", "Hi there", when)


def test_telegram_json() -> None:
    harvest = read_export(DATA / "telegram.json")
    assert said(harvest) == [
        ("Ann", "I adopted a dog called Buddy."),
        ("Bob", "I moved to Denver."),
        ("Ann", "I play the cello."),
    ]
    assert turns(harvest)[0].at == at(2024, 5, 1, 10, 1)
    assert len(harvest.broken) == 1 and "message 5" in harvest.broken[0]


def test_telegram_account_has_a_conversation_for_each_chat(write: Any) -> None:
    chat = json.loads((DATA / "telegram.json").read_text())
    harvest = read_export(write({"about": "x", "chats": {"list": [chat, chat | {"name": "Eve"}, 7]}}, "result.json"))
    assert [talk.conversation.id for talk in harvest.talks] == ["Bob", "Eve"]


def test_slack_folder_and_zip_say_the_same(tmp_path: Path) -> None:
    folder = read_export(DATA / "slack")
    assert said(folder) == [
        ("Ann", "I adopted a dog called Buddy."),
        ("Bob B.", "Ann I moved to Denver & love the town."),
        ("Ann", "I play the cello."),
        ("Bob B.", "I hate mushrooms."),
    ]
    assert [talk.conversation.id for talk in folder.talks] == ["general", "random"]
    assert turns(folder)[0].at == at(2024, 5, 1, 10, 1, 0, 200)
    assert len(folder.broken) == 1 and "general/2024-05-01.json, entry 6" in folder.broken[0]
    zipped = read_export(shutil.make_archive(str(tmp_path / "workspace"), "zip", DATA / "slack"))
    assert [turn.id for turn in turns(zipped)] == [turn.id for turn in turns(folder)]


def test_messenger_has_its_times_and_letters() -> None:
    harvest = read_export(DATA / "message_1.json")
    assert said(harvest) == [("Ann", "I adopted a dog called Buddy."), ("René", "I moved to Denver.")]
    assert [turn.at for turn in turns(harvest)] == [at(2024, 5, 1, 10, 1), at(2024, 5, 1, 10, 2)]
    assert (harvest.talks[0].conversation.id, len(harvest.broken)) == ("René", 1)


def test_imessage_database(chat_db: Path) -> None:
    harvest = read_export(chat_db)
    by_chat = {talk.conversation.id: talk.conversation.turns for talk in harvest.talks}
    assert [(turn.speaker, turn.text) for turn in by_chat["+31612345678"]] == [
        ("user", "I adopted a dog called Buddy."),
        ("+31612345678", "I moved to Denver."),
        ("user", "I play the cello."),
    ]
    assert by_chat["eve@example.com"][0].text == "I hate mushrooms."
    assert by_chat["+31612345678"][0].at == at(2024, 4, 28, 12, 26, 40)
    assert len(harvest.broken) == 1


def test_a_missing_loader_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langchain_community.chat_loaders.telegram", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'langgraph-memory-r1\[chats\]'"):
        read_export(DATA / "telegram.json")


# Hostile files


def test_a_zip_whose_names_lead_outside_writes_nothing_there(tmp_path: Path) -> None:
    path = tmp_path / "in" / "chat.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../evil.txt", "22/01/2023, 18:30 - Ann: I play the cello.")
    assert said(read_export(path)) == [("Ann", "I play the cello.")]
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == ["chat.zip"]


def test_a_zip_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "chat.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("chat.txt", b"0" * 3_000_000)
    monkeypatch.setattr("langgraph_memory_r1.importers.archives.LARGEST", 2**21)
    with pytest.raises(InputError, match="unpacks to more than 2 MB"):
        read_export(path)


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


@given(value=JSON)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_json_is_read_or_refused_in_a_sentence(write: Any, value: Any) -> None:
    path = write(value)
    for format in ("auto", "mem0", "langmem", "messages", "telegram", "facebook"):
        try:
            harvest = read_export(path, format)
        except InputError as error:
            assert "export.json" in str(error)
        else:
            assert all(turn.text and turn.id for turn in turns(harvest))
            assert all(wording.text != "" for kept in harvest.kept for wording in kept.wordings)


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
    assert moment(value) == wanted
