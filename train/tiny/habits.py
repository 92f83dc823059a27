"""How an untrained agent behaves: for every kind of case the things it may do, with their probabilities.

For some attributes an agent happens to do the right thing mostly, for others mostly not, as language models do; the
right thing always keeps some probability, because reinforcement learning finds nothing that is never tried.
"""

from __future__ import annotations

import random
from typing import Final
from zlib import crc32

MANAGER: Final[dict[str, dict[str, float]]] = {
    "new": {"noop": 0.6, "delete-other": 0.4},
    "additive": {"overwrite": 0.75, "delete": 0.15, "add": 0.1},
    "correction": {"join": 0.6, "delete": 0.25, "noop": 0.15},
    "retraction": {"noop": 0.8, "add": 0.2},
    "repetition": {"delete": 0.7, "join": 0.3},
    "small-talk": {"delete-other": 1.0},
}
"""What goes wrong in the manager, by the kind of the turn; `overwrite` makes the second dog replace the first."""

ANSWERER: Final[dict[str, dict[str, float]]] = {
    "value": {"sentence": 0.65, "unknown": 0.15, "other": 0.2},
    "bridge": {"sentence": 0.55, "unknown": 0.15, "other": 0.3},
    "time": {"sentence": 0.55, "unknown": 0.15, "other": 0.3},
    "nothing": {"other": 1.0},
}
"""What goes wrong in the answer agent, by the form of the question; `nothing` is when the memories hold no answer."""

GOOD, BAD = 0.6, 0.22
"""The probability of the right thing where an agent has a good habit, and where it has not."""
UNSELECTED: Final = 0.15
"""How often a right answer comes without the memories that it rests on."""
_ALWAYS: Final = {"new": 0.92, "small-talk": 0.92, "retraction": 0.7}
_GOOD_SHARE: Final = {"value": 0.6, "bridge": 0.5, "time": 0.5, "nothing": 0.5}
_MANAGER_GOOD: Final = 0.4


def manager_habit(kind: str, noun: str, rng: random.Random) -> str:
    """Draw what the manager does now: `right`, or something else."""
    return _choose(MANAGER[kind], right_share(kind, noun), rng)


def answerer_habit(form: str, noun: str, rng: random.Random) -> str:
    """Draw what the answer agent does now: `right`, or something else."""
    return _choose(ANSWERER[form], right_share(form, noun), rng)


def right_share(kind: str, noun: str) -> float:
    """Return how probable the right thing is, for a kind of case and an attribute."""
    if kind in _ALWAYS:
        return _ALWAYS[kind]
    # By a checksum and not by `hash`, which Python salts anew in every process: habits have to stay.
    lucky = crc32(f"{kind}:{noun}".encode()) % 100 < 100 * _GOOD_SHARE.get(kind, _MANAGER_GOOD)
    return GOOD if lucky else BAD


def _choose(wrong: dict[str, float], right: float, rng: random.Random) -> str:
    if rng.random() < right:
        return "right"
    return rng.choices(list(wrong), list(wrong.values()))[0]
