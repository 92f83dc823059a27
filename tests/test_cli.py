"""The `memory-r1` command as a whole: help, errors, whose memories, the demo, and what reaches the terminal."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from langgraph_memory_r1 import (
    Add,
    LanceDBStore,
    MemoryBank,
    __version__,
)
from langgraph_memory_r1.cli import app
from langgraph_memory_r1.cli.eval.dataset import DEFAULT_RUNS
from langgraph_memory_r1.cli.options import DEFAULT_DB
from langgraph_memory_r1.cli.traces import DEFAULT_TRACES
from support.command import DOG, Command

COMMANDS = [command.name for command in app.registered_commands]
ANSI = re.compile(r"\x1b")
BOX = re.compile("[\u2500-\u257f]")


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


# Errors


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


def test_output_that_nobody_reads_is_no_error(cli: Command) -> None:
    command = f"{sys.executable} -m langgraph_memory_r1 doctor --db {cli.db} | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stderr == ""


# What commands write where nothing says where


def test_what_is_written_by_default_is_ignored_by_git() -> None:
    root = Path(__file__).resolve().parents[1]
    if shutil.which("git") is None or not (root / ".git").exists():
        pytest.skip("this is no checkout")
    sources = [*(root / "graphs").rglob("*.py"), *(root / "train").rglob("*.py"), *(root / "train").rglob("*.yaml")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    graphs = re.findall(r'environ.get\("MEMORY_R1_DB", "([^"]+)"\)', text)
    training = re.findall(r'^(?:output: | {8}")(runs/[^"\n]+)', text, re.MULTILINE)
    assert len(graphs) > 2 and "runs/reproduce" in training and "runs/tiny-grpo" in training
    folders = [DEFAULT_DB, DEFAULT_TRACES, DEFAULT_RUNS, "demo-memory", *graphs, *training]
    written = [f"{folder}/file".removeprefix("./") for folder in folders]
    ignored = git(root, "check-ignore", *written)
    assert set(written) - set(ignored) == set()
    # The traces of users are ignored, our package of that name is not.
    assert git(root, "check-ignore", "--no-index", *git(root, "ls-files")) == []


def git(root: Path, *arguments: str) -> list[str]:
    return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True).stdout.splitlines()
