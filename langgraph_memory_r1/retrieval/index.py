"""Ranks a bank's memories for a query: the index that a bank is searched by, in memory only.

put, discard → segments of postings (`postings.py`) → the current ones in time order, their scores (`ranking.py`) → hits
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from langgraph_memory_r1.retrieval.ranking import View, Weights, score
from langgraph_memory_r1.retrieval.segment import Entry, Floats, Ints, Numbering, Segment, Vector, unit
from langgraph_memory_r1.schemas import Memory

__all__ = ["Hit", "Index", "Weights"]

_SLACK = 64
"""So many superseded memories are kept before an index is tidied, however small it is."""


class Hit(NamedTuple):
    """A memory with its score for a query; without vectors 0 says that they have nothing in common."""

    memory: Memory
    score: float


class Index:
    """Memories that can be ranked for a query, kept in memory only.

    Example::

        index = Index([Memory("1", "Ann adopted a dog called Buddy"), Memory("2", "Ann plays chess")])
        index.rank("What is the dog's name?", k=1)[0].memory.id   # "1"

    Writing and reading at once from several threads is not safe; give each thread a `fork()`, which costs nothing.
    """

    def __init__(self, memories: Iterable[Memory] = (), *, weights: Weights | None = None) -> None:
        self.weights = weights or Weights()
        self._segments: list[Segment] = [Segment()]
        self._occasions, self._speakers = Numbering(), Numbering()
        self._slots: dict[str, int] = {}
        self._written = 0
        self._shared = False
        self._current: View | None = None
        for memory in memories:
            self.put(memory)

    def __len__(self) -> int:
        return len(self._slots)

    def __iter__(self) -> Iterator[Memory]:
        """The memories in time order."""
        view = self._view()
        return (view.entries[slot].memory for slot in view.timeline.tolist())

    def __contains__(self, memory_id: object) -> bool:
        return memory_id in self._slots

    def get(self, memory_id: str) -> Memory | None:
        """The memory with this id, or None."""
        slot = self._slots.get(memory_id)
        return None if slot is None else self._entry(slot).memory

    def put(self, memory: Memory, vector: Vector | None = None) -> None:
        """Add a memory, or replace the one with the same id and its vector.

        Memories of the same time keep the order in which they were put, an updated one its place: neighbours matter.
        """
        self._own()
        old = self._slots.get(memory.id)
        entry = Entry.of(memory, self._written if old is None else self._entry(old).order, vector)
        self._segments[-1].add(entry, self._occasions, self._speakers)
        self._slots[memory.id] = self._size() - 1
        self._written += 1
        self._changed()

    def discard(self, memory_id: str) -> None:
        """Remove a memory if it is there."""
        if memory_id in self._slots:
            self._own()
            del self._slots[memory_id]
            self._changed()

    def fork(self) -> Index:
        """An independent copy; nothing is copied until one of the two is written to, and then little."""
        twin = Index(weights=self.weights)
        twin._segments, twin._slots, twin._written = self._segments, self._slots, self._written
        twin._occasions, twin._speakers = self._occasions, self._speakers
        twin._current, twin._shared, self._shared = self._current, True, True
        return twin

    def rank(
        self,
        query: str,
        *,
        k: int = 60,
        vector: Vector | None = None,
        per_speaker: int | None = None,
        fill: bool = False,
    ) -> list[Hit]:
        """Return the best memories for a query, best first; of equal scores the newest first.

        Args:
            query: What is asked, in words.
            k: How many at most.
            vector: The query's embedding, by the model that made the memories' vectors.
            per_speaker: How many at most by the same speaker.
            fill: Where these are fewer than `k`, the best of the others come after them.
        """
        if not self._slots or k < 1:
            return []
        view = self._view()
        scores = score(view, query, None if vector is None else unit(vector), self.weights)
        return _best(view, scores, k, per_speaker, fill)

    def _view(self) -> View:
        if self._current is None:
            self._current = View(tuple(self._segments), self._slots.values(), self._occasions, self._speakers)
        return self._current

    def _entry(self, slot: int) -> Entry:
        for segment in self._segments:
            if slot < len(segment):
                return segment.entries[slot]
            slot -= len(segment)
        raise IndexError(slot)

    def _size(self) -> int:
        return sum(map(len, self._segments))

    def _changed(self) -> None:
        self._current = None
        if self._size() > 2 * len(self._slots) + _SLACK:
            self._merge(0)

    def _own(self) -> None:
        """Before a write: leave to the forks what is shared with them, and go on in a new segment."""
        if not self._shared:
            return
        self._slots, self._segments, self._shared = dict(self._slots), [s for s in self._segments if len(s)], False
        first = len(self._segments) - 1
        while first > 0 and len(self._segments[first - 1]) < 2 * sum(map(len, self._segments[first:])):
            first -= 1
        if first < len(self._segments) - 1:
            self._merge(first)
        self._segments.append(Segment())

    def _merge(self, first: int) -> None:
        """Make one segment of those from the first one on, without what is superseded."""
        start = sum(map(len, self._segments[:first]))
        kept = [self._entry(slot) for slot in sorted(self._slots.values()) if slot >= start]
        merged = Segment()
        for place, entry in enumerate(kept):
            merged.add(entry, self._occasions, self._speakers)
            self._slots[entry.memory.id] = start + place
        self._segments[first:] = [merged]


def _best(view: View, scores: Floats, k: int, per_speaker: int | None, fill: bool) -> list[Hit]:
    places = np.argsort(scores, kind="stable")[::-1]
    if per_speaker is not None:
        first = _first_of_each(view.speakers[places], per_speaker)
        places = np.concatenate([places[first], places[~first]]) if fill else places[first]
    places = places[:k]
    entries = view.entries
    memories = [entries[slot].memory for slot in view.timeline[places].tolist()]
    # Past the tuple's Python constructor: 60 hits a search make it a large part of the cost on a small bank.
    return [tuple.__new__(Hit, pair) for pair in zip(memories, scores[places].tolist(), strict=True)]


def _first_of_each(numbers: Ints, count: int) -> NDArray[np.bool_]:
    """Which entries are among the first so many with the same number."""
    grouped = np.argsort(numbers, kind="stable")
    earlier = np.arange(len(numbers)) - np.searchsorted(numbers[grouped], numbers[grouped])
    among = np.empty(len(numbers), bool)
    among[grouped] = earlier < count
    return among
