"""Memories and changes as JSON records, in a store and in an export; owners' labels as LangGraph accepts them.

An export is JSONL: a header line, then one memory or one change a line, with nothing left out.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote, unquote

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.jsonl import read_lines, write_file
from langgraph_memory_r1.schemas import Change, Memory
from langgraph_memory_r1.store.rows import copy_value, dump_value

FORMAT = "langgraph-memory-r1/bank"
VERSION = 1

_RESERVED = re.compile("[%.\x00-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did."""

    memories: int = 0
    changes: int = 0
    existing: int = 0
    """Records that were not taken over: their memory is in the bank or was deleted there, their change stands in the
    history, or the file has them twice."""
    broken: tuple[str, ...] = ()
    """Lines that could not be read, each with the reason."""


def encode_label(label: str, root: bool = False) -> str:
    """Encode a label of any characters as LangGraph accepts it: no dots, not empty, no `langgraph` at the root."""
    if not label:
        return "%"
    text = _RESERVED.sub(lambda match: _percent(match.group()), label)
    return _percent(text[0]) + text[1:] if root and label == "langgraph" else text


def decode_label(label: str) -> str:
    """Return the label behind an encoded one: the inverse of `encode_label`."""
    return "" if label == "%" else unquote(label, errors="surrogatepass")


def memory_to_record(memory: Memory) -> dict[str, Any]:
    """Return all fields of a memory but the id, which is the item's key.

    Metadata, tags and an expiry stand in it only where the memory has them: banks of those who use none of them stay
    as older versions of the library wrote them, and can read them.
    """
    record: dict[str, Any] = {
        "text": memory.text,
        "speaker": memory.speaker,
        "at": _text(memory.at),
        "source": list(memory.source),
        "session": memory.session,
        "rev": memory.rev,
        "created_at": _text(memory.created_at),
        "updated_at": _text(memory.updated_at),
    }
    if memory.metadata:
        record["metadata"] = dict(memory.metadata)
    if memory.tags:
        record["tags"] = list(memory.tags)
    if memory.expires_at is not None:
        record["expires_at"] = _text(memory.expires_at)
    return record


def memory_from_record(key: str, record: Mapping[str, Any]) -> Memory:
    """Return the memory behind a record: the inverse of `memory_to_record`.

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
        metadata=copy_value(record.get("metadata") or {}),
        tags=tuple(record.get("tags") or ()),
        expires_at=_time(record.get("expires_at")),
    )


def change_to_record(change: Change) -> dict[str, Any]:
    """Return all fields of a change but the id."""
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
    """Return the change behind a record: the inverse of `change_to_record`.

    Raises:
        KeyError, TypeError, ValueError: the record is no change.
    """
    memory_id, before, after = record.get("memory_id"), record.get("before"), record.get("after")
    return Change(
        id=key,
        event=record["event"],
        memory_id=memory_id,
        before=memory_from_record(str(memory_id), before) if before else None,
        after=memory_from_record(str(memory_id), after) if after else None,
        source=tuple(record.get("source") or ()),
        model=record.get("model"),
        reason=record.get("reason") or "",
        at=_time(record.get("at")),
        undoes=record.get("undoes"),
    )


def export_bank(path: str | os.PathLike[str], memories: Sequence[Memory], changes: Sequence[Change]) -> int:
    """Write an export, which appears whole or not at all, and return the number of memories.

    Raises:
        InputError: The place cannot be written.
    """
    records: list[dict[str, Any]] = [{"format": FORMAT, "version": VERSION}]
    records += [{"kind": "memory", "id": memory.id} | memory_to_record(memory) for memory in memories]
    records += [{"kind": "change", "id": change.id} | change_to_record(change) for change in changes]
    write_file(path, (dump_value(record).encode() + b"\n" for record in records))
    return len(memories)


def read_export(
    path: str | os.PathLike[str], memory_ids: set[str], change_ids: set[str], *, strict: bool = False
) -> tuple[list[Memory], list[Change], Imported]:
    """Read an export, leaving out the memories and changes whose ids the bank has already.

    Raises:
        InputError: the file is no export, or with `strict` a line of it is broken.
    """
    memories: dict[str, Memory] = {}
    changes: dict[str, Change] = {}
    existing, broken = 0, []
    for number, line in _lines_of_export(path):
        try:
            record = json.loads(line)
            kind, record_id = record["kind"], record["id"]
            if kind == "memory":
                memory = memory_from_record(record_id, record)
                if record_id in memory_ids or record_id in memories:
                    existing += 1
                else:
                    memories[record_id] = memory
            elif kind == "change":
                change = change_from_record(record_id, record)
                if record_id in change_ids or record_id in changes:
                    existing += 1
                else:
                    changes[record_id] = change
            else:
                raise ValueError(f"unknown kind {kind!r}")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            broken.append(f"{os.fspath(path)}:{number}: {error}")
    if strict and broken:
        raise InputError(f"{broken[0]}. Nothing was imported; leave strict out to skip broken lines.")
    return (
        list(memories.values()),
        list(changes.values()),
        Imported(len(memories), len(changes), existing, tuple(broken)),
    )


def _lines_of_export(path: str | os.PathLike[str]) -> Iterator[tuple[int, bytes]]:
    lines = read_lines(path, "memories")
    first = next(lines, (1, b""))[1]
    try:
        head = json.loads(first)
        version = head["version"] if head["format"] == FORMAT else None
    except (ValueError, KeyError, TypeError):
        version = None
    if version != VERSION:
        raise InputError(f"{os.fspath(path)} is no export of a memory bank (its first line has to be the header).")
    yield from lines


def _percent(char: str) -> str:
    encoded = quote(char, safe="", errors="surrogatepass")
    return encoded if encoded != char else f"%{ord(char):02X}"


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
