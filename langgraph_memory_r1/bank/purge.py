"""What a purge of one memory leaves behind: that its turns were dealt with, and nothing that they or it said."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from langgraph_memory_r1.schemas import Change

PURGED = "purged"
"""The reason of the NOOP that a purge leaves."""


def tombstone(changes: Sequence[Change]) -> Change:
    """Return the NOOP that keeps the turns of a purged memory known, so that it does not come back from a history."""
    memories = (memory for change in changes for memory in (change.before, change.after) if memory is not None)
    sources = [*(change.source for change in changes), *(memory.source for memory in memories)]
    source = dict.fromkeys(turn for turns in sources for turn in turns)
    now = datetime.now(UTC)
    change_id = f"noop-{now.timestamp():.6f}-{secrets.token_hex(3)}"
    return Change(change_id, "NOOP", source=tuple(source), reason=PURGED, at=now)


def texts_of(changes: Iterable[Change]) -> set[str]:
    """Return all that a memory ever said."""
    memories = (memory for change in changes for memory in (change.before, change.after) if memory is not None)
    texts = {memory.text for memory in memories if memory.text}
    return texts | {repr(text)[1:-1] for text in texts}  # as reasons quote them


def redacted(change: Change, texts: set[str], turns: set[str]) -> Change | None:
    """Return a change of another memory, or a NOOP, without what is purged; None where nothing of it is there.

    A NOOP gives as its reason what facts it left out. In words of their own, perhaps: one from the same turns loses it.
    """
    reason = change.reason
    if change.event == "NOOP" and turns & set(change.source):
        reason = PURGED
    for text in sorted(texts, key=len, reverse=True):  # A later wording may hold an earlier one.
        reason = reason.replace(text, "…")
    return None if reason == change.reason else replace(change, reason=reason)


def redacted_record(record: Mapping[str, Any], reasons: Mapping[str, str]) -> dict[str, Any] | None:
    """Return a record of a journal with its new reason; None where it keeps the old one."""
    reason = reasons.get(str(record.get("id")))
    if reason is None:
        return None
    # It is overwritten in place, so that it must not grow.
    return {**record, "reason": reason if len(reason.encode()) <= len(str(record["reason"]).encode()) else ""}
