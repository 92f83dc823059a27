"""What operations do to memories, as pure functions over `Change`: plan, take back, replay, compare."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from langgraph_memory_r1.errors import ConflictError, UnknownMemoryError
from langgraph_memory_r1.schemas import Add, Change, Delete, Event, Memory, Noop, Operation, Update

Lookup = Callable[[str], Memory | None]

_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Diff:
    """How a bank differs between two moments."""

    added: tuple[Memory, ...] = ()
    updated: tuple[tuple[Memory, Memory], ...] = ()
    """(before, after)."""
    removed: tuple[Memory, ...] = ()


def plan(
    operations: Sequence[Operation], lookup: Lookup, *, model: str | None = None, reason: str = ""
) -> list[Change]:
    """What the operations will change, in their order; each sees those before it.

    Raises:
        UnknownMemoryError: an operation names a memory that is not there.
    """
    now = datetime.now(UTC)
    seen: dict[str, Memory | None] = {}
    changes = []
    for place, operation in enumerate(operations):
        before = None
        if isinstance(operation, (Update, Delete)):
            before = seen[operation.id] if operation.id in seen else lookup(operation.id)
            if before is None:
                raise UnknownMemoryError(f"There is no memory {operation.id!r} to {operation.event.lower()}.")
        # Times within a turn grow, so that the history keeps the order of its operations.
        change = _change(operation, before, _after(before, now) + place * _TICK, model, reason)
        changes.append(change)
        if change.memory_id is not None:
            seen[change.memory_id] = change.after
    return changes


def standing(history: Sequence[Change]) -> list[Change]:
    """The changes that still hold: neither NOOPs, nor taken back, nor themselves what took another one back."""
    cancelled = _cancelled(history)
    return [change for change in history if change.memory_id and not change.undoes and change.id not in cancelled]


def invert(change: Change, current: Memory | None, history: Sequence[Change]) -> Change:
    """The change that takes another one back; taking back an undo does the operation again.

    Raises:
        ConflictError: a later operation on the same memory still stands (the message names it), or it is taken back.
        UnknownMemoryError: a NOOP changed nothing.
    """
    if change.memory_id is None:
        raise UnknownMemoryError(f"{change.id} is a NOOP; there is nothing to take back.")
    same = [other for other in history if other.memory_id == change.memory_id]
    if by := _cancelled(same).get(change.id):
        raise ConflictError(
            f"{change.id} has been taken back by {by}; take that back to do it again.", [change.memory_id]
        )
    later = [other for other in standing(same) if other.at and change.at and other.at > change.at]
    if later:
        raise ConflictError(
            f"{change.id} cannot be taken back before {later[-1].id}, which came later.", [change.memory_id]
        )
    rev, now = _last_rev(same[-1]) + 1, _after(current or change.before, datetime.now(UTC))
    after = None if change.before is None else replace(change.before, rev=rev, updated_at=now)
    event: Event = "DELETE" if after is None else "ADD" if current is None else "UPDATE"
    inverse = Change(f"{change.memory_id}.{rev}", event, change.memory_id, current, after)
    return replace(inverse, source=change.source, reason="undo", at=now, undoes=change.id)


def replay(history: Iterable[Change], when: datetime) -> dict[str, Memory]:
    """The memories as they were at a moment, by id."""
    state: dict[str, Memory] = {}
    for change in history:
        if change.memory_id is None or change.at is None or change.at > when:
            continue
        if change.after is None:
            state.pop(change.memory_id, None)
        else:
            state[change.memory_id] = change.after
    return state


def compare(start: dict[str, Memory], end: dict[str, Memory]) -> Diff:
    """What was added, updated and removed between two states."""
    both = [(memory, end[key]) for key, memory in start.items() if key in end]
    return Diff(
        added=tuple(memory for key, memory in end.items() if key not in start),
        updated=tuple(pair for pair in both if pair[0] != pair[1]),
        removed=tuple(memory for key, memory in start.items() if key not in end),
    )


def in_order(memories: Iterable[Memory]) -> list[Memory]:
    """By the time when it was said, then by when it was stored."""
    first = datetime.min.replace(tzinfo=UTC)
    return sorted(
        memories, key=lambda memory: (memory.at or memory.created_at or first, memory.created_at or first, memory.id)
    )


def aware(moment: datetime) -> datetime:
    """A time without a zone is UTC."""
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _change(operation: Operation, before: Memory | None, at: datetime, model: str | None, reason: str) -> Change:
    match operation:
        case Noop():
            key = f"noop-{at.timestamp():.6f}-{secrets.token_hex(3)}"
            memory_id, after, reason = None, None, operation.reason or reason
        case Add():
            memory_id = secrets.token_hex(6)
            key, after = f"{memory_id}.1", _added(memory_id, operation, at)
        case Update():
            assert before is not None
            memory_id, after = before.id, _updated(before, operation, at)
            key = f"{memory_id}.{after.rev}"
        case Delete():
            assert before is not None
            key, memory_id, after = f"{before.id}.{before.rev + 1}", before.id, None
            reason = operation.reason or reason
    return Change(key, operation.event, memory_id, before, after, operation.source, model, reason, at)


def _added(memory_id: str, new: Add, at: datetime) -> Memory:
    said = new.at and aware(new.at)
    return Memory(memory_id, new.text, new.speaker, said, new.source, new.session, 1, created_at=at, updated_at=at)


def _updated(old: Memory, new: Update, at: datetime) -> Memory:
    source = tuple(dict.fromkeys([*old.source, *new.source])) if new.source else old.source
    said = aware(new.at) if new.at else old.at
    return Memory(old.id, new.text, old.speaker, said, source, old.session, old.rev + 1, old.created_at, at)


def _cancelled(history: Sequence[Change]) -> dict[str, str]:
    """What was taken back → the undo that did it, unless that was taken back itself."""
    cancelled: dict[str, str] = {}
    for change in reversed(history):
        if change.undoes and change.id not in cancelled:
            cancelled[change.undoes] = change.id
    return cancelled


def _last_rev(change: Change) -> int:
    return int(change.id.rpartition(".")[2])


def _after(memory: Memory | None, now: datetime) -> datetime:
    """Now, or just after the memory's last change where a clock lags behind."""
    return now if memory is None or memory.updated_at is None else max(now, memory.updated_at + _TICK)
