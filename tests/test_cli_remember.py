"""`memory-r1 remember` and `ask`: words, files and conversations, on and on until all is remembered."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from langgraph_memory_r1 import (
    Conversation,
    LanceDBStore,
    MemoryBank,
    MemoryR1Error,
    Question,
    Turn,
    create_memory_graph,
)
from langgraph_memory_r1.cli.ingestion import Tally, ingest
from langgraph_memory_r1.conversations import write_conversations
from langgraph_memory_r1.testing import ScriptedChatModel
from support.command import DOG, SCOUT, Command
from support.interrupts import heed_interrupts


@pytest.fixture
def chats(tmp_path: Path) -> str:
    """Two conversations whose turns have the same ids, and a question each."""
    path = tmp_path / "chats.jsonl"
    for_ann = Conversation(
        "c1",
        (Turn("Ann", "I live in Lisbon.", id="1"), Turn("Bob", "Haha!", id="2")),
        (Question("Where does Ann live?", "Lisbon"),),
    )
    for_eve = Conversation(
        "c2", (Turn("Eve", "I live in Oslo.", id="1"),), (Question("Where does Eve live?", "Oslo", ("1",)),)
    )
    write_conversations(path, [for_ann, for_eve])
    return str(path)


def test_turns_that_no_model_could_read_are_listed_and_tried_again_on_request(cli: Command, chats: str) -> None:
    with LanceDBStore(str(cli.db)) as store:
        graph = create_memory_graph(MemoryBank(store, "c1"), model=ScriptedChatModel(lambda _: "no"))
        for _ in range(4):
            graph.invoke({"turns": [Turn("Ann", "I live in Lisbon.", id="c1/1")]})
    found = cli("doctor", "--json").data
    assert found["folder"]["unread"] == 1
    assert any(
        "Of 1 turn no model's reply could be read" in warning and "--retry" in warning for warning in found["warnings"]
    )
    assert cli("remember", chats, "--conversation", "c1", "--user", "c1", "--json").data["facts"] == 0
    done = cli("remember", chats, "--conversation", "c1", "--user", "c1", "--retry", "--json").data
    assert (done["facts"], done["operations"]["ADD"], done["undecided"]) == (1, 1, 0)
    assert cli("doctor", "--json").data["folder"]["unread"] == 0


def test_a_sentence_is_remembered_and_asked_for(cli: Command) -> None:
    assert "ADD     + User adopted a dog called Buddy." in cli("remember", DOG).out
    done = cli("remember", SCOUT)
    assert "UPDATE  - User adopted a dog called Buddy." in done.out
    assert "keeps what was known and adds to it" in done.out
    answer = cli("ask", "How many dogs do I have?")
    assert answer.code == 0 and answer.out.splitlines()[0] == "2"
    assert "1 of 1 memories used, rules (the no-model baseline)" in answer.out


def test_answer_as_json_names_the_memories_and_their_turns(cli: Command) -> None:
    cli("remember", DOG)
    done = cli("ask", "What is the dog called?", "--json")
    (selected,) = done.data["selected"]
    assert (done.data["answer"], done.data["model"], done.data["user"]) == ("Buddy", "rules", "default")
    assert selected["source"] and selected["text"] == "User adopted a dog called Buddy."


def test_words_are_said_anew_each_time_but_a_file_goes_on(cli: Command) -> None:
    notes = cli.file("notes.txt", f"{DOG}\n\nI play the cello.\n")
    assert cli("remember", notes, "--json").data["turns"] == 2
    again = cli("remember", notes, "--json").data
    assert (again["turns"], again["known"]) == (0, 2)
    cli.file("notes.txt", f"{DOG}\nI play the cello.\nI live in Rome.\n")
    more = cli("remember", notes, "--json").data
    assert (more["turns"], more["known"], more["operations"]["ADD"]) == (1, 2, 1)
    assert cli("remember", DOG, "--json").data["turns"] == 1


def test_names_before_all_lines_are_speakers(cli: Command) -> None:
    cli("remember", cli.file("chat.txt", "Ann: I live in Lisbon.\nBob: I play the cello.\n"))
    assert {memory.speaker for memory in cli.bank().all()} == {"Ann", "Bob"}
    cli(
        "remember",
        cli.file("list.txt", "I need: milk, flour.\nNote: buy a red bicycle.\nnothing else\n"),
        "--user",
        "x",
    )
    assert {memory.speaker for memory in cli.bank("x").all()} == {"user"}


def test_a_folder_of_notes_is_read_with_its_lists(cli: Command, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    (notes / "trips").mkdir(parents=True)
    (notes / "shopping.md").write_text("- milk\n- [ ] brown sugar\n* I need a new bicycle.\n")
    (notes / "trips" / "rome.txt").write_text("# Rome\nSights of Rome:\n1. Pantheon\n2. Forum\nI loved the food.\n")
    (notes / "photo.jpg").write_bytes(b"\xff\xd8\0")
    (notes / ".hidden.md").write_text("I have a secret.")
    done = cli("remember", str(notes), "--json")
    assert "1 that end with none of" in done.err
    texts = {change["after"] for change in done.data["changes"] if change["event"] == "ADD"}
    assert texts >= {"user: shopping: milk", "user: shopping: brown sugar", "User needs a new bicycle."}
    assert texts >= {"user: Sights of Rome: Pantheon", "User loved the food."}
    assert not any("secret" in text for text in texts)
    assert cli("remember", str(notes), "--json").data["turns"] == 0
    (tmp_path / "empty").mkdir()
    assert "There are no notes in" in cli("remember", str(tmp_path / "empty")).err


def test_one_file_with_a_list_keeps_its_items(cli: Command) -> None:
    cli("remember", cli.file("shopping.md", "- milk\n- eggs\n"))
    assert {memory.text for memory in cli.bank().all()} == {"user: shopping: milk", "user: shopping: eggs"}


def test_json_says_what_was_remembered(cli: Command) -> None:
    (change,) = cli("remember", DOG, "--json").data["changes"]
    (memory,) = cli.bank().all()
    assert (change["event"], change["memory_id"], change["after"]) == ("ADD", memory.id, memory.text)
    assert change["owner"] == "default"


def test_time_and_speaker_can_be_given(cli: Command) -> None:
    cli("remember", "I moved to Denver yesterday.", "--at", "2024-05-20", "--speaker", "Ann")
    (memory,) = cli.bank().all()
    assert memory.text == "Ann moved to Denver yesterday (19 May 2024)."
    assert memory.at is not None and memory.at.isoformat() == "2024-05-20T00:00:00+00:00"


def test_standard_input_is_read(cli: Command) -> None:
    assert cli("remember", "-", stdin=f"{DOG}\nhello\n").code == 0
    assert cli("remember", stdin="I play the cello.").code == 0
    assert len(cli.bank()) == 2
    assert cli("ask", "-", stdin="What is the dog called?\n").out.startswith("? What is the dog called?\nBuddy\n")


def test_one_conversation_goes_to_the_default_user(cli: Command, chats: str) -> None:
    done = cli("remember", chats, "--conversation", "c1")
    assert "2 turns" in done.out and "owner       default" in done.out
    assert [memory.source for memory in cli.bank().all()] == [("c1/1",)]


def test_several_conversations_go_to_owners_of_their_names(cli: Command, chats: str) -> None:
    done = cli("remember", chats, "--json").data
    assert done["owners"] == {"c1": "c1", "c2": "c2"}
    assert [memory.text for memory in cli.bank("c2").all()] == ["Eve lives in Oslo."]
    asked = [json.loads(line) for line in cli("ask", chats, "--json").out.splitlines()]
    assert [(each["user"], each["answer"], each["gold"]) for each in asked] == [
        ("c1", "Lisbon", "Lisbon"),
        ("c2", "Oslo", "Oslo"),
    ]


def test_one_user_may_hold_several_conversations_with_equal_turn_ids(cli: Command, chats: str) -> None:
    done = cli("remember", chats, "--user", "ann@example.com", "--json").data
    assert (done["turns"], done["known"], done["failures"]) == (3, 0, [])
    assert {memory.source for memory in cli.bank("ann@example.com").all()} == {("c1/1",), ("c2/1",)}


def test_broken_lines_are_named_and_skipped_or_refused(cli: Command, chats: str) -> None:
    with open(chats, "a", encoding="utf-8") as file:
        file.write("{broken\n")
    refused = cli("remember", chats, "--strict")
    assert refused.code == 1 and "chats.jsonl:3" in refused.err
    done = cli("remember", chats)
    assert done.code == 0 and "Skipped: " in done.err and "chats.jsonl:3" in done.err


@pytest.mark.slow
def test_locomo_is_ingested_and_asked(cli: Command, data_dir: Path) -> None:
    file = str(data_dir / "locomo" / "locomo10.json")
    done = cli("remember", "--format", "locomo", file, "--conversation", "conv-26", "--model", "rules")
    assert done.code == 0
    assert "419 turns of 19 sessions in " in done.out and "failures    0" in done.out
    assert "conv-26  419 of 419 turns" in done.err
    again = cli("remember", file, "--conversation", "conv-26")
    assert again.out == "Nothing new: 419 turns from an earlier run passed over.\n"
    answer = cli("ask", "When did Caroline go to the LGBTQ support group?", "--json").data
    assert answer["answer"] == "7 May 2023"
    assert [memory["source"] for memory in answer["selected"]] == [["conv-26/D1:3"]]
    two = cli("ask", file, "--conversation", "conv-26", "--limit", "2")
    assert two.out.count("  gold: ") == 2 and "\n2 questions in " in two.err


def server_down(messages: list[Any]) -> str:
    raise ConnectionError("the server is down")


def test_a_failure_is_counted_and_its_turns_are_taken_up_again(tmp_path: Path) -> None:
    turns = [Turn("Ann", f"I like tea number {number}.", id=str(number)) for number in range(30)]
    nothing = '{"facts": []}'
    with LanceDBStore(tmp_path / "bank") as store:
        bank, tally = MemoryBank(store, "ann"), Tally()
        model = ScriptedChatModel([nothing, server_down, nothing])
        steps = list(ingest(bank, create_memory_graph(bank, model=model, on_error="degrade"), turns, tally))
        assert [len(step.turns) for step in steps] == [10, 10, 10]
        assert (tally.turns, len(tally.failures)) == (20, 1) and "the server is down" in tally.failures[0]
        again = Tally()
        graph = create_memory_graph(bank, model=ScriptedChatModel([nothing]), on_error="degrade")
        list(ingest(bank, graph, turns, again))
        assert (again.turns, again.existing, again.failures) == (10, 20, [])


def test_many_failures_in_a_row_end_it(tmp_path: Path) -> None:
    turns = [Turn("Ann", "I like tea.", id=str(number)) for number in range(100)]
    with LanceDBStore(tmp_path / "bank") as store:
        bank, tally = MemoryBank(store, "ann"), Tally()
        graph = create_memory_graph(bank, model=ScriptedChatModel(server_down), on_error="degrade")
        with pytest.raises(MemoryR1Error, match=r"Stopped after 3 failures in a row: .*the server is down"):
            list(ingest(bank, graph, turns, tally))
        assert len(tally.failures) == 3


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_remembered(cli: Command, tmp_path: Path) -> None:
    notes = cli.file(
        "notes.txt", "".join(f"I visited the town of Place{number} in {number}.\n" for number in range(1, 601))
    )
    arguments = [sys.executable, "-m", "langgraph_memory_r1", "remember", notes, "--db", cli.db]
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"}, preexec_fn=heed_interrupts,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        assert "of 600 turns" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Interrupted; what is remembered stays, and the same command goes on from there." in err
    assert "Traceback" not in err
    held = len(cli.bank().seen())
    assert 0 < held < 600
    rest = cli("remember", notes, "--json").data
    assert rest["known"] == held and rest["turns"] == 600 - held
