"""What is asked about a conversation: every question has a gold answer and the turns that hold it."""

from __future__ import annotations

import random
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
    """Return `count` questions, fewer where the conversation holds no more; `name` begins their ids.

    The kinds of last events take turns, so that what was changed and what was taken back is asked about as often as
    what was told only once.
    """
    items = rng.sample(plot.items, len(plot.items))
    kinds = rng.sample(kinds := sorted({item.last for item in items}), len(kinds))
    by_kind = [[item for item in items if item.last == kind] for kind in kinds]
    ordered = [item for layer in zip_longest(*by_kind) for item in layer if item is not None]
    return tuple(
        _question(part, item, plot, difficulty, rng, f"{name}:q{number}")
        for number, item in enumerate(ordered[:count], 1)
    )


def _question(part: Part, item: Item, plot: Plot, difficulty: Difficulty, rng: random.Random, name: str) -> Question:
    """Return a question about an item: over another item of its owner, for a date, or for its values."""
    owner, noun = item.owner, item.attribute.noun
    evidence = item.evidence()
    # What a question can name the owner by in place of the name.
    landmarks = [other for other in plot.items if other is not item and other.owner == owner and len(other.values) == 1]
    if item.values and landmarks and rng.random() < difficulty.hops:
        other = rng.choice(landmarks)
        names = {"noun": noun, "other": other.attribute.noun, "known": join_values(other.values)}
        text = fill(question_frames(part, "bridge"), rng, **names)
        both = tuple(dict.fromkeys([*other.evidence(), *evidence]))
        return Question(text, join_values(item.values), both, "multi-hop", name)
    if len(item.values) == 1 and item.last in ("new", "correction") and rng.random() < difficulty.times:
        text = fill(question_frames(part, "time"), rng, owner=owner, noun=noun, known=item.values[0])
        day = next(turn.at.date().isoformat() for turn in plot.turns if turn.id == evidence[-1] and turn.at)
        return Question(text, day, evidence, "temporal", name)
    text = fill(question_frames(part, "value"), rng, owner=owner, noun=noun)
    if not item.values:
        return Question(text, UNKNOWN, evidence, "retracted", name)
    category = "multi-hop" if len(item.values) > 1 else "single-hop"
    return Question(text, join_values(item.values), evidence, category, name)
