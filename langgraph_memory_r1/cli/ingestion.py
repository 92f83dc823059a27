"""Feeding turns to the memory graph, a few at a time: what was dealt with stays, and is passed over the next time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

from langgraph_memory_r1.errors import MemoryR1Error

if TYPE_CHECKING:
    from langgraph_memory_r1.bank import MemoryBank
    from langgraph_memory_r1.graph import MemoryGraph
    from langgraph_memory_r1.schemas import Turn

FAILURES_IN_A_ROW = 3
"""After so many the cause is not a single turn: a key is wrong, a server is down, a disk is full."""
EVENTS = ("ADD", "UPDATE", "DELETE", "NOOP")


@dataclass
class Tally:
    """What came of the turns so far."""

    turns: int = 0
    known: int = 0
    """Turns that the bank had dealt with before."""
    facts: int = 0
    operations: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    unreadable: int = 0
    """Replies of the model that could not be read, whether or not the second try could."""
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Turns per second."""
        return self.turns / self.seconds if self.seconds else 0.0

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "turns": self.turns,
            "known": self.known,
            "facts": self.facts,
            "operations": {event: self.operations[event] for event in EVENTS},
            "failures": self.failures,
            "unreadable": self.unreadable,
            "seconds": round(self.seconds, 3),
            "turns_per_second": round(self.rate, 1),
        }


@dataclass(frozen=True, slots=True)
class Step:
    """Some turns that were dealt with, or passed over."""

    turns: tuple[Turn, ...]
    operations: tuple[dict[str, Any], ...] = ()


def ingest(bank: MemoryBank, graph: MemoryGraph, turns: Sequence[Turn], tally: Tally) -> Iterator[Step]:
    """Feed turns to the graph, session by session; the tally is up to date at every step.

    Raises:
        MemoryR1Error: several steps in a row failed.
    """
    known = bank.seen()
    in_a_row = 0
    for group in _groups(turns):
        start = time.perf_counter()
        new = tuple(turn for turn in group if not _is_known(turn, known))
        operations = _remember(graph, new, tally) if new else ()
        failed = [operation["reason"] for operation in operations if operation["event"] == "ERROR"]
        in_a_row = in_a_row + 1 if failed else in_a_row if not new else 0
        tally.failures += failed
        tally.turns += 0 if failed else len(new)
        tally.known += len(group) - len(new)
        tally.seconds += time.perf_counter() - start
        yield Step(group, operations)
        if in_a_row == FAILURES_IN_A_ROW:
            raise MemoryR1Error(
                f"Stopped after {in_a_row} failures in a row: {failed[-1]}. What is remembered stays; the same command "
                "goes on from there."
            )


def _remember(graph: MemoryGraph, turns: tuple[Turn, ...], tally: Tally) -> tuple[dict[str, Any], ...]:
    state: Any = None
    told: Any
    for mode, told in graph.stream({"turns": turns}, stream_mode=["custom", "values"]):
        if mode == "values":
            state = told
        elif told["event"] == "facts":
            tally.facts += len(told["facts"])
    operations = tuple(state["memory_ops"])
    tally.operations.update(operation["event"] for operation in operations)
    tally.unreadable += state["usage"]["unreadable"]
    return operations


def _groups(turns: Sequence[Turn]) -> Iterator[tuple[Turn, ...]]:
    """Turns of one session, no more than one model call looks at."""
    from langgraph_memory_r1.batches import Limits

    size = Limits().batch_turns
    for _, session in groupby(turns, key=lambda turn: turn.session):
        held = tuple(session)
        yield from (held[start : start + size] for start in range(0, len(held), size))


def _is_known(turn: Turn, known: set[str]) -> bool:
    """Of a turn too long for one call some pieces may be missing yet; the graph knows which."""
    from langgraph_memory_r1.batches import Limits

    return turn.id in known and len(turn.text) <= Limits().batch_chars
