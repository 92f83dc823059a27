"""Wrong answers, made without a model from questions and their gold answers."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from langgraph_memory_r1.schemas import Question
from langgraph_memory_r1.scoring import content_tokens

__all__ = ["another", "changed", "vague"]

_TRIES = 50
_SHORT = 6
_DIGITS = re.compile(r"\d+")
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_MONTHS = "January February March April May June July August September October November December".split()
_ROUNDS = (
    _MONTHS,
    "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split(),
    "two three four five six seven eight nine ten eleven twelve".split(),
    ["yes", "no"],
)
_NEXT = {word: words[(place + 1) % len(words)] for words in _ROUNDS for place, word in enumerate(words)}
_NEXT |= {word.capitalize(): other.capitalize() for word, other in _NEXT.items()}
_NO_TOPIC = frozenset(
    "a about after an and any are as at be been before being besides both by can could did do does doing during for "
    "from had has have he her hers him his how in instead into is it its kind kinds likely many might more most much "
    "not of on or other out over s she since so some someone something still than that the their them then they this "
    "to type up was were what when where whether which while who whom whose why will with would you your".split()
)


def another(question: Question, asked: Sequence[Question], chance: random.Random) -> str | None:
    """The gold answer of another question, where possible a similar one; None if none is without common words.

    It is a definite, plausible answer to the wrong question.
    """
    own = content_tokens(str(question.gold))
    alike = [other for other in asked if other.gold and other.category == question.category]
    nearest = [other for other in alike if _first_word(other) == _first_word(question)]
    for others in (nearest, alike):
        for other in chance.sample(others, min(_TRIES, len(others))):
            if not own & content_tokens(str(other.gold)):
                return str(other.gold)
    return None


def changed(gold: str) -> str | None:
    """The gold answer with its month changed to the next one, else its first number, weekday or yes; None without any.

    A month goes first: the 27th in place of the 28th would not make "the week before 28 June" wrong. Nor would a
    changed detail make a long answer wrong.
    """
    if len(gold.split()) > _SHORT:
        return None
    words = [match for match in _WORD.finditer(gold) if match[0] in _NEXT]
    months = [match for match in words if match[0] in _MONTHS]
    found = months or sorted([*words, *_DIGITS.finditer(gold)], key=lambda match: match.start())
    if not found:
        return None
    word = found[0][0]
    other = _NEXT.get(word) or str(int(word) + 1)
    return gold[: found[0].start()] + other + gold[found[0].end() :]


def vague(question: Question) -> str | None:
    """A remark on the question's topic that answers nothing; None for a yes or no, which any remark seems to imply."""
    said = content_tokens(str(question.gold))
    if said & {"yes", "no"}:
        return None
    words = dict.fromkeys(word for word in _WORD.findall(question.text) if word.lower() not in _NO_TOPIC)
    topic = [word for word in words if not said & content_tokens(word)]
    return (
        f"They talked about it, something to do with {' and '.join(topic[:3]) or 'that'}, and it meant a lot to them."
    )


def _first_word(question: Question) -> str:
    return question.text.partition(" ")[0].lower()
