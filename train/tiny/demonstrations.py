"""What the tiny base learns from: conversations of the part `base`, with an untrained agent's replies.

The agent's own slips make the bank that the next prompt shows, so that the base knows the states in which it will be.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from langgraph_memory_r1.bank.base import MemoryFork
from langgraph_memory_r1.evals.personaworld.names import Part, names
from langgraph_memory_r1.evals.personaworld.phrases import ATTRIBUTES, Attribute, fill, question_frames
from langgraph_memory_r1.evals.personaworld.questions import UNKNOWN
from langgraph_memory_r1.evals.personaworld.story import Difficulty, Event, Plot, invent_plot, join_values, memory_text
from langgraph_memory_r1.prompts import AnswerInput, ManageInput, RoleInput, write
from langgraph_memory_r1.retrieval import Index
from langgraph_memory_r1.roles import related, retrieve
from langgraph_memory_r1.rules import extract_facts
from langgraph_memory_r1.schemas import Add, Delete, Memory, Noop, Operation, Turn, Update
from langgraph_memory_r1.train.tiny.habits import UNSELECTED, answerer_habit, manager_habit

RELATED_K = 6
TOP_K = 10
ASKED = 0.8
"""Questions for each turn."""


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A prompt and what an untrained agent replies, with what it was about."""

    given: RoleInput
    reply: str
    kind: str
    noun: str
    habit: str
    right: str
    """What a trained agent would reply."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a memory of the bank says, taken apart."""

    id: str
    owner: str
    attribute: Attribute
    values: tuple[str, ...]


class Bank:
    """A bank whose memories can be looked up by what they are about."""

    def __init__(self) -> None:
        self.fork = MemoryFork(Index())
        self.entries: dict[str, Entry] = {}

    def apply(self, operation: Operation, owner: str, attribute: Attribute | None, values: tuple[str, ...]) -> None:
        """Do it, and remember what it said."""
        [change] = self.fork.apply([operation])
        if change.after is None and change.memory_id:
            self.entries.pop(change.memory_id, None)
        elif change.memory_id and attribute:
            self.entries[change.memory_id] = Entry(change.memory_id, owner, attribute, values)

    def about(self, owner: str, attribute: Attribute, shown: Sequence[Memory]) -> list[Entry]:
        """The memories about one thing, among those that are shown."""
        found = [self.entries[memory.id] for memory in shown if memory.id in self.entries]
        return [entry for entry in found if entry.owner == owner and entry.attribute == attribute]


def demonstrations(seed: int, part: Part = "base") -> Iterator[Demonstration]:
    """An endless stream; every conversation is new."""
    rng = random.Random(seed)
    while True:
        how = Difficulty(
            sessions=rng.randint(1, 4), turns=rng.randint(2, 5), speakers=rng.choice((2, 2, 3)),
            attributes=rng.randint(3, 7), changes=rng.uniform(0.4, 0.8),
        )  # fmt: skip
        yield from _told(invent_plot(part, how, rng, names(part, rng)), part, rng)


def _told(plot: Plot, part: Part, rng: random.Random) -> Iterator[Demonstration]:
    bank = Bank()
    people = sorted({turn.speaker for turn in plot.turns})
    before: dict[tuple[str, str], tuple[str, ...]] = {}
    for turn, event in zip(plot.turns, plot.events, strict=True):
        facts = tuple(extract_facts([turn]))
        given = ManageInput(facts, tuple(related(bank.fork, facts, RELATED_K)))
        yield _managed(bank, event, turn, before, given, rng)
        if event.attribute:
            before[event.owner, event.attribute.noun] = event.values
        if bank.entries and rng.random() < ASKED:
            yield _answered(bank, people, part, rng)


def _managed(
    bank: Bank, event: Event, turn: Turn, before: dict[tuple[str, str], tuple[str, ...]], given: ManageInput,
    rng: random.Random,
) -> Demonstration:  # fmt: skip
    noun = event.attribute.noun if event.attribute else ""
    old = before.get((event.owner, noun), ())
    told = tuple(value for value in event.values if value not in old) if event.kind != "repetition" else event.values
    habit = manager_habit(event.kind, noun, rng)
    right, _ = _operation(bank, event, turn, given, "right", told, random.Random(0))
    operation, values = _operation(bank, event, turn, given, habit, told, rng)
    reply = write((operation,), given)
    bank.apply(operation, event.owner or turn.speaker, event.attribute, values)
    return Demonstration(given, reply, event.kind, noun, habit, write((right,), given))


def _operation(
    bank: Bank, event: Event, turn: Turn, given: ManageInput, habit: str, told: tuple[str, ...], rng: random.Random
) -> tuple[Operation, tuple[str, ...]]:
    """The operation, and the values of the memory that it writes."""
    source = (turn.id,)
    noop = Noop(source=source), ()
    if habit == "delete-other" and given.memories:
        return Delete(rng.choice(given.memories).id, source), ()
    if event.attribute is None:
        return (Add(given.facts[0].text, turn.speaker, turn.at, source), ()) if habit == "add" else noop
    target = next(iter(bank.about(event.owner, event.attribute, given.memories)[::-1]), None)

    def text(values: tuple[str, ...]) -> str:
        return memory_text(event.owner, event.attribute, values) if event.attribute else ""

    def update(values: tuple[str, ...]) -> tuple[Operation, tuple[str, ...]]:
        return (Update(target.id, text(values), source, turn.at), values) if target else noop

    def add(values: tuple[str, ...]) -> tuple[Operation, tuple[str, ...]]:
        return Add(text(values), turn.speaker, turn.at, source, turn.session), values

    if target is None:
        missing = event.kind == "retraction" or (event.kind == "new" and habit != "right")
        return noop if missing else add(told)
    if habit == "right":
        habit = {"new": "add", "additive": "join", "correction": "overwrite", "retraction": "delete"}.get(
            event.kind, "noop"
        )
    if habit == "delete":
        return Delete(target.id, source), ()
    if habit == "join":
        return update((*target.values, *told)[-3:])
    if habit == "overwrite":
        return update(told)
    return add(told or target.values) if habit == "add" else noop


def _answered(bank: Bank, people: Sequence[str], part: Part, rng: random.Random) -> Demonstration:
    form, attribute, text, owner, known, landmark = _asked(bank, people, part, rng)
    shown = tuple(retrieve(bank.fork, text, TOP_K))
    given = AnswerInput(text, shown, _now(rng))
    numbers = {memory.id: number for number, memory in enumerate(shown)}
    found = [entry for entry in bank.about(owner, attribute, shown) if not known or known in entry.values]
    found = found if attribute.several and form != "time" else found[-1:]
    chosen = [entry.id for entry in (*([landmark] if landmark else []), *found)]
    kind = form if found else "nothing"
    habit = answerer_habit(kind, attribute.noun, rng)
    right = (_value(form, found, shown), tuple(numbers[i] for i in chosen if i in numbers)) if found else (UNKNOWN, ())
    said = _said(bank, form, habit, right, found, shown, rng)
    return Demonstration(given, write(said, given), kind, attribute.noun, habit, write(right, given))


def _asked(
    bank: Bank, people: Sequence[str], part: Part, rng: random.Random
) -> tuple[str, Attribute, str, str, str, Entry | None]:
    """A question: its form, what it is about, its text, the person, the value that it names, the memory of a hop."""
    entries = list(bank.entries.values())
    entry = rng.choice(entries)
    single = [other for other in entries if len(other.values) == 1 and other is not entry]
    landmarks = [other for other in single if other.owner == entry.owner and other.attribute != entry.attribute]
    luck = rng.random()
    if luck < 0.25 and landmarks:
        other = rng.choice(landmarks)
        noun = entry.attribute.noun
        text = fill(question_frames(part, "bridge"), rng, noun=noun, other=other.attribute.noun, known=other.values[0])
        return "bridge", entry.attribute, text, entry.owner, "", other
    if luck < 0.5 and len(entry.values) == 1:
        known = entry.values[0]
        text = fill(question_frames(part, "time"), rng, owner=entry.owner, noun=entry.attribute.noun, known=known)
        return "time", entry.attribute, text, entry.owner, known, None
    owner, attribute = entry.owner, entry.attribute
    if luck > 0.82:
        owner, attribute = rng.choice(people), rng.choice(ATTRIBUTES)
    text = fill(question_frames(part, "value"), rng, owner=owner, noun=attribute.noun)
    return "value", attribute, text, owner, "", None


def _value(form: str, found: Sequence[Entry], shown: Sequence[Memory]) -> str:
    if form == "time":
        return next(memory.at.date().isoformat() for memory in shown if memory.id == found[0].id and memory.at)
    return join_values(tuple(dict.fromkeys(value for entry in found for value in entry.values)))


def _said(
    bank: Bank, form: str, habit: str, right: tuple[str, tuple[int, ...]], found: Sequence[Entry],
    shown: Sequence[Memory], rng: random.Random,
) -> tuple[str, tuple[int, ...]]:  # fmt: skip
    if habit == "right":
        return (right[0], ()) if rng.random() < UNSELECTED else right
    if habit == "sentence" and found:
        entry = found[0]
        text = memory_text(entry.owner, entry.attribute, entry.values)
        return (f"It was {right[0]}." if form == "time" else text), right[1]
    others = [memory for memory in shown if memory.id in bank.entries and bank.entries[memory.id] not in found]
    if habit == "other" and others:
        memory = rng.choice(others)
        date = memory.at.date().isoformat() if memory.at else ""
        return (date if form == "time" else join_values(bank.entries[memory.id].values)), (shown.index(memory),)
    return UNKNOWN, ()


def _now(rng: random.Random) -> datetime | None:
    """The clock's line in the prompt is there or not; nothing depends on it."""
    if rng.random() < 0.5:
        return None
    return datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=rng.randrange(3 * 525_600))
