"""What a sentence gives the one value of: where somebody lives or works, an age, a favourite, a number, a name.

    slot("Ann moved to Denver", "Ann") == slot("Ann lives in Boston", "Ann") == ("home", "")

Two sentences of one speaker with the same slot cannot both hold: the newer one supersedes the older.
"""

from __future__ import annotations

import re

from langgraph_memory_r1.tokens import terms

__all__ = ["slot"]

_LEAD = r"(?:[\w' ]+(?: \([^()]*\))?, |(?:so|and|but|well|now|actually|today|oh|hey|yes|no|correction)[ ,:]+)*"
_VERBS = r"(?:\w+ly |just |now |also |still |is |has |have |am |was |had |been |going to |will |got |get |back |both )*"
_NOT_A_PLACE = r"(?!(?:tears|fear|harmony|peace|the (?:moment|present|past|next|other|side)|it|this|that|another|more|a new (?:chapter|phase))\b)"
_HOME = re.compile(
    rf"(?:lives?|living|moved|moving|relocat(?:ed|ing)|resides?|residing|settled|based)(?: \w+)?? (?:in|to|at) {_NOT_A_PLACE}\w"
)
_WORK = re.compile(
    r"(?:works?|working|worked|(?:started|landed|took|accepted|found)(?: a| an| the)?(?: \w+)? (?:job|position|role)|started working"
    r"|(?:a |an )?(?:new )?job|employed|switched jobs|changed jobs) (?:at|for|with|as|to|by) "
)
_AGE = re.compile(r"(?:is |am |'m |turned |turning |be )(?:now )?\d{1,3}(?: years old| now|[.,!]|$)")
_ATTRIBUTE = re.compile(
    r"(?P<thing>(?:[\w'-]+ ){1,4}?)(?:is|are|will be|(?:has |have |was |were |got )?(?:been )?(?:changed|moved|rescheduled|postponed|switched)"
    r"(?: \w+)? to) "
)
_SINGLE = frozenset(
    terms(
        "name nickname age birthday number phone email mail address zip postcode title password username favorite favourite"
        " height weight salary rent budget deadline anniversary timezone boss manager landlord"
    )
)


def slot(text: str, speaker: str | None, *, marked: bool) -> tuple[str, str] | None:
    """The slot that a sentence fills, as a kind and whose it is; None where it fills none.

    Args:
        text: One sentence in the third or first person.
        speaker: Who said it.
        marked: Whether a word such as "actually" marks a correction; then any "Ann's X is …" counts as a slot.
    """
    name = re.escape(speaker or "I")
    about = re.match(
        rf"{_LEAD}(?P<whose>(?:{name}|I)|(?:{name}'s|my|the) (?P<other>\w+(?: \w+)??)) {_VERBS}", text, re.IGNORECASE
    )
    if about is None:
        return _favourite(text)
    rest, whose = text[about.end() :], " ".join(terms(about["other"] or ""))
    for kind, pattern in (("home", _HOME), ("work", _WORK)):
        if pattern.match(rest):
            return kind, whose
    if _AGE.search(text[about.end("whose") :][:24]):
        return "age", whose
    return _favourite(text) or _attribute(text, name, marked=marked)


def _favourite(text: str) -> tuple[str, str] | None:
    found = re.search(r"favou?rite (\w+(?: \w+)??) (?:is|are|was|changed)\b", text) or re.search(
        r"\b(?:is|are) (?:\w+ )?(?:\w+'s|my|their)(?: new| all-time)? favou?rite (\w+)", text
    )
    return ("favourite", " ".join(terms(found[1]))) if found else None


def _attribute(text: str, name: str, *, marked: bool) -> tuple[str, str] | None:
    owned = re.match(rf"{_LEAD}(?:{name}'s|my|their|the) ", text, re.IGNORECASE)
    found = _ATTRIBUTE.match(text, owned.end()) if owned else None
    if found is None:
        return None
    thing = terms(found["thing"])
    return ("attribute", " ".join(thing)) if thing and (marked or thing[-1] in _SINGLE) else None
