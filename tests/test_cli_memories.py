"""The commands that look into a bank, change it, move it and talk to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from langgraph_memory_r1 import Add, LanceDBStore, MemoryBank
from support.command import DOG, SCOUT, Command

# Looking, undoing, forgetting


def test_memories_are_listed_and_searched(dogs: Command) -> None:
    dogs("remember", "I play the cello.")
    rows = [line.split("\t") for line in dogs("memories").out.splitlines()]
    assert [len(row) for row in rows] == [4, 4]
    (best,) = dogs("memories", "cello", "--limit", "1", "--json").data
    assert best["text"] == "User plays the cello."
    limited = dogs("memories", "--limit", "1")
    assert len(limited.out.splitlines()) == 1 and "The newest 1 of 2; --limit 0 shows all." in limited.err
    assert len(dogs("memories", "--limit", "0").out.splitlines()) == 2


def test_words_find_only_what_fits_them(cli: Command) -> None:
    for text in ("I play the cello.", "I am allergic to nuts.", "My brother lives in Denver.", "I like tea."):
        cli("remember", text, "--at", "2024-05-20")  # one day: each the other's neighbour
    assert [memory["text"] for memory in cli("memories", "cello", "--json").data] == ["User plays the cello."]
    assert {memory["text"] for memory in cli("memories", "nuts", "denver", "--json").data} == {
        "User is allergic to nuts.",
        "User's brother lives in Denver.",
    }
    nothing = cli("memories", "submarine")
    assert nothing.out == "" and "Nothing is remembered of 'default' that fits." in nothing.err
    assert len(cli("memories", "--limit", "0").out.splitlines()) == 4
    out = cli("chat", stdin="/memories cello\n/memories submarine\n").out
    assert out.splitlines()[1:] == ["1 memory", "0 memories"] and "cello" in out


def test_an_embedder_finds_what_is_near_in_meaning_too(cli: Command) -> None:
    cli("remember", "I play the cello.", "--embedder", "hash")
    assert len(cli("memories", "something else", "--embedder", "hash", "--json").data) == 1


def test_owners_of_a_folder_are_listed(cli: Command) -> None:
    for user in ("ann@example.com", "bob"):
        cli("remember", DOG, "--user", user)
    cli("remember", "I play the cello.", "--user", "bob")
    assert cli("owners").out == "ann@example.com\t1\nbob\t2\n"
    assert cli("owners", "--json").data[1] == {"owner": "bob", "memories": 2}
    assert "There are no memories in" in cli("owners", "--db", cli.db + "-not").err


def test_history_tells_before_and_after_why_and_by_whom(dogs: Command) -> None:
    out = dogs("history").out
    assert "rules (the no-model baseline)" in out and "NOOP    nothing to remember" in out
    assert "          + User adopted a dog called Buddy. User adopted another dog, Scout!" in out
    events = [change["event"] for change in dogs("history", "--json").data]
    assert events == ["ADD", "NOOP", "UPDATE"]
    (memory,) = dogs.bank().all()
    assert [change["event"] for change in dogs("history", memory.id, "--json").data] == ["ADD", "UPDATE"]
    assert "The newest 1 of 3 operations" in dogs("history", "--limit", "1").err


def test_undo_takes_back_and_brings_back(dogs: Command) -> None:
    (memory,) = dogs.bank().all()
    assert f"undone  {memory.id}.2" in dogs("undo").out
    assert dogs.bank().all()[0].text == "User adopted a dog called Buddy."
    assert dogs("undo", f"{memory.id}.3", "--json").data["undoes"] == f"{memory.id}.3"
    assert "Scout" in dogs.bank().all()[0].text


def test_forget_asks_and_leaves_nothing(dogs: Command) -> None:
    dogs("remember", "I play the cello.", "--user", "ann")
    assert dogs("forget", "--yes").out == "Forgotten: 1 memory of 'default', and their history.\n"
    held = b"".join(path.read_bytes() for path in Path(dogs.db).rglob("*") if path.is_file())
    assert b"Buddy" not in held and b"cello" in held
    refused = dogs("forget", "--yes")
    assert refused.code == 1 and "--user 'ann'" in refused.err and len(dogs.bank("ann")) == 1


def test_memories_are_filtered_by_tags_and_metadata(cli: Command) -> None:
    with LanceDBStore(cli.db) as store:
        games = [
            Add("Ann plays chess.", metadata={"team": "red"}, tags=("games", "work")),
            Add("Ann plays go.", tags=("games",)),
        ]
        MemoryBank(store, "default").apply([*games, Add("Ann plays the cello.")])
    both = cli("memories", "--tag", "games", "--json").data
    assert [memory["text"] for memory in both] == ["Ann plays chess.", "Ann plays go."]
    assert both[0]["metadata"] == {"team": "red"}
    assert "metadata" not in cli("memories", "cello", "--json").data[0]
    assert "[games, work]" in cli("memories", "--tag", "games", "--tag", "work").out
    for arguments in (("plays",), ()):
        (only,) = cli("memories", *arguments, "--filter", '{"team": "red"}', "--json").data
        assert only["text"] == "Ann plays chess."
    assert len(cli("memories", "--tag", "games", "--filter", '{"team": {"$ne": "red"}}', "--json").data) == 1
    assert "that fits" in cli("memories", "--tag", "nothing").err
    for wrong in ("{team: red}", '{"team": {"$near": 1}}', "[]", "7"):
        refused = cli("memories", "--filter", wrong)
        assert (refused.code, refused.err.count("\n")) == (1, 1) and "ilter" in refused.err


def test_purge_asks_and_erases_one_memory(dogs: Command) -> None:
    dogs("remember", "I play the cello.")
    dog = next(memory for memory in dogs.bank().all() if "Buddy" in memory.text)
    refused = dogs("purge", dog.id)
    assert refused.code == 1 and "--yes" in refused.err and len(dogs.bank()) == 2
    done = dogs("purge", dog.id, "--yes")
    assert done.out == f"Purged: {dog.id} of 'default', with 2 operations.\n"
    held = b"".join(path.read_bytes() for path in Path(dogs.db).rglob("*") if path.is_file())
    assert b"Buddy" not in held and b"cello" in held
    again = dogs("purge", dog.id, "--yes")
    assert again.code == 1 and "`memory-r1 memories` lists their ids" in again.err


# Export, import, re-embedding, doctor


def test_export_and_import_lose_nothing(dogs: Command, tmp_path: Path) -> None:
    backup = str(tmp_path / "backup.jsonl")
    assert dogs("export", backup).out.startswith("1 memory and 3 operations of 'default' written to ")
    assert "--force" in dogs("export", backup).err and dogs("export", backup, "--force").code == 0
    before = dogs("history", "--json").data
    done = dogs("import", backup, "--user", "copy", "--json").data
    assert (done["memories"], done["operations"], done["known"], done["broken"]) == (1, 3, 0, [])
    assert dogs("history", "--user", "copy", "--json").data == before
    assert dogs("import", backup, "--user", "copy", "--json").data["known"] == 4
    wrong = dogs("remember", backup)
    assert wrong.code == 1 and f"memory-r1 import {backup}" in wrong.err


def test_embedder_is_kept_to_until_reembed_changes_it(cli: Command) -> None:
    cli("remember", DOG, "--embedder", "hash")
    refused = cli("remember", SCOUT)
    assert refused.code == 1 and f"memory-r1 reembed --db {cli.db} --embedder none" in refused.err
    found = cli("memories", "pet", "--embedder", "hash")
    assert "Buddy" in found.out and found.err == ""
    by_words = cli("memories", "dog")
    assert "Buddy" in by_words.out and by_words.err.count("searched by words only") == 1
    assert "--embedder hash" in by_words.err
    assert cli("memories").err == ""
    assert "holds no vectors any more" in cli("reembed", "--embedder", "none").out
    assert cli("remember", SCOUT).code == 0
    assert "embedded by hash" in cli("reembed", "--embedder", "hash").out
    assert cli("doctor", "--json").data["folder"]["embedder"] == "hash"


def test_doctor_knows_versions_sizes_and_what_is_missing(dogs: Command) -> None:
    found = dogs("doctor", "--json").data
    extras = {"local", "train", "evals", "chats", "mcp"}
    assert found["software"]["lancedb"] and set(found["extras"]) == extras
    folder = found["folder"]
    assert (folder["owners"], folder["memories"], folder["operations"], folder["format"]) == (1, 1, 3, "1")
    assert folder["fragments"] >= 1 and folder["bytes"] > 0 and folder["locks"]
    assert "No warnings." in dogs("doctor").out
    none = dogs("doctor", "--db", "nowhere", "--json")
    assert none.code == 0 and "begin with: memory-r1 remember" in none.data["warnings"][0]
    assert not Path("nowhere").exists()


def test_doctor_names_a_foreign_folder(cli: Command, tmp_path: Path) -> None:
    (tmp_path / "bank" / "items.lance").mkdir(parents=True)
    (tmp_path / "bank" / "items.lance" / "x").write_text("no table")
    done = cli("doctor", "--json")
    assert done.code == 1 and str(tmp_path / "bank") in done.data["folder"]["error"]


def test_an_export_may_go_to_standard_output(dogs: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    dogs("remember", "Ich wohne in Köln.")
    done = dogs("export", "-")
    again = dogs.file("again.jsonl", done.out)
    assert "operations of 'default' written." in done.err and not (tmp_path / "-").exists()
    assert dogs("import", again, "--user", "copy").code == 0
    assert [memory.text for memory in dogs.bank("copy").all()] == [memory.text for memory in dogs.bank().all()]


# Chat


def test_chat_remembers_answers_and_takes_commands(cli: Command) -> None:
    lines = [
        DOG,
        "hello",
        SCOUT,
        "How many dogs do I have?",
        "/memories",
        "/undo",
        "/memories dog",
        "/history 1",
        "/quit",
        "never",
    ]
    done = cli("chat", stdin="\n".join(lines))
    assert done.code == 0 and done.err.count("\n") == 1  # what decides
    assert "\n2\n  1 of 1 memories used" in done.out
    assert done.out.count("User adopted a dog called Buddy. User adopted another dog, Scout!") >= 3
    assert [change.event for change in cli.bank().history()][-2:] == ["NOOP", "UPDATE"]
    assert "never" not in done.out


def test_the_first_line_of_chat_says_that_rules_are_a_baseline(cli: Command) -> None:
    first, *others = cli("chat", stdin="I moved to Denver.\n").err.splitlines()
    assert "rules (the no-model baseline)" in first
    assert not others


def test_a_question_without_a_mark_is_answered_and_not_remembered(cli: Command) -> None:
    done = cli("chat", stdin="I am 41 years old.\nhow old am i\nso how old am i\nmy dog is called Rex\n")
    assert done.out.count("\n41\n") == 2
    assert [memory.text for memory in cli.bank().all()] == ["User is 41 years old.", "User's dog is called Rex"]


def test_chat_says_what_it_cannot_do_and_goes_on(cli: Command) -> None:
    done = cli("chat", stdin=f"{DOG}\n/bogus\n/forget\n/undo nope\n/forget yes\n/memories\n")
    assert done.code == 1
    assert "There is no command /bogus; /help lists them." in done.out
    assert "This removes 1 memory and their history for good; if that is meant, say: /forget yes" in done.out
    assert "Forgotten: 1 memory." in done.out and done.out.endswith("0 memories\n")
