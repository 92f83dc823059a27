"""Where the items of a bank lie in its store, and the history of one such place as it grows.

Memories lie below the bank's own namespace, where a search of the store finds them and nothing else; their history lies
under a root of its own. Banks of earlier versions had it below their namespace, too: there it is still read.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import NamedTuple

from langgraph.store.base import BaseStore, PutOp, SearchItem

from langgraph_memory_r1.bank.purge import redacted_record
from langgraph_memory_r1.bank.records import change_from_record, change_to_record, encode_label
from langgraph_memory_r1.bank.storage import Storage
from langgraph_memory_r1.schemas import Change

HISTORY_ROOT = "memory_history"
_PAGE = 1000


class Spaces(NamedTuple):
    """The namespaces of a bank."""

    memories: tuple[str, ...]
    history: tuple[str, ...]
    earlier_history: tuple[str, ...]
    """Of earlier versions; nothing is written there any more."""


def spaces_of(namespace: tuple[str, ...]) -> Spaces:
    """Return the namespaces of the bank with these labels, of any characters."""
    labels = tuple(encode_label(label, root=not depth) for depth, label in enumerate(namespace))
    # Each ending is used once, so that no two banks share a place, whatever their labels are.
    return Spaces((*labels, "memory"), (HISTORY_ROOT, *labels, "changes"), (*labels, "history"))


def foreign_items(store: BaseStore, namespace: tuple[str, ...], limit: int | None = None) -> list[SearchItem]:
    """Return what lies in a bank's own namespace, where langmem keeps its memories and a bank nothing."""
    labels = spaces_of(namespace).memories[:-1]
    items: list[SearchItem] = []
    offset = 0
    while (limit is None or len(items) < limit) and (
        page := store.search(labels, limit=_PAGE, offset=offset, refresh_ttl=False)
    ):
        items += [item for item in page if tuple(item.namespace) == labels]
        offset += len(page)
    return items[:limit]


class HistorySpace:
    """The changes in one namespace, followed as they are added.

    Args:
        storage: The bank's.
        space: The namespace.
    """

    def __init__(self, storage: Storage, space: tuple[str, ...]) -> None:
        self._storage = storage
        self.space = space
        self.changes: dict[str, Change] = {}
        """Items of the store, by id."""
        self.appended: dict[str, Change] = {}
        """NOOPs that are no items, by id."""

    def __len__(self) -> int:
        return len(self.changes) + len(self.appended)

    def all(self) -> list[Change]:
        """Return all changes, in no order."""
        return list(chain(self.changes.values(), self.appended.values()))

    def follow(self) -> list[Change] | None:
        """Read what was added since the last call, and return it; None where something has gone."""
        items, gone = self._storage.changes(self.space)
        for key in gone:
            del self.changes[key]
        changes = {item.key: change_from_record(item.key, item.value) for item in items}
        self.changes |= changes
        restarted, records = self._storage.read_appended(self.space)
        if restarted:
            self.appended.clear()
        appended = {record["id"]: change_from_record(record["id"], record) for record in records}
        self.appended |= appended
        return None if gone or restarted else [*changes.values(), *appended.values()]

    def overwrite(self, changed: Sequence[Change]) -> None:
        """Put changes in the place of those with their ids, where those are here; their reasons may have changed."""
        # A NOOP may be an item, too: where there is no journal, and beside operations of the same turn.
        items = [change for change in changed if change.id in self.changes]
        self._storage.commit([PutOp(self.space, item.id, change_to_record(item), False) for item in items], {}, ())
        lines = {change.id: change for change in changed if change.id in self.appended}
        self.appended |= lines
        if lines:
            reasons = {change_id: change.reason for change_id, change in lines.items()}
            self._storage.replace_appended(self.space, partial(redacted_record, reasons=reasons))
