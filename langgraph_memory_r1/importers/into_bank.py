"""Memories that another product made become operations of a bank, with their times and sources.

Each leaves the id of its version as a source in the history: a second run changes nothing, one that was cut short goes
on, and a version that is newer than the last import is an UPDATE. What was changed or deleted here since then stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from langgraph_memory_r1.bank import MemoryBank
from langgraph_memory_r1.bank.expiry import has_expired, is_expiry
from langgraph_memory_r1.bank.purge import PURGED
from langgraph_memory_r1.importers.export import ImportedMemory, MemoryVersion
from langgraph_memory_r1.schemas import Add, Change, Delete, Noop, Operation, Update

_BATCH = 200
"""Memories that one commit takes over."""


@dataclass(frozen=True, slots=True)
class ImportStep:
    """One batch of memories that is finished."""

    memories: int
    """How many there were."""
    existing: int = 0
    """Versions that the bank had from an earlier run."""
    changes: tuple[Change, ...] = ()
    expired: int = 0
    """New ones that had come to their end before they came here: they stand in the history alone."""


def import_memories(bank: MemoryBank, memories: Sequence[ImportedMemory], product: str) -> Iterator[ImportStep]:
    """Import memories into a bank, a batch at a time.

    Args:
        bank: Their owner's bank.
        memories: What a reader found.
        product: Stands in the history as who decided.
    """
    seen = bank.seen()
    for start in range(0, len(memories), _BATCH):
        batch = memories[start : start + _BATCH]
        new: dict[str, list[MemoryVersion]] = {}
        for memory in batch:
            # Only what follows the newest version that the bank has: an export may grow an older history later, and
            # replaying that would put old texts over the import.
            last = max((number for number, version in enumerate(memory.versions) if version.id in seen), default=-1)
            new[memory.id] = list(memory.versions[last + 1 :])
        changes: list[Change] = []
        # All first versions together, then all second ones: an UPDATE needs the id that its ADD was given.
        for number in range(max(map(len, new.values()))):
            # By the id of an imported memory, the newest change of the memory that it became here.
            imported_as: dict[str, str] = {}
            newest: dict[str, Change] = {}
            purged: set[str] = set()
            for change in bank.history():
                if change.event == "NOOP" and change.reason == PURGED:
                    purged.update(change.source)
                if change.memory_id is not None:
                    imported_as.update((change.memory_id, source) for source in change.source if source in new)
                    newest[change.memory_id] = change
            latest = {source: newest[memory_id] for memory_id, source in imported_as.items()}
            operations = [
                Noop(PURGED, (new[memory.id][number].id,))
                if memory.id in purged
                else _operation(bank, memory, new[memory.id][number], latest.get(memory.id), product)
                for memory in batch
                if number < len(new[memory.id])
            ]
            changes += bank.apply(operations, model=product, reason=f"imported from {product}")
        existing = sum(len(memory.versions) - len(new[memory.id]) for memory in batch)
        now = datetime.now(UTC)
        expired = sum(change.after is not None and has_expired(change.after, now) for change in changes)
        yield ImportStep(len(batch), existing, tuple(changes), expired)


def _operation(
    bank: MemoryBank, imported: ImportedMemory, version: MemoryVersion, latest: Change | None, product: str
) -> Operation:
    """Return the operation that brings a version into the bank; a NOOP where nothing is to be done."""
    source = (imported.id, version.id)
    if latest is None or latest.memory_id is None or is_expiry(latest):
        if version.text is None:
            return Noop(f"deleted in {product} before it came here", source)
        add = Add(version.text, imported.speaker, version.at, source, imported.session)
        # What a product keeps with a memory belongs to its newest version; above all an end, which may be past.
        if version is not imported.versions[-1]:
            return add
        return replace(add, metadata=imported.metadata, tags=imported.tags, expires_at=imported.expires_at)
    memory = bank.get(latest.memory_id)
    if latest.model != product or memory is None:
        return Noop(f"{'deleted' if memory is None else 'changed'} here since it was imported", (version.id,))
    if version.text is None:
        return Delete(memory.id, (version.id,), f"deleted in {product}")
    update = Update(memory.id, version.text, (version.id,), version.at)
    if version is imported.versions[-1]:
        update = replace(update, metadata=imported.metadata, tags=imported.tags, expires_at=imported.expires_at)
    as_it_is = (memory.text, memory.metadata, memory.tags, imported.expires_at and memory.expires_at)
    if as_it_is == (
        version.text,
        memory.metadata if update.metadata is None else update.metadata,
        memory.tags if update.tags is None else update.tags,
        update.expires_at,
    ):
        return Noop("known already", (version.id,))
    return update
