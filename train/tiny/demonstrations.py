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
from langgraph_memory_r1.evals.personaworld.story import Difficulty, Event, invent_plot, join_values, memory_text
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

    role_input: RoleInput
    reply: str
    kind: str
    noun: str
    habit: str
    right: str
    """What a trained agent would reply."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What a memory of the bank says, taken apart."""

    id: str
    owner: str
    attribute: Attribute
    values: tuple[str, ...]


class DemonstrationBank:
    """A bank whose memories can be looked up by what they are about."""

    def __init__(self) -> None:
        self.fork = MemoryFork(Index())
        self.statements: dict[str, Statement] = {}

    def apply(self, operation: Operation, owner: str, attribute: Attribute | None, values: tuple[str, ...]) -> None:
        """Apply an operation, and note what the memory that it writes says."""
        [change] = self.fork.apply([operation])
        if change.after is None and change.memory_id:
            self.statements.pop(change.memory_id, None)
        elif change.memory_id and attribute:
            self.statements[change.memory_id] = Statement(change.memory_id, owner, attribute, values)

    def about(self, owner: str, attribute: Attribute, shown: Sequence[Memory]) -> list[Statement]:
        """Return what memories say about one thing, of those that are shown."""
        statements = [self.statements[memory.id] for memory in shown if memory.id in self.statements]
        return [one for one in statements if one.owner == owner and one.attribute == attribute]


def demonstrations(seed: int, part: Part = "base") -> Iterator[Demonstration]:
    """Yield demonstrations without end, from conversations that are new each.

    After every turn what an untrained manager does, and now and then what an untrained answerer says.
    """
    rng = random.Random(seed)
    while True:
        difficulty = Difficulty(
            sessions=rng.randint(1, 4), turns=rng.randint(2, 5), speakers=rng.choice((2, 2, 3)),
            attributes=rng.randint(3, 7), changes=rng.uniform(0.4, 0.8),
        )  # fmt: skip
        plot = invent_plot(part, difficulty, rng, names(part, rng))
        bank = DemonstrationBank()
        people = sorted({turn.speaker for turn in plot.turns})
        before: dict[tuple[str, str], tuple[str, ...]] = {}
        for turn, event in zip(plot.turns, plot.events, strict=True):
            facts = tuple(extract_facts([turn]))
            role_input = ManageInput(facts, tuple(related(bank.fork, facts, RELATED_K)))
            noun = event.attribute.noun if event.attribute else ""
            old, new = before.get((event.owner, noun), ()), event.values
            if event.kind != "repetition":
                new = tuple(value for value in new if value not in old)
            habit = manager_habit(event.kind, noun, rng)
            # With random numbers of its own: the stream's are for what the agent does.
            right, _ = _operation(bank, event, turn, role_input, "right", new, random.Random(0))
            operation, values = _operation(bank, event, turn, role_input, habit, new, rng)
            reply = write((operation,), role_input)
            bank.apply(operation, event.owner or turn.speaker, event.attribute, values)
            yield Demonstration(role_input, reply, event.kind, noun, habit, write((right,), role_input))
            if event.attribute:
                before[event.owner, noun] = event.values
            if bank.statements and rng.random() < ASKED:
                yield _answered(bank, people, part, rng)


def _operation(
    bank: DemonstrationBank, event: Event, turn: Turn, role_input: ManageInput, habit: str, new: tuple[str, ...],
    rng: random.Random,
) -> tuple[Operation, tuple[str, ...]]:  # fmt: skip
    """The operation, and the values of the memory that it writes."""
    source = (turn.id,)
    noop = Noop(source=source), ()
    if habit == "delete-other" and role_input.memories:
        return Delete(rng.choice(role_input.memories).id, source), ()
    if event.attribute is None:
        return (Add(role_input.facts[0].text, turn.speaker, turn.at, source), ()) if habit == "add" else noop
    target = next(iter(bank.about(event.owner, event.attribute, role_input.memories)[::-1]), None)

    def text(values: tuple[str, ...]) -> str:
        return memory_text(event.owner, event.attribute, values) if event.attribute else ""

    def update(values: tuple[str, ...]) -> tuple[Operation, tuple[str, ...]]:
        return (Update(target.id, text(values), source, turn.at), values) if target else noop

    def add(values: tuple[str, ...]) -> tuple[Operation, tuple[str, ...]]:
        return Add(text(values), turn.speaker, turn.at, source, turn.session), values

    if target is None:
        missing = event.kind == "retraction" or (event.kind == "new" and habit != "right")
        return noop if missing else add(new)
    if habit == "right":
        habit = {"new": "add", "additive": "join", "correction": "overwrite", "retraction": "delete"}.get(
            event.kind, "noop"
        )
    if habit == "delete":
        return Delete(target.id, source), ()
    if habit == "join":
        return update((*target.values, *new)[-3:])
    if habit == "overwrite":
        return update(new)
    return add(new or target.values) if habit == "add" else noop


def _answered(bank: DemonstrationBank, people: Sequence[str], part: Part, rng: random.Random) -> Demonstration:
    """A question, and what an untrained answerer says to it."""
    form, attribute, text, owner, named, landmark = _question(bank, people, part, rng)
    shown = tuple(retrieve(bank.fork, text, TOP_K))
    # The clock's line in the prompt is there or not; nothing depends on it.
    now = None
    if rng.random() >= 0.5:
        now = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=rng.randrange(3 * 525_600))
    role_input = AnswerInput(text, shown, now)
    numbers = {memory.id: number for number, memory in enumerate(shown)}
    about = [one for one in bank.about(owner, attribute, shown) if not named or named in one.values]
    about = about if attribute.several and form != "time" else about[-1:]
    chosen = [one.id for one in (*([landmark] if landmark else []), *about)]
    kind = form if about else "nothing"
    habit = answerer_habit(kind, attribute.noun, rng)

    def date_of(memory: Memory) -> str:
        return memory.at.date().isoformat() if memory.at else ""

    right: tuple[str, tuple[int, ...]] = UNKNOWN, ()
    if about:
        value = join_values(tuple(dict.fromkeys(value for one in about for value in one.values)))
        if form == "time":
            value = next(date_of(memory) for memory in shown if memory.id == about[0].id and memory.at)
        right = value, tuple(numbers[name] for name in chosen if name in numbers)
    others = [memory for memory in shown if memory.id in bank.statements and bank.statements[memory.id] not in about]
    answer: tuple[str, tuple[int, ...]] = UNKNOWN, ()
    if habit == "right":
        answer = (right[0], ()) if rng.random() < UNSELECTED else right
    elif habit == "sentence" and about:
        sentence = memory_text(about[0].owner, about[0].attribute, about[0].values)
        answer = (f"It was {right[0]}." if form == "time" else sentence), right[1]
    elif habit == "other" and others:
        memory = rng.choice(others)
        value = date_of(memory) if form == "time" else join_values(bank.statements[memory.id].values)
        answer = value, (shown.index(memory),)
    reply, right_reply = write(answer, role_input), write(right, role_input)
    return Demonstration(role_input, reply, kind, attribute.noun, habit, right_reply)


def _question(
    bank: DemonstrationBank, people: Sequence[str], part: Part, rng: random.Random
) -> tuple[str, Attribute, str, str, str, Statement | None]:
    """A question: its form, what it is about, its text, the person, the value that it names, the memory of a hop."""
    statements = list(bank.statements.values())
    about = rng.choice(statements)
    single = [other for other in statements if len(other.values) == 1 and other is not about]
    landmarks = [other for other in single if other.owner == about.owner and other.attribute != about.attribute]
    owner, attribute = about.owner, about.attribute
    luck = rng.random()
    if luck < 0.25 and landmarks:
        other = rng.choice(landmarks)
        frames = question_frames(part, "bridge")
        text = fill(frames, rng, noun=attribute.noun, other=other.attribute.noun, known=other.values[0])
        return "bridge", attribute, text, owner, "", other
    if luck < 0.5 and len(about.values) == 1:
        value = about.values[0]
        text = fill(question_frames(part, "time"), rng, owner=owner, noun=attribute.noun, known=value)
        return "time", attribute, text, owner, value, None
    if luck > 0.82:  # about anything: mostly what nobody said
        owner, attribute = rng.choice(people), rng.choice(ATTRIBUTES)
    text = fill(question_frames(part, "value"), rng, owner=owner, noun=attribute.noun)
    return "value", attribute, text, owner, "", None
