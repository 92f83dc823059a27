"""The parts of a memory's score for a query, as pure functions over arrays in time order (`View`).

- lexical: BM25, where a term in a memory said shortly before or after counts as if it stood in this one, faded; people
  answer a question in the next turn without repeating its words.
- session: BM25 of the whole session, so that a weak match in the right conversation beats one in a wrong one.
- speaker: a person whom the query names is asked about; the name is no search term then, as others address them by it.
- dense: cosine, where there are vectors, on the scale of the rest (fusing ranks only was measured to hurt the head).

Dates need no part of their own: day, month and year of a memory are among its terms.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate, chain
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from langgraph_memory_r1.retrieval.segment import ALONE, Floats, Ints, Numbering, Segment
from langgraph_memory_r1.tokenizer import terms

__all__ = ["View", "Weights", "score"]

_MOST_TERMS = 64
"""Of a longer query (someone pastes a document) the rarest terms count."""


@dataclass(frozen=True, slots=True)
class Matches:
    """Which of the query's terms stand in which memories: three columns, a row for each pair."""

    terms: Ints
    """The number of the term among the query's."""
    positions: Ints
    """The memory's position in time order."""
    counts: Ints
    """How often the term stands in it."""

    def keep(self, among: NDArray[np.bool_]) -> Matches:
        """Return only these pairs."""
        return Matches(self.terms[among], self.positions[among], self.counts[among])


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

    def __init__(
        self, segments: Sequence[Segment], slots: Collection[int], sessions: Numbering, speakers: Numbering
    ) -> None:
        current = np.fromiter(slots, np.int64, len(slots))
        times, orders = _column(segments, "times")[current], _column(segments, "orders")[current]
        self.segments = segments
        self.entries = list(chain.from_iterable(segment.entries for segment in segments))
        """By slot."""
        self.timeline: Ints = current[np.lexsort((orders, times))]
        """Slots in time order."""
        self.positions: Ints = np.full(sum(map(len, segments)), -1)
        """Slot → position in time order; -1 for what is superseded."""
        self.positions[self.timeline] = np.arange(len(current))
        self.lengths: Floats = _column(segments, "lengths")[self.timeline]
        self.mean_length = float(self.lengths.mean()) if len(current) else 0.0
        self.speakers: Ints = _column(segments, "speakers")[self.timeline]
        """The number of each memory's speaker."""
        self._session_numbers, self._speaker_numbers = sessions, speakers

    def __len__(self) -> int:
        return len(self.timeline)

    @cached_property
    def sessions(self) -> Ints:
        """The number of each memory's session; one that shares none has a number of its own."""
        numbers: Ints = _column(self.segments, "sessions")[self.timeline]
        return np.where(numbers == ALONE, len(self._session_numbers.names) + np.arange(len(self)), numbers)

    @cached_property
    def session_lengths(self) -> Floats:
        """How many terms each session has; 0 where a number is not in use."""
        return np.bincount(self.sessions, self.lengths).astype(float, copy=False)

    @cached_property
    def accompanied(self) -> NDArray[np.bool_]:
        """Which memories share their session with another."""
        shared: NDArray[np.bool_] = np.bincount(self.sessions)[self.sessions] > 1
        return shared

    @cached_property
    def names(self) -> dict[int, frozenset[str]]:
        """The terms of each speaker's name, by number."""
        present = set(np.flatnonzero(np.bincount(self.speakers)).tolist())
        return {number: _name_terms(name) for name, number in self._speaker_numbers.names.items() if number in present}

    def matches(self, words: Sequence[str]) -> Matches:
        """Return where these terms stand."""
        pairs, numbers, starts, sizes = array("q"), [], [], []
        for start, segment in zip(accumulate(map(len, self.segments), initial=0), self.segments, strict=False):
            for number, word in enumerate(words):
                if (postings := segment.postings.get(word)) is not None:
                    pairs.extend(postings)
                    numbers.append(number)
                    starts.append(start)
                    sizes.append(len(postings) // 2)
        both = np.array(pairs, np.int64)
        slots = both[::2] + np.repeat(np.array(starts, np.int64), sizes)
        matches = Matches(np.repeat(np.array(numbers, np.int64), sizes), self.positions[slots], both[1::2])
        return matches if len(self.positions) == len(self.timeline) else matches.keep(matches.positions >= 0)


@lru_cache(maxsize=1024)
def _name_terms(name: str) -> frozenset[str]:
    return frozenset(terms(name))


def score(view: View, query: str, vector: NDArray[np.float32] | None, weights: Weights) -> Floats:
    """Score every memory of a view, in time order; 0 where it has nothing in common with the query."""
    query_terms = Counter(terms(query))
    named = _named(view, query_terms) if weights.speaker else {}
    naming: frozenset[str] = frozenset().union(*named.values())
    words = [word for word in query_terms if word not in naming]  # in order: sums must not depend on a set's
    matches = view.matches(words)
    if len(words) > _MOST_TERMS:
        holders = np.bincount(matches.terms, minlength=len(words))
        holders[holders == 0] = np.iinfo(np.int64).max  # A term that nobody holds finds nothing, and is not "rare".
        rarest = np.zeros(len(words), bool)
        rarest[np.argsort(holders, kind="stable")[:_MOST_TERMS]] = True
        matches = matches.keep(rarest[matches.terms])
    scores = np.zeros(len(view))
    if len(matches.terms):
        repeats = np.array([query_terms[word] for word in words], float)
        scores = _lexical(view, matches, repeats, weights)
        scores += weights.session * _session(view, matches, repeats, weights)[view.sessions]
    if named:
        best = float(scores.max()) or 1.0
        scores += weights.speaker * best * np.isin(view.speakers, list(named))
    if vector is None:
        return scores
    return scores + weights.dense * _dense(view, vector, weights) * (float(scores.std()) or 1.0)


def _named(view: View, query_terms: Counter[str]) -> dict[int, frozenset[str]]:
    """Return the numbers of the speakers whom a query names, each with the terms that do it."""
    named: dict[int, frozenset[str]] = {}
    if query_terms.keys().isdisjoint(chain.from_iterable(view.names.values())):
        return named
    bearers = Counter(term for name in view.names.values() for term in name)
    for number, name in view.names.items():
        # Of "Speaker 1" and "Speaker 2" neither the shared word nor the bare number names one; both together do.
        own = {term for term in name if bearers[term] == 1 and term.isalpha()}
        if own & set(query_terms) or (name and name <= set(query_terms)):
            named[number] = name & set(query_terms)
    return named


def _lexical(view: View, matches: Matches, repeats: Floats, weights: Weights) -> Floats:
    """Return BM25 in which a term fades from memory to memory instead of ending with one."""
    size, words = len(view), len(repeats)
    rarity = repeats * _idf(size, np.bincount(matches.terms, minlength=words))
    worth = rarity[matches.terms] * _saturate(
        matches.counts, view.lengths[matches.positions], view.mean_length, weights
    )
    spread: Floats = np.zeros(words * size)
    spread[matches.terms * size + matches.positions] = worth
    among = view.accompanied[matches.positions]
    if among.any():
        # What a term is worth counts, faded, in the memories around it too, where it does not count more already.
        near, (steps, shares) = matches.keep(among), _neighbours(weights)
        targets = near.positions[:, None] + steps
        inside = (targets >= 0) & (targets < size)
        inside &= view.sessions[np.where(inside, targets, 0)] == view.sessions[near.positions][:, None]
        faded = worth[among][:, None] * shares
        np.maximum.at(spread, (near.terms[:, None] * size + targets)[inside], faded[inside])
    total: Floats = spread.reshape(words, size).sum(axis=0)
    return total


def _session(view: View, matches: Matches, repeats: Floats, weights: Weights) -> Floats:
    """Return BM25 of each session as one long text."""
    lengths = view.session_lengths
    size = len(lengths)
    counts = np.bincount(matches.terms * size + view.sessions[matches.positions], matches.counts)
    pairs = np.flatnonzero(counts)
    words, sessions = np.divmod(pairs, size)
    in_use = int(np.count_nonzero(lengths))
    rarity = repeats * _idf(in_use, np.bincount(words, minlength=len(repeats)))
    mean = float(lengths.sum()) / in_use
    worth = rarity[words] * _saturate(counts[pairs], lengths[sessions], mean, weights)
    return np.bincount(sessions, worth, size).astype(float, copy=False)


def _idf(size: int, holders: Ints) -> Floats:
    return np.log1p((size - holders + 0.5) / (holders + 0.5))


def _saturate(counts: Floats | Ints, lengths: Floats, mean: float, weights: Weights) -> Floats:
    """Return BM25's worth of a term that stands so often in texts so long."""
    damping = weights.k1 * weights.b / max(mean, 1.0)
    return counts * (weights.k1 + 1) / (counts + weights.k1 * (1 - weights.b) + damping * lengths)


@lru_cache(maxsize=8)
def _neighbours(weights: Weights) -> tuple[Ints, Floats]:
    """Return how many memories on (negative: back) a memory still counts, and how much of it, as two columns."""
    earlier = enumerate(weights.earlier, 1)
    later = ((-step, share) for step, share in enumerate(weights.later, 1))
    columns = np.array([*earlier, *later], float).reshape(-1, 2)
    return columns[:, 0].astype(np.int64), columns[:, 1]


def _dense(view: View, vector: NDArray[np.float32], weights: Weights) -> Floats:
    """Return the cosines in standard deviations from their mean; 0, neutral, for a memory without a vector."""
    cosines = np.concatenate([segment.cosines(vector) for segment in view.segments])[view.timeline]
    embedded = ~np.isnan(cosines)
    if not embedded.any():
        return np.zeros(len(view))
    centred = np.where(embedded, cosines - cosines[embedded].mean(), 0.0)
    faded = centred.copy()
    for step, share in zip(*(column.tolist() for column in _neighbours(weights)), strict=True):
        here, there = (slice(step, None), slice(None, -step)) if step > 0 else (slice(None, step), slice(-step, None))
        same_session = view.sessions[here] == view.sessions[there]
        faded[here] += weights.dense_fading * share * centred[there] * same_session
    deviation = float(faded.std())
    return faded / deviation if deviation > 1e-9 else faded


def _column(segments: Sequence[Segment], name: Literal["lengths", "times", "orders", "sessions", "speakers"]) -> Any:
    return np.concatenate([segment.column(name) for segment in segments])
