"""One segment of an index: memories in order of arrival, columns of what ranking needs, and which holds which term.

A segment only grows. Forks of an index share the segments that existed at the fork and write into new ones
(`index.py`), so that a fork copies nothing. Which of a segment's memories are still current, the index knows.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC
from itertools import chain, count
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.schemas import Memory
from langgraph_memory_r1.tokenizer import date_terms, terms

__all__ = ["ALONE", "Floats", "IndexedMemory", "Ints", "Numbering", "Segment", "Vector", "unit"]

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Vector: TypeAlias = NDArray[np.floating]

ALONE = -1
"""The number of a session that a memory shares with no other."""


class Numbering:
    """Small numbers for names, the same in an index and all its forks."""

    def __init__(self) -> None:
        self.names: dict[str, int] = {}
        self._next = count()

    def number(self, name: str) -> int:
        """Return the name's number; threads may ask at once."""
        number = self.names.get(name)
        return self.names.setdefault(name, next(self._next)) if number is None else number


@dataclass(frozen=True, slots=True)
class IndexedMemory:
    """A memory, taken apart once."""

    memory: Memory
    counts: dict[str, int]
    """How often each term stands in it."""
    order: int
    """Its place among memories of the same time; an update keeps it."""

    @classmethod
    def of(cls, memory: Memory, order: int) -> IndexedMemory:
        """Take a memory apart: it is found by its text, and by who said it and when."""
        found_by = chain(terms(memory.text), terms(memory.speaker or ""), date_terms(memory.at) if memory.at else ())
        return cls(memory, Counter(found_by), order)


@dataclass(slots=True)
class Segment:
    """A growing list of memories with an inverted index, and columns for numpy."""

    entries: list[IndexedMemory] = field(default_factory=list)
    postings: dict[str, array[int]] = field(default_factory=dict)
    """Term → slot, count, slot, count, …"""
    lengths: array[float] = field(default_factory=lambda: array("d"))
    times: array[float] = field(default_factory=lambda: array("d"))
    orders: array[int] = field(default_factory=lambda: array("q"))
    sessions: array[int] = field(default_factory=lambda: array("q"))
    speakers: array[int] = field(default_factory=lambda: array("q"))
    vectors: array[float] = field(default_factory=lambda: array("f"))
    """Of length 1, one after the other, for those that have one: the index keeps them nowhere else."""
    embedded: array[int] = field(default_factory=lambda: array("q"))
    """The slots that they belong to, in order."""
    _columns: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.entries)

    def add(
        self, entry: IndexedMemory, vector: NDArray[np.float32] | None, sessions: Numbering, speakers: Numbering
    ) -> None:
        """Append a memory, with its vector of length 1.

        Raises:
            InputError: the vector has another length than those before it.
        """
        slot, memory = len(self.entries), entry.memory
        if vector is not None:
            if len(self.vectors) != len(self.embedded) * len(vector):
                raise InputError(f"an embedding has {len(vector)} numbers, those before it have another length")
            self.vectors.frombytes(vector.tobytes())
            self.embedded.append(slot)
        self.entries.append(entry)
        for term, times in entry.counts.items():
            pairs = self.postings.get(term)
            if pairs is None:
                self.postings[term] = array("q", (slot, times))
            else:
                pairs.extend((slot, times))
        self.lengths.append(sum(entry.counts.values()))
        # When it was said; before everything else where that is not known.
        at = memory.at
        self.times.append(-np.inf if at is None else (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())
        self.orders.append(entry.order)
        # What was said on the same occasion: in the session, or else on the day, or else the memory by itself.
        if memory.session is not None:
            self.sessions.append(sessions.number(f"session {memory.session}"))
        else:
            self.sessions.append(ALONE if at is None else sessions.number(f"day {at.date().isoformat()}"))
        self.speakers.append(speakers.number(memory.speaker or ""))

    def vector(self, slot: int) -> NDArray[np.float32] | None:
        """Return a copy of the vector of the memory in this slot; None where it has none."""
        row = bisect_left(self.embedded, slot)
        if row == len(self.embedded) or self.embedded[row] != slot:
            return None
        dims = len(self.vectors) // len(self.embedded)
        return np.array(self.vectors[row * dims : (row + 1) * dims], np.float32)

    def column(self, name: Literal["lengths", "times", "orders", "sessions", "speakers"]) -> Any:
        """Return a column as a numpy array; a segment that no longer grows makes it once, for all forks."""
        column = self._columns.get(name)
        if column is None or len(column) != len(self.entries):
            # A copy: numpy's view of an array would forbid the array to grow.
            column = self._columns[name] = np.array(getattr(self, name))
        return column

    def cosines(self, query: NDArray[np.float32]) -> Floats:
        """Return how near each slot's vector is to a query's of length 1; NaN where there is none.

        Raises:
            InputError: the query's vector has another length than the memories'.
        """
        cosines = np.full(len(self.entries), np.nan)
        if self.embedded:
            if len(self.vectors) != len(self.embedded) * len(query):
                raise InputError(f"the query's embedding has {len(query)} numbers, the memories' have another length")
            rows = np.frombuffer(self.vectors, np.float32).reshape(-1, len(query))
            # Not `@`: its threads wait for each other on a busy machine, and its last digits depend on the row count.
            cosines[np.array(self.embedded)] = np.einsum("ij,j->i", rows, query)
        return cosines.round(5)  # so that equal vectors stay equal


def unit(vector: Vector) -> NDArray[np.float32]:
    """Bring a vector to length 1, so that a dot product is the cosine; a zero vector stays.

    Raises:
        InputError: It is not one row of finite numbers.
    """
    flat = np.asarray(vector, np.float32)
    if flat.ndim != 1 or not flat.size or not np.isfinite(flat).all():
        raise InputError("an embedding has to be one row of finite numbers; check the embedding model's output")
    length = np.linalg.norm(flat.astype(np.float64))
    return (flat / length).astype(np.float32) if length else flat
