"""Reading traces: feedback, broken lines, other versions, summaries, conversations."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from langgraph_memory_r1 import (
    Decision,
    InputError,
    TraceRecorder,
    add_feedback,
    create_memory_graph,
    read_traces,
)
from langgraph_memory_r1.conversations import read_conversations, write_conversations
from langgraph_memory_r1.prompts import PROMPT_VERSION
from langgraph_memory_r1.traces.conversations import conversations_of
from langgraph_memory_r1.traces.decision import Applied, Feedback, from_line, to_line
from langgraph_memory_r1.traces.exports.decision_file import write_decisions
from langgraph_memory_r1.traces.summary import count_decisions, summarize_runs

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def made(number: int = 0, **fields: Any) -> Decision:
    given: dict[str, Any] = {"messages": ({"role": "user", "content": "hello"},), "at": AT}
    return Decision(id=f"d{number}", run_id=f"r{number}", **(given | fields))


def write(folder: Path, *records: Decision | Feedback | bytes, name: str = "a.jsonl") -> Path:
    folder.mkdir(exist_ok=True)
    lines = [record if isinstance(record, bytes) else to_line(record) for record in records]
    (folder / name).write_bytes(b"".join(lines))
    return folder


@pytest.fixture
def recorded(tmp_path: Path, lance_uri: str) -> TraceRecorder:
    recorder = TraceRecorder(tmp_path / "traces")
    graph = create_memory_graph(lance_uri)
    settings: Any = {"callbacks": [recorder], "configurable": {"thread_id": "t1", "user_id": "ann"}}
    graph.invoke({"messages": [("user", "I adopted a dog called Buddy.")]}, settings)
    graph.invoke({"question": "How is the dog called?"}, settings)
    return recorder


def test_a_decision_survives_its_line() -> None:
    told = Feedback("r0", "Buddy", 0.5, "up", "well done", AT)
    decision = made(
        role="answer", completion="é", references={"memories": ["m1"]}, selected=("m1",), token_ids=(1, 2),
        logprobs=(-0.5, -1.0), settings={"temperature": 1.0}, ms=1.5, feedback=(told,),
    )  # fmt: skip
    assert from_line(to_line(decision)) == decision
    assert from_line(to_line(told)) == told


def test_feedback_comes_with_the_decisions_of_its_run(recorded: TraceRecorder) -> None:
    asked = recorded.last_run
    recorded.feedback(asked, gold="Scout", score=0)
    add_feedback(recorded.path, asked, gold="Buddy", comment="the first one was wrong")
    answer = next(decision for decision in read_traces(recorded.path) if decision.role == "answer")
    assert [told.gold for told in answer.feedback] == ["Scout", "Buddy"]
    assert answer.gold == "Buddy"
    assert {decision.gold for decision in read_traces(recorded.path) if decision.role != "answer"} == {None}
    recorded.feedback(answer.id, thumbs="up")
    assert next(iter(read_traces(recorded.path, strict=True))).feedback == ()


@pytest.mark.parametrize(
    ("target", "said", "problem"),
    [
        ("nobody", {"gold": "x"}, "Nothing was recorded .* under the id 'nobody'"),
        (None, {"gold": "x"}, "Nothing was recorded"),
        ('"', {"gold": "x"}, "Nothing was recorded"),
        ("r0", {}, "says nothing"),
        ("r0", {"gold": " "}, "gold answer is empty"),
        ("r0", {"score": float("nan")}, "A score of nan"),
        ("r0", {"thumbs": "sideways"}, "'up' or 'down'"),
    ],
)
def test_feedback_that_cannot_be_is_refused(tmp_path: Path, target: Any, said: Any, problem: str) -> None:
    folder = write(tmp_path / "traces", made())
    with pytest.raises(InputError, match=problem):
        add_feedback(folder, target, **said)
    assert [file.name for file in folder.iterdir()] == ["a.jsonl"]


def test_feedback_needs_a_folder(tmp_path: Path) -> None:
    folder = write(tmp_path / "traces", made())
    with pytest.raises(InputError, match="is a file"):
        add_feedback(folder / "a.jsonl", "r0", score=1)
    with pytest.raises(InputError, match="There are no traces"):
        add_feedback(tmp_path / "nowhere", "r0", score=1)


def test_feedback_after_a_line_that_was_cut(tmp_path: Path) -> None:
    folder = write(tmp_path / "traces", made())
    (folder / "feedback.jsonl").write_bytes(b'{"kind":"feedback","target":"r')
    add_feedback(folder, "d0", score=1)
    skipped: list[InputError] = []
    (decision,) = read_traces(folder, on_skip=skipped.append)
    assert [told.score for told in decision.feedback] == [1.0]
    assert [str(error).partition(": ")[0] for error in skipped] == [f"{folder / 'feedback.jsonl'}:1"]


def test_a_line_that_is_cut_in_half_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    folder = write(tmp_path / "traces", made(0), to_line(made(1))[:30])
    write(folder, made(2), name="b.jsonl")
    skipped: list[InputError] = []
    assert [decision.id for decision in read_traces(folder, on_skip=skipped.append)] == ["d0", "d2"]
    assert [str(error) for error in skipped] == [
        f"{folder / 'a.jsonl'}:2: the last line is cut in half; its process was stopped while it wrote, or still writes"
    ]
    with pytest.raises(InputError, match="cut in half"):
        list(read_traces(folder, strict=True))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b'{"kind":"decision","id":"x"}\n', "run_id: Field required"),
        (b'{"kind":"decision","id":"x","run_id":"r","messages":"no"}\n', "messages: Input should be a valid tuple"),
        (b'{"kind":"dream"}\n', "'dream' is no kind of record"),
        (b'{"kind":"feedback","target":"r","score":NaN}\n', "a score of nan is no number"),
        (b"[1]\n", "'None' is no kind of record"),
        (b'{"kind":["decision"]}\n', "is no kind of record"),
        (b"[" * 100_000 + b"\n", "nested too deeply"),
        (b'{"kind":"decision","id":"x","run_id":"r","messages":[{"text":"hello"}]}\n', "a message has a role"),
        (b'{"kind":"decision","id":"x","run_id":"r","references":{"turns":[7]}}\n', "references are ids"),
        (b'{"kind":"decision","id":"x","run_id":"r","operations":[{"event":"ADD"}]}\n', "op_id: Field required"),
        (b"\xff\xfe\n", "no record of a trace"),
    ],
)
def test_broken_lines_are_named(tmp_path: Path, line: bytes, why: str, caplog: pytest.LogCaptureFixture) -> None:
    folder = write(tmp_path / "traces", made(0), line, made(1))
    with caplog.at_level(logging.WARNING):
        assert len(list(read_traces(folder))) == 2
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(f"{folder / 'a.jsonl'}:2: ")
    assert why in caplog.messages[0]


def test_a_time_without_a_zone_is_utc(tmp_path: Path) -> None:
    line = to_line(made()).replace(b"+00:00", b"")
    (decision,) = read_traces(write(tmp_path / "traces", line), strict=True)
    assert decision.at == AT


def test_what_was_approved_in_a_run_without_a_thread_is_read() -> None:
    assert from_line(to_line(Applied(None, ()))) == Applied(None, ())


def test_decisions_under_another_version_are_named_once_and_counted(tmp_path: Path) -> None:
    old = [made(number, role="manage", prompt_version="0") for number in range(3)]
    folder = write(tmp_path / "traces", *old, made(3, role="manage", prompt_version=PROMPT_VERSION), made(4))
    skipped: list[InputError] = []
    kept = read_traces(folder, on_skip=skipped.append, prompt_version=PROMPT_VERSION)
    assert [decision.id for decision in kept] == ["d3", "d4"]
    assert len(skipped) == 1
    assert f"3 decision(s) under prompt version '0', not '{PROMPT_VERSION}'" in str(skipped[0])
    assert len(list(read_traces(folder))) == 5
    with pytest.raises(InputError, match="prompt version"):
        list(read_traces(folder, strict=True, prompt_version=PROMPT_VERSION))


def test_a_field_that_is_not_known_yet_is_passed_over(tmp_path: Path) -> None:
    line = json.loads(to_line(made())) | {"mood": "fine"}
    folder = write(tmp_path / "traces", json.dumps(line).encode() + b"\n")
    assert len(list(read_traces(folder, strict=True))) == 1


def test_what_is_exported_is_read_again_with_its_feedback(recorded: TraceRecorder, tmp_path: Path) -> None:
    recorded.feedback(recorded.last_run, gold="Buddy")
    decisions = list(read_traces(recorded.path))
    assert write_decisions(tmp_path / "out.jsonl", decisions) == 3
    assert list(read_traces(tmp_path / "out.jsonl", strict=True)) == decisions


def test_runs_and_their_subjects(recorded: TraceRecorder) -> None:
    recorded.feedback(recorded.last_run, gold="Buddy")
    first, second = summarize_runs(read_traces(recorded.path))
    assert (first.subject, dict(first.operations), first.feedback) == ("I adopted a dog called Buddy.", {"ADD": 1}, ())
    assert (second.subject, second.answer, second.feedback[0].gold) == ("How is the dog called?", "Buddy", "Buddy")
    assert (second.id, dict(second.roles)) == (recorded.last_run, {"answer": 1})


def test_counts(recorded: TraceRecorder) -> None:
    recorded.feedback(recorded.last_run, gold="Buddy")
    unreadable = made(7, role="manage", prompt_version=PROMPT_VERSION, completion="hm", model="m:x", input_tokens=5)
    failed = made(8, error="RuntimeError: down")
    stats = count_decisions([*read_traces(recorded.path), unreadable, failed])
    assert (stats.decisions, stats.runs, stats.with_gold, stats.with_feedback, stats.errors) == (5, 4, 1, 1, 1)
    assert dict(stats.roles) == {"extract": 1, "manage": 2, "answer": 1, "other": 1}
    assert dict(stats.models) == {"rules": 3, "m:x": 1, "unknown": 1}
    assert (dict(stats.unreadable), stats.input_tokens, dict(stats.operations)) == ({"manage": 1}, 5, {"ADD": 1})


def test_traces_become_conversations_with_questions(recorded: TraceRecorder, tmp_path: Path) -> None:
    recorded.feedback(recorded.last_run, gold="Buddy")
    found = conversations_of(read_traces(recorded.path))
    write_conversations(tmp_path / "chats.jsonl", found)
    (conversation,) = read_conversations(tmp_path / "chats.jsonl", strict=True)
    (turn,), (question,) = conversation.turns, conversation.questions
    assert (conversation.id, turn.text, turn.speaker) == ("t1", "I adopted a dog called Buddy.", "user")
    assert (question.text, question.gold, question.evidence) == ("How is the dog called?", "Buddy", (turn.id,))


def test_evidence_is_only_what_was_right(recorded: TraceRecorder) -> None:
    recorded.feedback(recorded.last_run, gold="Scout")
    (conversation,) = conversations_of(read_traces(recorded.path))
    assert (conversation.questions[0].gold, conversation.questions[0].evidence) == ("Scout", ())


def test_a_recorder_knows_its_newest_runs_without_looking(recorded: TraceRecorder) -> None:
    newest = recorded.last_run
    for file in recorded.path.iterdir():
        file.unlink()
    assert recorded.has(newest)
    assert recorded.feedback(newest, score=1).target == newest
    assert not recorded.has("nobody")
    with pytest.raises(InputError, match="Nothing was recorded"):
        recorded.feedback("nobody", score=1)
