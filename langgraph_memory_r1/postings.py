"""One segment of an index: memories in the order of their arrival, what ranking needs of each as columns, and who holds which term.

A segment only grows. Forks of an index share the segments that existed at the fork and write into new ones (`retrieval.py`), so
that a fork copies nothing. Which of a segment's memories are still current is the index's business.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.schemas import Memory
from langgraph_memory_r1.tokens import terms

__all__ = ["Entry", "Floats", "Ints", "Segment"]

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Entry:
    """A memory, taken apart once."""

    memory: Memory
    counts: dict[str, int]
    """How often each term stands in it."""
    order: int
    """Its place among memories of the same time; an update keeps it."""
    vector: NDArray[np.float32] | None = None
    """Of length 1."""

    @classmethod
    def of(cls, memory: Memory, order: int, vector: NDArray[np.floating] | None = None) -> Entry:
        """Take a memory apart."""
        return cls(memory, Counter(_terms(memory)), order, None if vector is None else unit(vector))


@dataclass(slots=True)
class Segment:
    """A growing list of entries with an inverted index and columns for numpy."""

    entries: list[Entry] = field(default_factory=list)
    postings: dict[str, array[int]] = field(default_factory=dict)
    """Term → slot, count, slot, count, …"""
    lengths: array[float] = field(default_factory=lambda: array("d"))
    times: array[float] = field(default_factory=lambda: array("d"))
    orders: array[int] = field(default_factory=lambda: array("q"))
    sessions: array[int] = field(default_factory=lambda: array("q"))
    speakers: array[int] = field(default_factory=lambda: array("q"))

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Segment:
        """A segment that holds these entries."""
        segment = cls()
        for entry in entries:
            segment.add(entry)
        return segment

    def __len__(self) -> int:
        return len(self.entries)

    def add(self, entry: Entry) -> None:
        """Append an entry."""
        slot, memory = len(self.entries), entry.memory
        self.entries.append(entry)
        for term, count in entry.counts.items():
            self.postings.setdefault(term, array("q")).extend((slot, count))
        self.lengths.append(sum(entry.counts.values()))
        self.times.append(memory.at.timestamp() if memory.at else -np.inf)
        self.orders.append(entry.order)
        self.sessions.append(hash(_session(memory)))
        self.speakers.append(hash(memory.speaker))

    def holders(self, term: str) -> Ints:
        """Rows of slot and count, for those that hold the term."""
        return np.array(self.postings.get(term, ()), np.int64).reshape(-1, 2)


def unit(vector: NDArray[np.floating]) -> NDArray[np.float32]:
    """The vector at length 1, so that a dot product is the cosine; a zero vector stays."""
    flat = np.asarray(vector, np.float32)
    if flat.ndim != 1 or not np.isfinite(flat).all():
        raise InputError("an embedding has to be one row of finite numbers; check the embedding model's output")
    length = float(np.linalg.norm(flat))
    return flat / length if length else flat


def _session(memory: Memory) -> str:
    """What was said on the same occasion: the session, or else the day, or else the memory by itself."""
    if memory.session is not None:
        return memory.session
    return memory.at.date().isoformat() if memory.at else f"memory {memory.id}"


def _terms(memory: Memory) -> Iterable[str]:
    """The terms that find a memory: its text, who said it and when."""
    yield from terms(memory.text)
    yield from terms(memory.speaker or "")
    if memory.at:
        yield from terms(memory.at.strftime("%d %B %Y").lstrip("0"))
