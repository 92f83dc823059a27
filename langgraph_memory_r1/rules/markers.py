"""The words by which English says that a statement takes back, ends, corrects or adds to an earlier one.

Part of the no-model baseline (see rules.py).
"""

from __future__ import annotations

import re

from langgraph_memory_r1.tokenizer import stem, terms

__all__ = [
    "COMMON",
    "MARKERS",
    "added_verb",
    "adds",
    "corrects",
    "corrects_surely",
    "ends",
    "one_more_of",
    "replaced_value",
    "takes_back",
    "without_command",
]

_COMMAND = re.compile(
    r"(?:^|: |[.!?,;] )"
    r"(?:(?:ok|oh|no|well|actually|sorry|please|pls|just|can you|could you|would you|you can|and|but|hey)[, ]+)*"
    r"(?:(?:never ?mind|scratch that)\b"
    r"|(?:\w+ (?:wants?|would like) you to )?(?:forget|delete|erase|remove|disregard|ignore)"
    r" (?:about |what |the |my |their |\w+'s |that\b|everything |it\b|this\b|(?:all )?(?:memories|facts) ))"
    r"|\b(?:that|this|it|what \w+ (?:said|told you))(?:'s| was| is| isn't| wasn't) (?:all )?"
    r"(?:wrong|not true|false|not right|a mistake|a lie|(?:not )?(?:true|right) any ?more)\b"
    r"|\b(?:was|were|is) (?:just |only )?(?:kidding|joking)\b",
    re.IGNORECASE,
)
_END = (
    r"(?:stopped|quits?|quitting|gave up|given up|giving up|sold|cancell?ed|called off|got rid of|dropped out|dropped"
    r"|gave away|broke up|split up)"
)
_STOPPED = re.compile(
    rf"\b(?:{_END}|no longer|(?:\w+n't|not|never)\b[^.;,]* any ?(?:more|longer))\b|\bdone with\b", re.IGNORECASE
)
_GOES_ON = re.compile(
    r"\b(?:not|never|cannot|almost|nearly|if|let|before|until|should|without|\w+n't)\b(?! only\b)"
    rf" (?:\w+ ){{0,4}}{_END}\b",
    re.IGNORECASE,
)
_CORRECTION = re.compile(
    r"\b(?:actually|instead|correction|\w+ (?:meant|misspoke)|changed|switched|rescheduled|postponed|moved|pushed back"
    r"|no longer|rather than|(?P<weak>now))\b|(?:^|: |, )(?:it )?turns out|\bnot [^.,;]+ but\b|, not\b",
    re.IGNORECASE,
)
_OLD_VALUE = re.compile(
    r"\b(?:not|no longer|instead of|rather than|(?:switched|changed|moved|went) from)\b (?P<old>[^.,;]+?)"
    r"(?= (?:but|to|any ?more)\b|[.,;]|$)",
    re.IGNORECASE,
)
_ALSO = re.compile(r"\b(?:also|as well|in addition)\b|\btoo(?= *(?:[.,;!)]|$))", re.IGNORECASE)
_ALSO_DOES = re.compile(r"\balso (\w+)", re.IGNORECASE)
_ANOTHER = re.compile(
    r"\b(?:another|a (?:second|third|fourth)|one more) "
    r"(?!note|time|day|way|one|level|thing|story|side|hand|look|chance|step)(\w+)",
    re.IGNORECASE,
)
_WISH = re.compile(
    r"\b(?:would|could|might|may|wants?|hop(?:e|es|ing)|should|maybe|perhaps|if|wish(?:es)?|let's)\b", re.IGNORECASE
)

MARKERS = frozenset(
    terms(
        "next stop stopped quit quitting gave give giving given sold sell cancelled canceled cancel called rid"
        " longer anymore any dropped forget delete erase remove disregard ignore scratch please never mind wrong"
        " true mistake actually instead correction meant misspoke changed switched rescheduled postponed pushed"
        " back turns sorry rather also another too second third one everything said told currently finally"
        " recently last month week year day today yesterday anything addition done can you ask asked"
    )
)
"""Words that carry the marking and not the matter."""

COMMON = frozenset(
    stem(word)
    for word in (
        "like love enjoy prefer want need think feel hate start try make take play eat drink read watch visit see"
        " know look use keep come help plan hope time thing people lot let tell show share great good happy new"
    ).split()
)
"""Words that two statements may share without being about the same thing."""


def takes_back(text: str) -> bool:
    """Return whether a speaker asks to forget something or says that it was not so."""
    return _COMMAND.search(text) is not None


def without_command(text: str) -> str:
    """Return a text without the words that ask to forget: "Buddy" of "Scratch that, Buddy"."""
    return _COMMAND.sub(" ", text)


def ends(text: str) -> bool:
    """Return whether something is over: "stopped", "sold", "not any more"; not "won't stop"."""
    return _STOPPED.search(text) is not None and _GOES_ON.search(text) is None


def corrects(text: str) -> bool:
    """Return whether a value is put right: "actually", "instead", "moved to"."""
    return _CORRECTION.search(text) is not None


def corrects_surely(text: str) -> bool:
    """Return whether a value is put right by more than a "now"."""
    return any(not match["weak"] for match in _CORRECTION.finditer(text))


def replaced_value(text: str) -> str:
    """Return what is no longer so, where it is named: "Monday" in "on Tuesday, not Monday"."""
    match = _OLD_VALUE.search(text)
    return match["old"] if match else ""


def added_verb(text: str) -> frozenset[str]:
    """Return what is done once more: the verb after "also"."""
    match = _ALSO_DOES.search(text)
    return frozenset([stem(match[1].lower())]) - COMMON if match else frozenset()


def adds(text: str) -> bool:
    """Return whether a statement adds to one before: "also", "too"."""
    return _ALSO.search(text) is not None and _WISH.search(text) is None


def one_more_of(text: str) -> str:
    """Return the thing of which there is one more: "dog" in "another dog"."""
    match = None if _WISH.search(text) else _ANOTHER.search(text)
    return match[1] if match else ""
