"""Conversations of people: chat apps and messages, in the shapes that these products write."""

from __future__ import annotations

import json
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, message_to_dict, messages_to_dict

from langgraph_memory_r1 import MissingDependencyError
from langgraph_memory_r1.importers import read_export
from support.exports import DATA, at, chat_database, said, turns

# Messages


def test_openai_messages_keep_what_was_said_and_count_the_rest() -> None:
    export = read_export(DATA / "openai.jsonl")
    assert said(export) == [
        ("user", "I adopted a dog called Buddy."),
        ("assistant", "How lovely!"),
        ("user", "I moved to Denver."),
    ]
    assert [talk.owner for talk in export.conversations] == ["ann", "bob"]
    assert export.skipped["system"] == export.skipped["tool"] == export.skipped["image_url"] == 1
    assert [line.partition("jsonl:")[2].split(":")[0] for line in export.broken] == ["3", "2, message 3"]


def test_langchain_messages_in_every_notation(write: Any) -> None:
    messages = [HumanMessage("I play the cello.", name="Ann"), AIMessage("Since when?")]
    expected = [("Ann", "I play the cello."), ("assistant", "Since when?")]
    notations = [
        messages_to_dict(messages),
        {"messages": [message.model_dump(mode="json") for message in messages]},
        {"values": {"messages": [message.to_json() for message in messages]}},
    ]
    for notation in notations:
        assert said(read_export(write(notation))) == expected
    lines = "\n".join(json.dumps(message_to_dict(message)) for message in messages)
    assert said(read_export(write(lines, "one-a-line.jsonl"))) == expected


def test_recalled_memories_are_never_imported_as_said() -> None:
    export = read_export(DATA / "langchain.json")
    first, _ = turns(export)
    assert (first.speaker, first.at, first.id) == ("Ann", at(2024, 5, 20, 10), "0e9b8a4e-3333-4a6b-9c57-000000000001")
    assert export.skipped["recalled"] == 1


def test_chatgpt_conversations_follow_their_current_branch() -> None:
    export = read_export(DATA / "chatgpt.json")
    assert said(export) == [
        ("user", "I adopted a dog called Buddy."),
        ("assistant", "How lovely!"),
        ("user", "I adopted another dog, Scout!"),
        ("user", "I play the cello."),
    ]
    assert export.personal and turns(export)[0].at == datetime.fromtimestamp(1715000001, UTC)


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
    export = read_export(write(chat), "messages")
    assert [turn.text for turn in turns(export)] == ["Good."]
    assert export.skipped.total() >= 1


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
    assert android.conversations[0].conversation.id == "Bob"
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
    export = read_export(DATA / "telegram.json")
    assert said(export) == [
        ("Ann", "I adopted a dog called Buddy."),
        ("Bob", "I moved to Denver."),
        ("Ann", "I play the cello."),
    ]
    assert turns(export)[0].at == at(2024, 5, 1, 10, 1)
    assert len(export.broken) == 1 and "message 5" in export.broken[0]


def test_telegram_account_has_a_conversation_for_each_chat(write: Any) -> None:
    chat = json.loads((DATA / "telegram.json").read_text())
    export = read_export(write({"about": "x", "chats": {"list": [chat, chat | {"name": "Eve"}, 7]}}, "result.json"))
    assert [talk.conversation.id for talk in export.conversations] == ["Bob", "Eve"]


def test_slack_folder_and_zip_say_the_same(tmp_path: Path) -> None:
    folder = read_export(DATA / "slack")
    assert said(folder) == [
        ("Ann", "I adopted a dog called Buddy."),
        ("Bob B.", "Ann I moved to Denver & love the town."),
        ("Ann", "I play the cello."),
        ("Bob B.", "I hate mushrooms."),
    ]
    assert [talk.conversation.id for talk in folder.conversations] == ["general", "random"]
    assert turns(folder)[0].at == at(2024, 5, 1, 10, 1, 0, 200)
    assert len(folder.broken) == 1 and "general/2024-05-01.json, entry 6" in folder.broken[0]
    zipped = read_export(shutil.make_archive(str(tmp_path / "workspace"), "zip", DATA / "slack"))
    assert [turn.id for turn in turns(zipped)] == [turn.id for turn in turns(folder)]


def test_messenger_has_its_times_and_letters() -> None:
    export = read_export(DATA / "message_1.json")
    assert said(export) == [("Ann", "I adopted a dog called Buddy."), ("René", "I moved to Denver.")]
    assert [turn.at for turn in turns(export)] == [at(2024, 5, 1, 10, 1), at(2024, 5, 1, 10, 2)]
    assert (export.conversations[0].conversation.id, len(export.broken)) == ("René", 1)


def test_imessage_database(tmp_path: Path) -> None:
    export = read_export(chat_database(tmp_path / "chat.db"))
    by_chat = {talk.conversation.id: talk.conversation.turns for talk in export.conversations}
    assert [(turn.speaker, turn.text) for turn in by_chat["+31612345678"]] == [
        ("user", "I adopted a dog called Buddy."),
        ("+31612345678", "I moved to Denver."),
        ("user", "I play the cello."),
    ]
    assert by_chat["eve@example.com"][0].text == "I hate mushrooms."
    assert by_chat["+31612345678"][0].at == at(2024, 4, 28, 12, 26, 40)
    assert len(export.broken) == 1


def test_a_missing_loader_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langchain_community.chat_loaders.telegram", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'langgraph-memory-r1\[chats\]'"):
        read_export(DATA / "telegram.json")
