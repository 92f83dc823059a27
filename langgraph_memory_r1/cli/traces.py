"""`memory-r1 traces`: what models decided, what people say about it, and files for training."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from langgraph_memory_r1.cli.inputs import typed_lines
from langgraph_memory_r1.cli.options import Debug, Json
from langgraph_memory_r1.cli.output import FAINT, columns, counted, entry, note, plain, print_json, say
from langgraph_memory_r1.cli.trace_views import (
    first_words,
    read_run,
    reading,
    run_as_json,
    run_cells,
    show_decision,
    stats_as_json,
    stats_lines,
    summarize_feedback,
)
from langgraph_memory_r1.cli.views import minute
from langgraph_memory_r1.errors import InputError

SKIP = "-"
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
        runs = [run for run in summarize_runs(decisions) if not (unlabelled and run.feedback)]
    shown = runs[-limit:] if limit else runs
    if as_data:
        print_json([run_as_json(run) for run in shown])
        return
    if not shown:
        note(f"No run{' without feedback' if unlabelled else ''} in {plain(path)}.")
        return
    rows = [run_cells(run) for run in shown]
    columns(rows, titles=("run", "when", "thread", "question or turn", "decisions", "operations", "feedback"))
    if len(shown) < len(runs):
        note(f"{counted(len(runs) - len(shown), 'older run')} not shown.")


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

    run_id, decisions = read_run(path, run, strict)
    if as_data:
        print_json([json.loads(to_line(decision)) for decision in decisions])
        return
    first = decisions[0]
    say((run_id, "bold"), (f"  {minute(first.at)}  {plain(first.thread or '')}", FAINT))
    for decision in decisions:
        show_decision(decision, full)
    feedback = [summarize_feedback(each) for decision in decisions for each in decision.feedback]
    for summary in dict.fromkeys(feedback):  # each decision of a run carries it
        say()
        entry(("feedback", "magenta"), summary, width=11, indent=0)


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
    from langgraph_memory_r1.traces.feedback import add_feedback
    from langgraph_memory_r1.traces.summary import summarize_runs

    if up and down:
        raise InputError("--up and --down contradict each other; give one of them.")
    if run is None:
        if up or down or comment or gold is not None or score is not None:
            raise InputError("Name the run that this is said about: an id of `memory-r1 traces list`, or `last`.")
        _label_all(path)
        return
    run_id, decisions = read_run(path, run, strict=False)
    feedback = add_feedback(
        path, run_id, gold=gold, score=score, thumbs="up" if up else "down" if down else None, comment=comment
    )
    subject = summarize_runs(decisions)[0].subject
    about = f"  ({first_words(subject)})" if subject else ""
    say(("labelled", "green"), f" {run_id}: {plain(summarize_feedback(feedback))}", (about, FAINT))


def _label_all(path: str) -> None:
    """Ask for the right answer of every question without feedback; a line of standard input is one.

    Raises:
        InputError: There is no question at all.
    """
    from langgraph_memory_r1.traces.feedback import add_feedback
    from langgraph_memory_r1.traces.reader import read_traces
    from langgraph_memory_r1.traces.summary import summarize_runs

    runs = [run for run in summarize_runs(read_traces(path)) if run.question and run.answer is not None]
    if not runs:
        raise InputError(f"No question is recorded in {path}; ask some with --traces {path}.")
    unlabelled, labelled = [run for run in runs if not run.feedback], 0
    lines = typed_lines("  right:   ")
    if unlabelled and sys.stdin.isatty():
        note(f"Enter: the answer was right. {SKIP}: pass over. Ctrl-D: leave.")
    for number, run in enumerate(unlabelled, 1):
        say((f"{number}/{len(unlabelled)} ", FAINT), ("? ", "cyan"), plain(run.question))
        entry(("answered", FAINT), plain(run.answer or ""), width=9)
        gold = next(lines, None)
        if gold is None:
            break
        if gold != SKIP:
            add_feedback(path, run.id, gold=gold or run.answer, thumbs=None if gold else "up")
            labelled += 1
    done = len(runs) - len(unlabelled) + labelled
    say(f"{counted(labelled, 'question')} labelled; {done:,} of {len(runs):,} have feedback.")


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
        exported = (decision for decision in decisions if decision.feedback or not labelled)
        if shape is Shape.decisions:
            say(f"{counted(write_decisions(target, exported), 'decision')} written to {plain(str(target))}.")
            return
        conversations = conversations_of(exported)
    write_conversations(target, conversations)
    turns = sum(len(conversation.turns) for conversation in conversations)
    questions = [question for conversation in conversations for question in conversation.questions]
    golds = sum(question.gold is not None for question in questions)
    say(
        f"{counted(len(conversations), 'conversation')} with {counted(turns, 'turn')} and "
        f"{counted(len(questions), 'question')} ({golds:,} with a gold answer) written to {plain(str(target))}."
    )


@traces.command()
def stats(path: Traces = DEFAULT_TRACES, strict: Strict = False, as_data: Json = False, debug: Debug = False) -> None:
    """Counts: decisions by role and model, feedback, replies that could not be read, tokens."""
    from langgraph_memory_r1.traces.folder import trace_files
    from langgraph_memory_r1.traces.summary import count_decisions

    size = sum(file.stat().st_size for file in trace_files(path))
    with reading(path, strict) as decisions:
        counts = count_decisions(decisions)
    if as_data:
        print_json(stats_as_json(counts, size))
        return
    if not counts.decisions:
        note(f"No decision in {plain(path)}.")
        return
    for name, value in stats_lines(counts, size):
        entry((name, FAINT), plain(value), width=14)
