"""Ranks a bank's memories for a query: BM25 always, cosine where vectors are given, then context.

    put / discard ─► segments of postings (postings.py, shared between forks) ─► view: who is current, in time order ─► rank
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from langgraph_memory_r1.postings import Entry, Floats, Ints, Segment, unit
from langgraph_memory_r1.schemas import Memory
from langgraph_memory_r1.tokens import terms

__all__ = ["Hit", "Index", "Weights"]

_SLACK = 64
"""So many superseded memories are kept before an index is tidied, whatever its size."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A memory with its score for a query; 0 when they have nothing in common."""

    memory: Memory
    score: float


@dataclass(frozen=True, slots=True)
class Weights:
    """How the parts of the ranking count."""

    k1: float = 1.2
    """BM25: how soon repeats of a term stop to count."""
    b: float = 0.5
    """BM25: how much a long memory is held back."""
    dense: float = 0.5


@dataclass(frozen=True, slots=True)
class _View:
    """The current memories as arrays over all slots."""

    alive: NDArray[np.bool_]
    lengths: Floats
    timeline: Ints
    """Slots of the current memories, in time order."""
    mean_length: float


class Index:
    """Memories that can be ranked for a query, kept in memory only.

    Example::

        index = Index([Memory("1", "Ann adopted a dog called Buddy"), Memory("2", "Ann plays chess")])
        index.rank("What is the dog's name?", k=1)[0].memory.id   # "1"

    Writing and reading at once from several threads is not safe; give each thread a `fork()`, which costs nothing.
    """

    def __init__(self, memories: Iterable[Memory] = (), *, weights: Weights = Weights()) -> None:
        self.weights = weights
        self._segments: list[Segment] = []
        self._slots: dict[str, int] = {}
        self._count = 0
        self._shared = True
        self._view_cache: _View | None = None
        for memory in memories:
            self.put(memory)

    def __len__(self) -> int:
        return len(self._slots)

    def __iter__(self) -> Iterator[Memory]:
        """The memories in time order."""
        return (self._entry(slot).memory for slot in self._view().timeline.tolist())

    def __contains__(self, memory_id: object) -> bool:
        return memory_id in self._slots

    def get(self, memory_id: str) -> Memory | None:
        """The memory with this id, or None."""
        slot = self._slots.get(memory_id)
        return None if slot is None else self._entry(slot).memory

    def put(self, memory: Memory, vector: NDArray[np.floating] | None = None) -> None:
        """Add a memory, or replace the one with the same id (its vector too)."""
        self._own()
        old = self._slots.get(memory.id)
        order = self._count if old is None else self._entry(old).order
        self._slots[memory.id] = sum(map(len, self._segments))
        self._segments[-1].add(Entry.of(memory, order, vector))
        self._count += 1
        self._changed()

    def discard(self, memory_id: str) -> None:
        """Remove a memory if it is there."""
        if memory_id in self._slots:
            self._own()
            del self._slots[memory_id]
            self._changed()

    def fork(self) -> Index:
        """An independent copy; nothing is copied until one of the two is written to."""
        twin = Index(weights=self.weights)
        twin._segments, twin._slots, twin._count, twin._view_cache = self._segments, self._slots, self._count, self._view_cache
        self._shared = True
        return twin

    def rank(
        self, query: str, *, k: int = 60, vector: NDArray[np.floating] | None = None, per_speaker: int | None = None
    ) -> list[Hit]:
        """The best memories for a query, best first; equal scores in the order of their ids.

        Args:
            query: What is asked, in words.
            k: How many at most.
            vector: The query's embedding, made by the model that made the memories' vectors.
            per_speaker: How many at most by the same speaker.
        """
        if not self._slots or k < 1:
            return []
        view = self._view()
        scores = _bm25(self._segments, view, Counter(terms(query)), self.weights)
        return self._best(view, scores[view.timeline], k, per_speaker)

    def _best(self, view: _View, scores: Floats, k: int, per_speaker: int | None) -> list[Hit]:
        if k < len(scores) and per_speaker is None:
            chosen = np.flatnonzero(scores >= np.partition(scores, -k)[-k])
        else:
            chosen = np.arange(len(scores))
        hits = [Hit(self._entry(slot).memory, score) for slot, score in zip(view.timeline[chosen].tolist(), scores[chosen].tolist(), strict=True)]
        hits.sort(key=lambda hit: (-hit.score, hit.memory.id))
        return _spread(hits, per_speaker)[:k]

    def _entry(self, slot: int) -> Entry:
        for segment in self._segments:
            if slot < len(segment):
                return segment.entries[slot]
            slot -= len(segment)
        raise AssertionError("a slot outside of every segment")

    def _changed(self) -> None:
        self._view_cache = None
        if sum(map(len, self._segments)) > 2 * len(self._slots) + _SLACK:
            self._merge(0)

    def _own(self) -> None:
        """Make what a write touches this index's own."""
        if not self._shared:
            return
        self._slots, self._segments, self._shared = dict(self._slots), [s for s in self._segments if len(s)], False
        first = len(self._segments) - 1
        while first > 0 and len(self._segments[first - 1]) <= 2 * sum(map(len, self._segments[first:])):
            first -= 1
        if first < len(self._segments) - 1:
            self._merge(first)
        self._segments.append(Segment())

    def _merge(self, first: int) -> None:
        """Make one segment of those from the first one on, without what is superseded."""
        start = sum(map(len, self._segments[:first]))
        slots = sorted(slot for slot in self._slots.values() if slot >= start)
        entries = [self._entry(slot) for slot in slots]
        self._segments[first:] = [Segment.of(entries)]
        self._slots.update((entry.memory.id, start + place) for place, entry in enumerate(entries))

    def _view(self) -> _View:
        if self._view_cache is None:
            self._view_cache = _look(self._segments, self._slots)
        return self._view_cache


def _look(segments: list[Segment], slots: dict[str, int]) -> _View:
    lengths = np.concatenate([np.array(segment.lengths) for segment in segments] or [np.empty(0)])
    current = np.fromiter(slots.values(), np.int64, len(slots))
    alive = np.zeros(len(lengths), bool)
    alive[current] = True
    times = np.concatenate([np.array(segment.times) for segment in segments] or [np.empty(0)])[current]
    orders = np.concatenate([np.array(segment.orders) for segment in segments] or [np.empty(0)])[current]
    timeline = current[np.lexsort((orders, times))]
    return _View(alive, lengths, timeline, float(lengths[current].mean()) if len(current) else 0.0)


def _bm25(segments: list[Segment], view: _View, query: Counter[str], weights: Weights) -> Floats:
    scores = np.zeros(len(view.lengths))
    norm = weights.k1 * (1 - weights.b + weights.b * view.lengths / max(view.mean_length, 1.0))
    for term, repeats in query.items():
        slots, counts = _holders(segments, term, view.alive)
        idf = np.log1p((len(view.timeline) - len(slots) + 0.5) / (len(slots) + 0.5))
        scores[slots] += repeats * idf * counts * (weights.k1 + 1) / (counts + norm[slots])
    return scores


def _holders(segments: list[Segment], term: str, alive: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Slots and counts of the current memories that hold a term."""
    rows, start = [], 0
    for segment in segments:
        rows.append(segment.holders(term) + (start, 0))
        start += len(segment)
    table = np.concatenate(rows)
    table = table[alive[table[:, 0]]]
    return table[:, 0], table[:, 1]


def _spread(hits: list[Hit], per_speaker: int | None) -> list[Hit]:
    """Not more than so many hits of one speaker."""
    if per_speaker is None:
        return hits
    seen: Counter[str | None] = Counter()
    kept = []
    for hit in hits:
        seen[hit.memory.speaker] += 1
        if seen[hit.memory.speaker] <= per_speaker:
            kept.append(hit)
    return kept
