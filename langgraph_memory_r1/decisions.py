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

from langgraph_memory_r1.dates import day, mentioned
from langgraph_memory_r1.schemas import Add, Delete, Fact, Memory, Noop, Operation, Update
from langgraph_memory_r1.sentences import leans_on_previous, sentences
from langgraph_memory_r1.slots import slot
from langgraph_memory_r1.tokens import terms

__all__ = ["decide", "takes_back"]

_COMMAND = re.compile(
    r"\b(?:(?:please |just |can you |could you )*(?:forget|delete|erase|disregard|ignore|scratch)"
    r" (?:about |that |what |the |my |everything |it\b|this)|never ?mind\b|(?:that|this|it) (?:was|is|isn't|wasn't|'s) "
    r"(?:all )?(?:wrong|not true|not right|a mistake|true any ?more|right any ?more)|(?:was|were) (?:just )?(?:kidding|joking))",
    re.IGNORECASE,
)
_STOPPED = re.compile(
    r"\b(?:stop(?:s|ped)?|quits?|quitted|gave up|giv(?:es?|ing) up|given up|sold|cancell?ed|called off|got rid of|no longer"
    r"|dropped out|n't [^.;]*\bany ?more|not [^.;]*\bany ?more|never [^.;]*\bany ?more|dropped|gave away)\b",
    re.IGNORECASE,
)
_CORRECTION = re.compile(
    r"\b(?:actually|instead|correction|i meant|changed|switched|rescheduled|postponed|moved to|turns out|no longer"
    r"|not any ?more|sorry|rather than|is now|are now|now)\b",
    re.IGNORECASE,
)
_INSTEAD_OF = re.compile(
    r"\b(?:not|no longer|instead of|rather than|switched from|changed from|moved from)\b (?P<old>[^.,;]+?)"
    r"(?= (?:but|to|anymore)\b|[.,;]|$)",
    re.IGNORECASE,
)
_ALSO = re.compile(r"\b(?:also|as well|too|in addition|besides|on top of that)\b", re.IGNORECASE)
_ANOTHER = re.compile(r"\b(?:another|(?:a|my|their) (?:second|third|fourth|new)|one more)\s+(\w+)", re.IGNORECASE)
_NEGATION = re.compile(r"\b(?:not|never|no|cannot)\b|n't\b", re.IGNORECASE)

_MARKERS = frozenset(
    terms(
        "stop stopped quit gave give giving given up sold sell cancelled canceled called rid longer anymore any more dropped forget"
        " delete erase disregard ignore scratch please never mind wrong true mistake actually instead correction meant changed"
        " switched rescheduled turns sorry rather also another too second new well addition besides that top one everything said"
        " told about away currently still finally recently last month week year"
    )
)
_COMMON_VERBS = frozenset(
    terms(
        "like love enjoy prefer want need think feel hate start try make take play eat drink watch read visit see know look use"
        " keep come work live help plan hope day time thing people lot"
    )
)
_FEW = 3
"""As many other words may a sentence have and still be taken back or superseded as a whole."""


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
    drafts = [_Draft(_units(memory.text), memory.speaker, memory=memory) for memory in memories]
    noops: list[Noop] = []
    for fact in facts:
        reason = _take(fact, drafts)
        if reason:
            noops.append(Noop(reason, fact.source))
    return [*(operation for draft in drafts for operation in _operation(draft)), *noops]


def takes_back(sentence: str) -> bool:
    """Whether a sentence asks to forget something."""
    return _COMMAND.search(sentence) is not None


def _take(fact: Fact, drafts: list[_Draft]) -> str:
    """Work one fact into the drafts; a reason where nothing changes."""
    places = [
        _Place(draft, index)
        for draft in drafts
        if draft.alive and (fact.speaker is None or draft.speaker is None or draft.speaker == fact.speaker)
        for index in range(len(draft.units))
    ]
    if takes_back(fact.text):
        return _forget(fact, places)
    words = _words(fact.text, fact.speaker)
    if any(_says(place, fact, words) for place in places):
        return "already remembered"
    places = [place for place in places if _same_subject(fact, place)]
    if _STOPPED.search(fact.text) and _stop(fact, words, places):
        return ""
    if _correct(fact, words, places) or _extend(fact, words, places):
        return ""
    drafts.append(_Draft(_units(fact.text), fact.speaker, fact=fact, event="ADD", source=list(fact.source)))
    return ""


def _says(place: _Place, fact: Fact, words: frozenset[str]) -> bool:
    """Whether the place says all that the fact says."""
    old = _all_words(place.text)
    return (
        bool(words)
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
    place = _closest(words, places, fact.speaker)
    if place is None:
        return False
    old = _words(place.text, fact.speaker)
    if not (words <= old or len(words & old) * 2 >= len(old)) or len(old - words) > _FEW:
        return False
    if len(words - old) > 1:
        _replace(place, fact)
    else:
        _remove(place, fact, "no longer so")
    return True


def _correct(fact: Fact, words: frozenset[str], places: list[_Place]) -> bool:
    """Put the fact in the place of the sentence whose value it changes."""
    if _ALSO.search(fact.text) or _ANOTHER.search(fact.text):
        return False
    place = _same_slot(fact, places) or _corrected(fact, words, places)
    if place is None:
        return False
    _replace(place, fact)
    return True


def _same_slot(fact: Fact, places: list[_Place]) -> _Place | None:
    found = slot(fact.text, fact.speaker, marked=_CORRECTION.search(fact.text) is not None)
    if found is None:
        return None
    return next((place for place in reversed(places) if slot(place.text, fact.speaker, marked=True) == found), None)


def _corrected(fact: Fact, words: frozenset[str], places: list[_Place]) -> _Place | None:
    """The short sentence that a marked correction is about: it shares a telling word, or is named as no longer so."""
    marker = _CORRECTION.search(fact.text)
    named = _INSTEAD_OF.search(fact.text)
    place = _closest(words, places, fact.speaker)
    if place is None or not (marker or named):
        return None
    old = _words(place.text, fact.speaker)
    if len(old - words) > _FEW - 1:
        return None
    gone = _words(named["old"], fact.speaker) if named else frozenset()
    if gone and gone <= old:
        return place
    telling = (words & old) - _COMMON_VERBS
    weak = marker is None or marker[0].lower().endswith("now") or marker[0].lower() == "sorry"
    return place if telling and not weak and len(words & old) * 2 >= len(old) and len(words - old) <= _FEW else None


def _extend(fact: Fact, words: frozenset[str], places: list[_Place]) -> bool:
    """Join the fact to the memory that it adds to: the same thing ("another dog") or the same verb ("also collects")."""
    another = _ANOTHER.search(fact.text)
    also = _ALSO.search(fact.text)
    if another:
        things = frozenset(terms(another[1]))
        hit = [place for place in places if things and things <= _words(place.text, fact.speaker)]
    else:
        hit = [place for place in places if also and _joins(words, _words(place.text, fact.speaker))]
    place = _closest(words, hit, fact.speaker)
    if place is None:
        return False
    _join(place.draft, fact)
    return True


def _joins(words: frozenset[str], old: frozenset[str]) -> bool:
    return len(words & old) * 2 >= len(old) > 0


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
    mine, theirs = _subject(fact.text, fact.speaker), _subject(place.text, fact.speaker)
    return (not mine or bool(mine & _all_words(place.text))) and (not theirs or bool(theirs & _all_words(fact.text)))


def _subject(text: str, speaker: str | None) -> frozenset[str]:
    """What a sentence is about where it is not the speaker: "Ann's sister …", "Ann: Bob …"."""
    name = re.escape(speaker or "")
    found = re.match(rf"(?:[^,:]*, )?(?:{name}'s|my|their) (.+)|{name}: (.+)", text, re.IGNORECASE)
    if not found:
        return frozenset()
    words = re.findall(r"[\w'-]+", found[1] or found[2])
    end = next((n for n, word in enumerate(words) if n and re.fullmatch(r"is|are|was|has|have|\w+(?:s|ed)", word)), 2)
    return frozenset(terms(" ".join(words[: min(end, 2)])))


def _words(text: str, speaker: str | None) -> frozenset[str]:
    """The telling words of a sentence, without the speaker's name, dates and markers."""
    return _all_words(text) - frozenset(terms(speaker or "")) - _MARKERS


def _all_words(text: str) -> frozenset[str]:
    return frozenset(terms(re.sub(r"\([^()]*\)", " ", text)))


def _units(text: str) -> list[str]:
    """The sentences of a memory; one that leans on the sentence before stays with it."""
    units: list[str] = []
    for sentence in sentences(text):
        if units and (leans_on_previous(sentence) or sentence.startswith("(")):
            units[-1] += f" {sentence}"
        else:
            units.append(sentence)
    return units or [text]


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
