"""Memories and changes as JSON records, and owners' labels as LangGraph accepts them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote, unquote

from langgraph_memory_r1.schemas import Change, Memory

_RESERVED = re.compile("[%.\x00-\x1f\x7f\ud800-\udfff]")


def encode_label(label: str, root: bool = False) -> str:
    """A label of any characters as one that LangGraph accepts: no dots, not empty, no `langgraph` at the root."""
    if not label:
        return "%"
    text = _RESERVED.sub(lambda found: _percent(found.group()), label)
    return _percent(text[0]) + text[1:] if root and label == "langgraph" else text


def decode_label(label: str) -> str:
    """The inverse of `encode_label`."""
    return "" if label == "%" else unquote(label, errors="surrogatepass")


def memory_to_record(memory: Memory) -> dict[str, Any]:
    """All fields but the id, which is the item's key."""
    return {
        "text": memory.text,
        "speaker": memory.speaker,
        "at": _text(memory.at),
        "source": list(memory.source),
        "session": memory.session,
        "rev": memory.rev,
        "created_at": _text(memory.created_at),
        "updated_at": _text(memory.updated_at),
    }


def memory_from_record(key: str, record: Mapping[str, Any]) -> Memory:
    """The inverse of `memory_to_record`.

    Raises:
        KeyError, TypeError, ValueError: the record is no memory.
    """
    return Memory(
        id=key,
        text=record["text"],
        speaker=record.get("speaker"),
        at=_time(record.get("at")),
        source=tuple(record.get("source") or ()),
        session=record.get("session"),
        rev=record.get("rev", 1),
        created_at=_time(record.get("created_at")),
        updated_at=_time(record.get("updated_at")),
    )


def change_to_record(change: Change) -> dict[str, Any]:
    """All fields but the id."""
    return {
        "event": change.event,
        "memory_id": change.memory_id,
        "before": change.before and memory_to_record(change.before),
        "after": change.after and memory_to_record(change.after),
        "source": list(change.source),
        "model": change.model,
        "reason": change.reason,
        "at": _text(change.at),
        "undoes": change.undoes,
    }


def change_from_record(key: str, record: Mapping[str, Any]) -> Change:
    """The inverse of `change_to_record`.

    Raises:
        KeyError, TypeError, ValueError: the record is no change.
    """
    memory_id = record.get("memory_id")
    return Change(
        id=key,
        event=record["event"],
        memory_id=memory_id,
        before=_state(memory_id, record.get("before")),
        after=_state(memory_id, record.get("after")),
        source=tuple(record.get("source") or ()),
        model=record.get("model"),
        reason=record.get("reason") or "",
        at=_time(record.get("at")),
        undoes=record.get("undoes"),
    )


def _state(memory_id: str | None, record: Mapping[str, Any] | None) -> Memory | None:
    return memory_from_record(str(memory_id), record) if record else None


def _percent(char: str) -> str:
    encoded = quote(char, safe="", errors="surrogatepass")
    return encoded if encoded != char else f"%{ord(char):02X}"


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
