"""Ranks a bank's memories for a query: the index that a bank is searched by, in memory only.

put, discard → segments of postings (`segment.py`) → the current ones in time order, their scores (`ranking.py`) → hits
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np

from langgraph_memory_r1.retrieval.ranking import View, Weights, score
from langgraph_memory_r1.retrieval.segment import IndexedMemory, Numbering, Segment, Vector, unit
from langgraph_memory_r1.schemas import Memory

__all__ = ["Hit", "Index", "Weights"]

_SLACK = 64
"""So many superseded memories are kept before the segments are merged, however small the index is."""


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
        self._sessions, self._speakers = Numbering(), Numbering()
        self._slots: dict[str, int] = {}
        """Memory id → where it stands, counted through all segments."""
        self._written = 0
        self._shared = False
        """Segments and slots are a fork's too, and must not be written to."""
        self._view: View | None = None
        for memory in memories:
            self.put(memory)

    def __len__(self) -> int:
        return len(self._slots)

    def __iter__(self) -> Iterator[Memory]:
        """The memories in time order."""
        view = self._current_view()
        return (view.entries[slot].memory for slot in view.timeline.tolist())

    def __contains__(self, memory_id: object) -> bool:
        return memory_id in self._slots

    def get(self, memory_id: str) -> Memory | None:
        """Return the memory with this id, or None."""
        slot = self._slots.get(memory_id)
        if slot is None:
            return None
        segment, slot = self._locate(slot)
        return segment.entries[slot].memory

    def put(self, memory: Memory, vector: Vector | None = None) -> None:
        """Add a memory, or replace the one with the same id and its vector.

        Memories of the same time keep the order in which they were put, an updated one its place: neighbours matter.
        """
        self._own()
        order, old = self._written, self._slots.get(memory.id)
        if old is not None:
            segment, slot = self._locate(old)
            order = segment.entries[slot].order
        entry = IndexedMemory.of(memory, order)
        self._segments[-1].add(entry, None if vector is None else unit(vector), self._sessions, self._speakers)
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
        """Return an independent copy; nothing is copied until one of the two is written to, and then little."""
        fork = Index(weights=self.weights)
        fork._segments, fork._slots, fork._written = self._segments, self._slots, self._written
        fork._sessions, fork._speakers = self._sessions, self._speakers
        fork._view, fork._shared, self._shared = self._view, True, True
        return fork

    def rank(
        self,
        query: str,
        *,
        k: int = 60,
        vector: Vector | None = None,
        per_speaker: int | None = None,
        fill: bool = False,
        accept: Callable[[Memory], bool] | None = None,
    ) -> list[Hit]:
        """Return the best memories for a query, best first; of equal scores the newest first.

        Args:
            query: What is asked, in words.
            k: How many at most.
            vector: The query's embedding, by the model that made the memories' vectors.
            per_speaker: How many at most by the same speaker.
            fill: Where these are fewer than `k`, the best of the others come after them.
            accept: Only memories for which it is true; all of them count for what a word is worth.
        """
        if not self._slots or k < 1:
            return []
        view = self._current_view()
        scores = score(view, query, None if vector is None else unit(vector), self.weights)
        best = np.argsort(scores, kind="stable")[::-1]
        if accept is not None and per_speaker is None:  # Not more are looked at than it takes to find `k`.
            accepted = (place for place in best.tolist() if accept(view.entries[view.timeline[place]].memory))
            best = np.fromiter(islice(accepted, k), np.int64)
        elif accept is not None:
            best = best[np.array([accept(view.entries[slot].memory) for slot in view.timeline[best].tolist()], bool)]
        if per_speaker is not None:
            # Which are among the first so many of their speaker: counted from where the speaker's run begins, once
            # they are grouped by speaker, each group still in the order of scores.
            speakers = view.speakers[best]
            grouped = np.argsort(speakers, kind="stable")
            earlier = np.arange(len(best)) - np.searchsorted(speakers[grouped], speakers[grouped])
            first = np.empty(len(best), bool)
            first[grouped] = earlier < per_speaker
            best = np.concatenate([best[first], best[~first]]) if fill else best[first]
        best = best[:k]
        memories = [view.entries[slot].memory for slot in view.timeline[best].tolist()]
        # Past the tuple's Python constructor: 60 hits a search make it a large part of the cost on a small bank.
        return [tuple.__new__(Hit, pair) for pair in zip(memories, scores[best].tolist(), strict=True)]

    def _current_view(self) -> View:
        if self._view is None:
            self._view = View(tuple(self._segments), self._slots.values(), self._sessions, self._speakers)
        return self._view

    def _locate(self, slot: int) -> tuple[Segment, int]:
        """Return the segment that a slot lies in, and the slot within it."""
        for segment in self._segments:
            if slot < len(segment):
                return segment, slot
            slot -= len(segment)
        raise IndexError(slot)

    def _size(self) -> int:
        return sum(map(len, self._segments))

    def _changed(self) -> None:
        self._view = None
        if self._size() > 2 * len(self._slots) + _SLACK:
            self._merge(0)

    def _own(self) -> None:
        """Before a write: leave to the forks what is shared with them, and go on in a new segment."""
        if not self._shared:
            return
        self._slots, self._segments, self._shared = dict(self._slots), [s for s in self._segments if len(s)], False
        # Each segment stays at least twice as large as all after it together: a chain of forks, each of which writes a
        # little, has few segments, and a memory is copied only as often as the sizes double.
        first = len(self._segments) - 1
        while first > 0 and len(self._segments[first - 1]) < 2 * sum(map(len, self._segments[first:])):
            first -= 1
        if first < len(self._segments) - 1:
            self._merge(first)
        self._segments.append(Segment())

    def _merge(self, first: int) -> None:
        """Make one segment of those from the first one on, without what is superseded."""
        start = sum(map(len, self._segments[:first]))
        merged = Segment()
        for old in sorted(slot for slot in self._slots.values() if slot >= start):
            segment, slot = self._locate(old)
            entry = segment.entries[slot]
            self._slots[entry.memory.id] = start + len(merged)
            merged.add(entry, segment.vector(slot), self._sessions, self._speakers)
        self._segments[first:] = [merged]
