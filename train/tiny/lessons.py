"""Many exercises on one bank: a far denser lesson than one demonstration a prompt.

A lesson is one text: the memories once, then for each of them a question or a fact, with the right reply. Half of the
questions are as short as can be ("Kamo's dog?"), because finding the one memory that is about this person and this
thing is what takes a tiny model longest to learn; no memory comes twice, or the reply could be copied from the last.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from langgraph_memory_r1.evals.personaworld.phrases import ATTRIBUTES, Attribute, Kind, asked, fill, said
from langgraph_memory_r1.evals.personaworld.questions import UNKNOWN
from langgraph_memory_r1.evals.personaworld.story import listed, note
from langgraph_memory_r1.evals.personaworld.words import Part, names
from langgraph_memory_r1.prompts import AnswerInput, ManageInput, RoleInput, render, write
from langgraph_memory_r1.rules import extract_facts
from langgraph_memory_r1.schemas import Add, Delete, Memory, Noop, Operation, Turn, Update
from langgraph_memory_r1.train.tiny.demonstrations import TOP_K
from langgraph_memory_r1.train.tiny.tokens import END

Exercise = tuple[str, str]
"""What is read, and what is to be said."""

_OTHERS: Final = 2
"""Exercises about what the bank does not hold."""
_AT: Final = datetime(2024, 1, 1, tzinfo=UTC)


def lessons(rng: random.Random, most: int = TOP_K, part: Part = "base") -> Iterator[list[Exercise]]:
    """An endless stream of lessons, with so many memories at most."""
    while True:
        yield _Room(part, rng, most).lesson()


class _Room:
    """Some people and what a bank says about them."""

    def __init__(self, part: Part, rng: random.Random, most: int) -> None:
        self.part, self.rng, self.names = part, rng, names(part, rng)
        self.people = [next(self.names) for _ in range(rng.choice((2, 2, 3)))]
        pairs = [(person, attribute) for person in self.people for attribute in ATTRIBUTES]
        close = rng.sample(ATTRIBUTES, 4 if most > 4 else 2)
        if rng.random() < 0.7:
            pairs = [(person, attribute) for person, attribute in pairs if attribute in close]
        self.told = rng.sample(pairs, min(len(pairs), rng.randint(2, most)))
        self.untold = [pair for pair in pairs if pair not in self.told]
        self.values = [self._values(attribute) for _, attribute in self.told]
        days = sorted(rng.choices(range(360), k=len(self.told)))
        self.memories = tuple(
            Memory(str(n), note(owner, attribute, values), owner, _AT + timedelta(days=day))
            for n, ((owner, attribute), values, day) in enumerate(zip(self.told, self.values, days, strict=True))
        )

    def lesson(self) -> list[Exercise]:
        """The memories, then the exercises."""
        places: list[int | None] = [*range(len(self.told)), *[None] * _OTHERS]
        self.rng.shuffle(places)
        given = [self._exercise(place) for place in places]
        return [self._text(each, reply, first=not n) for n, (each, reply) in enumerate(given)]

    def _values(self, attribute: Attribute) -> tuple[str, ...]:
        count = 2 if attribute.several and self.rng.random() < 0.35 else 1
        return tuple(next(self.names) for _ in range(count))

    def _exercise(self, place: int | None) -> tuple[RoleInput, str]:
        luck = self.rng.random()
        if luck < 0.4 or (place is None and not self.untold):
            return self._fact(place)
        return self._question(place, short=luck < 0.7)

    def _question(self, n: int | None, *, short: bool) -> tuple[RoleInput, str]:
        rng = self.rng
        if n is None:
            owner, attribute = rng.choice(self.untold)
            given = AnswerInput(self._asked(owner, attribute, short), self.memories)
            return given, write((UNKNOWN, ()), given)
        (owner, attribute), values, memory = self.told[n], self.values[n], self.memories[n]
        hops = [k for k, (person, _) in enumerate(self.told) if person == owner and k != n and len(self.values[k]) == 1]
        text, answer = self._asked(owner, attribute, short), listed(values)
        chosen: tuple[int, ...] = (n,)
        if not short and hops and rng.random() < 0.35:
            k = rng.choice(hops)
            other, known = self.told[k][1].noun, self.values[k][0]
            text = fill(asked(self.part, "bridge"), rng, noun=attribute.noun, other=other, known=known)
            chosen = (k, n)
        elif not short and rng.random() < 0.3 and memory.at:
            noun, known = attribute.noun, rng.choice(values)
            text = fill(asked(self.part, "time"), rng, owner=owner, noun=noun, known=known)
            answer = memory.at.date().isoformat()
        given = AnswerInput(text, self.memories)
        return given, write((answer, chosen), given)

    def _asked(self, owner: str, attribute: Attribute, short: bool) -> str:
        if short:
            return f"{owner}'s {attribute.noun}?"
        frames = asked(self.part, "value")
        return fill(frames, self.rng, owner=owner, noun=attribute.noun)

    def _fact(self, n: int | None) -> tuple[RoleInput, str]:
        rng = self.rng
        kind: Kind = "new" if self.untold and rng.random() < 0.6 else "small-talk"
        owner, attribute = rng.choice(self.untold or self.told)
        values: tuple[str, ...] = ()
        if n is not None:
            (owner, attribute), values = self.told[n], self.values[n]
            kinds: list[Kind] = ["retraction", "repetition"]
            if len(values) == 1:
                kinds += ["correction", "additive"] if attribute.several else ["correction"]
            kind = rng.choice(kinds)
        new = next(self.names)
        frames = said(self.part, kind, attribute)
        text = fill(frames, rng, noun=attribute.noun, new=new, old=listed(values) if values else "")
        facts = tuple(extract_facts([Turn(owner, text, _AT, "t")]))
        given = ManageInput(facts, self.memories)
        return given, write((self._right(kind, n or 0, owner, attribute, values, new),), given)

    def _right(
        self, kind: Kind, n: int, owner: str, attribute: Attribute, values: tuple[str, ...], new: str
    ) -> Operation:
        source = ("t",)
        if kind == "new":
            return Add(note(owner, attribute, (new,)), owner, source=source)
        if kind == "additive":
            return Update(str(n), note(owner, attribute, (*values, new)), source)
        if kind == "correction":
            return Update(str(n), note(owner, attribute, (new,)), source)
        return Delete(str(n), source) if kind == "retraction" else Noop(source=source)

    def _text(self, given: RoleInput, reply: str, *, first: bool) -> Exercise:
        system, data = (str(message.content) for message in render(given, "compact"))
        if not first:
            data = data[data.index("Facts:\n" if isinstance(given, ManageInput) else "Question:") :]
        return f"<|system|>{system}<|user|>{data}<|assistant|>", reply + END


def encode_lesson(tokenizer: Any, lesson: list[Exercise]) -> tuple[list[int], list[bool]]:
    """The ids of a lesson, and which of them are to be said."""
    texts = [text for exercise in lesson for text in exercise]
    ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
    marks = [bool(place % 2) for place, part in enumerate(ids) for _ in part]
    return [token for part in ids for token in part], marks
