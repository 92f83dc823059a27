"""`memory-r1 ask`: a question, or a file of them, answered from the memories."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from langgraph_memory_r1.cli.inputs import find, questions
from langgraph_memory_r1.cli.models import Cast, cast
from langgraph_memory_r1.cli.options import (
    DEFAULT_DB,
    Conversations,
    Db,
    Debug,
    Embedder,
    FileFormat,
    Format,
    Json,
    Model,
    Record,
    Trained,
    User,
)
from langgraph_memory_r1.cli.output import FAINT, as_json, console, counted, note, plain, say
from langgraph_memory_r1.cli.progress import progress
from langgraph_memory_r1.cli.recording import recorded, recorder_for, short
from langgraph_memory_r1.cli.store import named, opened, owner
from langgraph_memory_r1.cli.views import show_answer

if TYPE_CHECKING:
    from langgraph_memory_r1.schemas import Conversation, Question
    from langgraph_memory_r1.store import LanceDBStore
    from langgraph_memory_r1.traces import TraceRecorder


def ask(
    question: Annotated[
        str | None,
        typer.Argument(metavar="QUESTION|FILE|-", help="A question, a file with questions, or - for standard input."),
    ] = None,
    db: Db = DEFAULT_DB,
    user: User = None,
    model: Model = "rules",
    trained: Trained = None,
    embedder: Embedder = None,
    k: Annotated[
        int | None,
        typer.Option("--k", min=1, help="How many memories the answer may be chosen from. [default: 60]"),
    ] = None,
    file_format: FileFormat = Format.auto,
    conversation: Conversations = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many questions of a file.")] = None,
    traces: Record = None,
    as_data: Json = False,
    debug: Debug = False,
) -> None:
    """Answer a question from the memories.

    Shows which memories the answer rests on, and the turns that they came from. With --json, a file of questions
    gives one line for each. With --traces, gold answers of a file are recorded as feedback.
    """
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(prefix="memory-r1-") as scratch:
        given = find(question, file_format, scratch)
        read = questions(given, conversation or ())
    asked = [(found, each) for found in read for each in found.questions][:limit]
    playing = cast(model, trained)
    if k is not None:
        playing.settings["k"] = k
    many = given.path is not None
    bar = many and not console().is_terminal  # answers that scroll by are progress enough
    start, recorder = time.perf_counter(), recorder_for(traces)
    with opened(db, embedder, existing=True) as store, progress(len(asked), "questions", shown=bar) as advance:
        for answer in _answers(store, asked, _owners(store, read, user, db), playing, recorder):
            if as_data:
                as_json(answer, indent=None if many else 2)
            else:
                _show(answer, playing.answerer, many=many)
            advance(1)
    if many:
        note(f"{counted(len(asked), 'question')} in {time.perf_counter() - start:.1f} s.")


def _owners(store: LanceDBStore, read: Sequence[Conversation], user: str | None, db: str) -> dict[str, str]:
    """Whose memories answer the questions of a conversation: as `remember` distributes conversations."""
    if user is not None or len(read) == 1:
        one = owner(store, user, db=db)
        return {conversation.id: one for conversation in read}
    return {conversation.id: named(conversation.id) for conversation in read}


def _answers(
    store: LanceDBStore,
    asked: Sequence[tuple[Conversation, Question]],
    owners: dict[str, str],
    playing: Cast,
    recorder: TraceRecorder | None,
) -> Iterator[dict[str, Any]]:
    from langgraph_memory_r1.bank import MemoryBank
    from langgraph_memory_r1.graph import create_memory_graph

    graphs = {
        name: recorded(create_memory_graph(MemoryBank(store, name), **playing.settings), recorder, name)
        for name in set(owners.values())
    }
    for conversation, question in asked:
        user = owners[conversation.id]
        said = graphs[user].invoke({"question": question.text})
        gold = {"gold": question.gold, "evidence": list(question.evidence)} if question.gold is not None else {}
        yield {
            "question": question.text,
            "answer": said["answer"],
            **gold,
            "user": user,
            "model": playing.answerer,
            "selected": said["selected"],
            "looked_at": len(said["memories"]),
            **_run(recorder, question),
        }


def _run(recorder: TraceRecorder | None, question: Question) -> dict[str, str]:
    """The recorded run, with its gold answer as feedback; without memories no model was asked, and there is none."""
    if recorder is None or recorder.last_run is None or not recorder.has(recorder.last_run):
        return {}
    if question.gold:
        recorder.feedback(recorder.last_run, gold=question.gold)
    return {"run_id": recorder.last_run}


def _show(answer: dict[str, Any], model: str, *, many: bool) -> None:
    if many:
        say(("? ", "cyan"), plain(answer["question"]))
    show_answer(answer["answer"], answer["selected"], answer["looked_at"], model)
    if "gold" in answer:
        say((f"  gold: {plain(answer['gold'])}", FAINT))
    elif "run_id" in answer:
        run = short(answer["run_id"])
        note(f"Recorded as {run}. Was it wrong? Say what is right: memory-r1 traces label {run} --gold TEXT")
