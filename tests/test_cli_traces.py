"""`memory-r1 traces` as somebody uses it who wants to know what the memory decided."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from langgraph_memory_r1 import TraceRecorder, create_memory_graph, read_traces
from langgraph_memory_r1.conversations import read_conversations
from support.command import DOG, SCOUT, Command


@pytest.fixture
def command(cli: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("MEMORY_R1_TRACES", str(tmp_path / "traces"))
    return cli


@pytest.fixture
def runs(tmp_path: Path, command: Command) -> list[str]:
    recorder = TraceRecorder(tmp_path / "traces")
    graph = create_memory_graph(str(tmp_path / "bank"))
    ids = []
    for asked in ({"messages": [("user", DOG)]}, {"messages": [("user", SCOUT)], "question": "How many dogs?"}):
        settings: Any = {"callbacks": [recorder], "configurable": {"thread_id": "chat-7"}}
        graph.invoke(asked, settings)
        ids.append(str(recorder.last_run))
    return ids


def test_list(command: Command, runs: list[str]) -> None:
    first, second = (line.split("\t") for line in command("traces", "list").out.splitlines())
    assert (first[0], first[2:]) == (runs[0][-8:], ["chat-7", DOG, "extract 1, manage 1", "ADD 1", ""])
    assert second[3:6] == ["How many dogs?", "extract 1, manage 1, answer 1", "UPDATE 1"]


def test_list_of_what_is_unlabelled_and_newest(command: Command, runs: list[str]) -> None:
    command("traces", "label", runs[0], "--up")
    left = command("traces", "list", "--unlabelled", "--json").data
    assert [run["run_id"] for run in left] == runs[1:]
    newest = command("traces", "list", "--limit", "1")
    assert newest.out.startswith(runs[1][-8:])
    assert "1 older run not shown" in newest.err


def test_show(command: Command, runs: list[str]) -> None:
    shown = command("traces", "show", runs[1][-8:]).out
    for part in (
        f"[0] user: {SCOUT}"[10:],
        "Question: How many dogs?",
        '{"selected":[0],"answer":"2"}',
        "answer     2",
    ):
        assert part in shown
    assert "+ User adopted a dog called Buddy. User adopted another dog, Scout!" in shown
    assert "characters of instructions" in shown
    assert "You answer a question from the memories" not in shown
    assert "You answer a question from the memories" in command("traces", "show", "last", "--full").out
    assert [each["role"] for each in command("traces", "show", "last", "--json").data] == [
        "extract",
        "manage",
        "answer",
    ]


def test_label_is_shown_and_read(command: Command, runs: list[str], tmp_path: Path) -> None:
    done = command("traces", "label", "last", "--gold", "2", "--score", "0.5", "--comment", "right")
    assert done.out == f"labelled {runs[1]}: gold '2', score 0.5, right  (How many dogs?)\n"
    assert "gold '2', score 0.5, right" in command("traces", "list").out
    assert "gold '2'" in command("traces", "show", "last").out
    assert [each.gold for each in read_traces(tmp_path / "traces")] == [None, None, "2", "2", "2"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("show", "nobody"), "No run in"),
        (("show", "0"), "with the id '0'"),
        (("label", "nobody", "--up"), "No run in"),
        (("label", "last"), "says nothing"),
        (("label", "last", "--up", "--down"), "contradict"),
        (("label", "last", "--score", "nan"), "A score of nan"),
        (("list", "--traces", "nowhere"), "There are no traces in nowhere"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    command: Command, runs: list[str], arguments: tuple[str, ...], problem: str
) -> None:
    done = command("traces", *arguments)
    assert done.code == 1
    assert done.err.startswith("Error: ")
    assert problem in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("name", ["list", "stats"])
def test_where_nothing_is_recorded_yet(command: Command, tmp_path: Path, name: str) -> None:
    (tmp_path / "traces").mkdir()
    done = command("traces", name)
    assert (done.code, done.out) == (0, "") and done.err.startswith("No ") and str(tmp_path / "traces") in done.err


def test_export_of_decisions(command: Command, runs: list[str], tmp_path: Path) -> None:
    command("traces", "label", "last", "--gold", "2")
    target = tmp_path / "out.jsonl"
    assert command("traces", "export", str(target)).out == f"5 decisions written to {target}.\n"
    assert [each.gold for each in read_traces(target, strict=True)] == [None, None, "2", "2", "2"]
    assert "is there already" in command("traces", "export", str(target)).err
    assert command("traces", "export", str(target), "--force", "--labelled").out.startswith("3 decisions")


def test_export_of_conversations(command: Command, runs: list[str], tmp_path: Path) -> None:
    command("traces", "label", "last", "--gold", "2")
    target = tmp_path / "chats.jsonl"
    done = command("traces", "export", str(target), "--as", "conversations")
    assert done.out.startswith("1 conversation with 2 turns and 1 question (1 with a gold answer) written to ")
    (conversation,) = read_conversations(target, strict=True)
    assert [turn.text for turn in conversation.turns] == [DOG, SCOUT]
    assert len(conversation.questions[0].evidence) == 2


def test_stats(command: Command, runs: list[str]) -> None:
    command("traces", "label", "last", "--gold", "2")
    told = command("traces", "stats").out
    for line in (
        "5 in 2 runs",
        "rules (the no-model baseline) 5",
        "0 of 5 replies",
        "1 of 2 runs, 1 with a gold answer",
    ):
        assert line in told
    data = command("traces", "stats", "--json").data
    assert (data["decisions"], data["roles"]) == (5, {"extract": 2, "manage": 2, "answer": 1})
    assert data["bytes"] > 1000


def test_broken_lines_are_named_or_refused(command: Command, runs: list[str], tmp_path: Path) -> None:
    (tmp_path / "traces" / "z.jsonl").write_bytes(b'{"kind":"decision","id"')
    done = command("traces", "list")
    assert (done.code, len(done.out.splitlines())) == (0, 2)
    assert "z.jsonl:1: the last line is cut in half" in done.err
    refused = command("traces", "list", "--strict")
    assert (refused.code, refused.out) == (1, "")


def test_others_exports_can_be_looked_at_and_converted(command: Command, tmp_path: Path) -> None:
    spans = str(Path(__file__).parent / "data" / "openinference.jsonl")
    assert "How is the dog called?" in command("traces", "list", "--traces", spans).out
    assert command("traces", "export", str(tmp_path / "ours.jsonl"), "--traces", spans).out.startswith("3 decisions")
    assert json.loads((tmp_path / "ours.jsonl").read_text().splitlines()[0])["kind"] == "decision"
    assert "is a file" in command("traces", "label", "last", "--up", "--traces", spans).err


def test_control_characters_reach_no_terminal(command: Command, tmp_path: Path) -> None:
    from langgraph_memory_r1.testing import ScriptedChatModel

    ScriptedChatModel(["\x1b[2Jgone"]).invoke("\x1b[31mred", {"callbacks": [TraceRecorder(tmp_path / "traces")]})
    for name in ("list", "show"):
        assert "\x1b" not in command("traces", name, *(["last"] if name == "show" else [])).out


def test_what_is_said_and_asked_on_the_command_line_is_recorded(command: Command, tmp_path: Path) -> None:
    command("remember", DOG)
    told = command("ask", "What is the dog called?")
    (asked,) = command("traces", "list", "--limit", "1", "--json").data
    assert asked["run_id"][-8:] in told.err
    assert (asked["question"], asked["answer"], asked["thread"]) == ("What is the dog called?", "Buddy", "default")
    assert command("traces", "label", asked["run_id"][-8:], "--gold", "Buddy").code == 0
    assert len(list(read_traces(tmp_path / "traces", strict=True))) == 3


def test_gold_answers_of_a_file_are_feedback(command: Command, tmp_path: Path) -> None:
    turns = [{"speaker": "Ann", "text": "I moved to Denver.", "id": "1"}]
    questions = [{"text": "Where did Ann move to?", "gold": "Denver", "evidence": ["1"]}, {"text": "Who?"}]
    file = command.file("chat.jsonl", json.dumps({"id": "c1", "turns": turns, "questions": questions}))
    assert command("remember", file).code == 0
    lines = command("ask", file, "--json").out.splitlines()
    golds = {
        decision.run_id: decision.gold for decision in read_traces(tmp_path / "traces") if decision.role == "answer"
    }
    assert golds == {json.loads(lines[0])["run_id"]: "Denver", json.loads(lines[1])["run_id"]: None}


def test_a_question_that_asks_no_model_leaves_nothing(command: Command, tmp_path: Path) -> None:
    command("remember", "Hello!")
    told = command("ask", "What is the dog called?")
    assert (told.code, told.err) == (0, "")


def test_gold_in_a_chat(command: Command, tmp_path: Path) -> None:
    done = command("chat", stdin=f"/gold x\n{DOG}\nWhat is the dog called?\n/gold Buddy\n")
    assert "There is no recorded answer yet" in done.out
    assert "the right answer was 'Buddy'" in done.out
    assert [run["feedback"] for run in command("traces", "list", "--json").data] == [[], [{"gold": "Buddy"}]]


def test_every_question_is_asked_about_until_none_is_left(command: Command, tmp_path: Path) -> None:
    nothing = command("traces", "label")
    assert nothing.code == 1 and "There are no traces in" in nothing.err
    command("chat", stdin=f"{DOG}\n")
    nothing = command("traces", "label")
    assert nothing.code == 1 and "No question is recorded" in nothing.err
    command("chat", stdin="What is the dog called?\nHow many dogs do I have?\nWho is Buddy?\n")
    done = command("traces", "label", stdin="\n2\n-\n")
    assert "1/3 ? What is the dog called?\n  answered Buddy\n2/3 ? How many" in done.out
    assert done.out.endswith("2 questions labelled; 2 of 3 have feedback.\n")
    assert [run["feedback"] for run in command("traces", "list", "--json").data[1:]] == [
        [{"gold": "Buddy", "thumbs": "up"}], [{"gold": "2"}], [],
    ]  # fmt: skip
    again = command("traces", "label")
    assert "1/1 ? Who is Buddy?" in again.out and "0 questions labelled; 2 of 3" in again.out
    nobody = command("traces", "label", "--gold", "x")
    assert nobody.code == 1 and "Name the run" in nobody.err


def test_without_traces_nothing_is_recorded(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MEMORY_R1_TRACES")
    command("remember", DOG)
    assert "run_id" not in command("ask", "Which dog?", "--json").data
    assert not (tmp_path / "traces").exists()
