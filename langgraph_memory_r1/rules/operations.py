"""Which operation a fact asks for, by rules: part of the no-model baseline (see rules.py).

    already said         ─► NOOP      all its words stand in one memory
    "stopped", "forget"  ─► DELETE    of the memory that it takes back
    "actually", "moved"  ─► UPDATE    the old value gives way to the new one
    "another", "also"    ─► UPDATE    that keeps both
    anything else        ─► ADD

Conservative: it compares sentences of one speaker about one subject only, and where the match is weak it adds. Facts of
one call see each other, so that a fact and its correction in one turn end as one ADD.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from langgraph_memory_r1.rules import markers
from langgraph_memory_r1.rules.dates import day, mentioned
from langgraph_memory_r1.rules.sentences import SHARED_PHOTO, subject, units
from langgraph_memory_r1.rules.slots import MOVES, slot
from langgraph_memory_r1.schemas import Add, Delete, Fact, Memory, Noop, Operation, Update
from langgraph_memory_r1.tokenizer import terms

__all__ = ["decide"]

_NEGATION = re.compile(r"\b(?:not|never|no|cannot)\b|n't\b", re.IGNORECASE)
_FEW = 3
"""As many other words may a sentence have and still be taken back or superseded as a whole."""
_RECENT = 100
"""As many facts of the same call does a fact see, so that a huge message takes no quadratic time."""
_LONG = 7
"""With more telling words than that a sentence says too much to be matched as a whole."""


@dataclass
class _Draft:
    """A memory as the facts seen so far leave it; without a memory it is one of those facts."""

    units: list[str]
    speaker: str | None
    origin: Fact | Memory
    event: str = "KEEP"
    source: list[str] = field(default_factory=list)
    reason: str = ""
    newest: Fact | None = None
    """The fact that superseded one of its sentences last."""

    def change(self, fact: Fact) -> None:
        """Note that the fact has changed it."""
        self.event = self.event if self.event == "ADD" else "UPDATE"
        self.source.extend(fact.source)

    def join(self, fact: Fact) -> None:
        """Append the fact, dated where the memory's own date would mislead."""
        text = fact.text
        if fact.at and self.origin.at and self.origin.at.date() != fact.at.date() and not mentioned(text):
            text = f"{text.rstrip('.')} ({day(fact.at)})."
        self.units.append(text)
        self.change(fact)

    def operation(self) -> Operation | None:
        """Return what has to be done to the bank; None where nothing has."""
        source, text = tuple(dict.fromkeys(self.source)), " ".join(self.units)
        if isinstance(self.origin, Fact):
            if self.event == "DELETE":
                return Noop(f"{self.reason}: said and taken back at once", source)
            at = self.newest.at if self.newest else self.origin.at
            return Add(text, self.speaker, at, source, self.origin.session)
        if self.event == "DELETE":
            return Delete(self.origin.id, source, self.reason)
        if self.event == "UPDATE":
            return Update(self.origin.id, text, source, self.newest.at if self.newest else None)
        return None


@dataclass(frozen=True)
class _Sentence:
    """One sentence of one draft."""

    draft: _Draft
    index: int

    @property
    def text(self) -> str:
        return self.draft.units[self.index]

    def says(self, fact: Fact) -> bool:
        """Return whether it says all that the fact says."""
        return (
            bool(_words(fact.text, fact.speaker))
            and SHARED_PHOTO not in fact.text
            and _all_words(fact.text) <= _all_words(self.text)
            and bool(_NEGATION.search(self.text)) == bool(_NEGATION.search(fact.text))
            and set(mentioned(fact.text)) <= set(mentioned(self.text))
        )

    def shares_subject(self, fact: Fact) -> bool:
        """Return whether both are about the speaker, or about the same thing or person."""
        of_fact = subject(fact.text, fact.speaker) - markers.MARKERS
        of_this = subject(self.text, fact.speaker) - markers.MARKERS
        return (not of_fact or bool(of_fact & _all_words(self.text))) and (
            not of_this or bool(of_this & _all_words(fact.text))
        )

    def supersede(self, fact: Fact) -> None:
        """Put the fact in its place."""
        self.draft.units[self.index] = fact.text
        self.draft.newest = fact
        self.draft.change(fact)

    def remove(self, fact: Fact, reason: str) -> None:
        """Take it out of its memory, and the memory out of the bank with its last sentence."""
        del self.draft.units[self.index]
        self.draft.change(fact)
        self.draft.reason = reason
        if not self.draft.units:
            self.draft.event = "DELETE"


def decide(facts: Sequence[Fact], memories: Sequence[Memory]) -> list[Operation]:
    """Decide on one operation for each fact that stands alone, and one for each memory that facts change."""
    remembered = [_Draft(units(memory.text), memory.speaker, memory) for memory in memories]
    added: list[_Draft] = []
    noops: list[Noop] = []
    previous: Fact | None = None
    for fact in facts:
        before, previous = previous, fact
        sentences = [
            _Sentence(draft, index)
            for draft in remembered + added[-_RECENT:]
            if draft.event != "DELETE" and (None in (fact.speaker, draft.speaker) or draft.speaker == fact.speaker)
            for index in range(len(draft.units))
        ]
        if markers.takes_back(fact.text):
            # What the words name. A bare "scratch that" names nothing, and may mean a reply or another chat's matter;
            # it takes back what was said just before in the same call, and never what is remembered already.
            words = _words(markers.without_command(fact.text), fact.speaker)
            if words - markers.COMMON or len(words) > 1:  # "I love you" is about no memory with "love" in it
                meant = [sentence for sentence in sentences if words <= _words(sentence.text, fact.speaker)]
            else:
                meant = [
                    sentence
                    for sentence in sentences
                    if sentence.draft.origin is before and before is not None and before.session == fact.session
                ]
            for sentence in reversed(meant):  # from the end, so that the indices before stay right
                sentence.remove(fact, "asked to forget")
            if not meant:
                noops.append(Noop("nothing remembered that it takes back", fact.source))
            continue
        if any(sentence.says(fact) for sentence in sentences):
            noops.append(Noop(f"already remembered: {fact.text}", fact.source))
            continue
        sentences = [sentence for sentence in sentences if sentence.shares_subject(fact)]
        if not (_stop(fact, sentences) or _correct(fact, sentences) or _extend(fact, sentences)):
            added.append(_Draft(units(fact.text), fact.speaker, fact, event="ADD", source=list(fact.source)))
    operations = (draft.operation() for draft in remembered + added)
    return [*(operation for operation in operations if operation is not None), *noops]


def _stop(fact: Fact, sentences: list[_Sentence]) -> bool:
    """Remove what the fact says has ended; supersede it where the fact says more than that."""
    words = _words(fact.text, fact.speaker)
    if not markers.ends(fact.text) or len(words) > _LONG:
        return False
    sentence = _closest(words, sentences, fact.speaker)
    if sentence is None:
        return False
    old = _words(sentence.text, fact.speaker)
    shared = words & old
    if not shared - markers.COMMON or len(shared) * 2 < min(len(old), len(words)) or len(old - words) > _FEW:
        return False
    if len(words - old) <= 1:
        sentence.remove(fact, "no longer so")
        return True
    if len(shared) * 2 < len(words):
        return False
    sentence.supersede(fact)
    return True


def _correct(fact: Fact, sentences: list[_Sentence]) -> bool:
    """Put the fact in the place of the sentence whose value it changes."""
    if markers.adds(fact.text) or markers.one_more_of(fact.text):
        return False
    words, marked = _words(fact.text, fact.speaker), markers.corrects(fact.text)
    filled = slot(fact.text, fact.speaker, marked=marked)
    same_slot = [each for each in sentences if filled and slot(each.text, fact.speaker, marked=True) == filled]
    if same_slot and not words - MOVES <= _all_words(same_slot[-1].text):
        sentence = same_slot[-1]  # the newest that gives the same thing another value
    else:
        closest = _closest(words, sentences, fact.speaker) if marked else None
        if closest is None:
            return False
        # A marked correction is about a short sentence that holds the value named as the old one, or a telling word.
        sentence, old = closest, _words(closest.text, fact.speaker)
        outdated, shared = _words(markers.replaced_value(fact.text), fact.speaker), words & old
        names_old = bool(outdated) and outdated <= old
        sure = markers.corrects_surely(fact.text) and len(shared) * 2 >= max(len(old), len(words))
        if len(old - words) >= _FEW or len(words - old) > _FEW or not (names_old or (sure and shared - markers.COMMON)):
            return False
    if len(_words(sentence.text, fact.speaker) - words) > _FEW:
        sentence.draft.join(fact)  # the old sentence says more than its outdated value
    else:
        sentence.supersede(fact)
    return True


def _extend(fact: Fact, sentences: list[_Sentence]) -> bool:
    """Join the fact to what it adds to: the same thing ("another dog") or the same doing ("also collects")."""
    words, akin = _words(fact.text, fact.speaker), []
    thing = re.escape(markers.one_more_of(fact.text))
    one = re.compile(rf"\b(?:an?|one|the|my|their|first|another|\w+'s)(?: \w+)? {thing}\b", re.IGNORECASE)
    for sentence in sentences:
        old = _words(sentence.text, fact.speaker)
        shared = words & old
        if SHARED_PHOTO in sentence.text:
            continue
        if thing:
            if one.search(sentence.text) and old & markers.COMMON <= words:
                akin.append(sentence)
        elif markers.adds(fact.text):
            same_doing = bool(markers.added_verb(fact.text) & old) and len(old) <= _FEW + 1
            telling = bool(shared - markers.COMMON) or len(words) <= _FEW
            # Two short statements that have half of the older one in common.
            if same_doing or (telling and len(shared) * 2 >= len(old) and len(old | words) <= 2 * _FEW):
                akin.append(sentence)
    closest = _closest(words, akin, fact.speaker)
    if closest is None or len(words) > _LONG or len(_words(closest.text, fact.speaker)) > _LONG:
        return False
    closest.draft.join(fact)
    return True


def _closest(words: frozenset[str], sentences: Sequence[_Sentence], speaker: str | None) -> _Sentence | None:
    """Return the sentence that shares most of its words; the latest of equals."""
    best, best_score = None, (0, 0.0)
    for sentence in sentences:
        old = _words(sentence.text, speaker)
        shared = len(words & old)
        score = (shared, shared / len(old | words) if shared else 0.0)
        if shared and score >= best_score:
            best, best_score = sentence, score
    return best


@lru_cache(maxsize=8_192)
def _words(text: str, speaker: str | None) -> frozenset[str]:
    """Return the telling words of a sentence, without the speaker's name, dates and markers."""
    return _all_words(text) - frozenset(terms(speaker or "")) - markers.MARKERS


@lru_cache(maxsize=8_192)
def _all_words(text: str) -> frozenset[str]:
    return frozenset(terms(re.sub(r"\([^()]*\)", " ", text)))
