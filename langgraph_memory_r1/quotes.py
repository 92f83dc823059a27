"""What an assistant says word for word from memory is nothing new: it is taken out before facts are looked for.

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
    """Return the text without what it quotes from these memories, and without the sentences that only frame a quote.

    Example:
        >>> without_quotes("From my notes: Ana has a dog, Buddy. Shall we go for a walk?", ["Ana has a dog, Buddy."])
        'Shall we go for a walk?'
    """
    marked, lowered = text, text.lower()
    quotes = {quote for memory in memories if (quote := memory.rstrip(" .!?")).lower() in lowered}
    # Longest first: a memory may hold another one, and what is left of it would look new.
    for quote in sorted(quotes, key=len, reverse=True):
        if len(quote) >= _SHORTEST and quote.lower() in marked.lower():
            marked = re.sub(re.escape(quote) + r"[.!?]*", f"{_MARK}. ", marked, flags=re.IGNORECASE)
    if _MARK not in marked:
        return text
    sentences = (
        sentence
        for sentence in _SENTENCE.split(marked)
        if _MARK not in sentence or len(_WORD.findall(sentence)) > _FRAME
    )
    return " ".join(sentences).replace(f"{_MARK}.", " ").replace(_MARK, " ").strip()
