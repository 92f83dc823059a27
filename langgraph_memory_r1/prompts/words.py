"""Which of the shown texts a model meant when it did not say."""

from __future__ import annotations

import re
from collections.abc import Sequence

_WORD = re.compile(r"\w+")


def closest(text: str, candidates: Sequence[str]) -> list[int]:
    """The position of the candidate that shares most of its words with the text; all positions if none shares any."""
    words = _words(text)
    overlaps = [_overlap(words, _words(candidate)) for candidate in candidates]
    best = max(overlaps, default=0.0)
    return [overlaps.index(best)] if best > 0 else list(range(len(candidates)))


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.lower()))


def _overlap(first: set[str], second: set[str]) -> float:
    """Dice's coefficient, so that a long candidate does not win by its length."""
    return 2 * len(first & second) / max(1, len(first) + len(second))
