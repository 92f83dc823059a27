"""Ids of imported turns, from what was said and where: the same export brings the same ids, a grown one new ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from langgraph_memory_r1.importers.fields import fingerprint
from langgraph_memory_r1.schemas import Turn


def identified(turns: Sequence[Turn], prefix: str) -> tuple[Turn, ...]:
    """The turns of one conversation, each with an id; ids that are there already stay.

    A time and the words tell a turn from all others, even where an export begins later than the last one did. Without
    a time it counts what was said before it, so that "Yes." in two conversations are two turns.
    """
    seen: Counter[str] = Counter()
    before, named = "", []
    for turn in turns:
        said = fingerprint(turn.at.isoformat() if turn.at else before, turn.speaker, turn.text)
        before = fingerprint(before, said)
        seen[said] += 1
        again = "" if seen[said] == 1 else f"-{seen[said]}"
        named.append(turn if turn.id else replace(turn, id=f"{prefix}-{said}{again}"))
    return tuple(named)
