"""One segment of an index: memories in order of arrival, columns of what ranking needs, and who holds which term.

A segment only grows. Forks of an index share the segments that existed at the fork and write into new ones
(`index.py`), so that a fork copies nothing. Which of a segment's memories are still current, the index knows.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC
from itertools import count
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.schemas import Memory
from langgraph_memory_r1.tokenizer import date_terms, terms

__all__ = ["ALONE", "Entry", "Floats", "Ints", "Numbering", "Segment", "Vector", "unit"]

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Vector: TypeAlias = NDArray[np.floating]


ALONE = -1
"""The number of an occasion that a memory shares with no other."""


class Numbering:
    """Small numbers for names, the same in an index and all its forks."""

    def __init__(self) -> None:
        self.names: dict[str, int] = {}
        self._next = count()

    def number(self, name: str) -> int:
        """The name's number; threads may ask at once."""
        known = self.names.get(name)
        return self.names.setdefault(name, next(self._next)) if known is None else known


@dataclass(frozen=True, slots=True)
class Entry:
    """A memory, taken apart once."""

    memory: Memory
    counts: dict[str, int]
    """How often each term stands in it."""
    order: int
    """Its place among memories of the same time; an update keeps it."""
    vector: NDArray[np.float32] | None
    """Of length 1, or None."""

    @classmethod
    def of(cls, memory: Memory, order: int, vector: Vector | None) -> Entry:
        """Take a memory apart."""
        return cls(memory, Counter(_terms(memory)), order, None if vector is None else unit(vector))


@dataclass(slots=True)
class Segment:
    """A growing list of entries with an inverted index, and columns for numpy."""

    entries: list[Entry] = field(default_factory=list)
    postings: dict[str, array[int]] = field(default_factory=dict)
    """Term → slot, count, slot, count, …"""
    lengths: array[float] = field(default_factory=lambda: array("d"))
    times: array[float] = field(default_factory=lambda: array("d"))
    orders: array[int] = field(default_factory=lambda: array("q"))
    sessions: array[int] = field(default_factory=lambda: array("q"))
    speakers: array[int] = field(default_factory=lambda: array("q"))
    vectors: array[float] = field(default_factory=lambda: array("f"))
    """Row after row, for those that have one."""
    embedded: array[int] = field(default_factory=lambda: array("q"))
    """Slots of the rows."""
    _columns: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.entries)

    def add(self, entry: Entry, occasions: Numbering, speakers: Numbering) -> None:
        """Append an entry."""
        slot, memory = len(self.entries), entry.memory
        if entry.vector is not None:
            self._embed(slot, entry.vector)
        self.entries.append(entry)
        for term, times in entry.counts.items():
            pairs = self.postings.get(term)
            if pairs is None:
                self.postings[term] = array("q", (slot, times))
            else:
                pairs.extend((slot, times))
        self.lengths.append(sum(entry.counts.values()))
        self.times.append(_seconds(memory))
        self.orders.append(entry.order)
        occasion = _occasion(memory)
        self.sessions.append(ALONE if occasion is None else occasions.number(occasion))
        self.speakers.append(speakers.number(memory.speaker or ""))

    def column(self, name: Literal["lengths", "times", "orders", "sessions", "speakers"]) -> Any:
        """A column as a numpy array; a segment that no longer grows makes it once, for all forks."""
        made = self._columns.get(name)
        if made is None or len(made) != len(self.entries):
            made = self._columns[name] = np.array(getattr(self, name))
        return made

    def cosines(self, query: NDArray[np.float32]) -> Floats:
        """How near each slot's vector is to a query's of length 1; NaN where there is none."""
        found = np.full(len(self.entries), np.nan)
        if self.embedded:
            if len(self.vectors) != len(self.embedded) * len(query):
                raise InputError(f"the query's embedding has {len(query)} numbers, the memories' have another length")
            rows = np.frombuffer(self.vectors, np.float32).reshape(-1, len(query))
            # Not `@`: its threads wait for each other on a busy machine, and its last digits depend on the row count.
            found[np.array(self.embedded)] = np.einsum("ij,j->i", rows, query)
        return found.round(5)  # so that equal vectors stay equal

    def _embed(self, slot: int, vector: NDArray[np.float32]) -> None:
        if len(self.vectors) != len(self.embedded) * len(vector):
            raise InputError(f"an embedding has {len(vector)} numbers, those before it have another length")
        self.vectors.frombytes(vector.tobytes())
        self.embedded.append(slot)


def unit(vector: Vector) -> NDArray[np.float32]:
    """The vector at length 1, so that a dot product is the cosine; a zero vector stays.

    Raises:
        InputError: It is not one row of finite numbers.
    """
    flat = np.asarray(vector, np.float32)
    if flat.ndim != 1 or not flat.size or not np.isfinite(flat).all():
        raise InputError("an embedding has to be one row of finite numbers; check the embedding model's output")
    length = np.linalg.norm(flat.astype(np.float64))
    return (flat / length).astype(np.float32) if length else flat


def _seconds(memory: Memory) -> float:
    """When it was said; before everything else where that is not known."""
    if memory.at is None:
        return -np.inf
    return (memory.at if memory.at.tzinfo else memory.at.replace(tzinfo=UTC)).timestamp()


def _occasion(memory: Memory) -> str | None:
    """What was said on the same occasion: the session, or else the day, or else the memory by itself."""
    if memory.session is not None:
        return f"session {memory.session}"
    return f"day {memory.at.date().isoformat()}" if memory.at else None


def _terms(memory: Memory) -> Iterator[str]:
    """The terms that find a memory: its text, who said it and when."""
    yield from terms(memory.text)
    yield from terms(memory.speaker or "")
    if memory.at:
        yield from date_terms(memory.at)
