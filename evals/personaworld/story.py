"""What happens in a conversation: people tell, add to, correct, take back and repeat things about themselves."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Final

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.evals.personaworld.names import Part
from langgraph_memory_r1.evals.personaworld.phrases import ATTRIBUTES, Attribute, EventKind, fill, turn_frames
from langgraph_memory_r1.schemas import Turn

MOST_VALUES: Final = 2
_YEAR: Final = datetime(2024, 1, 1, tzinfo=UTC)
_DAYS: Final = 360


@dataclass(frozen=True, slots=True, kw_only=True)
class Difficulty:
    """How hard a conversation is; the default is what the tiny base is made for.

    Raises:
        InputError: A number is out of range.
    """

    sessions: int = 3
    turns: int = 4
    """In each session."""
    speakers: int = 2
    """The more there are, the more say the same about themselves with other names in it."""
    attributes: int = 5
    """Things that each person talks about at most; more of them make more memories."""
    small_talk: float = 0.15
    """Share of turns that hold nothing."""
    changes: float = 0.6
    """Share of the other turns that change or repeat something known rather than tell something new."""
    hops: float = 0.25
    """Share of questions that name a person by something else that is known about them, where that is possible."""
    times: float = 0.4
    """Share of questions for a date, where that is possible."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value, share = getattr(self, item.name), isinstance(item.default, float)
            least, most = (0, 1) if share else (1, _DAYS if item.name == "sessions" else None)  # a session a day
            if not least <= value <= (value if most is None else most):
                raise InputError(f"{item.name}={value} is out of range; give {least} to {most or 'any number'}.")


@dataclass(frozen=True, slots=True)
class Event:
    """What one turn means, and how things are after it."""

    turn: str
    kind: EventKind
    owner: str = ""
    attribute: Attribute | None = None
    values: tuple[str, ...] = ()
    """What the memory says after this turn; empty where there is nothing to remember any more."""


@dataclass(slots=True)
class Item:
    """One thing about one person."""

    owner: str
    attribute: Attribute
    values: tuple[str, ...]
    events: list[Event] = field(default_factory=list)

    @property
    def last(self) -> EventKind:
        """What was last said about it."""
        return self.events[-1].kind

    def evidence(self) -> tuple[str, ...]:
        """The turns that hold what is known now, and what they made void: back to where it was first told.

        A retraction ends that: what is told afterwards is new.
        """
        turns: list[str] = []
        for event in reversed(self.events):
            turns.insert(0, event.turn)
            if event.kind == "new":
                break
        return tuple(turns)


@dataclass(frozen=True, slots=True)
class Plot:
    """A conversation before anybody asks."""

    turns: tuple[Turn, ...]
    events: tuple[Event, ...]
    items: tuple[Item, ...]


def memory_text(owner: str, attribute: Attribute, values: tuple[str, ...]) -> str:
    """How a good memory says it, as in "Kamo's dog: Biru and Sefa."."""
    return f"{owner}'s {attribute.noun}: {join_values(values)}."


def join_values(values: tuple[str, ...]) -> str:
    """Several values as people write them."""
    return " and ".join([", ".join(values[:-1]), values[-1]] if len(values) > 1 else values)


def invent_plot(part: Part, difficulty: Difficulty, rng: random.Random, names: Iterator[str]) -> Plot:
    """A conversation in the words of one part of the world."""
    people = [next(names) for _ in range(difficulty.speakers)]
    topics = {person: rng.sample(ATTRIBUTES, min(difficulty.attributes, len(ATTRIBUTES))) for person in people}
    items: dict[tuple[str, str], Item] = {}
    turns: list[Turn] = []
    events: list[Event] = []
    for number, at in enumerate(_moments(difficulty.sessions, rng), 1):
        for place in range(1, difficulty.turns + 1):
            owner, mark = rng.choice(people), f"D{number}:{place}"
            event, text = _happen(part, difficulty, rng, names, mark, owner, topics[owner], items)
            moment = at + timedelta(minutes=place)
            turns.append(Turn(owner, text, moment, mark, f"session_{number}"))
            events.append(event)
    return Plot(tuple(turns), tuple(events), tuple(items.values()))


def _moments(sessions: int, rng: random.Random) -> list[datetime]:
    days = sorted(rng.sample(range(_DAYS), sessions))
    return [_YEAR + timedelta(days=day, hours=rng.randrange(8, 20)) for day in days]


def _happen(
    part: Part,
    difficulty: Difficulty,
    rng: random.Random,
    names: Iterator[str],
    turn: str,
    owner: str,
    topics: list[Attribute],
    items: dict[tuple[str, str], Item],
) -> tuple[Event, str]:
    """One turn: the event, and how it is said."""
    if rng.random() < difficulty.small_talk:
        return Event(turn, "small-talk"), fill(turn_frames(part, "small-talk"), rng)
    known = [item for (person, _), item in items.items() if person == owner and item.values]
    fresh = _untold(owner, topics, items)
    if known and (not fresh or rng.random() < difficulty.changes):
        item = rng.choice(known)
        kind = _change(item, rng)
    elif fresh:
        attribute = rng.choice(fresh)
        kind, item = "new", items.setdefault((owner, attribute.noun), Item(owner, attribute, ()))
    else:
        return Event(turn, "small-talk"), fill(turn_frames(part, "small-talk"), rng)
    old = item.values
    new = next(names) if kind in ("new", "additive", "correction") else ""
    item.values = _after(kind, old, new)
    event = Event(turn, kind, owner, item.attribute, item.values)
    item.events.append(event)
    frames = turn_frames(part, kind, item.attribute)
    return event, fill(frames, rng, noun=item.attribute.noun, new=new, old=join_values(old) if old else "")


def _untold(owner: str, topics: list[Attribute], items: dict[tuple[str, str], Item]) -> list[Attribute]:
    """What a person has not spoken about; once that is used up, what was taken back."""
    never = [attribute for attribute in topics if (owner, attribute.noun) not in items]
    return never or [attribute for attribute in topics if not items[owner, attribute.noun].values]


def _change(item: Item, rng: random.Random) -> EventKind:
    kinds: list[EventKind] = ["repetition", "repetition", "retraction"]
    if len(item.values) == 1:
        kinds += ["correction", "correction"]
    if item.attribute.several and len(item.values) < MOST_VALUES:
        kinds += ["additive"] * 5
    return rng.choice(kinds)


def _after(kind: EventKind, old: tuple[str, ...], new: str) -> tuple[str, ...]:
    return {"additive": (*old, new), "retraction": (), "repetition": old}.get(kind, (new,))
