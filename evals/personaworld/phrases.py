"""How things are said in PersonaWorld: frames of sentences and questions, each of which belongs to one split.

    opener + core + tail:  "By the way, " + "I adopted another {noun}, {new}" + ", imagine that"

The pieces are common to all splits; a whole frame is not: its checksum says in which split it may be used.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal, TypeAlias

from langgraph_memory_r1.evals.personaworld.names import Part, part_of

EventKind: TypeAlias = Literal["new", "additive", "correction", "retraction", "repetition", "small-talk"]
"""What a turn means for the memories; the right operations are ADD, UPDATE, UPDATE, DELETE, NOOP, NOOP."""

QuestionForm: TypeAlias = Literal["value", "bridge", "time"]


@dataclass(frozen=True, slots=True)
class Attribute:
    """Something a person has one of (a city) or several (dogs)."""

    noun: str
    several: bool
    new: tuple[str, ...]
    more: tuple[str, ...] = ()


_PET = ("I adopted a {noun} called {new}", "I took in a {noun} named {new}")
_PET_MORE = ("I adopted another {noun}, {new}", "I took in a second {noun} named {new}")
_PERSON = ("I have a {noun} called {new}", "I told {new}, who is my {noun}, about you")
_PERSON_MORE = ("I have another {noun} called {new}", "I have one more {noun}, and that is {new}")
_TASTE = ("I like a {noun} called {new}", "I picked a {noun} for myself, {new}")
_TASTE_MORE = ("I like another {noun}, {new}", "I picked one more {noun}, {new}")
_PLACE = ("I have settled on a {noun}, {new}", "I have {new} as my {noun}")

ATTRIBUTES: Final = (
    Attribute("dog", True, _PET, _PET_MORE),
    Attribute("cat", True, _PET, _PET_MORE),
    Attribute("sister", True, _PERSON, _PERSON_MORE),
    Attribute("friend", True, _PERSON, _PERSON_MORE),
    Attribute("band", True, _TASTE, _TASTE_MORE),
    Attribute("game", True, _TASTE, _TASTE_MORE),
    Attribute("city", False, (*_PLACE, "I live in the city of {new}")),
    Attribute("school", False, (*_PLACE, "I go to a school called {new}")),
    Attribute("employer", False, (*_PLACE, "I work for an employer called {new}")),
    Attribute("doctor", False, (*_PLACE, "I see a doctor called {new}")),
    Attribute("car", False, (*_PLACE, "I drive a car, a {new}")),
    Attribute("trip", False, (*_PLACE, "I am planning a trip to {new}")),
)

_TURN_CORES: Final[dict[EventKind, tuple[str, ...]]] = {
    "new": (
        "my {noun} is called {new}",
        "my {noun} is {new}",
        "the name of my {noun} is {new}",
        "{new} is my {noun}",
        "{new} is what I call my {noun}",
    ),
    "additive": (
        "I also have a {noun} called {new}",
        "there is a second {noun} in my life, {new}",
        "{new} is my {noun} too",
        "{new} is my {noun} as well",
        "besides the one you know, I have the {noun} {new}",
    ),
    "correction": (
        "my {noun} is actually {new}",
        "my {noun} is {new} now",
        "my {noun} changed, it is {new}",
        "my {noun} is {new}, not {old}",
        "my {noun} is no longer {old} but {new}",
        "I misspoke, my {noun} is {new}",
        "instead of {old}, {new} is my {noun} these days",
    ),
    "retraction": (
        "I no longer have the {noun} {old}",
        "I had to give up my {noun} {old}",
        "forget what I said about my {noun} {old}",
        "I was only joking about my {noun} {old}",
        "my {noun} {old} is gone for good",
        "there is no {noun} {old} in my life any more",
    ),
    "repetition": (
        "as I said, my {noun} is {old}",
        "like I told you, {old} is my {noun}",
        "my {noun} is still {old}",
        "I mentioned my {noun} {old} before",
        "you know already that my {noun} is {old}",
        "I say it again, {old} is my {noun}",
    ),
    "small-talk": (
        "I slept badly",
        "I am a bit tired",
        "I had a long week",
        "my train was late again",
        "I should cook more often",
        "I need a coffee",
        "I enjoyed our walk",
        "my head hurts a little",
        "I cannot find my umbrella",
        "I like this kind of weather",
    ),
}
_OPENERS: Final = (
    "", "By the way, ", "So, ", "Well, ", "Oh, ", "Listen, ", "Little update: ", "You know, ", "Just so you know, ",
    "Before we go on, ", "Let me say this: ", "Honestly, ",
)  # fmt: skip
_TAILS: Final = (
    "", ", by the way", ", imagine that", ", in case you wondered", ", for what it is worth", ", believe it or not",
    " and I wanted you to know", " and I am fine with that", ", just saying", ", that is all",
)  # fmt: skip

_QUESTION_CORES: Final[dict[QuestionForm, tuple[str, ...]]] = {
    "value": (
        "what is {owner}'s {noun} called?",
        "what is the name of {owner}'s {noun}?",
        "which {noun} does {owner} have?",
        "what do you know about {owner}'s {noun}?",
        "what did {owner} say about the {noun}?",
        "tell me {owner}'s {noun}.",
    ),
    "bridge": (
        "what is the {noun} of the person whose {other} is {known}?",
        "the person whose {other} is {known} has which {noun}?",
        "which {noun} belongs to the one with the {other} {known}?",
        "tell me the {noun} of whoever has the {other} {known}.",
    ),
    "time": (
        "since when is {known} {owner}'s {noun}?",
        "on which day did {owner} mention the {noun} {known}?",
        "when did {owner} say that {known} is the {noun}?",
        "what is the date on which {owner} told us of the {noun} {known}?",
    ),
}
_QUESTION_OPENERS: Final = (
    "", "Please, ", "Quick question: ", "Do you remember, ", "Once more, ", "I forgot, ", "Help me: ", "Tell me, ",
)  # fmt: skip


@cache
def turn_frames(part: Part, kind: EventKind, attribute: Attribute | None = None) -> tuple[str, ...]:
    """Return the frames of turns that a split may use."""
    own = {"new": attribute.new, "additive": attribute.more}.get(kind, ()) if attribute else ()
    return _frames(part, _OPENERS, (*_TURN_CORES[kind], *own), tuple(f"{tail}." for tail in _TAILS))


@cache
def question_frames(part: Part, form: QuestionForm) -> tuple[str, ...]:
    """Return the frames of questions that a split may use."""
    return _frames(part, _QUESTION_OPENERS, _QUESTION_CORES[form], ("",))


def fill(frames: Sequence[str], rng: random.Random, **names: str) -> str:
    """Draw one of the frames and put names in it."""
    text = rng.choice(frames).format(**names)
    return text[:1].upper() + text[1:]


def _frames(part: Part, openers: Sequence[str], cores: Sequence[str], tails: Sequence[str]) -> tuple[str, ...]:
    # All combinations are tried, though most belong to another split: the checksum alone keeps the splits apart.
    frames = (f"{opener}{core}{tail}" for opener in openers for core in cores for tail in tails)
    return tuple(frame for frame in frames if part_of(frame) == part)
