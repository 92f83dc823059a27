"""Invented names: pronounceable, endless, and never shared by two parts of the world.

A name belongs to the part that its checksum says, so that what a model was trained on cannot be what it is tested on,
whatever the seed. Because nothing in PersonaWorld is called like anything in our world, nothing can be answered from
what a model knew before.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final, Literal, TypeAlias
from zlib import crc32

Part: TypeAlias = Literal["base", "train", "validation", "test"]
"""`base` is for whoever trains a model to speak at all; the others are the splits."""

CONSONANTS: Final = "bdfghjklmnprstvwy"
VOWELS: Final = "aeiou"
_PARTS: Final[tuple[Part, ...]] = ("base", "base", "base", "base", "train", "train", "validation", "test", "test")
_LONG_NAMES: Final = 0.25


def part_of(text: str) -> Part:
    """The part of the world in which a name, or the frame of a sentence, may occur."""
    return _PARTS[crc32(text.encode()) % len(_PARTS)]


def names(part: Part, rng: random.Random) -> Iterator[str]:
    """Names of one part, no two of them the same."""
    seen: set[str] = set()
    while True:
        name = _name(rng)
        if part_of(name) == part and name not in seen:
            seen.add(name)
            yield name


def _name(rng: random.Random) -> str:
    count = 3 if rng.random() < _LONG_NAMES else 2
    return "".join(rng.sample(_SYLLABLES, count)).capitalize()


_SYLLABLES: Final = [consonant + vowel for consonant in CONSONANTS for vowel in VOWELS]
