"""The turns that were heard and are not dealt with yet, so that no failure and no signal loses them.

    heard ─► note: in memory and, with a bank in a local folder, in a file there ─► dealt with ─► done
                      └─► the process dies ─► take_over by the next one that uses the folder

A turn that is dealt with twice, because a process died between the two, is known to its bank the second time.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from langgraph.store.base import BaseStore

from langgraph_memory_r1.bank import MemoryBank
from langgraph_memory_r1.flow import Redact, redact_turns
from langgraph_memory_r1.store import LanceDBStore
from langgraph_memory_r1.turns import NewTurns, merge_turns, select_turns, turn_records, turns_from_records

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NotedTurns:
    """What was heard at once in one conversation of one owner."""

    bank: MemoryBank
    thread: str | None
    turns: NewTurns
    file: Path | None = None
    """Where it outlives the process; gone once its owner is forgotten."""

    @property
    def called_off(self) -> bool:
        """Whether the owner was forgotten since."""
        return self.file is not None and not self.file.exists()


class TurnJournal:
    """The turns of one middleware that are not dealt with yet.

    Args:
        name: The middleware's; one of another name does not take over from it.
        redact: Applied before anything is written.
        reviewed: Note nothing: who finds it here would decide about it, and ask nobody. The checkpointer keeps it.
    """

    def __init__(self, name: str, redact: Redact | None, reviewed: bool = False) -> None:
        self._name = name
        self._redact = redact
        self._reviewed = reviewed
        self._noted: dict[tuple[str, ...], list[NotedTurns]] = {}
        self._lock = threading.Lock()

    def note(self, bank: MemoryBank, thread: str | None, heard: NewTurns) -> None:
        """Note what of a conversation is not noted yet; of a turn that was edited since only the new text is kept.

        Raises:
            StoreError: The folder of the bank cannot be written to.
        """
        if self._reviewed:
            return
        with self._lock:
            noted = self._noted.get(bank.namespace, [])
            texts = {turn.id: turn.text for entry in noted for turn in entry.turns.turns}
            new = {turn.id for turn in heard.turns if texts.get(turn.id) != turn.text}
            if new:
                self._drop(bank, new & set(texts))
                entry = self._written(NotedTurns(bank, thread, select_turns(heard, new)))
                self._noted.setdefault(bank.namespace, []).append(entry)

    def done(self, bank: MemoryBank, heard: NewTurns) -> None:
        """Take out what was dealt with."""
        with self._lock:
            self._drop(bank, {turn.id for turn in heard.turns})

    def standing(self, bank: MemoryBank, heard: NewTurns) -> NewTurns:
        """Return those of the turns that are to be dealt with still: not done, their owner not forgotten since."""
        with self._lock:
            entries = self._noted.get(bank.namespace, [])
            self._drop(bank, {turn.id for entry in entries if entry.called_off for turn in entry.turns.turns})
            noted = {turn.id for entry in self._noted.get(bank.namespace, []) for turn in entry.turns.turns}
        return select_turns(heard, noted)

    def left_over(self, bank: MemoryBank, thread: str | None) -> NewTurns:
        """Return what earlier runs of a thread noted and never got to."""
        turns = NewTurns()
        with self._lock:
            for entry in self._noted.get(bank.namespace, []):
                if thread is not None and entry.thread == thread and not entry.called_off:
                    turns = merge_turns(turns, entry.turns)
        return turns

    def pending(self) -> list[NotedTurns]:
        """Return all that is noted."""
        with self._lock:
            return [entry for entries in self._noted.values() for entry in entries if not entry.called_off]

    def take_over(self, store: BaseStore) -> list[NotedTurns]:
        """Return what dead processes noted in a store, which is noted here from now on."""
        if not isinstance(store, LanceDBStore) or store.engine.pending is None:
            return []
        taken = []
        for file, record in store.engine.pending.take_over(self._name):
            bank = MemoryBank(store, tuple(record["owner"]))
            taken.append(NotedTurns(bank, record["thread"], turns_from_records(record["turns"]), file))
        with self._lock:
            for entry in taken:
                self._noted.setdefault(entry.bank.namespace, []).append(entry)
        return taken

    def _written(self, entry: NotedTurns) -> NotedTurns:
        store = entry.bank.store
        if not isinstance(store, LanceDBStore) or store.engine.pending is None:
            return entry
        record: Mapping[str, Any] = {
            "owner": list(entry.bank.namespace),
            "thread": entry.thread,
            "turns": turn_records(redact_turns(entry.turns, self._redact)),
        }
        return replace(entry, file=store.engine.pending.put(entry.bank.space, self._name, record))

    def _drop(self, bank: MemoryBank, ids: Collection[str]) -> None:
        kept = []
        for entry in self._noted.pop(bank.namespace, []):
            left = {turn.id for turn in entry.turns.turns}.difference(ids)
            if len(left) == len(entry.turns.turns):
                kept.append(entry)
                continue
            if left and not entry.called_off:
                kept.append(self._written(replace(entry, turns=select_turns(entry.turns, left))))
            if entry.file is not None:
                entry.file.unlink(missing_ok=True)
        if kept:
            self._noted[bank.namespace] = kept
