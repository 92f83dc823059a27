"""How far long work is: a bar with an estimate on a terminal, a line now and then in a pipe, both on standard error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Protocol

from langgraph_memory_r1.cli.output import console, note, plain

if TYPE_CHECKING:
    from rich.progress import Progress

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


class AdvanceOne(Protocol):
    """Says that so many more of one kind are done."""

    def __call__(self, noun: str, done: int, now: str = "") -> None:
        """`now` names what is being worked on."""


@contextmanager
def stages(totals: Mapping[str, int], *, shown: bool = True) -> Iterator[AdvanceOne]:
    """Show how many of several kinds of things are done, which go on at the same time: noun → how many there are."""
    with ExitStack() as stack:
        wanted = {noun: total for noun, total in totals.items() if total}
        if shown and console(True).is_terminal:
            bars = stack.enter_context(_columns())
            rows = {noun: stack.enter_context(_row(bars, total, noun)) for noun, total in wanted.items()}
        else:
            rows = {noun: stack.enter_context(progress(total, noun, shown=shown)) for noun, total in wanted.items()}

        def advance(noun: str, done: int, now: str = "") -> None:
            if noun in rows and done:
                rows[noun](done, now)

        yield advance


@contextmanager
def _bar(total: int, noun: str) -> Iterator[Advance]:
    with _columns() as bars, _row(bars, total, noun) as advance:
        yield advance


def _columns() -> Progress:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.fields[now]}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[noun]}", markup=False),
        TimeRemainingColumn(),
        console=console(True),
        transient=True,
    )


@contextmanager
def _row(bars: Progress, total: int, noun: str) -> Iterator[Advance]:
    task = bars.add_task("", total=total, now="", noun=noun)
    yield lambda done, now="": bars.update(task, advance=done, now=plain(now))


def _lines(total: int, noun: str) -> Advance:
    done_so_far = 0

    def advance(done: int, now: str = "") -> None:
        nonlocal done_so_far
        before, done_so_far = done_so_far, done_so_far + done
        if done_so_far == total or before * _LINES // total < done_so_far * _LINES // total:
            note(f"{plain(now)}  {done_so_far:,} of {total:,} {noun}".strip())

    return advance
