"""Answers to questions from memories, by rules: part of the no-model baseline (see rules.py).

The sentence that shares the rarest words with the question is found, and then cut down to what was asked for: its date, a
count, a duration, a place, a name, yes or no. Where no word is shared the answer is that it is not known.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from langgraph_memory_r1.dates import MONTHS, day, mentioned
from langgraph_memory_r1.schemas import Memory
from langgraph_memory_r1.sentences import leans_on_previous, sentences
from langgraph_memory_r1.tokens import terms

__all__ = ["UNKNOWN", "answer"]

UNKNOWN = "I don't know."

_ASKED = frozenset(
    terms("name kind type sort many much long often tell give list say mention year date day month time now")
)
_RELATED = {
    "live": "move reloc resid base settl home",
    "work": "job employ compani career profess",
    "job": "work employ profess",
    "pet": "dog cat adopt puppi kitten",
    "old": "age birthday turn",
    "age": "old turn birthday",
    "hobbi": "enjoy love play paint",
    "instrument": "play",
    "partner": "husband wife girlfriend boyfriend",
    "marri": "husband wife wed",
    "kid": "child children son daughter",
    "children": "kid son daughter",
}
_NUMBERS = "one two three four five six seven eight nine ten eleven twelve".split()
_NUMBER = rf"\d+|{'|'.join(_NUMBERS)}"
_DURATION = re.compile(
    rf"\b(?:(?:about|almost|over|nearly|more than) )?(?:{_NUMBER}|an?|a few|several|a couple of|many)"
    r" (?:second|minute|hour|day|week|month|year|decade)s?\b(?! (?:ago|before|after))|\bsince [\w ]*\d{4}",
    re.IGNORECASE,
)
_PLACE = re.compile(r"\b(?:to|in|at|from|near|on|into|around) ((?:the )?[A-Z][\w'-]*(?:,? (?:of |the )?[A-Z][\w'-]*)*)")
_NAME = re.compile(r"\b[A-Z][\w'-]+(?: [A-Z][\w'-]+)*")
_YES_NO = re.compile(r"(?:do|does|did|is|are|was|were|has|have|had|can|could|will|would|should)\b", re.IGNORECASE)
_NOT = re.compile(r"\b(?:not|never|no longer)\b|n't\b", re.IGNORECASE)


@dataclass(frozen=True)
class _Unit:
    """One sentence of one memory."""

    text: str
    index: int
    memory: Memory
    words: frozenset[str]
    score: float = 0.0


def answer(question: str, memories: Sequence[Memory], at: datetime | None = None) -> tuple[str, tuple[int, ...]]:
    """A short answer and the numbers of the memories it rests on, best first; `UNKNOWN` and none where nothing fits."""
    ranked = _ranked(question, memories)
    if not ranked:
        return UNKNOWN, ()
    text, used = _answer(question.strip(), ranked)
    return text, tuple(dict.fromkeys(unit.index for unit in used))


def _answer(question: str, ranked: list[_Unit]) -> tuple[str, list[_Unit]]:
    asked, best = question.lower(), ranked[0]
    if re.match(r"(?:when\b|(?:what|which|on what|in what|in which) (?:\w+ )?(?:date|day|year|month)\b)", asked):
        return _date(best), [best]
    if counted := re.search(r"how many (?:different )?(\w+)", asked):
        return _count(counted[1], ranked)
    if re.search(r"how long\b", asked) and (duration := _DURATION.search(best.text)):
        return duration[0], [best]
    if _YES_NO.match(asked):
        return _yes_or_no(question, ranked)
    if asked.startswith("where") and (places := _places(best, question)):
        return places, [best]
    if asked.startswith("who") and (names := _names(best, question)):
        return names, [best]
    return _phrase(best, question), [best]


def _ranked(question: str, memories: Sequence[Memory]) -> list[_Unit]:
    """The sentences that share a telling word with the question, best first."""
    units = [unit for index, memory in enumerate(memories) for unit in _units(index, memory)]
    speakers = {memory.speaker for memory in memories if memory.speaker}
    named = {speaker for speaker in speakers if set(terms(speaker)) & set(terms(question))}
    query = _query(question, speakers)
    spread = Counter(word for unit in units for word in unit.words)
    rarity = {word: math.log(1 + len(units) / (0.5 + spread[word])) for word in query}
    scored = [_scored(unit, query, rarity, named) for unit in units]
    return sorted((unit for unit in scored if unit.score > 0), key=lambda unit: -unit.score)


def _units(index: int, memory: Memory) -> list[_Unit]:
    texts: list[str] = []
    for sentence in sentences(memory.text):
        if texts and (leans_on_previous(sentence) or sentence.startswith("(")):
            texts[-1] += f" {sentence}"
        else:
            texts.append(sentence)
    return [_Unit(text, index, memory, frozenset(terms(text))) for text in texts]


def _query(question: str, speakers: set[str]) -> dict[str, float]:
    """The question's telling words with their weights; words near in meaning count a little."""
    names = {word for speaker in speakers for word in terms(speaker)}
    words = [word for word in terms(question) if word not in names]
    telling = [word for word in words if word not in _ASKED] or words
    query = {near: 0.5 for word in telling for near in _RELATED.get(word, "").split()}
    return query | dict.fromkeys(telling, 1.0)


def _scored(unit: _Unit, query: dict[str, float], rarity: dict[str, float], named: set[str]) -> _Unit:
    shared = sum(weight * rarity[word] for word, weight in query.items() if word in unit.words)
    score = shared / (1 + 0.02 * len(unit.words))
    if named and unit.memory.speaker not in named:
        score *= 0.5
    return _Unit(unit.text, unit.index, unit.memory, unit.words, score)


def _date(unit: _Unit) -> str:
    dates = mentioned(unit.text)
    if dates:
        return dates[0]
    return day(unit.memory.at) if unit.memory.at else _short(unit.text)


def _count(thing: str, ranked: list[_Unit]) -> tuple[str, list[_Unit]]:
    """A number that stands before the thing, or else how often one more of it is named."""
    word = re.escape(thing.removesuffix("ies").removesuffix("s"))
    stated = re.compile(rf"\b({_NUMBER}) (?:\w+ )?{word}\w*", re.IGNORECASE)
    for unit in ranked[:3]:
        if found := stated.search(unit.text):
            return found[1], [unit]
    one = re.compile(
        rf"\b(?:an?|another|one|(?:a )?(?:second|third|new)|(?:my|their)) (?:\w+ )?{word}\b", re.IGNORECASE
    )
    owner = ranked[0].memory.speaker
    having = [unit for unit in ranked if unit.memory.speaker == owner and one.search(unit.text)]
    if having:
        return str(sum(len(one.findall(unit.text)) for unit in having)), having
    return _short(ranked[0].text), ranked[:1]


def _yes_or_no(question: str, ranked: list[_Unit]) -> tuple[str, list[_Unit]]:
    """Yes or no where one sentence holds every telling word of the question; else it is not known."""
    wanted = set(_query(question, {unit.memory.speaker for unit in ranked if unit.memory.speaker}))
    wanted = {word for word in wanted if word in set(terms(question))}
    for unit in ranked:
        if wanted and wanted <= unit.words:
            return ("No" if bool(_NOT.search(unit.text)) != bool(_NOT.search(question)) else "Yes"), [unit]
    return UNKNOWN, []


def _places(unit: _Unit, question: str) -> str:
    asked = set(terms(question))
    found = [place for place in _PLACE.findall(unit.text) if not _is_time(place) and not set(terms(place)) <= asked]
    return ", ".join(dict.fromkeys(found))


def _names(unit: _Unit, question: str) -> str:
    known = set(terms(question)) | set(terms(unit.memory.speaker or ""))
    found = [name for name in _NAME.findall(unit.text) if not _is_time(name) and not set(terms(name)) <= known]
    return ", ".join(dict.fromkeys(found))


def _is_time(name: str) -> bool:
    return name.split()[-1] in MONTHS or name.lower().endswith("day")


def _phrase(unit: _Unit, question: str) -> str:
    """What follows the last word that the sentence shares with the question; the sentence where nothing does."""
    asked = set(terms(question))
    end = max((found.end() for found in re.finditer(r"[\w'-]+", unit.text) if set(terms(found[0])) & asked), default=0)
    rest = re.split(
        r"[.;!?]| - | \u2013 | \u2014 |, (?:and|but|so|which)\b", unit.text[end:].lstrip(" ,:"), maxsplit=1
    )[0]
    rest = re.sub(r"^(?:(?:is|are|was|were|named|called|name is|as|to|that|the|an?) )+", "", rest.strip(" ,"))
    return _short(rest) if terms(rest) else _short(unit.text)


def _short(text: str) -> str:
    return text.strip().rstrip(".")
