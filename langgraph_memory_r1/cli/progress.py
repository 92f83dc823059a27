"""How far long work is: a bar with an estimate on a terminal, a line now and then in a pipe, both on standard error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from langgraph_memory_r1.cli.output import console, note, plain

_LINES = 10
"""So many lines a job prints in a pipe."""


class Advance(Protocol):
    """Says that so many more are done."""

    def __call__(self, done: int, now: str = "") -> None:
        """`now` names what is being worked on."""


@contextmanager
def progress(total: int, noun: str, *, shown: bool = True) -> Iterator[Advance]:
    """Show how many of `total` things are done."""
    if not shown:
        yield lambda done, now="": None
    elif console(True).is_terminal:
        with _bar(total, noun) as advance:
            yield advance
    else:
        yield _lines(total, noun)


@contextmanager
def _bar(total: int, noun: str) -> Iterator[Advance]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    texts = TextColumn("{task.fields[now]}", markup=False), TextColumn(noun)
    with Progress(
        texts[0],
        BarColumn(),
        MofNCompleteColumn(),
        texts[1],
        TimeRemainingColumn(),
        console=console(True),
        transient=True,
    ) as bar:
        task = bar.add_task("", total=total, now="")
        yield lambda done, now="": bar.update(task, advance=done, now=plain(now))


def _lines(total: int, noun: str) -> Advance:
    done_so_far = 0

    def advance(done: int, now: str = "") -> None:
        nonlocal done_so_far
        before, done_so_far = done_so_far, done_so_far + done
        if done_so_far == total or before * _LINES // total < done_so_far * _LINES // total:
            note(f"{plain(now)}  {done_so_far:,} of {total:,} {noun}".strip())

    return advance
