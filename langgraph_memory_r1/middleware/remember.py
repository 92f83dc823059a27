"""What was said to operations on a bank, as one step of an agent: the roles put together, with redaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from langgraph_memory_r1 import roles
from langgraph_memory_r1.agents import Progress
from langgraph_memory_r1.bank import MemoryBank
from langgraph_memory_r1.retrieval import Hit
from langgraph_memory_r1.schemas import Add, Change, Operation, Turn, Update
from langgraph_memory_r1.steps import Agent, Do, Steps
from langgraph_memory_r1.turns import Heard, Limits

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
    bank: MemoryBank, target: roles.Target, heard: Heard, crew: Crew, progress: Progress, outcome: Outcome
) -> Steps[None]:
    """Finds facts in what the bank does not know yet, and applies what they mean to the target, batch by batch.

    The target is the bank itself, or a fork of it.
    """
    new = heard
    if heard.turns:
        new = yield Do(partial(roles.news, bank, heard, crew.limits))
        progress.tell("heard", {"turns": len(new.turns), "skipped": dict(new.skipped)})
    redacting = target if crew.redact is None else Redacting(target, crew.redact)
    for batch in roles.groups(redacted(new, crew.redact), crew.limits):
        found = yield from roles.extract(crew.extract, batch, progress)
        outcome.changes += yield from roles.manage(redacting, crew.manage, found, crew.related_k, progress)
        if batch.cursor is not None:
            outcome.cursor = batch.cursor
    outcome.cursor = heard.last


def redacted(heard: Heard, redact: Redact | None) -> Heard:
    """What was said, without what must not be kept; the ids stay."""
    if redact is None:
        return heard
    return replace(heard, turns=tuple(_redacted_turn(turn, redact) for turn in heard.turns))


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
