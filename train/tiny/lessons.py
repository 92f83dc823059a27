"""Many exercises on one bank: a far denser lesson than one demonstration a prompt.

A lesson is one text: the memories once, then questions and facts about them, with the right replies. Finding the one
memory that is about this person and this thing is what takes a tiny model longest to learn. So half of the exercises
are drills, as short as can be ("Kamo's dog", "dog of Kamo"), and in half of the banks the thing alone or the person
alone tells the memories apart.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from langgraph_memory_r1.evals.personaworld.names import Part, names
from langgraph_memory_r1.evals.personaworld.phrases import (
    ATTRIBUTES,
    Attribute,
    EventKind,
    fill,
    question_frames,
    turn_frames,
)
from langgraph_memory_r1.evals.personaworld.questions import UNKNOWN
from langgraph_memory_r1.evals.personaworld.story import join_values, memory_text
from langgraph_memory_r1.prompts import AnswerInput, ManageInput, RoleInput, render, write
from langgraph_memory_r1.rules import extract_facts
from langgraph_memory_r1.schemas import Add, Delete, Memory, Noop, Operation, Turn, Update
from langgraph_memory_r1.train.tiny.demonstrations import TOP_K
from langgraph_memory_r1.train.tiny.tokens import ASSISTANT, END, SYSTEM, USER

Exercise = tuple[str, str]
"""What is read, and what is to be said."""

FEW: Final = 3
"""Memories of the first lessons, in which every exercise is about one of them."""
_UNTOLD: Final = 0.2
"""Share of the exercises, later, about what the bank does not hold."""
_ADDITIVE: Final = 3
"""How many times as often as another kind: two names from two places are the hardest text to write."""
_EXERCISES: Final = 8
_AT: Final = datetime(2024, 1, 1, tzinfo=UTC)


def lessons(
    rng: random.Random, most: int = TOP_K, drilled: float = 0.5, part: Part = "base"
) -> Iterator[list[Exercise]]:
    """An endless stream of lessons, with so many memories at most, and this share of drills."""
    while True:
        yield _Room(part, rng, most).lesson(drilled)


class _Room:
    """Some people and what a bank says about them."""

    def __init__(self, part: Part, rng: random.Random, most: int) -> None:
        self.part, self.rng, self.most, self.names = part, rng, most, names(part, rng)
        people, things = self._kind()
        self.pairs = [(person, attribute) for person in people for attribute in things]
        self.told = rng.sample(self.pairs, min(len(self.pairs), rng.randint(2, most)))
        self.untold = [pair for pair in self.pairs if pair not in self.told]
        self.values = [self._values(attribute) for _, attribute in self.told]
        days = sorted(rng.choices(range(360), k=len(self.told)))
        self.memories = tuple(
            Memory(str(n), memory_text(owner, attribute, values), owner, _AT + timedelta(days=day))
            for n, ((owner, attribute), values, day) in enumerate(zip(self.told, self.values, days, strict=True))
        )

    def lesson(self, drilled: float) -> list[Exercise]:
        """The memories, then the exercises."""
        untold = _UNTOLD if self.most > FEW else 0.0
        places = [self._place(untold) for _ in range(_EXERCISES)]
        memories = render(AnswerInput("", self.memories), "compact")[1].text.partition("Question:")[0]
        return [(memories, ""), *(self._exercise(place, drilled) for place in places)]

    def _kind(self) -> tuple[list[str], list[Attribute]]:
        """People and things: some of each, or one of the two."""
        luck = self.rng.random()
        if luck < 0.5:
            people = [next(self.names) for _ in range(self.rng.choice((2, 2, 3)))]
            return people, self.rng.sample(ATTRIBUTES, self.rng.choice((3, 4, 6, 12)))
        if luck < 0.8:
            return [next(self.names) for _ in range(self.most + 1)], self.rng.sample(ATTRIBUTES, 1)
        return [next(self.names)], self.rng.sample(ATTRIBUTES, self.most + 1)

    def _place(self, untold: float) -> int | None:
        if self.untold and self.rng.random() < untold:
            return None
        return self.rng.randrange(len(self.told))

    def _values(self, attribute: Attribute) -> tuple[str, ...]:
        count = 2 if attribute.several and self.rng.random() < 0.35 else 1
        return tuple(next(self.names) for _ in range(count))

    def _exercise(self, place: int | None, drilled: float) -> Exercise:
        if place is not None and self.rng.random() < drilled:
            return self._drill(place)
        luck = self.rng.random()
        given = self._fact(place) if luck < 0.5 else self._question(place, short=luck < 0.7)
        return self._text(*given)

    def _drill(self, n: int) -> Exercise:
        (owner, attribute), values = self.told[n], self.values[n]
        read = self.rng.choice((f"{owner}'s {attribute.noun}", f"{attribute.noun} of {owner}"))
        return f"{USER}{read}", f"{n}: {join_values(values)}.{END}"

    def _question(self, n: int | None, *, short: bool) -> tuple[RoleInput, str]:
        rng = self.rng
        if n is None:
            owner, attribute = rng.choice(self.untold)
            given = AnswerInput(self._asked(owner, attribute, short), self.memories)
            return given, write((UNKNOWN, ()), given)
        (owner, attribute), values, memory = self.told[n], self.values[n], self.memories[n]
        hops = [k for k, (person, _) in enumerate(self.told) if person == owner and k != n and len(self.values[k]) == 1]
        text, answer = self._asked(owner, attribute, short), join_values(values)
        chosen: tuple[int, ...] = (n,)
        if not short and hops and rng.random() < 0.35:
            k = rng.choice(hops)
            other, known = self.told[k][1].noun, self.values[k][0]
            text = fill(question_frames(self.part, "bridge"), rng, noun=attribute.noun, other=other, known=known)
            chosen = (k, n)
        elif not short and rng.random() < 0.3 and memory.at:
            noun, known = attribute.noun, rng.choice(values)
            text = fill(question_frames(self.part, "time"), rng, owner=owner, noun=noun, known=known)
            answer = memory.at.date().isoformat()
        given = AnswerInput(text, self.memories)
        return given, write((answer, chosen), given)

    def _asked(self, owner: str, attribute: Attribute, short: bool) -> str:
        if short:
            return f"{owner}'s {attribute.noun}?"
        frames = question_frames(self.part, "value")
        return fill(frames, self.rng, owner=owner, noun=attribute.noun)

    def _fact(self, n: int | None) -> tuple[RoleInput, str]:
        rng = self.rng
        kind: EventKind = "new" if self.untold and rng.random() < 0.6 else "small-talk"
        owner, attribute = rng.choice(self.untold or self.told)
        values: tuple[str, ...] = ()
        if n is not None:
            (owner, attribute), values = self.told[n], self.values[n]
            kinds: list[EventKind] = ["retraction", "repetition"]
            if len(values) == 1:
                additive: list[EventKind] = ["additive"] * (_ADDITIVE * attribute.several)
                kinds += ["correction", *additive]
            kind = rng.choice(kinds)
        new = next(self.names)
        frames = turn_frames(self.part, kind, attribute)
        text = fill(frames, rng, noun=attribute.noun, new=new, old=join_values(values) if values else "")
        facts = tuple(extract_facts([Turn(owner, text, _AT, "t")]))
        given = ManageInput(facts, self.memories)
        return given, write((self._right(kind, n or 0, owner, attribute, values, new),), given)

    def _right(
        self, kind: EventKind, n: int, owner: str, attribute: Attribute, values: tuple[str, ...], new: str
    ) -> Operation:
        source = ("t",)
        if kind == "new":
            return Add(memory_text(owner, attribute, (new,)), owner, source=source)
        if kind == "additive":
            return Update(str(n), memory_text(owner, attribute, (*values, new)), source)
        if kind == "correction":
            return Update(str(n), memory_text(owner, attribute, (new,)), source)
        return Delete(str(n), source) if kind == "retraction" else Noop(source=source)

    def _text(self, given: RoleInput, reply: str) -> Exercise:
        system, data = (str(message.content) for message in render(given, "compact"))
        data = data[data.index("Facts:\n" if isinstance(given, ManageInput) else "Question:") :]
        return f"{SYSTEM}{system}{USER}{data}{ASSISTANT}", reply + END


def encode_lesson(tokenizer: Any, lesson: list[Exercise]) -> tuple[list[int], list[bool]]:
    """The ids of a lesson, and which of them are to be said."""
    texts = [text for exercise in lesson for text in exercise]
    ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
    marks = [bool(place % 2) for place, part in enumerate(ids) for _ in part]
    return [token for part in ids for token in part], marks
