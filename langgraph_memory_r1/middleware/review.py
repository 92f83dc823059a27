"""A person looks at what would change or remove a memory before it happens.

A turn is decided on a fork of the bank; what comes out, one operation a memory, is what the run interrupts with. Only
what was approved is applied, in one commit, and only if the memories are still what they were when it was decided.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from langgraph.runtime import get_runtime
from langgraph.types import interrupt

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.schemas import Add, Change, Delete, Noop, Operation, Update
from langgraph_memory_r1.state import ChangeRecord, change_record

Review: TypeAlias = Literal["delete", "update"] | Callable[[ChangeRecord], bool]
"""What is asked about: deletions, whatever changes or removes a memory, or what a function says."""

Asks: TypeAlias = Callable[[ChangeRecord], bool]

_ASKED = {"delete": ("DELETE",), "update": ("DELETE", "UPDATE")}
_WORDS = {"approve": True, "accept": True, "yes": True, "reject": False, "no": False}
_HOW = 'resume with True, False, a list of the ids that are approved, or {"id": True, ...}'


def asks_of(review: Review | None) -> Asks | None:
    """Which operations a person is asked about.

    Raises:
        InputError: If that cannot be understood.
    """
    if review is None or callable(review):
        return review
    if review not in _ASKED:
        raise InputError(f'There is no review {review!r}; give "delete", "update" or a function of the operation.')
    events = _ASKED[review]
    return lambda operation: operation["event"] in events


@dataclass(frozen=True, slots=True)
class Approved:
    """What may be applied."""

    operations: list[Operation]
    expect: dict[str, int]
    """Memory id → `rev` that the decision was based on."""


def approved(changes: Sequence[Change], asks: Asks, name: str) -> Approved:
    """Interrupts the run where somebody has to be asked; what is turned down is kept as a NOOP.

    Raises:
        InputError: If the reply cannot be understood; nothing is applied.
    """
    proposed = net(changes)
    asked = [change_record(change) for change in proposed if change.memory_id and asks(change_record(change))]
    refused = ask(asked, name) if asked else set()
    expect = {
        change.memory_id: change.before.rev
        for change in proposed
        if change.memory_id and change.before and change.memory_id not in refused
    }
    return Approved([_operation(change, change.memory_id in refused) for change in proposed], expect)


def ask(operations: Sequence[ChangeRecord], name: str) -> set[str]:
    """The ids of the operations that are turned down.

    Raises:
        InputError: The run cannot be interrupted, or the reply cannot be understood.
    """
    info = get_runtime().execution_info
    if info is None or info.thread_id is None:
        raise InputError("A memory review interrupts the run; give the agent a checkpointer, and the run a thread_id.")
    told = interrupt({"type": "memory_review", "memory": name, "operations": list(operations), "reply": _HOW})
    ids = {str(operation["memory_id"]) for operation in operations}
    return {key for key, allowed in _verdict(told, ids).items() if not allowed}


def net(changes: Sequence[Change]) -> list[Change]:
    """One change for each memory: from what it was before the turn to what it would be after it; NOOPs as they are."""
    first: dict[str, Change] = {}
    last: dict[str, Change] = {}
    for change in changes:
        key = change.memory_id or change.id
        source = (*last[key].source, *change.source) if key in last else change.source
        first.setdefault(key, change)
        last[key] = replace(change, source=tuple(dict.fromkeys(source)))
    return [_between(first[key], last[key]) for key in first]


def _between(first: Change, last: Change) -> Change:
    if first.memory_id is None or first is last:
        return last
    if first.before is None and last.after is None:
        return replace(last, event="NOOP", memory_id=None, before=None, reason="said and taken back in one turn")
    event: Any = "ADD" if first.before is None else "DELETE" if last.after is None else "UPDATE"
    return replace(last, event=event, before=first.before)


def _operation(change: Change, refused: bool) -> Operation:
    if refused:
        text = change.before.text if change.before else ""
        return Noop(f"turned down in review: {change.event} of {text!r}", change.source)
    if change.memory_id is None or (change.before is None and change.after is None):
        return Noop(change.reason, change.source)
    if change.after is None:
        return Delete(change.memory_id, change.source, change.reason)
    if change.before is None:
        after = change.after
        return Add(after.text, after.speaker, after.at, after.source, after.session)
    return Update(change.memory_id, change.after.text, change.source, change.after.at)


def _verdict(told: object, ids: set[str]) -> dict[str, bool]:
    if isinstance(told, str):
        told = _WORDS.get(told.lower(), told)
    if isinstance(told, bool):
        return dict.fromkeys(ids, told)
    if isinstance(told, Mapping) and set(told) <= ids and all(isinstance(value, bool) for value in told.values()):
        return {key: bool(told.get(key)) for key in ids}
    if isinstance(told, Sequence) and not isinstance(told, str) and {str(key) for key in told} <= ids:
        return {key: key in {str(item) for item in told} for key in ids}
    raise InputError(f"The reply {told!r:.80} to a memory review cannot be understood; {_HOW}.")
