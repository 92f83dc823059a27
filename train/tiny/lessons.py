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
"""What is read, and the reply."""

FEW: Final = 3
"""Memories of the first lessons, in which every exercise is about one of them."""
_MISSING: Final = 0.2
"""Share of the exercises, later, about what the bank does not hold."""
# So many times as often as another kind of fact: two names from two places are the hardest text to write.
_ADDITIVE: Final = 3
_EXERCISES: Final = 8
_AT: Final = datetime(2024, 1, 1, tzinfo=UTC)


def lessons(
    rng: random.Random, most: int = TOP_K, drilled: float = 0.5, part: Part = "base"
) -> Iterator[list[Exercise]]:
    """Yield lessons without end, with so many memories at most, and this share of drills."""
    while True:
        yield _Room(part, rng, most).lesson(drilled)


class _Room:
    """Some people and what a bank says about them."""

    def __init__(self, part: Part, rng: random.Random, most: int) -> None:
        self.part, self.rng, self.most, self.names = part, rng, most, names(part, rng)
        luck = rng.random()
        if luck < 0.5:
            people = [next(self.names) for _ in range(rng.choice((2, 2, 3)))]
            things = rng.sample(ATTRIBUTES, rng.choice((3, 4, 6, 12)))
        elif luck < 0.8:  # one thing: the person alone tells the memories apart
            people, things = [next(self.names) for _ in range(most + 1)], rng.sample(ATTRIBUTES, 1)
        else:  # one person: the thing alone does
            people, things = [next(self.names)], rng.sample(ATTRIBUTES, most + 1)
        pairs = [(person, attribute) for person in people for attribute in things]
        self.topics = rng.sample(pairs, min(len(pairs), rng.randint(2, most)))
        """Whom and what the memories are about, by their numbers."""
        self.missing = [pair for pair in pairs if pair not in self.topics]
        self.values: list[tuple[str, ...]] = []
        for _, attribute in self.topics:
            count = 2 if attribute.several and rng.random() < 0.35 else 1
            self.values.append(tuple(next(self.names) for _ in range(count)))
        days = sorted(rng.choices(range(360), k=len(self.topics)))
        self.memories = tuple(
            Memory(str(number), memory_text(owner, attribute, values), owner, _AT + timedelta(days=day))
            for number, ((owner, attribute), values, day) in enumerate(zip(self.topics, self.values, days, strict=True))
        )

    def lesson(self, drilled: float) -> list[Exercise]:
        """Return the memories, then the exercises."""
        rng, missing = self.rng, _MISSING if self.most > FEW else 0.0
        numbers = [
            None if self.missing and rng.random() < missing else rng.randrange(len(self.topics))
            for _ in range(_EXERCISES)
        ]  # fmt: skip
        memories = render(AnswerInput("", self.memories), "compact")[1].text.partition("Question:")[0]
        lesson = [(memories, "")]
        for number in numbers:
            if number is not None and rng.random() < drilled:
                (owner, attribute), values = self.topics[number], self.values[number]
                drill = rng.choice((f"{owner}'s {attribute.noun}", f"{attribute.noun} of {owner}"))
                lesson.append((f"{USER}{drill}", f"{number}: {join_values(values)}.{END}"))
                continue
            luck = rng.random()
            role_input, reply = self._fact(number) if luck < 0.5 else self._question(number, short=luck < 0.7)
            system, data = (str(message.content) for message in render(role_input, "compact"))
            # Without the memories, which the lesson has shown already.
            data = data[data.index("Facts:\n" if isinstance(role_input, ManageInput) else "Question:") :]
            lesson.append((f"{SYSTEM}{system}{USER}{data}{ASSISTANT}", reply + END))
        return lesson

    def _question(self, number: int | None, *, short: bool) -> tuple[RoleInput, str]:
        """A question about a memory, or about what none says, and the right reply."""
        rng = self.rng
        owner, attribute = rng.choice(self.missing) if number is None else self.topics[number]

        def plain() -> str:
            if short:
                return f"{owner}'s {attribute.noun}?"
            return fill(question_frames(self.part, "value"), rng, owner=owner, noun=attribute.noun)

        if number is None:
            role_input = AnswerInput(plain(), self.memories)
            return role_input, write((UNKNOWN, ()), role_input)
        values, memory = self.values[number], self.memories[number]
        hops = [
            other for other, (person, _) in enumerate(self.topics)
            if person == owner and other != number and len(self.values[other]) == 1
        ]  # fmt: skip
        text, answer = plain(), join_values(values)
        selected: tuple[int, ...] = (number,)
        if not short and hops and rng.random() < 0.35:
            hop = rng.choice(hops)
            other, value = self.topics[hop][1].noun, self.values[hop][0]
            text = fill(question_frames(self.part, "bridge"), rng, noun=attribute.noun, other=other, known=value)
            selected = (hop, number)
        elif not short and rng.random() < 0.3 and memory.at:
            noun, value = attribute.noun, rng.choice(values)
            text = fill(question_frames(self.part, "time"), rng, owner=owner, noun=noun, known=value)
            answer = memory.at.date().isoformat()
        role_input = AnswerInput(text, self.memories)
        return role_input, write((answer, selected), role_input)

    def _fact(self, number: int | None) -> tuple[RoleInput, str]:
        """A fact about a memory, or about what none says, and the right reply."""
        rng = self.rng
        kind: EventKind = "new" if self.missing and rng.random() < 0.6 else "small-talk"
        owner, attribute = rng.choice(self.missing or self.topics)
        values: tuple[str, ...] = ()
        if number is not None:
            (owner, attribute), values = self.topics[number], self.values[number]
            kinds: list[EventKind] = ["retraction", "repetition"]
            if len(values) == 1:
                additive: list[EventKind] = ["additive"] * (_ADDITIVE * attribute.several)
                kinds += ["correction", *additive]
            kind = rng.choice(kinds)
        new = next(self.names)
        frames = turn_frames(self.part, kind, attribute)
        text = fill(frames, rng, noun=attribute.noun, new=new, old=join_values(values) if values else "")
        facts = tuple(extract_facts([Turn(owner, text, _AT, "t")]))
        role_input = ManageInput(facts, self.memories)
        operation: Operation = Noop(source=("t",))
        if kind == "new":
            operation = Add(memory_text(owner, attribute, (new,)), owner, source=("t",))
        elif kind == "retraction":
            operation = Delete(str(number), ("t",))
        elif kind in ("additive", "correction"):
            others = values if kind == "additive" else ()
            operation = Update(str(number), memory_text(owner, attribute, (*others, new)), ("t",))
        return role_input, write((operation,), role_input)


def encode_lesson(tokenizer: Any, lesson: list[Exercise]) -> tuple[list[int], list[bool]]:
    """Return the ids of a lesson, and which of them are learned: those of the replies."""
    texts = [text for exercise in lesson for text in exercise]
    ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
    marks = [bool(number % 2) for number, part in enumerate(ids) for _ in part]
    return [token for part in ids for token in part], marks
