"""Turns fed to the memory graph a few at a time: what was dealt with stays, and is passed over the next time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

from langgraph_memory_r1.cli.output import COLOURS, FAINT, Part, entry, note, plain
from langgraph_memory_r1.errors import MemoryR1Error

if TYPE_CHECKING:
    from langgraph_memory_r1.bank import MemoryBank
    from langgraph_memory_r1.graph import MemoryGraph
    from langgraph_memory_r1.schemas import Turn

FAILURES_IN_A_ROW = 3
"""After so many the cause is not a single turn: a key is wrong, a server is down, a disk is full."""
EVENTS = ("ADD", "UPDATE", "DELETE", "NOOP")
MOST_SHOWN = 5
"""Of failures and of broken entries."""
INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


@dataclass
class Tally:
    """What came of the turns so far."""

    turns: int = 0
    existing: int = 0
    """Turns that the bank had dealt with before."""
    facts: int = 0
    operations: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    unreadable: int = 0
    """Replies of the model that could not be read in full, whether or not the second try could."""
    undecided: int = 0
    """Facts that were added as they are, because no decision about them could be read."""
    seconds: float = 0.0
    interrupted: bool = False
    """By Ctrl-C, before all turns were dealt with."""

    @property
    def rate(self) -> float:
        """Turns per second."""
        return self.turns / self.seconds if self.seconds else 0.0

    @property
    def exit_code(self) -> int:
        """The exit code of the command."""
        return INTERRUPTED if self.interrupted else int(bool(self.failures))

    def as_json(self) -> dict[str, Any]:
        """Return what `--json` says about the turns."""
        return {
            "turns": self.turns,
            "known": self.existing,
            "facts": self.facts,
            "operations": {event: self.operations[event] for event in EVENTS},
            "failures": self.failures,
            "unreadable": self.unreadable,
            "undecided": self.undecided,
            "seconds": round(self.seconds, 3),
            "turns_per_second": round(self.rate, 1),
        }

    def show_failures(self) -> None:
        """Print the first failures."""
        for reason in self.failures[:MOST_SHOWN]:
            entry(("ERROR", COLOURS["ERROR"]), plain(reason))

    def show_operations(self) -> None:
        """Print how many operations of each kind there were."""
        parts: list[Part] = []
        for event in EVENTS:
            parts += [(event, COLOURS[event]), f" {self.operations[event]:,}  "]
        summary_line("operations", *parts)

    def note_unfinished(self) -> None:
        """Say so where something is left to do."""
        if self.interrupted or self.failures:
            why = "Interrupted" if self.interrupted else "Not everything was remembered"
            note(f"{why}; what is remembered stays, and the same command goes on from there.")


def summary_line(label: str, *parts: Part) -> None:
    """Print one line of a summary."""
    entry((label, FAINT), *parts, width=12)


@dataclass(frozen=True, slots=True)
class IngestStep:
    """Some turns that were dealt with, or passed over."""

    turns: tuple[Turn, ...]
    operations: tuple[dict[str, Any], ...] = ()


def ingest(
    bank: MemoryBank, graph: MemoryGraph, turns: Sequence[Turn], tally: Tally, *, retry: bool = False
) -> Iterator[IngestStep]:
    """Feed turns to the graph, session by session; the tally is up to date at every step.

    With `retry` also those that could not be read, however often that was tried.

    Raises:
        MemoryR1Error: Several steps in a row failed.
    """
    from langgraph_memory_r1.batches import Limits

    if retry:
        bank.retry_unread()
    limits = Limits()
    size, failures_in_a_row = limits.batch_turns, 0
    sessions = [tuple(group) for _, group in groupby(turns, key=lambda turn: turn.session)]
    for batch in (session[start : start + size] for session in sessions for start in range(0, len(session), size)):
        start = time.perf_counter()
        # Of a turn too long for one call some pieces may be missing yet; the graph knows which.
        answers = bank.known([(turn, bank.mark(turn)) for turn in batch])
        new = tuple(
            turn for turn, old in zip(batch, answers, strict=True) if not old or len(turn.text) > limits.batch_chars
        )
        state: Any = {"memory_ops": (), "usage": {"unreadable": 0, "undecided": 0}}
        chunk: Any
        for mode, chunk in graph.stream({"turns": new}, stream_mode=["custom", "values"]) if new else ():
            if mode == "values":
                state = chunk
            elif chunk["event"] == "facts":
                tally.facts += len(chunk["facts"])
        operations = tuple(state["memory_ops"])
        failed = [operation["reason"] for operation in operations if operation["event"] == "ERROR"]
        if new:  # what was passed over says nothing about whether the cause is gone
            failures_in_a_row = failures_in_a_row + 1 if failed else 0
        tally.operations.update(operation["event"] for operation in operations)
        tally.unreadable += state["usage"]["unreadable"]
        tally.undecided += state["usage"]["undecided"]
        tally.failures += failed
        tally.turns += 0 if failed else len(new)
        tally.existing += len(batch) - len(new)
        tally.seconds += time.perf_counter() - start
        yield IngestStep(batch, operations)
        if failures_in_a_row == FAILURES_IN_A_ROW:
            raise MemoryR1Error(
                f"Stopped after {failures_in_a_row} failures in a row: {failed[-1]}. What is remembered stays; the "
                "same command goes on from there."
            )
