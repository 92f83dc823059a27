"""How much of what a question needs was found: evidence among ranked items, words of the answer among texts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from typing import Literal

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.scoring.words import exact_words, stem

__all__ = ["content_tokens", "recall_at", "token_coverage"]

_CACHED_TEXT = 2_000
"""A longer text is not kept in the cache."""

_FUNCTION_WORDS = frozenset(
    """
    about after also am and are as at be because been before being but by can could did do does during for from had has
    have he her hers him his how i if in into is it its just like may me might mine my of off on or our ours out over
    she should since so some such than that their theirs them then there these they this those through to too under up
    us very was we were what when where which while who whom whose why will with would you your yours
    """.split()
)


def recall_at(
    ranked: Sequence[Collection[str]],
    evidence: Collection[str],
    k: int,
    how: Literal["mean", "any", "all"] = "mean",
) -> float | None:
    """Return how much of the evidence the first `k` items hold; None without evidence.

    Args:
        ranked: The ids that each item holds (a memory: those of its source turns), best item first.
        evidence: The ids that are needed.
        k: How many items are looked at.
        how: "mean": the share of the evidence; "any": 1.0 if some of it, "all": 1.0 if all of it was found.
    """
    if k < 1:
        raise InputError(f"k must be at least 1, not {k}")
    if how not in ("mean", "any", "all"):
        raise InputError(f"how must be 'mean', 'any' or 'all', not {how!r}")
    needed = set(evidence)
    if not needed:
        return None
    # A string is one id, and not a collection of its characters.
    ids = {name for item in ranked[:k] for name in ([item] if isinstance(item, str) else item)}
    share = len(needed & ids) / len(needed)
    return share if how == "mean" else float(share == 1 if how == "all" else share > 0)


def token_coverage(gold: str, texts: Iterable[str]) -> float | None:
    """Return the share of the gold answer's content words that stand in the texts; None if it has none.

    It needs no model, and shows at once when a deleted or garbled memory has lost an answer. A date counts as found in
    the spelling of the gold answer only, so put the day of a memory into its text (LoCoMo: "7 May 2023").
    """
    needed = content_tokens(gold)
    missing = set(needed)
    for text in texts:
        if not missing:
            break
        missing -= content_tokens(text)
    return 1 - len(missing) / len(needed) if needed else None


def content_tokens(text: str) -> frozenset[str]:
    """Return the stems of a text without function words; a text of nothing else keeps them."""
    return _cached_tokens(text) if len(text) <= _CACHED_TEXT else _content_tokens(text)


def _content_tokens(text: str) -> frozenset[str]:
    words = exact_words(text)
    return frozenset(stem(word) for word in words if word not in _FUNCTION_WORDS) or frozenset(map(stem, words))


_cached_tokens = lru_cache(maxsize=32_768)(_content_tokens)
