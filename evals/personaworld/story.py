"""The plot of a conversation: people tell, add to, correct, take back and repeat things about themselves."""

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
        """Return the turns that hold the present values, and what they made void: back to where they were new.

        A retraction ends that: what comes afterwards is new.
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
    """Return what a good memory says, as in "Kamo's dog: Biru and Sefa."."""
    return f"{owner}'s {attribute.noun}: {join_values(values)}."


def join_values(values: tuple[str, ...]) -> str:
    """Join several values as people write them: "Biru, Sefa and Lomi"."""
    return " and ".join([", ".join(values[:-1]), values[-1]] if len(values) > 1 else values)


def invent_plot(part: Part, difficulty: Difficulty, rng: random.Random, names: Iterator[str]) -> Plot:
    """Invent a conversation in the phrases of one part of the world; `names` gives its people and values."""
    people = [next(names) for _ in range(difficulty.speakers)]
    topics = {person: rng.sample(ATTRIBUTES, min(difficulty.attributes, len(ATTRIBUTES))) for person in people}
    items: dict[tuple[str, str], Item] = {}
    turns: list[Turn] = []
    events: list[Event] = []
    days = sorted(rng.sample(range(_DAYS), difficulty.sessions))
    beginnings = [_YEAR + timedelta(days=day, hours=rng.randrange(8, 20)) for day in days]
    for number, beginning in enumerate(beginnings, 1):
        for minute in range(1, difficulty.turns + 1):
            owner, turn_id = rng.choice(people), f"D{number}:{minute}"
            event, text = _next_event(part, difficulty, rng, names, turn_id, owner, topics[owner], items)
            turns.append(Turn(owner, text, beginning + timedelta(minutes=minute), turn_id, f"session_{number}"))
            events.append(event)
    return Plot(tuple(turns), tuple(events), tuple(items.values()))


def _next_event(
    part: Part,
    difficulty: Difficulty,
    rng: random.Random,
    names: Iterator[str],
    turn_id: str,
    owner: str,
    topics: list[Attribute],
    items: dict[tuple[str, str], Item],
) -> tuple[Event, str]:
    """Return the event of one turn and its text; what is new or changed is noted in `items`."""
    if rng.random() < difficulty.small_talk:
        return Event(turn_id, "small-talk"), fill(turn_frames(part, "small-talk"), rng)
    remembered = [item for (person, _), item in items.items() if person == owner and item.values]
    # What the owner has not spoken about; once that is used up, what was taken back may be told anew.
    fresh = [attribute for attribute in topics if (owner, attribute.noun) not in items]
    fresh = fresh or [attribute for attribute in topics if not items[owner, attribute.noun].values]
    if remembered and (not fresh or rng.random() < difficulty.changes):
        item = rng.choice(remembered)
        kind = _draw_change(item, rng)
    elif fresh:
        attribute = rng.choice(fresh)
        kind, item = "new", items.setdefault((owner, attribute.noun), Item(owner, attribute, ()))
    else:
        return Event(turn_id, "small-talk"), fill(turn_frames(part, "small-talk"), rng)
    old = item.values
    new = next(names) if kind in ("new", "additive", "correction") else ""
    item.values = {"additive": (*old, new), "retraction": (), "repetition": old}.get(kind, (new,))
    event = Event(turn_id, kind, owner, item.attribute, item.values)
    item.events.append(event)
    frames = turn_frames(part, kind, item.attribute)
    return event, fill(frames, rng, noun=item.attribute.noun, new=new, old=join_values(old) if old else "")


def _draw_change(item: Item, rng: random.Random) -> EventKind:
    """Draw what happens to something remembered: each entry of the list is one chance."""
    kinds: list[EventKind] = ["repetition", "repetition", "retraction"]
    if len(item.values) == 1:
        kinds += ["correction", "correction"]
    if item.attribute.several and len(item.values) < MOST_VALUES:
        kinds += ["additive"] * 5
    return rng.choice(kinds)
