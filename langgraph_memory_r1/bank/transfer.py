"""A bank as JSONL: a header line, then one memory or one change a line, with nothing left out."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from langgraph_memory_r1.bank.records import change_from_record, change_to_record, memory_from_record, memory_to_record
from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.jsonl import read_lines, write_file
from langgraph_memory_r1.schemas import Change, Memory
from langgraph_memory_r1.store.rows import dump_value

FORMAT = "langgraph-memory-r1/bank"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did."""

    memories: int = 0
    changes: int = 0
    known: int = 0
    """Records that the bank had already."""
    broken: tuple[str, ...] = ()
    """Lines that could not be read, each with the reason."""


def export_bank(path: str | os.PathLike[str], memories: Sequence[Memory], changes: Sequence[Change]) -> int:
    """Write an export; the file appears whole or not at all. Returns the number of memories."""
    records: list[dict[str, Any]] = [{"format": FORMAT, "version": VERSION}]
    records += [{"kind": "memory", "id": memory.id} | memory_to_record(memory) for memory in memories]
    records += [{"kind": "change", "id": change.id} | change_to_record(change) for change in changes]
    write_file(path, (dump_value(record).encode() + b"\n" for record in records))
    return len(memories)


def import_bank(
    path: str | os.PathLike[str], held_memories: set[str], held_changes: set[str], *, strict: bool = False
) -> tuple[list[Memory], list[Change], Imported]:
    """Read an export, leaving out the memories and changes whose ids are held already.

    Raises:
        InputError: the file is no export, or with `strict` a line of it is broken.
    """
    memories: dict[str, Memory] = {}
    changes: dict[str, Change] = {}
    known, broken = 0, []
    for number, line in _lines(path):
        try:
            record = json.loads(line)
            item = _read(record)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            broken.append(f"{os.fspath(path)}:{number}: {error}")
            continue
        kept, place = (memories, held_memories) if isinstance(item, Memory) else (changes, held_changes)
        if item.id in place or item.id in kept:
            known += 1
        elif isinstance(item, Memory):
            memories[item.id] = item
        else:
            changes[item.id] = item
    if strict and broken:
        raise InputError(f"{broken[0]}. Nothing was imported; leave out --strict to skip broken lines.")
    return list(memories.values()), list(changes.values()), Imported(len(memories), len(changes), known, tuple(broken))


def _lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, bytes]]:
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


def _read(record: dict[str, Any]) -> Memory | Change:
    if record["kind"] == "memory":
        return memory_from_record(record["id"], record)
    if record["kind"] == "change":
        return change_from_record(record["id"], record)
    raise ValueError(f"unknown kind {record['kind']!r}")
