"""Text to index terms: words without English stop words, folded and stemmed; other scripts as pairs; emoji.

A word is found however it is written: accents, vowel points and the forms of a letter make no difference ("cafe" finds
"café"), and a script that has a stemmer of its own is stemmed by it. Scripts that set no spaces, and Korean, whose
particles stand on the word, are indexed as single characters and pairs: no dictionary is needed, and none decides.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Callable
from datetime import date
from functools import lru_cache

import snowballstemmer

__all__ = ["MONTHS", "date_terms", "stem", "terms"]

_LONGEST = 64
"""A longer run of letters is data, not a word; its head is enough to find it by."""
_CACHED_TEXT = 2_000
"""A longer text is not kept in the cache."""

# Thai to Burmese, Khmer, Japanese, Chinese: scripts that set no spaces between words; and Hangul.
_UNSPACED = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3131-\u318e\u31f0-\u31ff\u3400-\u4dbf"
    r"\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff"
)
# Vowel signs and the like, which belong to the word though Python counts them among no letters: "हिन्दी" has three.
_MARKS = "".join(
    char for char in map(chr, (*range(0x300, 0x1E00), *range(0xA800, 0xAC00))) if unicodedata.category(char)[0] == "M"
)
_ASCII_TOKEN = re.compile(r"()[a-z0-9]+")
_TOKEN = re.compile(
    rf"([{_UNSPACED}]+)|[^\W_{_UNSPACED}](?:[^\W_{_UNSPACED}]|(?![{_UNSPACED}])[{_MARKS}])*"
    r"|[\u2600-\u27bf\U0001f1e6-\U0001faff]"
)
# Accents, the points of Hebrew and Arabic, and what joins or may part letters without being seen.
_FOLDED: dict[int, str | None] = dict.fromkeys(
    (
        *range(0x300, 0x370),
        *(ord(mark) for mark in _MARKS if "\u0591" <= mark < "\u0660"),
        0x670,
        0x640,
        0xAD,
        0x200C,
        0x200D,
    )
)
_FOLDED |= {ord(letter): plain for letter, plain in zip("øłđðþæœıħŋ", "o l d d th ae oe i h n".split(), strict=True)}
_APOSTROPHE = re.compile(r"(?<=\w)['’](?=\w)")
_ISO_DATE = re.compile(r"(?<!\d)(\d{4})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])(?!\d)")

MONTHS = tuple("January February March April May June July August September October November December".split())
_STOP = frozenset(
    """
    a about after again all also am an and any are as at be because been before being but by can could did do does
    doing done dont down during each few for from further get gets getting go goes going got had has have having he
    her here hers herself him himself his how i if im in into is isnt it its itself ive just kind like ll lot m me
    might more most much my myself no nor not now of off on once only or other our ours ourselves out over own re
    really s same she should so some such t than that thats the their theirs them themselves then there these they
    things this those through to too under until up ve very was way we well were what whats when where which while
    who whom whose why will with would you your yours yourself yourselves
    """.split()
)


def terms(text: str) -> tuple[str, ...]:
    """Return the index terms of a text, in order and with repeats."""
    return _cached_terms(text) if len(text) <= _CACHED_TEXT else _terms(text)


def date_terms(day: date) -> tuple[str, ...]:
    """Return the index terms of a day: the same whether it is written `7 May 2023` or `2023-05-07`."""
    return terms(_spelled(day.year, day.month, day.day))


def _terms(text: str) -> tuple[str, ...]:
    folded = _ISO_DATE.sub(lambda match: _spelled(*map(int, match.groups())).lower(), _folded(text))
    tokens: list[str] = []
    token = _ASCII_TOKEN if folded.isascii() else _TOKEN
    for match in token.finditer(_APOSTROPHE.sub("", folded)):
        if run := match[1]:
            # Each character, so that a word of one is found, and each two neighbours.
            tokens += [*run, *(run[i : i + 2] for i in range(len(run) - 1))]
        elif match[0] not in _STOP:
            word = match[0][:_LONGEST]
            tokens.append(stem(word) if word.isalpha() or not word.isascii() else word)
    return tuple(tokens)


def _folded(text: str) -> str:
    """Return a text without accents, in lower case, each character in its usual form."""
    if text.isascii():
        return text.lower()
    parted = unicodedata.normalize("NFKD", text).casefold()
    # The breve of "й" is no accent, and Russian's stemmer needs the letter; Hangul and kana come together again below.
    return unicodedata.normalize("NFC", parted.replace("\u0438\u0306", "\u0439").translate(_FOLDED))


_cached_terms = lru_cache(maxsize=8_192)(_terms)


def _spelled(year: int, month: int, day: int) -> str:
    return f"{day} {MONTHS[month - 1]} {year}"


_LANGUAGES = (
    (0x0370, "english"), (0x0400, "greek"), (0x0530, "russian"), (0x0590, "armenian"), (0x0600, ""),
    (0x0700, "arabic"), (0x0900, ""), (0x0980, "hindi"), (0x0B80, ""), (0x0C00, "tamil"), (0x1E00, ""),
    (0x1F00, "english"), (0x2000, "greek"),
)  # fmt: skip
"""Up to which character a script goes, and whose stemmer it has: the one of the language that most write in it."""


class _Stemmers(threading.local):
    """One stemmer of each language a thread: it keeps the word that it works on in itself."""

    def __init__(self) -> None:
        self.by_language: dict[str, Callable[[str], str]] = {"": str}

    def stem(self, word: str) -> str:
        language = next((name for end, name in _LANGUAGES if ord(word[0]) < end), "")
        if language not in self.by_language:
            self.by_language[language] = snowballstemmer.stemmer(language).stemWord
        return self.by_language[language](word)


_stemmers = _Stemmers()


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """Return the stem of a case-folded word: of English in Latin letters, else by its script."""
    return _stemmers.stem(word)
