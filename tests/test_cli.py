"""The `memory-r1` command, run in this process as a user runs it; a terminal is tried out in processes of its own."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from langgraph_memory_r1 import Add, Conversation, LanceDBStore, MemoryBank, Question, Turn, __version__
from langgraph_memory_r1.cli import app, main
from langgraph_memory_r1.conversations import write_conversations

COMMANDS = [command.name for command in app.registered_commands]
ANSI = re.compile(r"\x1b")
BOX = re.compile("[\u2500-\u257f]")
DOG, SCOUT = "I adopted a dog called Buddy.", "I adopted another dog, Scout!"


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


class Command:
    """`memory-r1` with the folder of this test, in this process."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.db = str(folder / "bank")
        self._patch = patch
        self._capture = capture

    def __call__(self, *arguments: str, stdin: str | bytes = b"") -> Done:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        self._patch.setattr(sys, "argv", ["memory-r1", *arguments])
        self._patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))
        self._capture.readouterr()
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        out, err = self._capture.readouterr()
        return Done(code, out, err)

    def file(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    def bank(self, user: str = "default") -> MemoryBank:
        return MemoryBank(LanceDBStore(self.db), user)


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    for name in ("MEMORY_R1_MODEL", "MEMORY_R1_EMBEDDER", "FORCE_COLOR", "NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    command = Command(tmp_path, monkeypatch, capsys)
    monkeypatch.setenv("MEMORY_R1_DB", command.db)
    return command


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


# Help, version, usage


def test_help_lists_every_command_without_boxes(cli: Command) -> None:
    done = cli("--help")
    assert done.code == 0 and not BOX.search(done.out)
    assert [name for name in COMMANDS if f"  {name} " not in done.out] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_and_its_options(cli: Command, command: str) -> None:
    done = cli(command, "--help")
    assert done.code == 0 and "--debug" in done.out
    assert not re.search(r"^  --[\w-]+ (?:[A-Z]+|<\w+>)?$\n(?!   )", done.out, re.MULTILINE)


def test_version(cli: Command) -> None:
    assert cli("--version").out == f"langgraph-memory-r1 {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [["bogus"], ["ask", "--k", "0", "x"], ["memories", "--nope"], ["undo", "a", "b"], ["memories", "--db", ""]],
)
def test_usage_errors_exit_2(cli: Command, arguments: list[str]) -> None:
    done = cli(*arguments)
    assert done.code == 2 and "Usage: " in done.err and not BOX.search(done.err)


def test_help_starts_quickly_and_loads_nothing_heavy() -> None:
    code = (
        "import sys, time; sys.argv = ['memory-r1', '--help']\n"
        "from langgraph_memory_r1.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'lancedb', 'langgraph', 'langchain_core', 'numpy', 'rich'} & set(sys.modules)\n"
        "print(time.process_time(), sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, heavy = done.stdout.splitlines()[-1].split(" ", 1)
    assert heavy == "[]"
    assert float(seconds) < 1.0


# Remember and ask


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


# Looking, undoing, forgetting


@pytest.fixture
def dogs(cli: Command) -> Command:
    cli("remember", DOG)
    cli("remember", "hello there")
    cli("remember", SCOUT)
    return cli


def test_memories_are_listed_and_searched(dogs: Command) -> None:
    dogs("remember", "I play the cello.")
    rows = [line.split("\t") for line in dogs("memories").out.splitlines()]
    assert [len(row) for row in rows] == [4, 4]
    (best,) = dogs("memories", "cello", "--limit", "1", "--json").data
    assert best["text"] == "User plays the cello."
    limited = dogs("memories", "--limit", "1")
    assert len(limited.out.splitlines()) == 1 and "The newest 1 of 2; --limit 0 shows all." in limited.err
    assert len(dogs("memories", "--limit", "0").out.splitlines()) == 2


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["undo", "nope"], "There is no operation 'nope'"),
        (["history", "nope"], "There is no memory 'nope'; `memory-r1 memories` lists their ids."),
        (["forget"], "say so with --yes"),
        (["export", "."], "is there already"),
        (["import", "none.jsonl"], "none.jsonl cannot be read"),
        (["ask", "none.jsonl"], "There is no file none.jsonl; check the name, or put a sentence in quotes."),
        (["remember", "./none"], "There is no file ./none"),
        (["remember", sys.executable], "is not text; name a file of notes"),
        (["remember", " "], "The text is empty"),
        (["remember", "x", "--user", " "], "The name after --user is blank"),
        (["remember", "x", "--model", "nope"], "give 'rules' (no model)"),
        (["remember", "x", "--embedder", "nope"], "no embedder 'nope' can be made"),
        (
            ["memories", "--db", "nowhere"],
            "There are no memories in nowhere; name their folder with --db, or begin with",
        ),
        (["demo", "--db", __file__], "is a file; give the folder"),
    ],
)
def test_errors_are_one_sentence_with_the_fix(dogs: Command, arguments: list[str], message: str) -> None:
    done = dogs(*arguments)
    assert done.code == 1 and done.out == ""
    assert done.err.startswith("Error: ") and message in done.err
    assert len(done.err.splitlines()) == 1 and "Traceback" not in done.err


def test_debug_shows_the_traceback(dogs: Command) -> None:
    done = dogs("undo", "nope", "--debug")
    assert done.code == 1 and "Traceback" in done.err and "Error: There is no operation 'nope'" in done.err


def test_forget_asks_and_leaves_nothing(dogs: Command) -> None:
    dogs("remember", "I play the cello.", "--user", "ann")
    assert dogs("forget", "--yes").out == "Forgotten: 1 memory of 'default', and their history.\n"
    held = b"".join(path.read_bytes() for path in Path(dogs.db).rglob("*") if path.is_file())
    assert b"Buddy" not in held and b"cello" in held
    refused = dogs("forget", "--yes")
    assert refused.code == 1 and "--user 'ann'" in refused.err and len(dogs.bank("ann")) == 1


# Owners


def test_the_only_owner_is_found_and_said(cli: Command) -> None:
    cli("remember", DOG, "--user", "ann@example.com")
    done = cli("ask", "What is the dog called?")
    assert done.out.startswith("Buddy\n") and "Memories of 'ann@example.com', the only owner" in done.err
    assert "Buddy" in cli("memories", "--user", "ann@example.com").out


def test_of_several_owners_one_has_to_be_named(cli: Command) -> None:
    for user in ("ann@example.com", "b/ö.%"):
        cli("remember", DOG, "--user", user)
    done = cli("memories")
    assert done.code == 1 and "2 owners ('ann@example.com', 'b/ö.%'); name one with --user." in done.err
    assert "Buddy" in cli("memories", "--user", "b/ö.%").out
    assert cli("memories", "--user", "bob").err == "Nothing is remembered of 'bob'.\n"


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
    assert refused.code == 1 and "memory-r1 reembed" in refused.err
    assert "Buddy" in cli("memories", "pet", "--embedder", "hash").out
    assert "holds no vectors any more" in cli("reembed", "--embedder", "none").out
    assert cli("remember", SCOUT).code == 0
    assert "embedded by hash" in cli("reembed", "--embedder", "hash").out
    assert cli("doctor", "--json").data["folder"]["embedder"] is not None


def test_doctor_knows_versions_sizes_and_what_is_missing(dogs: Command) -> None:
    found = dogs("doctor", "--json").data
    extras = {"local", "train", "evals", "inspect", "chats", "mcp"}
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
    assert done.code == 0 and done.err == ""
    assert "\n2\n  1 of 1 memories used" in done.out
    assert done.out.count("User adopted a dog called Buddy. User adopted another dog, Scout!") >= 3
    assert [change.event for change in cli.bank().history()][-2:] == ["NOOP", "UPDATE"]
    assert "never" not in done.out


def test_chat_says_what_it_cannot_do_and_goes_on(cli: Command) -> None:
    done = cli("chat", stdin=f"{DOG}\n/bogus\n/forget\n/undo nope\n/forget yes\n/memories\n")
    assert done.code == 1
    assert "There is no command /bogus; /help lists them." in done.out
    assert "This removes 1 memory and their history for good; if that is meant, say: /forget yes" in done.out
    assert "Forgotten: 1 memory." in done.out and done.out.endswith("0 memories\n")


# Demo


def test_demo_plays_offline_and_leaves_nothing(cli: Command, tmp_path: Path) -> None:
    done = cli("demo")
    assert done.code == 0 and done.err == "" and list(tmp_path.iterdir()) == []
    assert "rules, the no-model baseline" in done.out
    for event in ("ADD", "UPDATE", "DELETE", "NOOP"):
        assert f"\n  {event}" in done.out
    assert not ANSI.search(done.out) and not BOX.search(done.out)


def test_demo_as_json_and_kept(cli: Command) -> None:
    scenes = cli("demo", "--json", "--db", cli.db).data["scenes"]
    assert [scene["scene"] for scene in scenes] == ["turn"] * 12 + ["bank"] + ["question"] * 6 + ["undo", "bank"]
    assert len(cli("memories", "--json").data) == len(scenes[-1]["memories"])
    again = cli("demo", "--db", cli.db)
    assert again.code == 1 and "already holds memories of 'demo'" in again.err


# What reaches the terminal


HOSTILE = "I like \x1b[31mred\x07 and \x9b2J and \u202eevil\u2066 tea[bold]x[/bold] \u2028 more"


def test_control_characters_do_not_reach_the_terminal(cli: Command) -> None:
    with LanceDBStore(cli.db) as store:
        MemoryBank(store, "default").apply([Add(HOSTILE, source=("\x1b]0;x\x07",))], model="m\x1b[0m", reason="\x1b[2J")
    for arguments in (
        ["memories"],
        ["history"],
        ["ask", "What do I like?"],
        ["memories", "--json"],
        ["history", "--json"],
    ):
        out = cli(*arguments).out
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2028\u2066-\u2069]", out), arguments
    assert "[bold]x[/bold]" in cli("memories").out
    assert cli("memories", "--json").data[0]["text"] == HOSTILE


def test_colour_and_width_on_a_terminal_only(dogs: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")
    out = dogs("history").out
    assert "\x1b[33mUPDATE" in out
    assert max(len(re.sub(r"\x1b\[[\d;]*m", "", line)) for line in out.splitlines()) <= 40
    monkeypatch.setenv("NO_COLOR", "1")
    assert not re.search(r"\x1b\[[\d;]*3\dm", dogs("history").out)


def test_output_that_nobody_reads_is_no_error(dogs: Command) -> None:
    command = f"{sys.executable} -m langgraph_memory_r1 history --db {dogs.db} | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stderr == ""


def test_ctrl_c_keeps_what_is_remembered(cli: Command, tmp_path: Path) -> None:
    notes = cli.file(
        "notes.txt", "".join(f"I visited the town of Place{number} in {number}.\n" for number in range(1, 601))
    )
    arguments = [sys.executable, "-m", "langgraph_memory_r1", "remember", notes, "--db", cli.db]
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"}
    ) as process:
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
