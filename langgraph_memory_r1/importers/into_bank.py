"""Memories that another product made become operations of a bank, with their times and sources.

Each leaves the id of its wording as a source in the history: a second run changes nothing, one that was cut short goes
on, and a wording that is newer than the last import is an UPDATE. What was changed or deleted here since then stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from langgraph_memory_r1.bank import MemoryBank
from langgraph_memory_r1.importers.export import ImportedMemory, MemoryVersion
from langgraph_memory_r1.schemas import Add, Change, Delete, Noop, Operation, Update

_A_COMMIT = 200
"""Memories that one commit takes over."""


@dataclass(frozen=True, slots=True)
class ImportStep:
    """Some memories that were dealt with."""

    done: int
    """So many are finished now."""
    known: int = 0
    """Wordings that the bank had from an earlier run."""
    changes: tuple[Change, ...] = ()


def import_memories(bank: MemoryBank, kept: Sequence[ImportedMemory], product: str) -> Iterator[ImportStep]:
    """Bring memories into a bank, some at a time.

    Args:
        bank: Their owner's bank.
        kept: What a reader found.
        product: Stands in the history as who decided.
    """
    seen = bank.seen()
    for start in range(0, len(kept), _A_COMMIT):
        some = kept[start : start + _A_COMMIT]
        new = {memory.id: _news(memory, seen) for memory in some}
        known = sum(len(memory.versions) for memory in some) - sum(len(wordings) for wordings in new.values())
        changes = _bring(bank, some, new, product) if any(new.values()) else []
        yield ImportStep(len(some), known, tuple(changes))


def _news(memory: ImportedMemory, seen: set[str]) -> list[MemoryVersion]:
    """The wordings after the last one that the bank knows."""
    known = [place for place, wording in enumerate(memory.versions) if wording.id in seen]
    return list(memory.versions[known[-1] + 1 :] if known else memory.versions)


def _bring(
    bank: MemoryBank, some: Sequence[ImportedMemory], new: Mapping[str, list[MemoryVersion]], product: str
) -> list[Change]:
    """First wordings together, then second ones: an operation needs the id that the one before it was given."""
    done: list[Change] = []
    for turn in range(max(len(wordings) for wordings in new.values())):
        last = _last_changes(bank, {memory.id for memory in some})
        step = [(memory, new[memory.id][turn]) for memory in some if turn < len(new[memory.id])]
        operations = [_operation(bank, memory, wording, last.get(memory.id), product) for memory, wording in step]
        done += bank.apply(operations, model=product, reason=f"imported from {product}")
    return done


def _last_changes(bank: MemoryBank, ids: set[str]) -> dict[str, Change]:
    """For each import the newest change of the memory that came of it."""
    origin: dict[str, str] = {}
    last: dict[str, Change] = {}
    for change in bank.history():
        if change.memory_id is not None:
            origin.update((change.memory_id, source) for source in change.source if source in ids)
            last[change.memory_id] = change
    return {source: last[memory_id] for memory_id, source in origin.items()}


def _operation(
    bank: MemoryBank, kept: ImportedMemory, wording: MemoryVersion, last: Change | None, product: str
) -> Operation:
    source = (kept.id, wording.id)
    if last is None or last.memory_id is None:
        if wording.text is None:
            return Noop(f"deleted in {product} before it came here", source)
        return Add(wording.text, kept.speaker, wording.at, source, kept.session)
    memory = bank.get(last.memory_id)
    if last.model != product or memory is None:
        return Noop(f"{'deleted' if memory is None else 'changed'} here since it was imported", (wording.id,))
    if wording.text is None:
        return Delete(memory.id, (wording.id,), f"deleted in {product}")
    if wording.text == memory.text:
        return Noop("known already", (wording.id,))
    return Update(memory.id, wording.text, (wording.id,), wording.at)
