"""Invented names: pronounceable, some thousands, and never shared by two parts of the world.

A name belongs to the part that its checksum says, so that what a model was trained on cannot be what it is tested on,
whatever the seed. Because nothing in PersonaWorld is called like anything in our world, nothing can be answered from
what a model knew before.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache
from typing import Final, Literal, TypeAlias
from zlib import crc32

from langgraph_memory_r1.errors import InputError

Part: TypeAlias = Literal["base", "train", "validation", "test"]
"""`base` is for whoever trains a model to speak at all; the others are the splits."""

CONSONANTS: Final = "bdfghjklmnprstvwy"
VOWELS: Final = "aeiou"
_PARTS: Final[tuple[Part, ...]] = ("base", "base", "base", "base", "train", "train", "validation", "test", "test")


def part_of(text: str) -> Part:
    """Return the part of the world in which a name, or the frame of a sentence, may occur."""
    return _PARTS[crc32(text.encode()) % len(_PARTS)]


def names(part: Part, rng: random.Random) -> Iterator[str]:
    """Yield the names of one part in random order, none twice.

    Raises:
        InputError: They are used up.
    """
    own = _names_in(part)
    seen: set[str] = set()
    while len(seen) < len(own):
        name = rng.choice(own)
        if name not in seen:
            seen.add(name)
            yield name
    raise InputError(f"The part {part!r} of PersonaWorld has {len(own)} names, and they are used up; tell less.")


@cache
def all_names() -> tuple[str, ...]:
    """Return all names of all parts: two syllables that differ, 7,140 in all."""
    syllables = [consonant + vowel for consonant in CONSONANTS for vowel in VOWELS]
    return tuple(f"{first}{second}".capitalize() for first in syllables for second in syllables if first != second)


@cache
def _names_in(part: Part) -> tuple[str, ...]:
    return tuple(name for name in all_names() if part_of(name) == part)
