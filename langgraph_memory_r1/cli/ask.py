"""`memory-r1 ask`: a question, or a file of them, answered from the memories."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from langgraph_memory_r1.cli.inputs import find_input, read_questions
from langgraph_memory_r1.cli.models import load_graph_models, open_recorder
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
    RecordingFolder,
    Trained,
    User,
)
from langgraph_memory_r1.cli.output import FAINT, console, counted, note, plain, print_json, say
from langgraph_memory_r1.cli.progress import progress
from langgraph_memory_r1.cli.store import checked_user, open_store, resolve_owner
from langgraph_memory_r1.cli.views import short_id, show_answer

if TYPE_CHECKING:
    from langgraph_memory_r1.graph import MemoryGraph
    from langgraph_memory_r1.schemas import Question
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
    traces: RecordingFolder = None,
    as_data: Json = False,
    debug: Debug = False,
) -> None:
    """Answer a question from the memories.

    Shows which memories the answer rests on, and the turns that they came from. With --json, a file of questions
    gives one line for each. With --traces, gold answers of a file are recorded as feedback.
    """
    from tempfile import TemporaryDirectory

    from langgraph_memory_r1.bank import MemoryBank

    with TemporaryDirectory(prefix="memory-r1-") as scratch:
        source = find_input(question, file_format, scratch)
        conversations = read_questions(source, conversation or ())
    questions = [(owned.id, each) for owned in conversations for each in owned.questions][:limit]
    models, recorder = load_graph_models(model, trained), open_recorder(traces)
    if k is not None:
        models.settings["k"] = k
    many = source.path is not None
    bar = many and not console().is_terminal  # answers that scroll by are progress enough
    start = time.perf_counter()
    with open_store(db, embedder, existing=True) as store, progress(len(questions), "questions", shown=bar) as advance:
        # As `remember` distributes conversations: several, without a user, have an owner of their own each.
        by_name = user is None and len(conversations) > 1
        one_owner = "" if by_name else resolve_owner(store, user, db=db)
        owners = {each.id: checked_user(each.id) if by_name else one_owner for each in conversations}
        graphs = {owner: models.graph(MemoryBank(store, owner), recorder, owner) for owner in set(owners.values())}
        for conversation_id, each in questions:
            owner = owners[conversation_id]
            answer = _answer(graphs[owner], each, {"user": owner, "model": models.answerer}, recorder)
            if as_data:
                print_json(answer, indent=None if many else 2)
            else:
                _show(answer, many=many)
            advance(1)
    if many:
        note(f"{counted(len(questions), 'question')} in {time.perf_counter() - start:.1f} s.")


def _answer(
    graph: MemoryGraph, question: Question, labels: dict[str, str], recorder: TraceRecorder | None
) -> dict[str, Any]:
    """Ask a question, record its gold answer as feedback, and return all that there is to show."""
    state = graph.invoke({"question": question.text})
    answer: dict[str, Any] = {"question": question.text, "answer": state["answer"]}
    if question.gold is not None:
        answer |= {"gold": question.gold, "evidence": list(question.evidence)}
    answer |= {**labels, "selected": state["selected"], "looked_at": len(state["memories"])}
    # Without memories no model was asked, and no run recorded.
    if recorder is not None and recorder.last_run is not None and recorder.has(recorder.last_run):
        answer["run_id"] = recorder.last_run
        if question.gold:
            recorder.feedback(recorder.last_run, gold=question.gold)
    return answer


def _show(answer: dict[str, Any], *, many: bool) -> None:
    """Print an answer, after its question where there are many, and what can be said about it."""
    if many:
        say(("? ", "cyan"), plain(answer["question"]))
    show_answer(answer["answer"], answer["selected"], answer["looked_at"], answer["model"])
    if "gold" in answer:
        say((f"  gold: {plain(answer['gold'])}", FAINT))
    elif "run_id" in answer:
        run = short_id(answer["run_id"])
        note(f"Recorded as {run}. Was it wrong? Say what is right: memory-r1 traces label {run} --gold TEXT")
