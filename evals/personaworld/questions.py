"""What is asked about a conversation: every question has a gold answer and the turns that hold it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Final

from langgraph_memory_r1.evals.personaworld.names import Part
from langgraph_memory_r1.evals.personaworld.phrases import fill, question_frames
from langgraph_memory_r1.evals.personaworld.story import Difficulty, Item, Plot, join_values
from langgraph_memory_r1.schemas import Question

UNKNOWN: Final = "I don't know"
CATEGORIES: Final = ("single-hop", "multi-hop", "temporal", "retracted")


def make_questions(
    part: Part, plot: Plot, difficulty: Difficulty, count: int, rng: random.Random, name: str
) -> tuple[Question, ...]:
    """So many questions as the conversation holds at most; what was last said about a thing takes turns."""
    chosen = [item for _, item in zip(range(count), _in_turns(plot.items, rng), strict=False)]
    return tuple(_question(part, item, plot, difficulty, rng, f"{name}:q{n}") for n, item in enumerate(chosen, 1))


def _in_turns(items: Sequence[Item], rng: random.Random) -> Iterator[Item]:
    """The items, one of each kind of last event after the other."""
    mixed = rng.sample(items, len(items))
    kinds = rng.sample(kinds := sorted({item.last for item in mixed}), len(kinds))
    piles = [[item for item in mixed if item.last == kind] for kind in kinds]
    return (item for layer in zip_longest(*piles) for item in layer if item is not None)


def _question(part: Part, item: Item, plot: Plot, difficulty: Difficulty, rng: random.Random, name: str) -> Question:
    owner, noun = item.owner, item.attribute.noun
    evidence = item.evidence()
    known = _landmarks(item, plot.items)
    if item.values and known and rng.random() < difficulty.hops:
        other = rng.choice(known)
        text = fill(
            question_frames(part, "bridge"), rng, noun=noun, other=other.attribute.noun, known=join_values(other.values)
        )
        both = tuple(dict.fromkeys([*other.evidence(), *evidence]))
        return Question(text, join_values(item.values), both, "multi-hop", name)
    if len(item.values) == 1 and item.last in ("new", "correction") and rng.random() < difficulty.times:
        text = fill(question_frames(part, "time"), rng, owner=owner, noun=noun, known=item.values[0])
        day = next(turn.at.date().isoformat() for turn in plot.turns if turn.id == evidence[-1] and turn.at)
        return Question(text, day, evidence, "temporal", name)
    text = fill(question_frames(part, "value"), rng, owner=owner, noun=noun)
    if not item.values:
        return Question(text, UNKNOWN, evidence, "retracted", name)
    return Question(
        text, join_values(item.values), evidence, "multi-hop" if len(item.values) > 1 else "single-hop", name
    )


def _landmarks(item: Item, items: Sequence[Item]) -> list[Item]:
    """Other things about the same person by which a question can name them."""
    return [other for other in items if other is not item and other.owner == item.owner and len(other.values) == 1]
