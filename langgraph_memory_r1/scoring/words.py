"""The words of a text, as each metric counts them; a text of nothing but what is left out keeps all of it."""

from __future__ import annotations

import re
import string
import threading
import unicodedata
from collections.abc import Callable
from functools import lru_cache

import snowballstemmer

__all__ = ["exact_words", "locomo_words", "mem0_words", "squad_words", "stem"]

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_SENTENCE_MARKS = str.maketrans(".,!?", "    ")
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_LOCOMO_ARTICLES = re.compile(r"\b(?:a|an|the|and)\b")

_APOSTROPHE = re.compile(r"(?<=\w)['’]|(?<=[^\W\d])\.(?=[^\W\d])")  # mother's, p.m.
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_EXACT = re.compile(r"(?:(?<!\w)-(?=\d))?\w+(?:(?<=\d)\.\d+)*")  # -5 and 3.5 are not 5 and 35


def exact_words(text: str) -> list[str]:
    """Return the words that an exact match compares.

    Case, punctuation, articles and the ways to encode a character make no difference.
    """
    plain = unicodedata.normalize("NFKC", text).casefold()
    return _split(" ".join(_EXACT.findall(_THOUSANDS.sub("", _APOSTROPHE.sub("", plain)))), _ARTICLES, plain)


def mem0_words(text: str) -> set[str]:
    """Return the set of tokens of mem0's F1: only `. , ! ?` are taken off; quotes and brackets stay on their word."""
    plain = text.lower()
    return set(plain.translate(_SENTENCE_MARKS).split() or plain.split())


def squad_words(text: str) -> list[str]:
    """Return the tokens of SQuAD's F1."""
    plain = text.lower()
    return _split(plain.translate(_NO_PUNCTUATION), _ARTICLES, plain)


def locomo_words(text: str) -> list[str]:
    """Return the stemmed tokens of LoCoMo's F1; "and" is no token."""
    plain = text.lower()
    return [stem(word) for word in _split(plain.translate(_NO_PUNCTUATION), _LOCOMO_ARTICLES, plain)]


def _split(text: str, articles: re.Pattern[str], plain: str) -> list[str]:
    """Return the words that count; a gold answer such as "A" or "?!" has only its articles or its marks to compare."""
    return articles.sub(" ", text).split() or text.split() or plain.split()


class _PorterStemmer(threading.local):
    """One stemmer a thread: it keeps the word that it works on in itself."""

    def __init__(self) -> None:
        self.stem: Callable[[str], str] = snowballstemmer.stemmer("porter").stemWord


_stemmer = _PorterStemmer()


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """Return Porter's stem of a lower-case word; one or two letters are left alone, as Porter's own program does."""
    return _stemmer.stem(word) if len(word) > 2 else word
