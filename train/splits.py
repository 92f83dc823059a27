"""Rows that are held out for validation, where a recipe names no data for it.

    learned, held_out = hold_out(material, 0.2)

Whole owners or conversations are held out, chosen by a hash, so that stages of a run agree on them. Where there is only
one, its newest rows are: the past is learned from, what came later validates.
"""

from __future__ import annotations

import hashlib
from collections import Counter

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.train.rows import Row
from langgraph_memory_r1.train.sources import Material


def hold_out(found: Material, share: float) -> tuple[Material, Material]:
    """What is learned from, and what is held out.

    Args:
        found: All there is, in the order of its time.
        share: That is held out; at least one episode, or one row of a single one.

    Raises:
        InputError: There is only one row.
    """
    if len(found.rows) < 2:
        raise InputError(
            "There is only one row, and a part has to be held out; label more questions, or name data for validation."
        )
    names = {row.episode or row.id for row in found.rows}
    if len(names) == 1:
        count = _count(len(found.rows), share)
        return _part(found, found.rows[:-count]), Material(found.rows[-count:], found.episodes)
    chosen = set(sorted(names, key=_hash)[: _count(len(names), share)])
    kept = [row for row in found.rows if (row.episode or row.id) not in chosen]
    held = [row for row in found.rows if (row.episode or row.id) in chosen]
    return _part(found, kept, without=chosen), Material(
        held, [episode for episode in found.episodes if episode.id in chosen]
    )


def _part(found: Material, rows: list[Row], without: set[str] | None = None) -> Material:
    episodes = [episode for episode in found.episodes if episode.id not in (without or ())]
    return Material(rows, episodes, Counter(found.skipped))


def _count(of: int, share: float) -> int:
    return min(of - 1, max(1, round(of * share)))


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()
