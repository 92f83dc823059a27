"""How far long work is: a bar with an estimate on a terminal, a line now and then in a pipe, both on standard error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Protocol

from langgraph_memory_r1.cli.output import console, note, plain

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_LINES = 10
"""So many lines a job prints in a pipe."""


class Advance(Protocol):
    """Counts that so many more are done."""

    def __call__(self, done: int, label: str = "") -> None:
        """`label` names what is being worked on."""


class AdvanceStage(Protocol):
    """Counts that so many more of one kind are done."""

    def __call__(self, noun: str, done: int, label: str = "") -> None:
        """`label` names what is being worked on."""


@contextmanager
def progress(total: int, noun: str, *, shown: bool = True) -> Iterator[Advance]:
    """Show how many of `total` things are done."""
    with stages({noun: total}, shown=shown) as advance:
        yield lambda done, label="": advance(noun, done, label)


@contextmanager
def stages(totals: Mapping[str, int], *, shown: bool = True) -> Iterator[AdvanceStage]:
    """Show how many of several kinds of things are done, which go on at the same time: noun → how many there are."""
    counts = {noun: 0 for noun, total in totals.items() if total} if shown else {}
    bars: Progress | None = None
    tasks: dict[str, TaskID] = {}
    if counts and console(True).is_terminal:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        label_column = TextColumn("{task.fields[label]}", markup=False)
        noun_column = TextColumn("{task.fields[noun]}", markup=False)
        columns = (label_column, BarColumn(), MofNCompleteColumn(), noun_column, TimeRemainingColumn())
        bars = Progress(*columns, console=console(True), transient=True)
        tasks = {noun: bars.add_task("", total=totals[noun], label="", noun=noun) for noun in counts}

    def advance(noun: str, done: int, label: str = "") -> None:
        if noun not in counts or not done:
            return
        before, total = counts[noun], totals[noun]
        counts[noun] += done
        if bars:
            bars.update(tasks[noun], advance=done, label=plain(label))
        elif counts[noun] == total or before * _LINES // total < counts[noun] * _LINES // total:
            note(f"{plain(label)}  {counts[noun]:,} of {total:,} {noun}".strip())

    with bars or nullcontext():
        yield advance
