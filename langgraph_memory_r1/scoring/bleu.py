"""BLEU-1 as A-Mem, mem0 and Memory-R1 compute it: NLTK's `sentence_bleu` over NLTK's word tokens, without NLTK.

With all weight on single words the smoothing has no effect: what remains is the clipped precision times the brevity
penalty. The tokens are those of the Penn Treebank for one sentence: marks stand alone, also `'s` and `n't`, but only
the last full stop of a text is cut off its word, so that "2022." against "2022" is 0.5.
"""

from __future__ import annotations

import math
import re
from collections import Counter

__all__ = ["bleu1", "treebank_words"]

_ANY_MARK = re.compile(r"[^\w\s]|cannot|gimme|gonna|gotta|lemme|wanna")
_RULES = [
    (re.compile(pattern), by)
    for pattern, by in [
        (r"[«“\u2018„]|``?", r" \g<0> "),
        (r'^"', " `` "),
        (r"([ (\[{<])(?:\"|'')", r"\1 `` "),
        (r"(?<!\w)'(?!(?:re|ve|ll|m|t|s|d|n)\b)(?=\w)", "' "),  # an opening quote, no 'll
        (r"([^.])\.([\])}>\"'»”’ ]*+)\s*$", r"\1 . \2 "),
        (r"([:,])(\D)", r" \1 \2"),  # 10:30 and 3,000 stay whole
        (r"[:,]$", r" \g<0> "),
        (r"\.{2,}|[;@#$%&?!\u2012-\u2015]", r" \g<0> "),
        (r"([^'])' ", r"\1 ' "),
        (r"[][(){}<>*]|--", r" \g<0> "),
        (r"\A|\Z", " "),
        (r"[»”’]|''", r" \g<0> "),
        (r'"', " '' "),
        (r"\s+", " "),
        (r"([^' ])('[smd]?) ", r"\1 \2 "),
        (r"([^' ])('ll|'re|'ve|n't) ", r"\1 \2 "),
        (
            r"\b(can)(not)\b|\b(gim)(me)\b|\b(gon)(na)\b|\b(got)(ta)\b|\b(lem)(me)\b|\b(wan)(na)(?=\s)",
            r" \1\3\5\7\9\11 \2\4\6\8\10\12 ",
        ),
        (r"\b(d)('ye)\b|\b(more)('n)\b", r" \1\3 \2\4 "),
        (r" ('t)(is|was)\b", r" \1 \2 "),
    ]
]


def bleu1(prediction: str, gold: str) -> float:
    """Return BLEU-1 of one answer against one gold answer; of two texts without a token, 1.0."""
    tokens, expected = treebank_words(prediction.lower()), treebank_words(gold.lower())
    if not tokens:
        return float(not expected)
    common = Counter(tokens) & Counter(expected)
    brevity = math.exp(1 - len(expected) / len(tokens)) if len(tokens) < len(expected) else 1.0
    return brevity * common.total() / len(tokens)


def treebank_words(text: str) -> list[str]:
    """Return the Penn Treebank tokens of a lower-case text that is taken as one sentence."""
    if _ANY_MARK.search(text):
        for pattern, by in _RULES:
            text = pattern.sub(by, text)
    return text.split()
