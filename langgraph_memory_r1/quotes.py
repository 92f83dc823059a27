"""What an assistant says word for word from memory is no news: it is taken out before facts are looked for.

Otherwise an agent that quotes its memories would remember its own quotes, and the bank would grow by talking about
itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_SHORTEST = 12
"""Shorter memories may be said by chance."""
_FRAME = 6
"""A sentence with no more words than this around a quote ("As far as I know: ...") only frames it."""
_MARK = "\x00"
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_WORD = re.compile(r"\w+")


def without_quotes(text: str, memories: Iterable[str]) -> str:
    """The text without what it quotes from these memories, and without the sentences that only frame a quote.

    Example:
        >>> without_quotes("From my notes: Ana has a dog, Buddy. Shall we go for a walk?", ["Ana has a dog, Buddy."])
        'Shall we go for a walk?'
    """
    marked, lowered = text, text.lower()
    found = {quote for memory in memories if (quote := memory.rstrip(" .!?")).lower() in lowered}
    for quote in sorted(found, key=len, reverse=True):
        if len(quote) >= _SHORTEST and quote.lower() in marked.lower():
            marked = re.sub(re.escape(quote) + r"[.!?]*", f"{_MARK}. ", marked, flags=re.IGNORECASE)
    if _MARK not in marked:
        return text
    kept = (sentence for sentence in _SENTENCE.split(marked) if not _frames(sentence))
    return " ".join(kept).replace(f"{_MARK}.", " ").replace(_MARK, " ").strip()


def _frames(sentence: str) -> bool:
    return _MARK in sentence and len(_WORD.findall(sentence)) <= _FRAME
