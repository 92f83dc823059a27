"""Answers to questions from memories, by rules: part of the no-model baseline (see rules.py).

The sentence that shares the rarest words with the question is found, and then cut down to what was asked for: its
date, a count, a duration, a place, a name, yes or no. Where too little is shared the answer is that it is not known.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from langgraph_memory_r1.rules.dates import MONTHS, day, mentioned
from langgraph_memory_r1.rules.sentences import sentences, subject, units
from langgraph_memory_r1.rules.slots import slot
from langgraph_memory_r1.schemas import Memory
from langgraph_memory_r1.tokenizer import terms

__all__ = ["UNKNOWN", "answer"]

UNKNOWN = "I don't know."

_ASKED = frozenset(
    terms("name kind type sort many much long often tell give list say mention year date day month time now")
)
_RELATED = {
    "work": "job employ compani career profess",
    "job": "work employ profess",
    "pet": "dog cat adopt puppi kitten",
    "old": "age birthday",
    "age": "old birthday",
    "hobbi": "enjoy love play paint",
    "instrument": "play",
    "partner": "husband wife girlfriend boyfriend",
    "marri": "husband wife wed",
    "kid": "child children son daughter",
    "children": "kid son daughter",
}
_ASKED_FOR = {
    "home": frozenset(terms("live move reside city home")),
    "work": frozenset(terms("work job employer profession")),
    "age": frozenset(terms("old age")),
}
_NUMBERS = "one two three four five six seven eight nine ten eleven twelve".split()
_NUMBER = rf"\d+|{'|'.join(_NUMBERS)}"
_DURATION = re.compile(
    rf"\b(?:(?:about|almost|over|nearly|more than) )?(?:{_NUMBER}|an?|a few|several|a couple of|many)"
    r" (?:second|minute|hour|day|week|month|year|decade)s?\b(?! (?:ago|before|after))|\bsince [\w ]*\d{4}",
    re.IGNORECASE,
)
_AGO = re.compile(rf"\b(?:{_NUMBER}|an?|a few|a couple of) (?:day|week|month|year)s? ago\b", re.IGNORECASE)
_PHOTO = " shared a photo: "
_OTHER = 0.5
"""What a sentence counts that was said by somebody other than whom the question names."""
_ABOUT_OTHER = 0.6
"""What a sentence counts that is about somebody or something whom the question does not name."""
_CAPTION = 0.7
_SHORT = 3
"""More words than that after the last shared word are a clause, and the whole sentence answers better."""
_NEAR = 0.5
"""What a word near in meaning counts."""
_FITS = 0.6
"""From this share of the best sentence's score on another one may name more of what was asked for."""
_ENOUGH = 0.35
"""Below this share of the question's rare words a sentence is no answer. Tuned on two conversations of LoCoMo: a higher
one says more often, and too often, that it does not know."""
_WHO = re.compile(r"(?:who|whose)\b", re.IGNORECASE)
_LAST_WORD = re.compile(r"\b(to|for|with|of|about|at|in|from|on)\?*$")
_LOOSE = re.compile(r"(?:and|or|but|of|for|to|with|at|in|on|so|because|from|if|when|who|me|you)\b", re.IGNORECASE)
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
    if "how old" in asked and (aged := re.search(r"\b\d{1,3}\b", best.text)):
        return aged[0], [best]
    if "how long" in asked and (lasting := _duration(asked, ranked)):
        return lasting
    if _YES_NO.match(asked):
        return _yes_or_no(question, ranked)
    if re.search(r"\bnames\b", asked) and (several := _several(ranked, question))[0]:
        return several
    if asked.startswith("where") and (places := _places(best, question)):
        return places, [best]
    if asked.startswith("who") and (names := _names(best, question)):
        return names, [best]
    return _phrase(best, question), [best]


def _ranked(question: str, memories: Sequence[Memory]) -> list[_Unit]:
    """The sentences that share enough telling words with the question, best first."""
    found = [unit for index, memory in enumerate(memories) for unit in _units(index, memory)]
    speakers = {memory.speaker for memory in memories if memory.speaker}
    named = {speaker for speaker in speakers if set(terms(speaker)) & set(terms(question))}
    spread = Counter(word for unit in found for word in unit.words)
    rarity = {word: math.log(1 + len(found) / (0.5 + spread[word])) for word in _telling(question, speakers)}
    scored = [_scored(unit, rarity, named, question) for unit in found]
    return sorted((unit for unit in scored if unit.score > 0), key=lambda unit: -unit.score)


def _units(index: int, memory: Memory) -> list[_Unit]:
    return [_Unit(text, index, memory, _meaning(text, memory.speaker)) for text in units(memory.text)]


def _meaning(text: str, speaker: str | None) -> frozenset[str]:
    """The words of a sentence, and those by which one asks for the value that it gives."""
    found = slot(text, speaker)
    return frozenset(terms(text)) | _ASKED_FOR.get(found[0] if found else "", frozenset())


def _telling(question: str, speakers: set[str]) -> list[str]:
    """The words of a question that say what it is about."""
    names = {word for speaker in speakers for word in terms(speaker)}
    words = [word for word in terms(question) if word not in names]
    return [word for word in words if word not in _ASKED] or words or list(terms(question))


def _scored(unit: _Unit, rarity: dict[str, float], named: set[str], question: str) -> _Unit:
    """The unit with its score; none where too little of the question is in it."""
    shared = {word: weight for word, rare in rarity.items() if (weight := _match(word, unit) * rare)}
    if sum(rarity[word] for word in shared) < _ENOUGH * sum(rarity.values()):
        return unit
    score = sum(shared.values()) / (1 + 0.02 * len(unit.words))
    if named and unit.memory.speaker not in named:
        score *= _OTHER
    about = subject(unit.text, unit.memory.speaker)
    if about and not about.intersection(terms(question)) and not _WHO.match(question):
        score *= _ABOUT_OTHER
    return replace(unit, score=score * (_CAPTION if _PHOTO in unit.text else 1))


def _match(word: str, unit: _Unit) -> float:
    if word in unit.words:
        return 1
    return _NEAR if unit.words.intersection(_RELATED.get(word, "").split()) else 0


def _duration(asked: str, ranked: list[_Unit]) -> tuple[str, list[_Unit]] | None:
    pattern = _AGO if "how long ago" in asked else _DURATION
    return next(((found[0], [unit]) for unit in ranked[:5] if (found := pattern.search(unit.text))), None)


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
    wanted = _telling(question, {unit.memory.speaker for unit in ranked if unit.memory.speaker})
    for unit in ranked:
        if all(_match(word, unit) for word in wanted):
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


def _several(ranked: list[_Unit], question: str) -> tuple[str, list[_Unit]]:
    """The names in all sentences of the best one's speaker that fit about as well, in the order of their saying."""
    best = ranked[0]
    fitting = [unit for unit in ranked if unit.memory == best.memory or unit.score > _FITS * best.score]
    named = [unit for unit in fitting if unit.memory.speaker == best.memory.speaker]
    named.sort(key=lambda unit: (unit.index, unit.memory.text.find(unit.text)))
    found = dict.fromkeys(name for unit in named for name in _names(unit, question).split(", ") if name)
    *names, last = found or [""]
    return (f"{', '.join(names)} and {last}" if names else last), named


def _is_time(name: str) -> bool:
    return name.split()[-1] in MONTHS or name.lower().endswith("day")


def _phrase(unit: _Unit, question: str) -> str:
    """What follows the last word that the sentence shares with the question, if that is short; else the sentence."""
    asked = set(terms(question))
    text = re.sub(r" \([^()]*\)", "", unit.text)
    end = max((found.end() for found in re.finditer(r"[\w'-]+", text) if set(terms(found[0])) & asked), default=0)
    rest = re.split(r"[.;!?]| - | \u2013 | \u2014 |, (?:and|but|so|which)\b", text[end:].lstrip(" ,:"), maxsplit=1)[0]
    rest = re.sub(rf"^{preposition[1]} ", "", rest) if (preposition := _LAST_WORD.search(question)) else rest
    rest = re.sub(r"^(?:(?:is|are|was|were|named|called|name is|as|that|the|an?) )+", "", rest.strip(" ,"))
    return (
        _short(rest)
        if terms(rest) and len(rest.split()) <= _SHORT and not _LOOSE.match(rest)
        else _short(_main(unit, asked))
    )


def _main(unit: _Unit, asked: set[str]) -> str:
    """The one sentence of a memory that shares most with the question, without the speaker's name before it."""
    best = max(sentences(unit.text), key=lambda text: len(set(terms(text)) & asked))
    return best.removeprefix(f"{unit.memory.speaker}: ")


def _short(text: str) -> str:
    return text.strip().rstrip(".")
