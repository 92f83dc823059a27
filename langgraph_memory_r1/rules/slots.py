"""What a sentence gives the one value of: where somebody lives or works, an age, a favourite, a number, a time.

    slot("Ann moved to Denver", "Ann") == slot("Ann lives in Boston", "Ann") == ("home", "")

Two sentences of one speaker with the same slot cannot both hold: the newer one supersedes the older. Part of the
no-model baseline (see rules.py).
"""

from __future__ import annotations

import re

from langgraph_memory_r1.tokenizer import stem, terms

__all__ = ["MOVES", "slot"]

MOVES = frozenset(stem(word) for word in "live move relocate reside settle base work employ job start turn old".split())
"""The verbs by which a slot is filled, as opposed to what fills it."""

_LEAD = r"(?:(?:[\w' ]+(?: \([^()]*\))?, |(?:so|and|but|well|now|actually|today|oh|hey|yes|no|correction)[ ,:]+)){0,3}"
_AUXILIARY = (
    r"(?:\w+ly |just |now |also |still |is |has |have |am |was |had |got |get |back |both "
    r"|switched jobs and |changed jobs and )*"
)
_NO_PLACE = (
    r"(?!(?:tears|fear|harmony|peace|it|this|that|another|more|an?|my|our|their|his|her)\b(?![^.,]* in (?-i:[A-Z]))"
    r"|the (?-i:[a-z]))"
)
_KINDS = {
    "home": re.compile(
        r"(?:lives?|living|moved|relocated|resides?|residing|settled|based)(?: (?!(?:to|in|at)\b)\w+){0,3}"
        rf" (?:in|to|at) {_NO_PLACE}\w",
        re.IGNORECASE,
    ),
    "work": re.compile(
        r"(?:(?:works?|working|worked|employed|(?:switched|changed) jobs)"
        r"|(?:(?:started|landed|took|accepted|found) )?(?:an? |the |their )?(?:new )?(?:job|position|role))"
        r" (?:at|for|as|to|by) ",
        re.IGNORECASE,
    ),
    "age": re.compile(r"(?:turn(?:ed|s|ing) \d{1,3}\b|(?:now )?\d{1,3}(?: years old| now|[.,!]|$))", re.IGNORECASE),
}
_CHANGED = r"(?:changed|moved|rescheduled|postponed|switched|pushed back|brought forward)"
_ATTRIBUTE = re.compile(
    r"(?P<thing>(?:[\w'-]+ ){1,5}?)"
    rf"(?:(?:has |have |was |were |got |is |are )?(?:now )?(?:been )?{_CHANGED}(?: \w+)?? to|is|are|will be) ",
    re.IGNORECASE,
)
_FAVOURITE = re.compile(
    r"favou?rite (\w+(?: \w+)??) (?:is|are|was|changed)\b"
    r"|\b(?:is|are) (?:\w+ )?(?:\w+'s|my|their)(?: new)? favou?rite (\w+)"
)
_SINGLE = frozenset(
    stem(word)
    for word in (
        "name nickname age birthday number phone email mail address zip postcode title password username height"
        " weight salary rent budget deadline anniversary timezone boss manager landlord code"
    ).split()
)


def slot(text: str, speaker: str | None, *, marked: bool = False) -> tuple[str, str] | None:
    """Return the slot that a sentence fills, as a kind and whose it is; None where it fills none.

    Args:
        text: One sentence, in the third or the first person.
        speaker: Who said it.
        marked: Whether a word such as "actually" marks a correction; then any "Ann's X is …" counts as a slot.
    """
    if favourite := _FAVOURITE.search(text):
        return "favourite", " ".join(terms(favourite[1] or favourite[2]))
    name = re.escape(speaker) if speaker else "I"
    own = re.match(rf"{_LEAD}(?:{name}: )?{_LEAD}(?:{name}|I|we|(?<=: ))(?!')\s*{_AUXILIARY}", text, re.IGNORECASE)
    if own and (kind := _kind(text[own.end() :])):
        return kind, ""
    # Of somebody or something that belongs to the speaker: "Ann's sister lives in …", "my flight is on …".
    other = re.match(rf"{_LEAD}(?:{name}: )?{_LEAD}(?:{name}'s|my|our|their|the) ", text, re.IGNORECASE)
    if not other:
        return None
    predicate = text[other.end() :]
    owner = re.match(
        rf"(?P<who>\w+(?: \w+)??) {_AUXILIARY}(?=liv|mov|reloc|resid|settl|base|work|employ|turn|\d+ years old)",
        predicate,
    )
    if owner and " been " not in owner[0] and (kind := _kind(predicate[owner.end() :])):
        return kind, " ".join(terms(owner["who"]))
    attribute = _ATTRIBUTE.match(predicate)
    thing = terms(attribute["thing"]) if attribute else ()
    return ("attribute", " ".join(thing)) if thing and (marked or thing[-1] in _SINGLE) else None


def _kind(predicate: str) -> str | None:
    return next((kind for kind, pattern in _KINDS.items() if pattern.match(predicate)), None)
