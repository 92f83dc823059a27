"""Text to index terms: words without English stop words, stemmed; scripts without spaces as pairs; emoji."""

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

# Thai to Burmese, Khmer, Japanese, Chinese: scripts that set no spaces between words.
_UNSPACED = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    r"\U00020000-\U0003ffff"
)
_TOKEN = re.compile(rf"([{_UNSPACED}]+)|[^\W_{_UNSPACED}]+|[\u2600-\u27bf\U0001f1e6-\U0001faff]")
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
    spelled = _ISO_DATE.sub(lambda match: _spelled(*map(int, match.groups())), unicodedata.normalize("NFKC", text))
    tokens: list[str] = []
    for match in _TOKEN.finditer(_APOSTROPHE.sub("", spelled.casefold())):
        if run := match[1]:
            # Each character, so that a word of one is found, and each two neighbours.
            tokens += [*run, *(run[i : i + 2] for i in range(len(run) - 1))]
        elif match[0] not in _STOP:
            word = match[0][:_LONGEST]
            tokens.append(stem(word) if match[0].isalpha() else word)
    return tuple(tokens)


_cached_terms = lru_cache(maxsize=8_192)(_terms)


def _spelled(year: int, month: int, day: int) -> str:
    return f"{day} {MONTHS[month - 1]} {year}"


class _EnglishStemmer(threading.local):
    """One stemmer a thread: it keeps the word that it works on in itself."""

    def __init__(self) -> None:
        self.stem: Callable[[str], str] = snowballstemmer.stemmer("english").stemWord


_stemmer = _EnglishStemmer()


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """Return the English stem of a case-folded word."""
    return _stemmer.stem(word)
