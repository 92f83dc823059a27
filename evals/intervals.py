"""How sure a mean is, and whether two runs differ by more than chance; seeded, and the same in any order.

Questions about one conversation share one memory bank and stand or fall together, so that whole conversations are
drawn, not questions; of a single conversation, its questions. Few conversations make a bootstrap interval too short: on
eight, a nominal 95 % covered the truth in about 90 % of simulated runs.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from langgraph_memory_r1.errors import InputError

__all__ = ["Paired", "bootstrap", "paired", "wilson"]

Floats: TypeAlias = NDArray[np.float64]

DRAWS = 4_000
FLIPS = 20_000
_ALL_FLIPS = 14
"""Up to so many differences every pattern of signs is tried, instead of a sample of them."""
_CHUNK = 2_000_000
"""Random numbers at a time."""


@dataclass(frozen=True, slots=True)
class Paired:
    """What two runs gave on the same questions; a positive difference speaks for the second."""

    n: int
    a: float
    b: float
    difference: float
    low: float
    high: float
    p: float
    """How often chance alone gives a difference this large, if every question could as well have gone the other way
    (for yes or no scores this is McNemar's test)."""
    p_conversations: float | None
    """The same for whole conversations: the careful one, but of eight it cannot get below 0.008. None for one."""


def wilson(successes: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Return Wilson's interval for a share of yes in independent yes or no scores (Wilson, 1927).

    With share s, n scores and z the normal quantile: (s + z²/2n ± z √(s(1-s)/n + z²/4n²)) / (1 + z²/n).

    Example:
        >>> "{:.3f} to {:.3f}".format(*wilson(8, 10))
        '0.490 to 0.943'
    """
    if n < 1 or not 0 <= successes <= n:
        raise InputError(f"{successes} of {n} is no share; give the number of yes and a positive number of scores")
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = successes / n
    centre = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low, high = ((centre + sign * half) / (1 + z * z / n) for sign in (-1, 1))
    return (0.0 if successes == 0 else low), (1.0 if successes == n else high)


def bootstrap(
    values: Sequence[float], conversations: Sequence[Hashable], *, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile bootstrap interval for the mean of all values when whole conversations are drawn anew.

    Args:
        values: One score a question.
        conversations: To which conversation each belongs.
        level: How sure the interval is to be.
        seed: The same one gives the same interval.
    """
    scores = _checked(values, conversations)
    means = _means(scores, conversations, np.random.default_rng(seed))
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def paired(
    a: Sequence[float], b: Sequence[float], conversations: Sequence[Hashable], *, level: float = 0.95, seed: int = 0
) -> Paired:
    """Compare the scores of two runs question by question.

    Args:
        a: One score a question.
        b: The other run's, in the same order.
        conversations: To which conversation each question belongs.
        level: How sure the interval of the difference is to be.
        seed: The same one gives the same numbers.
    """
    first, second = _checked(a, conversations), _checked(b, conversations)
    differences = second - first
    sums, _ = _by_conversation(differences, conversations)
    low, high = bootstrap(differences.tolist(), conversations, level=level, seed=seed)
    return Paired(
        n=len(differences),
        a=float(first.mean()),
        b=float(second.mean()),
        difference=float(differences.mean()),
        low=low,
        high=high,
        p=_sign_flips(differences, np.random.default_rng(seed)),
        p_conversations=_sign_flips(sums, np.random.default_rng(seed)) if len(sums) > 1 else None,
    )


def _checked(values: Sequence[float], conversations: Sequence[Hashable]) -> Floats:
    scores = np.asarray(values, dtype=np.float64)
    if not len(scores) or len(scores) != len(conversations):
        raise InputError(f"{len(scores)} scores for {len(conversations)} questions; give one for each, of one at least")
    if not np.isfinite(scores).all():
        raise InputError("a score is not a number; leave out the questions that have none")
    return scores


def _by_conversation(scores: Floats, conversations: Sequence[Hashable]) -> tuple[Floats, Floats]:
    """Return the sum and the number of the scores of each conversation."""
    numbers = {name: number for number, name in enumerate(sorted(set(conversations), key=str))}
    places = np.array([numbers[name] for name in conversations])
    sums, sizes = np.bincount(places, weights=scores), np.bincount(places)
    return sums.astype(np.float64), sizes.astype(np.float64)


def _means(scores: Floats, conversations: Sequence[Hashable], random: np.random.Generator) -> Floats:
    sums, sizes = _by_conversation(scores, conversations)
    if len(sums) == 1:
        # Questions are drawn in place of conversations: by distinct scores, of which yes or no has only two.
        sums, counts = np.unique(scores, return_counts=True)
        return random.multinomial(len(scores), counts / len(scores), DRAWS) @ sums / len(scores)
    drawn = random.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), DRAWS)
    means: Floats = (drawn @ sums) / (drawn @ sizes)
    return means


def _sign_flips(differences: Floats, random: np.random.Generator) -> float:
    """Return the share of sign patterns whose sum is at least as far from zero as that of the differences."""
    # Sorted, so that the order of the questions cannot change the random signs; a difference of 0 has no sign to flip.
    values = np.sort(differences[differences != 0])
    # Patterns that tie with the observed one count, though floating point may put them a last digit below it.
    far = abs(values.sum()) * (1 - 1e-12) - 1e-12
    if len(values) <= _ALL_FLIPS:
        patterns = (np.arange(2 ** len(values))[:, None] >> np.arange(len(values))) & 1
        return float((np.abs((1 - 2 * patterns) @ values) >= far).mean())
    rows = max(1, _CHUNK // len(values))
    extreme = 0
    for start in range(0, FLIPS, rows):  # in pieces: 20,000 signs for each of 1,300 questions would be 200 MB
        signs = random.integers(0, 2, (min(rows, FLIPS - start), len(values)), dtype=np.int8) * 2.0 - 1.0
        extreme += int((np.abs(signs @ values) >= far).sum())
    # The observed pattern counts as one of those tried, so that p is never 0 (Phipson and Smyth, 2010).
    return (extreme + 1) / (FLIPS + 1)
