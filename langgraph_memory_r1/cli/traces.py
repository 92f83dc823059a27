"""`memory-r1 traces`: what models decided, what people say about it, and files for training."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from langgraph_memory_r1.cli.options import Debug, Json
from langgraph_memory_r1.cli.output import FAINT, as_json, columns, counted, entry, note, plain, say
from langgraph_memory_r1.cli.trace_views import (
    cut,
    decisions_of,
    reading,
    row_of,
    run_as_json,
    said,
    show_decision,
    stats_as_json,
    stats_lines,
)
from langgraph_memory_r1.cli.views import minute
from langgraph_memory_r1.errors import InputError

DEFAULT_TRACES = "traces"

traces = typer.Typer(
    name="traces",
    help="What models decided: list it, look at it, say what was right, export it for training.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


class Shape(StrEnum):
    """What `export` writes."""

    decisions = "decisions"
    conversations = "conversations"


Traces: TypeAlias = Annotated[
    str,
    typer.Option(
        "--traces",
        envvar="MEMORY_R1_TRACES",
        metavar="PATH",
        help="Folder of a TraceRecorder, or a file of traces: ours, LangSmith's or OpenInference's.",
    ),
]
Strict: TypeAlias = Annotated[bool, typer.Option("--strict", help="Refuse traces with a broken line.")]
Run: TypeAlias = Annotated[str, typer.Argument(metavar="RUN", help="Id of a run, or how it begins or ends; `last`.")]


@traces.command("list")
def list_(
    path: Traces = DEFAULT_TRACES,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many, the newest.")] = None,
    unlabelled: Annotated[bool, typer.Option("--unlabelled", help="Only runs without feedback.")] = False,
    strict: Strict = False,
    as_data: Json = False,
    debug: Debug = False,
) -> None:
    """The runs, oldest first."""
    from langgraph_memory_r1.traces.summary import summarize_runs

    with reading(path, strict) as decisions:
        found = [run for run in summarize_runs(decisions) if not (unlabelled and run.feedback)]
    shown = found[-limit:] if limit else found
    if as_data:
        as_json([run_as_json(run) for run in shown])
        return
    if not shown:
        note(f"No run{' without feedback' if unlabelled else ''} in {plain(path)}.")
        return
    rows = [row_of(run) for run in shown]
    columns(rows, titles=("run", "when", "thread", "question or turn", "decisions", "operations", "feedback"))
    if len(shown) < len(found):
        note(f"{counted(len(found) - len(shown), 'older run')} not shown.")


@traces.command()
def show(
    run: Run,
    path: Traces = DEFAULT_TRACES,
    full: Annotated[bool, typer.Option("--full", help="Show the instructions in the prompts too.")] = False,
    strict: Strict = False,
    as_data: Json = False,
    debug: Debug = False,
) -> None:
    """A run: prompts, replies, and what was done because of them."""
    import json

    from langgraph_memory_r1.traces.decision import to_line

    key, found = decisions_of(path, run, strict)
    if as_data:
        as_json([json.loads(to_line(decision)) for decision in found])
        return
    first = found[0]
    say((key, "bold"), (f"  {minute(first.at)}  {plain(first.thread or '')}", FAINT))
    for decision in found:
        show_decision(decision, full)
    for told in dict.fromkeys(said(told) for decision in found for told in decision.feedback):
        say()
        entry(("feedback", "magenta"), told, width=11, indent=0)


@traces.command()
def label(
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="Id of a run, or how it begins or ends; `last`; none: one after another."),
    ] = None,
    path: Traces = DEFAULT_TRACES,
    gold: Annotated[str | None, typer.Option(metavar="TEXT", help="The right answer.")] = None,
    score: Annotated[float | None, typer.Option(help="How good it was; more is better.")] = None,
    up: Annotated[bool, typer.Option("--up", help="Thumbs up.")] = False,
    down: Annotated[bool, typer.Option("--down", help="Thumbs down.")] = False,
    comment: Annotated[str | None, typer.Option(metavar="TEXT", help="In words.")] = None,
    debug: Debug = False,
) -> None:
    """Say what was right about a run, for training.

    Without a run, every question that nobody has said anything about is shown with its answer, and the right one asked
    for; lines of standard input answer too.
    """
    from langgraph_memory_r1.cli.labels import label_all
    from langgraph_memory_r1.traces.feedback import add_feedback
    from langgraph_memory_r1.traces.summary import summarize_runs

    if up and down:
        raise InputError("--up and --down contradict each other; give one of them.")
    if run is None:
        if up or down or comment or gold is not None or score is not None:
            raise InputError("Name the run that this is said about: an id of `memory-r1 traces list`, or `last`.")
        label_all(path)
        return
    key, found = decisions_of(path, run, strict=False)
    told = add_feedback(
        path, key, gold=gold, score=score, thumbs="up" if up else "down" if down else None, comment=comment
    )
    asked = summarize_runs(found)[0].subject
    say(("labelled", "green"), f" {key}: {plain(said(told))}", (f"  ({cut(asked)})" if asked else "", FAINT))


@traces.command()
def export(
    target: Annotated[Path, typer.Argument(metavar="FILE", help="The JSONL file to write.")],
    path: Traces = DEFAULT_TRACES,
    shape: Annotated[Shape, typer.Option("--as", help="Decisions, or conversations with questions.")] = Shape.decisions,
    labelled: Annotated[bool, typer.Option("--labelled", help="Only runs with feedback.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    strict: Strict = False,
    debug: Debug = False,
) -> None:
    """Write traces with their feedback to one file.

    Decisions, one a line; or what was said and asked as conversations, the format of remember, ask, eval and train.
    """
    from langgraph_memory_r1.conversations import write_conversations
    from langgraph_memory_r1.traces.conversations import conversations_of
    from langgraph_memory_r1.traces.exports.decision_file import write_decisions

    if target.exists() and not force:
        raise InputError(f"{target} is there already; name another file, or replace it with --force.")
    with reading(path, strict) as decisions:
        wanted = (decision for decision in decisions if decision.feedback or not labelled)
        if shape is Shape.decisions:
            say(f"{counted(write_decisions(target, wanted), 'decision')} written to {plain(str(target))}.")
            return
        found = conversations_of(wanted)
    write_conversations(target, found)
    turns = sum(len(conversation.turns) for conversation in found)
    golds = sum(question.gold is not None for conversation in found for question in conversation.questions)
    asked = sum(len(conversation.questions) for conversation in found)
    say(
        f"{counted(len(found), 'conversation')} with {counted(turns, 'turn')} and {counted(asked, 'question')} "
        f"({golds:,} with a gold answer) written to {plain(str(target))}."
    )


@traces.command()
def stats(path: Traces = DEFAULT_TRACES, strict: Strict = False, as_data: Json = False, debug: Debug = False) -> None:
    """Counts: decisions by role and model, feedback, replies that could not be read, tokens."""
    from langgraph_memory_r1.traces.folder import trace_files
    from langgraph_memory_r1.traces.summary import count_decisions

    size = sum(file.stat().st_size for file in trace_files(path))
    with reading(path, strict) as decisions:
        found = count_decisions(decisions)
    if as_data:
        as_json(stats_as_json(found, size))
        return
    if not found.decisions:
        note(f"No decision in {plain(path)}.")
        return
    for name, value in stats_lines(found, size):
        entry((name, FAINT), plain(value), width=14)
