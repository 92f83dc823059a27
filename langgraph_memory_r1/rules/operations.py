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
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from langgraph_memory_r1.rules import markers
from langgraph_memory_r1.rules.dates import day, mentioned
from langgraph_memory_r1.rules.sentences import subject, units
from langgraph_memory_r1.rules.slots import MOVES, slot
from langgraph_memory_r1.schemas import Add, Delete, Fact, Memory, Noop, Operation, Update
from langgraph_memory_r1.tokenizer import terms

__all__ = ["decide"]

_NEGATION = re.compile(r"\b(?:not|never|no|cannot)\b|n't\b", re.IGNORECASE)
_PHOTO = " shared a photo: "
_FEW = 3
"""As many other words may a sentence have and still be taken back or superseded as a whole."""
_RECENT = 100
"""As many facts of the same call does a fact see, so that a huge message takes no quadratic time."""
_LONG = 7
"""With more telling words than that a sentence says too much to be matched as a whole."""


@dataclass
class _Draft:
    """A memory as the facts seen so far leave it; without an id it is one of those facts."""

    units: list[str]
    speaker: str | None
    fact: Fact | None = None
    memory: Memory | None = None
    event: str = "kept"
    source: list[str] = field(default_factory=list)
    reason: str = ""
    newest: Fact | None = None

    @property
    def alive(self) -> bool:
        return self.event != "DELETE"


@dataclass(frozen=True)
class _Place:
    """One sentence of one draft."""

    draft: _Draft
    index: int

    @property
    def text(self) -> str:
        return self.draft.units[self.index]


def decide(facts: Sequence[Fact], memories: Sequence[Memory]) -> list[Operation]:
    """One operation for each fact that stands alone, and one for each memory that facts change."""
    drafts = [_Draft(units(memory.text), memory.speaker, memory=memory) for memory in memories]
    noops: list[Noop] = []
    for fact in facts:
        reason = _take(fact, drafts[: len(memories)] + drafts[len(memories) :][-_RECENT:], drafts)
        if reason:
            noops.append(Noop(reason, fact.source))
    return [*(operation for draft in drafts for operation in _operation(draft)), *noops]


def _take(fact: Fact, near: list[_Draft], drafts: list[_Draft]) -> str:
    """Work one fact into the drafts near it, or add one; a reason where nothing changes."""
    places = [
        _Place(draft, index)
        for draft in near
        if draft.alive and (fact.speaker is None or draft.speaker is None or draft.speaker == fact.speaker)
        for index in range(len(draft.units))
    ]
    if markers.takes_back(fact.text):
        return _forget(fact, places)
    words = _words(fact.text, fact.speaker)
    if any(_says(place, fact, words) for place in places):
        return f"already remembered: {fact.text}"
    places = [place for place in places if _same_subject(fact, place)]
    if _stop(fact, words, places) or _correct(fact, words, places) or _extend(fact, words, places):
        return ""
    drafts.append(_Draft(units(fact.text), fact.speaker, fact=fact, event="ADD", source=list(fact.source)))
    return ""


def _says(place: _Place, fact: Fact, words: frozenset[str]) -> bool:
    """Whether the place says all that the fact says."""
    old = _all_words(place.text)
    return (
        bool(words)
        and _PHOTO not in fact.text
        and _all_words(fact.text) <= old
        and bool(_NEGATION.search(place.text)) == bool(_NEGATION.search(fact.text))
        and set(mentioned(fact.text)) <= set(mentioned(place.text))
    )


def _forget(fact: Fact, places: list[_Place]) -> str:
    """Do as a speaker says who asks to forget something: by its words, or else the newest of the same session."""
    words = _words(fact.text, fact.speaker)
    if words:
        hit = [place for place in places if words <= _words(place.text, fact.speaker)]
    else:
        hit = [place for place in places if _session(place.draft) == fact.session][-1:]
    for place in reversed(hit):
        _remove(place, fact, "asked to forget")
    return "" if hit else "nothing remembered that it takes back"


def _session(draft: _Draft) -> str | None:
    held = draft.fact or draft.memory
    return held.session if held else None


def _stop(fact: Fact, words: frozenset[str], places: list[_Place]) -> bool:
    """Remove what the fact says has ended; supersede it where the fact tells more than that."""
    place = _closest(words, places, fact.speaker) if markers.ends(fact.text) and len(words) <= _LONG else None
    if place is None:
        return False
    old = _words(place.text, fact.speaker)
    shared = words & old
    if not shared - markers.COMMON or len(shared) * 2 < min(len(old), len(words)) or len(old - words) > _FEW:
        return False
    if len(words - old) <= 1:
        _remove(place, fact, "no longer so")
        return True
    if len(shared) * 2 < len(words):
        return False
    _replace(place, fact)
    return True


def _correct(fact: Fact, words: frozenset[str], places: list[_Place]) -> bool:
    """Put the fact in the place of the sentence whose value it changes."""
    if markers.adds(fact.text) or markers.one_more_of(fact.text):
        return False
    place = _same_slot(fact, words, places) or _corrected(fact, words, places)
    if place is None:
        return False
    if len(_words(place.text, fact.speaker) - words) > _FEW:
        _join(place.draft, fact)  # the old sentence says more than its outdated value
    else:
        _replace(place, fact)
    return True


def _same_slot(fact: Fact, words: frozenset[str], places: list[_Place]) -> _Place | None:
    """The newest sentence that gives the same thing another value."""
    found = slot(fact.text, fact.speaker, marked=markers.corrects(fact.text))
    same = [place for place in places if found and slot(place.text, fact.speaker, marked=True) == found]
    if not same or words - MOVES <= _all_words(same[-1].text):
        return None
    return same[-1]


def _corrected(fact: Fact, words: frozenset[str], places: list[_Place]) -> _Place | None:
    """The short sentence that a marked correction is about: it holds the value named as old, or a telling word."""
    place = _closest(words, places, fact.speaker) if markers.corrects(fact.text) else None
    if place is None:
        return None
    old = _words(place.text, fact.speaker)
    gone = _words(markers.replaced_value(fact.text), fact.speaker)
    if len(old - words) >= _FEW or len(words - old) > _FEW:
        return None
    if gone and gone <= old:
        return place
    shared = words & old
    sure = markers.corrects_surely(fact.text) and len(shared) * 2 >= max(len(old), len(words))
    return place if sure and shared - markers.COMMON else None


def _extend(fact: Fact, words: frozenset[str], places: list[_Place]) -> bool:
    """Join the fact to what it adds to: the same thing ("another dog") or the same doing ("also collects")."""
    thing = re.escape(markers.one_more_of(fact.text))
    if thing:
        one = re.compile(rf"\b(?:an?|one|the|my|their|first|another|\w+'s)(?: \w+)? {thing}\b", re.IGNORECASE)
        hit = [
            place
            for place in places
            if one.search(place.text) and _words(place.text, fact.speaker) & markers.COMMON <= words
        ]
    else:
        hit = [place for place in places if markers.adds(fact.text) and _akin(fact, words, place)]
    place = _closest(words, [place for place in hit if _PHOTO not in place.text], fact.speaker)
    if place is None or len(words) > _LONG or len(_words(place.text, fact.speaker)) > _LONG:
        return False
    _join(place.draft, fact)
    return True


def _akin(fact: Fact, words: frozenset[str], place: _Place) -> bool:
    """Whether two short statements have half of the older one, or what is "also" done, in common."""
    old = _words(place.text, fact.speaker)
    if markers.added_verb(fact.text) & old and len(old) <= _FEW + 1:
        return True
    shared = words & old
    if not shared - markers.COMMON and len(words) > _FEW:
        return False
    return len(shared) * 2 >= len(old) and len(old | words) <= 2 * _FEW


def _closest(words: frozenset[str], places: Sequence[_Place], speaker: str | None) -> _Place | None:
    """The place that shares most of its words; the latest of equals."""
    best, best_score = None, (0, 0.0)
    for place in places:
        old = _words(place.text, speaker)
        shared = len(words & old)
        score = (shared, shared / len(old | words) if shared else 0.0)
        if shared and score >= best_score:
            best, best_score = place, score
    return best


def _same_subject(fact: Fact, place: _Place) -> bool:
    """Whether both are about the speaker, or about the same thing or person."""
    mine = subject(fact.text, fact.speaker) - markers.MARKERS
    theirs = subject(place.text, fact.speaker) - markers.MARKERS
    return (not mine or bool(mine & _all_words(place.text))) and (not theirs or bool(theirs & _all_words(fact.text)))


@lru_cache(maxsize=8_192)
def _words(text: str, speaker: str | None) -> frozenset[str]:
    """The telling words of a sentence, without the speaker's name, dates and markers."""
    return _all_words(text) - frozenset(terms(speaker or "")) - markers.MARKERS


@lru_cache(maxsize=8_192)
def _all_words(text: str) -> frozenset[str]:
    return frozenset(terms(re.sub(r"\([^()]*\)", " ", text)))


def _changed(draft: _Draft, fact: Fact) -> None:
    draft.event = draft.event if draft.event == "ADD" else "UPDATE"
    draft.source.extend(fact.source)


def _replace(place: _Place, fact: Fact) -> None:
    place.draft.units[place.index] = fact.text
    place.draft.newest = fact
    _changed(place.draft, fact)


def _remove(place: _Place, fact: Fact, reason: str) -> None:
    del place.draft.units[place.index]
    _changed(place.draft, fact)
    place.draft.reason = reason
    if not place.draft.units:
        place.draft.event = "DELETE"


def _join(draft: _Draft, fact: Fact) -> None:
    """Append the fact, dated where the memory's own date would mislead."""
    held = draft.fact or draft.memory
    dated = (
        fact.at is None or held is None or held.at is None or held.at.date() == fact.at.date() or mentioned(fact.text)
    )
    draft.units.append(fact.text if dated or fact.at is None else f"{fact.text.rstrip('.')} ({day(fact.at)}).")
    _changed(draft, fact)


def _operation(draft: _Draft) -> Iterable[Operation]:
    source, text = tuple(dict.fromkeys(draft.source)), " ".join(draft.units)
    if draft.fact:
        if draft.event == "DELETE":
            yield Noop(f"{draft.reason}: said and taken back at once", source)
        else:
            at = draft.newest.at if draft.newest else draft.fact.at
            yield Add(text, draft.speaker, at, source, draft.fact.session)
    elif draft.memory and draft.event == "DELETE":
        yield Delete(draft.memory.id, source, draft.reason)
    elif draft.memory and draft.event == "UPDATE":
        yield Update(draft.memory.id, text, source, draft.newest.at if draft.newest else None)
