"""The parts of a memory's score for a query, as pure functions over arrays in time order (`View`).

- lexical: BM25, where a term in a memory said shortly before or after counts as if it stood in this one, faded; people
  answer a question in the next turn without repeating its words.
- session: BM25 of the whole session, so that a weak match in the right conversation beats one in a wrong one.
- speaker: a person whom the query names is asked about; the name is no search term then, as others address them by it.
- dense: cosine, where there are vectors, on the scale of the rest (fusing ranks only was measured to hurt the head).

Dates need no part of their own: day, month and year of a memory are among its terms.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from langgraph_memory_r1.retrieval.postings import Entry, Floats, Ints, Segment
from langgraph_memory_r1.tokens import terms

__all__ = ["View", "Weights", "score"]

Holders: TypeAlias = tuple[Ints, Ints]
"""The places of the memories that hold a term, and how often each does."""

_MOST_TERMS = 64
"""Of a longer query (someone pastes a document) the rarest terms count."""


@dataclass(frozen=True, slots=True)
class Weights:
    """How the parts of the ranking count; the defaults were tuned on LoCoMo's conv-26 and conv-30."""

    k1: float = 1.5
    """BM25: the higher, the later repeats of a term stop to count."""
    b: float = 0.5
    """BM25: how much a long memory is held back, from 0 to 1."""
    earlier: tuple[float, ...] = (0.6, 0.36, 0.22, 0.13)
    """What a term counts that stands in the memory just before, in the one before that, …; same session only."""
    later: tuple[float, ...] = (0.35, 0.25, 0.17, 0.12)
    """The same for the memories after."""
    session: float = 0.3
    """What the session's own BM25 counts."""
    speaker: float = 0.4
    """What it counts that the query names the memory's speaker, in best lexical scores."""
    dense: float = 0.5
    """What one standard deviation of the cosine counts, in standard deviations of the rest."""
    dense_fading: float = 0.5
    """How much of the neighbours' cosines comes in, beside what their terms do."""


class View:
    """The current memories of some segments as arrays in time order; never changed once made."""

    def __init__(self, segments: Sequence[Segment], slots: Collection[int]) -> None:
        current = np.fromiter(slots, np.int64, len(slots))
        times, orders = _column(segments, "times")[current], _column(segments, "orders")[current]
        self.segments = segments
        self.timeline: Ints = current[np.lexsort((orders, times))]
        """Slots in time order."""
        self.places: Ints = np.full(sum(map(len, segments)), -1)
        """Slot → place in time order; -1 for what is superseded."""
        self.places[self.timeline] = np.arange(len(current))
        self.lengths: Floats = _column(segments, "lengths")[self.timeline]
        self.sessions: Ints = np.unique(_column(segments, "sessions")[self.timeline], return_inverse=True)[1]

    def __len__(self) -> int:
        return len(self.timeline)

    @cached_property
    def session_lengths(self) -> Floats:
        """How many terms each session has."""
        return np.bincount(self.sessions, self.lengths).astype(float)

    @cached_property
    def speakers(self) -> tuple[list[str], Ints]:
        """The names of the speakers, and for each memory the number of its speaker."""
        codes = _column(self.segments, "speakers")[self.timeline]
        _, first, numbers = np.unique(codes, return_index=True, return_inverse=True)
        return [self.entry(slot).memory.speaker or "" for slot in self.timeline[first].tolist()], numbers

    def entry(self, slot: int) -> Entry:
        """The entry of a slot."""
        for segment in self.segments:
            if slot < len(segment):
                return segment.entries[slot]
            slot -= len(segment)
        raise IndexError(slot)

    def holders(self, term: str) -> Holders:
        """The places of the memories that hold a term, and how often each does."""
        found, start = [], 0
        for segment in self.segments:
            slots, counts = segment.holders(term)
            found.append((self.places[slots + start], counts))
            start += len(segment)
        places, counts = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return places[places >= 0], counts[places >= 0]


def score(view: View, query: str, vector: NDArray[np.float32] | None, weights: Weights) -> Floats:
    """The score of every memory of a view, in time order; 0 where it has nothing in common with the query."""
    wanted = Counter(terms(query))
    named = _named(view, wanted) if weights.speaker else {}
    found = _rarest({term: view.holders(term) for term in wanted.keys() - set().union(*named.values())})
    scores = np.zeros(len(view))
    if found:
        repeats = np.array([wanted[term] for term in found], float)
        scores += _lexical(view, list(found.values()), repeats, weights)
        scores += weights.session * _session(view, list(found.values()), repeats, weights)[view.sessions]
    if named:
        best = float(scores.max()) or 1.0
        scores += weights.speaker * best * np.isin(view.speakers[1], list(named))
    return (
        scores
        if vector is None
        else scores + weights.dense * _dense(view, vector, weights) * (float(scores.std()) or 1.0)
    )


def _named(view: View, wanted: Collection[str]) -> dict[int, set[str]]:
    """The numbers of the speakers whom a query names, each with the terms that do it."""
    names = [set(terms(name)) for name in view.speakers[0]]
    bearers = Counter(term for name in names for term in name)
    named = {}
    for number, name in enumerate(names):
        own = {term for term in name if bearers[term] == 1 and term.isalpha()}
        if own & set(wanted) or (name and name <= set(wanted)):
            named[number] = name & set(wanted)
    return named


def _rarest(found: Mapping[str, Holders]) -> dict[str, Holders]:
    """The terms that some memory holds; of very many the rarest."""
    held = [(len(places), term) for term, (places, _) in found.items() if len(places)]
    return {term: found[term] for _, term in sorted(held)[:_MOST_TERMS]}


def _lexical(view: View, found: Sequence[Holders], repeats: Floats, weights: Weights) -> Floats:
    """BM25 in which a term fades from memory to memory instead of ending with one."""
    reach = [(0, 1.0), *_neighbours(weights)]
    steps, shares = np.array([step for step, _ in reach]), np.array([share for _, share in reach])
    places, rows = np.concatenate([places for places, _ in found]), _rows(found)
    counts = np.concatenate([counts for _, counts in found])
    rarity = (repeats * _idf(len(view), found))[rows]
    worth = rarity * _saturate(counts, view.lengths[places], view.lengths, weights)
    targets = places[:, None] + steps
    inside = (targets >= 0) & (targets < len(view))
    inside &= view.sessions[np.where(inside, targets, 0)] == view.sessions[places][:, None]
    spread = np.zeros((len(found), len(view)))
    np.maximum.at(spread.reshape(-1), (rows[:, None] * len(view) + targets)[inside], (worth[:, None] * shares)[inside])
    total: Floats = spread.sum(axis=0)
    return total


def _session(view: View, found: Sequence[Holders], repeats: Floats, weights: Weights) -> Floats:
    """BM25 of each session as one long text."""
    lengths = view.session_lengths
    scores = np.zeros(len(lengths))
    for (places, counts), repeat in zip(found, repeats, strict=True):
        held = np.bincount(view.sessions[places], counts, len(lengths)).astype(float)
        at = np.flatnonzero(held)
        scores[at] += repeat * _idf(len(lengths), [(at, at)])[0] * _saturate(held[at], lengths[at], lengths, weights)
    return scores


def _idf(size: int, found: Sequence[Holders]) -> Floats:
    holders = np.array([len(places) for places, _ in found], float)
    return np.log1p((size - holders + 0.5) / (holders + 0.5))


def _saturate(counts: Floats | Ints, lengths: Floats, all_lengths: Floats, weights: Weights) -> Floats:
    """BM25's worth of a term that stands so often in texts so long."""
    relative = lengths / max(float(all_lengths.mean()), 1.0)
    return counts * (weights.k1 + 1) / (counts + weights.k1 * (1 - weights.b + weights.b * relative))


def _rows(found: Sequence[Holders]) -> Ints:
    """For every holder of every term, the number of the term."""
    return np.repeat(np.arange(len(found)), [len(places) for places, _ in found])


def _neighbours(weights: Weights) -> list[tuple[int, float]]:
    """How many places on a memory still counts, and how much of it."""
    return [*enumerate(weights.earlier, 1), *((-step, share) for step, share in enumerate(weights.later, 1))]


def _dense(view: View, vector: NDArray[np.float32], weights: Weights) -> Floats:
    """The cosines in standard deviations from their mean; 0, neutral, for a memory without a vector."""
    cosines = np.concatenate([segment.cosines(vector) for segment in view.segments])[view.timeline]
    known = ~np.isnan(cosines)
    if not known.any():
        return np.zeros(len(view))
    centred = np.where(known, cosines - cosines[known].mean(), 0.0)
    faded = centred.copy()
    for step, share in _neighbours(weights):
        here, there = (slice(step, None), slice(None, -step)) if step > 0 else (slice(None, step), slice(-step, None))
        together = view.sessions[here] == view.sessions[there]
        faded[here] += weights.dense_fading * share * centred[there] * together
    deviation = float(faded.std())
    return faded / deviation if deviation > 1e-9 else faded


def _column(segments: Sequence[Segment], name: Literal["lengths", "times", "orders", "sessions", "speakers"]) -> Any:
    return np.concatenate([np.array(getattr(segment, name)) for segment in segments])
