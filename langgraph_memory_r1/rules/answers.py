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

from langgraph_memory_r1.rules.dates import NUMBERS, day, mentioned
from langgraph_memory_r1.rules.sentences import SHARED_PHOTO, sentences, subject, units
from langgraph_memory_r1.rules.slots import slot
from langgraph_memory_r1.schemas import Memory
from langgraph_memory_r1.tokenizer import MONTHS, terms

__all__ = ["UNKNOWN", "answer"]

UNKNOWN = "I don't know."

_ASKED = frozenset(
    terms("name call kind type sort many much long often tell give list say mention know year date day month time now")
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
_NUMBER = rf"\d+|{'|'.join(NUMBERS)}"
_DURATION = re.compile(
    rf"\b(?:(?:about|almost|over|nearly|more than) )?(?:{_NUMBER}|an?|a few|several|a couple of|many)"
    r" (?:second|minute|hour|day|week|month|year|decade)s?\b(?! (?:ago|before|after))|\bsince [\w ]*\d{4}",
    re.IGNORECASE,
)
_AGO = re.compile(rf"\b(?:{_NUMBER}|an?|a few|a couple of) (?:day|week|month|year)s? ago\b", re.IGNORECASE)
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
_CLAUSE_END = re.compile(r"[.;!?]| - | \u2013 | \u2014 |, (?:and|but|so|which)\b")
_WHO = re.compile(r"(?:who|whose)\b", re.IGNORECASE)
_OPENING = re.compile(
    r"[^,:]{1,30}[,:] +(?=(?:\w+ )?(?:who|whose|what|when|where|which|why|how)\b|tell me\b)", re.IGNORECASE
)
"""What is said before a question proper: "I forgot, which city ..."."""
_NAME_ASKED = re.compile(r"\b(?:called|name|know about)\b|which \w+ (?:do|does|did|has|have)\b", re.IGNORECASE)
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
    """Of the memory among those that were given."""
    memory: Memory
    words: frozenset[str]
    score: float = 0.0

    def match(self, word: str) -> float:
        """Return how much of a word's weight it has: all, some for a related word, or none."""
        if word in self.words:
            return 1
        return _NEAR if self.words.intersection(_RELATED.get(word, "").split()) else 0

    def names(self, question: str) -> list[str]:
        """Return the names in it, without the speaker's and those in the question."""
        ignored = set(terms(question)) | set(terms(self.memory.speaker or ""))
        names = (name for name in _NAME.findall(self.text) if not _is_time(name) and not set(terms(name)) <= ignored)
        return list(dict.fromkeys(names))

    def called(self, question: str) -> str:
        """Return the last name in it, or nothing; what begins a sentence and is not its subject is no name."""
        begin = re.match(rf"(?:{re.escape(self.memory.speaker or '')}: )?(\w+)(?! (?:is|was)\b)", self.text)
        names = [name for name in self.names(question) if begin is None or name != begin[1]]
        return names[-1] if names else ""

    def phrase(self, question: str) -> str:
        """Return what follows the last word that it shares with the question, if that is short; else all of it."""
        query = set(terms(question))
        text = re.sub(r" \([^()]*\)", "", self.text)
        end = max((word.end() for word in re.finditer(r"[\w'-]+", text) if set(terms(word[0])) & query), default=0)
        phrase = _CLAUSE_END.split(text[end:].lstrip(" ,:"), maxsplit=1)[0]
        if preposition := _LAST_WORD.search(question):
            phrase = re.sub(rf"^{preposition[1]} ", "", phrase)
        phrase = re.sub(r"^(?:(?:is|are|was|were|named|called|name is|as|that|the|an?) )+", "", phrase.strip(" ,"))
        if terms(phrase) and len(phrase.split()) <= _SHORT and not _LOOSE.match(phrase):
            return _short(phrase)
        # A memory can be several sentences: then the one that shares most, without "Ann: " in front.
        best = max(sentences(self.text), key=lambda sentence: len(set(terms(sentence)) & query))
        return _short(best.removeprefix(f"{self.memory.speaker}: "))


def answer(question: str, memories: Sequence[Memory], at: datetime | None = None) -> tuple[str, tuple[int, ...]]:
    """Answer a question from memories.

    Returns:
        A short answer and the numbers of the memories that it rests on, best first; `UNKNOWN` and none where nothing
        fits.
    """
    question = _OPENING.sub("", question.strip(), count=1)
    ranked = _ranked(question, memories)
    if not ranked:
        return UNKNOWN, ()
    text, units_used = _cut_to_question(question, ranked)
    return text, tuple(dict.fromkeys(unit.index for unit in units_used))


def _cut_to_question(question: str, ranked: list[_Unit]) -> tuple[str, list[_Unit]]:
    """Cut the best sentences down to what the question asks for; return it with the sentences that it rests on."""
    lower, best = question.lower(), ranked[0]
    if re.match(
        r"(?:(?:since )?when\b|(?:(?:on|in) )?(?:what|which) (?:is the )?(?:\w+ )?(?:date|day|year|month)\b)", lower
    ):
        dates = mentioned(best.text) or ([day(best.memory.at)] if best.memory.at else [_short(best.text)])
        return dates[0], [best]
    if thing := re.search(r"how many (?:different )?(\w+)", lower):
        return _count(thing[1], ranked)
    if "how old" in lower and (age := re.search(r"\b\d{1,3}\b", best.text)):
        return age[0], [best]
    if "how long" in lower:
        pattern = _AGO if "how long ago" in lower else _DURATION
        for unit in ranked[:5]:
            if duration := pattern.search(unit.text):
                return duration[0], [unit]
    if _YES_NO.match(lower):
        # From a sentence without one of the telling words nothing follows for what was asked.
        telling = _telling(question, {unit.memory.speaker for unit in ranked if unit.memory.speaker})
        for unit in ranked:
            if all(unit.match(word) for word in telling):
                return ("No" if bool(_NOT.search(unit.text)) != bool(_NOT.search(question)) else "Yes"), [unit]
        return UNKNOWN, []
    if re.search(r"\bnames\b", lower):
        fitting = [unit for unit in ranked if unit.memory == best.memory or unit.score > _FITS * best.score]
        units_named = [unit for unit in fitting if unit.memory.speaker == best.memory.speaker]
        units_named.sort(key=lambda unit: (unit.index, unit.memory.text.find(unit.text)))  # in the order of saying
        names = list(dict.fromkeys(name for unit in units_named for name in unit.names(question)))
        if names:
            return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]])), units_named
    if lower.startswith("where"):
        query = set(terms(question))
        places = [name for name in _PLACE.findall(best.text) if not _is_time(name) and not set(terms(name)) <= query]
        if places:
            return ", ".join(dict.fromkeys(places)), [best]
    if lower.startswith("who") and (people := best.names(question)):
        return ", ".join(people), [best]
    name = best.called(question) if _NAME_ASKED.search(lower) else ""
    return name or best.phrase(question), [best]


def _ranked(question: str, memories: Sequence[Memory]) -> list[_Unit]:
    """Return the sentences that share enough telling words with the question, best first."""
    all_units: list[_Unit] = []
    for index, memory in enumerate(memories):
        for text in units(memory.text):
            filled = slot(text, memory.speaker)
            # Also the words by which one asks for the value that it gives: "work" for "got a job at ...".
            by_slot = _ASKED_FOR.get(filled[0], frozenset()) if filled else frozenset()
            all_units.append(_Unit(text, index, memory, frozenset(terms(text)) | by_slot))
    query = set(terms(question))
    speakers = {memory.speaker for memory in memories if memory.speaker}
    speakers_named = {speaker for speaker in speakers if set(terms(speaker)) & query}
    spread = Counter(word for unit in all_units for word in unit.words)
    rarity = {word: math.log(1 + len(all_units) / (0.5 + spread[word])) for word in _telling(question, speakers)}
    scored: list[_Unit] = []
    for unit in all_units:
        shared = {word: weight for word, rare in rarity.items() if (weight := unit.match(word) * rare)}
        if sum(rarity[word] for word in shared) < _ENOUGH * sum(rarity.values()):
            continue
        score = sum(shared.values()) / (1 + 0.02 * len(unit.words))
        if speakers_named and unit.memory.speaker not in speakers_named:
            score *= _OTHER
        about = subject(unit.text, unit.memory.speaker)
        if about and not about & query and not _WHO.match(question):
            score *= _ABOUT_OTHER
        if SHARED_PHOTO in unit.text:
            score *= _CAPTION
        if score > 0:
            scored.append(replace(unit, score=score))
    return sorted(scored, key=lambda unit: -unit.score)


def _telling(question: str, speakers: set[str]) -> list[str]:
    """Return the words of a question that say what it is about."""
    names = {word for speaker in speakers for word in terms(speaker)}
    words = [word for word in terms(question) if word not in names]
    return [word for word in words if word not in _ASKED] or words or list(terms(question))


def _count(thing: str, ranked: list[_Unit]) -> tuple[str, list[_Unit]]:
    """Return a number that stands before the thing, or else how often one more of it is named."""
    word = re.escape(thing.removesuffix("ies").removesuffix("s"))
    stated = re.compile(rf"\b({_NUMBER}) (?:\w+ )?{word}\w*", re.IGNORECASE)
    for unit in ranked[:3]:
        if number := stated.search(unit.text):
            return number[1], [unit]
    one = re.compile(
        rf"\b(?:an?|another|one|(?:a )?(?:second|third|new)|(?:my|their)) (?:\w+ )?{word}\b", re.IGNORECASE
    )
    owner = ranked[0].memory.speaker
    having = [unit for unit in ranked if unit.memory.speaker == owner and one.search(unit.text)]
    if having:
        return str(sum(len(one.findall(unit.text)) for unit in having)), having
    return _short(ranked[0].text), ranked[:1]


def _is_time(name: str) -> bool:
    return name.split()[-1] in MONTHS or name.lower().endswith("day")


def _short(text: str) -> str:
    return text.strip().rstrip(".")
