"""What operations do to memories, as pure functions over `Change`: plan them, take back, replay, compare."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from langgraph_memory_r1.bank.attributes import aware, checked_expiry, checked_metadata, checked_tags
from langgraph_memory_r1.bank.expiry import is_expiry
from langgraph_memory_r1.errors import ConflictError, UnknownMemoryError
from langgraph_memory_r1.schemas import Add, Change, Delete, Event, Memory, Noop, Operation, Update

Lookup = Callable[[str], Memory | None]

UNREAD = "the extraction could not be read"
"""Begins the reason of a NOOP about turns of which nobody knows yet what they say."""
RETRY = "to be read again"
"""The reason of a NOOP that lets such turns be tried anew."""
_TICK = datetime.resolution


@dataclass(frozen=True, slots=True)
class Diff:
    """How a bank differs between two moments."""

    added: tuple[Memory, ...] = ()
    updated: tuple[tuple[Memory, Memory], ...] = ()
    """(before, after)."""
    removed: tuple[Memory, ...] = ()


def plan_changes(
    operations: Sequence[Operation],
    lookup: Lookup,
    *,
    model: str | None = None,
    reason: str = "",
    ttl: timedelta | None = None,
) -> list[Change]:
    """Return what the operations will change, in their order; each sees those before it.

    Args:
        operations: What was decided.
        lookup: Returns a memory as it is now.
        model: Who decided.
        reason: Why, where an operation does not say it itself.
        ttl: How long a memory lives whose operation does not say when it ends.

    Raises:
        UnknownMemoryError: an operation names a memory that is not there.
        InputError: metadata, tags or an expiry are not what they have to be.
    """
    now = datetime.now(UTC)
    changed: dict[str, Memory | None] = {}
    changes = []
    for number, operation in enumerate(operations):
        before = None
        if isinstance(operation, (Update, Delete)):
            before = changed[operation.id] if operation.id in changed else lookup(operation.id)
            if before is None:
                raise UnknownMemoryError(f"There is no memory {operation.id!r} to {operation.event.lower()}.")
        # Times within a turn grow, so that the history keeps the order of its operations; not where a memory's last
        # change lies ahead of this clock: its next one has to come after that.
        change = _change(operation, before, _after(before, now) + number * _TICK, model, reason, ttl)
        changes.append(change)
        if change.memory_id is not None:
            changed[change.memory_id] = change.after
    return changes


def is_unread(change: Change) -> bool:
    """Return whether a change is the record of turns whose facts could not be read."""
    return change.event == "NOOP" and change.reason.startswith(UNREAD)


def standing(history: Sequence[Change]) -> list[Change]:
    """Return the changes that still hold: neither NOOPs, nor taken back, nor themselves what took another one back.

    Those of a memory that has expired are over with it.
    """
    cancelled = _cancelled(history)
    expired = {change.memory_id for change in history if is_expiry(change)}
    return [
        change
        for change in history
        if change.memory_id and not change.undoes and change.id not in cancelled and change.memory_id not in expired
    ]


def invert(change: Change, current: Memory | None, history: Sequence[Change]) -> Change:
    """Return the change that takes another one back; taking back an undo does the operation again.

    Raises:
        ConflictError: a later operation on the same memory still stands (the message names it), or it is taken back,
            or the memory has expired.
        UnknownMemoryError: a NOOP changed nothing.
    """
    if change.memory_id is None:
        raise UnknownMemoryError(f"{change.id} is a NOOP; there is nothing to take back.")
    same = [other for other in history if other.memory_id == change.memory_id]
    if by := _cancelled(same).get(change.id):
        raise ConflictError(
            f"{change.id} has been taken back by {by}; take that back to do it again.", [change.memory_id]
        )
    if is_expiry(same[-1]):
        message = (
            f"{change.id} cannot be taken back: the memory expired at {same[-1].at}. Add it anew to have it again."
        )
        raise ConflictError(message, [change.memory_id])
    later = [other for other in standing(same) if other.at and change.at and other.at > change.at]
    if later:
        raise ConflictError(
            f"{change.id} cannot be taken back before {later[-1].id}, which came later.", [change.memory_id]
        )
    # A memory that was deleted has no revision of its own any more: the last change's id, "<memory id>.<rev>", has it.
    rev, now = int(same[-1].id.rpartition(".")[2]) + 1, _after(current or change.before, datetime.now(UTC))
    after = None if change.before is None else replace(change.before, rev=rev, updated_at=now)
    event: Event = "DELETE" if after is None else "ADD" if current is None else "UPDATE"
    inverse = Change(f"{change.memory_id}.{rev}", event, change.memory_id, current, after)
    return replace(inverse, source=change.source, reason="undo", at=now, undoes=change.id)


def replay(history: Iterable[Change], when: datetime) -> dict[str, Memory]:
    """Return the memories as they were at a moment, by id."""
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
    """Return what was added, updated and removed between two states."""
    both = [(memory, end[key]) for key, memory in start.items() if key in end]
    return Diff(
        added=tuple(memory for key, memory in end.items() if key not in start),
        updated=tuple(pair for pair in both if pair[0] != pair[1]),
        removed=tuple(memory for key, memory in start.items() if key not in end),
    )


def in_order(memories: Iterable[Memory]) -> list[Memory]:
    """Sort memories by the time when they were said, then by when they were stored."""
    first = datetime.min.replace(tzinfo=UTC)
    return sorted(
        memories, key=lambda memory: (memory.at or memory.created_at or first, memory.created_at or first, memory.id)
    )


def _change(
    operation: Operation, before: Memory | None, at: datetime, model: str | None, reason: str, ttl: timedelta | None
) -> Change:
    memory_id = after = None
    match operation:
        case Noop():
            # Nothing numbers the NOOPs, and several processes may write them at once: the time alone is not unique.
            change_id = f"noop-{at.timestamp():.6f}-{secrets.token_hex(3)}"
            reason = operation.reason or reason
        case Add():
            memory_id = secrets.token_hex(6)
            reason = operation.reason or reason
            change_id, turn_at = f"{memory_id}.1", operation.at and aware(operation.at)
            after = Memory(memory_id, operation.text, operation.speaker, turn_at, operation.source, operation.session)
            after = replace(after, created_at=at, updated_at=at)
            if operation.metadata or operation.tags:
                metadata, tags = checked_metadata(operation.metadata), checked_tags(operation.tags)
                after = replace(after, metadata=metadata, tags=tags)
            if operation.expires_at is not None:
                after = replace(after, expires_at=checked_expiry(operation.expires_at))
            elif ttl is not None:
                after = replace(after, expires_at=at + ttl)
        case Update():
            assert before is not None
            memory_id, rev = before.id, before.rev + 1
            source = before.source
            if operation.source:
                source = tuple(dict.fromkeys([*source, *operation.source]))
            turn_at = aware(operation.at) if operation.at else before.at
            change_id = f"{memory_id}.{rev}"
            expires_at = checked_expiry(operation.expires_at) or before.expires_at
            if operation.expires_at is None and ttl and before.updated_at and expires_at == before.updated_at + ttl:
                expires_at = at + ttl  # It had the default time to live, not one of its own: that begins anew.
            after = replace(
                before,
                text=operation.text,
                at=turn_at,
                source=source,
                rev=rev,
                updated_at=at,
                metadata=before.metadata if operation.metadata is None else checked_metadata(operation.metadata),
                tags=before.tags if operation.tags is None else checked_tags(operation.tags),
                expires_at=expires_at,
            )
        case Delete():
            assert before is not None
            change_id, memory_id = f"{before.id}.{before.rev + 1}", before.id
            reason = operation.reason or reason
    return Change(change_id, operation.event, memory_id, before, after, operation.source, model, reason, at)


def _cancelled(history: Sequence[Change]) -> dict[str, str]:
    """Map what was taken back to the undo that did it, unless that was taken back itself."""
    cancelled: dict[str, str] = {}
    for change in reversed(history):
        if change.undoes and change.id not in cancelled:
            cancelled[change.undoes] = change.id
    return cancelled


def _after(memory: Memory | None, now: datetime) -> datetime:
    """Return the present time, or the one just after the memory's last change where a clock lags behind."""
    return now if memory is None or memory.updated_at is None else max(now, memory.updated_at + _TICK)
