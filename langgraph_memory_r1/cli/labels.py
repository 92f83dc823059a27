"""`memory-r1 traces label` without a run: question after question, until nothing is left to label."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from langgraph_memory_r1.cli.output import FAINT, counted, entry, note, plain, say
from langgraph_memory_r1.errors import InputError

if TYPE_CHECKING:
    from langgraph_memory_r1.traces.summary import RunSummary

SKIP = "-"
_HELP = f"Enter: the answer was right. {SKIP}: pass over. Ctrl-D: leave."


def label_all(path: str) -> None:
    """Ask for the right answer of every question without feedback; a line of standard input is one.

    Raises:
        InputError: There is no question at all.
    """
    from langgraph_memory_r1.traces.feedback import add_feedback
    from langgraph_memory_r1.traces.reader import read_traces
    from langgraph_memory_r1.traces.summary import summarize_runs

    asked = [run for run in summarize_runs(read_traces(path)) if run.question and run.answer is not None]
    if not asked:
        raise InputError(f"No question is recorded in {path}; ask some with --traces {path}.")
    left, given = [run for run in asked if not run.feedback], 0
    if left and sys.stdin.isatty():
        note(_HELP)
    for number, run in enumerate(left, 1):
        _show(run, number, len(left))
        line = _line()
        if line is None:
            break
        if line != SKIP:
            add_feedback(path, run.id, gold=line or run.answer, thumbs=None if line else "up")
            given += 1
    done = len(asked) - len(left) + given
    say(f"{counted(given, 'question')} labelled; {done:,} of {len(asked):,} have feedback.")


def _show(run: RunSummary, number: int, of: int) -> None:
    say((f"{number}/{of} ", FAINT), ("? ", "cyan"), plain(run.question))
    entry(("answered", FAINT), plain(run.answer or ""), width=9)


def _line() -> str | None:
    """What is typed or piped in; None at the end."""
    if not sys.stdin.isatty():
        read = sys.stdin.readline()
        return read.strip() if read else None
    try:
        return input("  right:   ").strip()
    except (EOFError, KeyboardInterrupt):
        print()
        return None
