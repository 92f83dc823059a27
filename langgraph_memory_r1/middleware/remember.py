"""What was said to operations on a bank, as one step of an agent: the roles put together, with redaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from langgraph_memory_r1 import roles
from langgraph_memory_r1.bank import MemoryBank
from langgraph_memory_r1.batches import Limits, batch_turns, new_turns
from langgraph_memory_r1.retrieval import Hit
from langgraph_memory_r1.schemas import Add, Change, Operation, Turn, Update
from langgraph_memory_r1.steps import Agent, RunBlocking, RunMonitor, Steps
from langgraph_memory_r1.turns import NewTurns

Redact = Callable[[str], str]
"""Takes out of a text what must not be kept."""


@dataclass(frozen=True, slots=True)
class Crew:
    """Who finds facts, who decides about them, and under which limits."""

    extract: Agent
    manage: Agent
    limits: Limits
    related_k: int
    redact: Redact | None = None


@dataclass(slots=True)
class Outcome:
    """What was done so far, filled in as it happens, so that a failure half-way keeps what is done."""

    cursor: str | None = None
    changes: list[Change] = field(default_factory=list)


def decide(
    bank: MemoryBank, target: roles.Target, turns: NewTurns, crew: Crew, monitor: RunMonitor, outcome: Outcome
) -> Steps[None]:
    """Finds facts in what the bank does not know yet, and applies what they mean to the target, batch by batch.

    The target is the bank itself, or a fork of it.
    """
    new = turns
    if turns.turns:
        new = yield RunBlocking(partial(new_turns, bank, turns, crew.limits))
        monitor.emit("new_turns", {"turns": len(new.turns), "skipped": dict(new.skipped)})
    redacting = target if crew.redact is None else Redacting(target, crew.redact)
    for batch in batch_turns(redacted(new, crew.redact), crew.limits):
        found = yield from roles.extract(crew.extract, batch, monitor)
        outcome.changes += yield from roles.manage(redacting, crew.manage, found, crew.related_k, monitor)
        if batch.cursor is not None:
            outcome.cursor = batch.cursor
    outcome.cursor = turns.last


def redacted(new: NewTurns, redact: Redact | None) -> NewTurns:
    """What was said, without what must not be kept; the ids stay."""
    if redact is None:
        return new
    return replace(new, turns=tuple(_redacted_turn(turn, redact) for turn in new.turns))


class Redacting:
    """A bank that writes down redacted texts only: a model may say what it was not told."""

    def __init__(self, target: roles.Target, redact: Redact) -> None:
        self._target = target
        self._redact = redact

    def search(self, query: str, *, k: int = 60) -> list[Hit]:
        """`MemoryBank.search`."""
        return self._target.search(query, k=k)

    def apply(
        self, operations: Sequence[Operation], *, expect: Mapping[str, int] | None = None, model: str | None = None
    ) -> list[Change]:
        """`MemoryBank.apply` of the redacted operations."""
        safe = [redacted_operation(operation, self._redact) for operation in operations]
        return self._target.apply(safe, expect=expect, model=model)


def redacted_operation(operation: Operation, redact: Redact) -> Operation:
    """An operation whose texts were redacted."""
    if isinstance(operation, Add):
        return replace(operation, text=redact(operation.text), speaker=_maybe(operation.speaker, redact))
    if isinstance(operation, Update):
        return replace(operation, text=redact(operation.text))
    return replace(operation, reason=redact(operation.reason))


def _redacted_turn(turn: Turn, redact: Redact) -> Turn:
    return replace(turn, text=redact(turn.text), speaker=redact(turn.speaker))


def _maybe(text: str | None, redact: Redact) -> str | None:
    return None if text is None else redact(text)
