"""mem0's memories: what `get_all` and `search` return, its platform's pages, rows of its vector store, its history.

    {"results": [{"id": "…", "memory": "Loves pizza", "created_at": "…", "user_id": "ann", "metadata": {…}}]}

With the rows of `history(id)` (beside the results, or within an entry) every earlier version comes along. Categories
become tags; metadata, `agent_id`, `run_id` and every other field become metadata, so that nothing is left behind.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from langgraph_memory_r1.importers.export import Export, ImportedMemory, MemoryVersion
from langgraph_memory_r1.importers.fields import (
    BROKEN_ENTRY,
    clean_memory_text,
    clean_name,
    expiry_of,
    metadata_of,
    parse_time,
    reason,
    short_hash,
    tags_of,
    user_id_of,
)
from langgraph_memory_r1.importers.files import JsonDocument, JsonEntry

_READ = frozenset(
    {
        "id", "memory", "text", "data", "created_at", "updated_at", "user_id", "actor_id", "categories", "tags",
        "expiration_date", "expires_at", "history",
        # These tell nothing of a memory that its text does not.
        "hash", "score", "event",
    }
)  # fmt: skip
"""Fields that are no metadata."""

_LISTS = ("results", "memories", "history")


def read_mem0(document: JsonDocument) -> Export:
    """Return the memories of a mem0 export, each with its versions."""
    export = Export("mem0", broken=list(document.broken))
    items: dict[str, JsonEntry] = {}
    history: dict[str, list[JsonEntry]] = defaultdict(list)
    for document_entry in document.entries:
        for entry in _entries(document_entry):
            try:
                _sort(entry, items, history)
            except BROKEN_ENTRY as error:
                export.broken.append(f"{entry.label}: {reason(error)}")
    for key, item in items.items():
        export.memories += _memory(key, item, history.pop(key, []), export)
    # What is left are memories of which only the history is left, and a history does not say whose they were.
    owners = {memory.owner for memory in export.memories}
    if len(owners) > 1:
        export.skipped["history of a deleted memory of an unknown owner"] += len(history)
    else:
        export.personal = bool(items)
        for key, rows in history.items():
            deleted = _memory(key, None, rows, export)
            export.memories += [replace(memory, owner=next(iter(owners), None)) for memory in deleted]
    return export


def _entries(entry: JsonEntry) -> Iterator[JsonEntry]:
    """Yield the memories and the rows of a history within an entry, whatever lists they stand in."""
    value = entry.value
    if isinstance(value, dict) and any(isinstance(value.get(key), list) for key in _LISTS) and "memory" not in value:
        for key in _LISTS:
            yield from _entries(JsonEntry(f"{entry.label}, {key}", value.get(key) or []))
    elif isinstance(value, list):
        for number, part in enumerate(value, 1):
            yield from _entries(JsonEntry(f"{entry.label}, entry {number}", part))
    else:
        yield entry


def _sort(entry: JsonEntry, items: dict[str, JsonEntry], history: dict[str, list[JsonEntry]]) -> None:
    """Put an entry to the memories or to the rows of a history, by the id of its memory."""
    value = entry.value
    if not isinstance(value, dict):
        raise ValueError(f"it is {type(value).__name__}, no memory")
    if "memory_id" in value and ("new_memory" in value or "old_memory" in value):
        history[_id(value["memory_id"])].append(entry)
        return
    payload = value.get("payload")
    if isinstance(payload, dict):  # as a vector store holds it
        value = {"memory": payload.get("data"), **payload, "id": value.get("id")}
    key = _id(value.get("id"))
    items[key] = JsonEntry(entry.label, value)
    rows = value.get("history")
    for number, row in enumerate(rows if isinstance(rows, list) else [], 1):
        if isinstance(row, dict):
            history[key].append(JsonEntry(f"{entry.label}, history {number}", row))


def _id(value: object) -> str:
    key = clean_name(value)
    if key is None:
        raise ValueError("it has no id")
    return key


def _memory(key: str, item: JsonEntry | None, rows: Sequence[JsonEntry], export: Export) -> list[ImportedMemory]:
    """Return the memory, or nothing where it cannot be used.

    Args:
        key: Its id.
        item: The memory as it is now; None if only its history is left.
        rows: Its history.
        export: Broken parts are named there.
    """
    versions: list[MemoryVersion] = []
    for row in rows:
        try:
            deleted = row.value.get("event") == "DELETE" or bool(row.value.get("is_deleted"))
            versions.append(
                _version(key, None if deleted else clean_memory_text(row.value.get("new_memory")), row.value)
            )
        except BROKEN_ENTRY as error:
            export.broken.append(f"{row.label}: {reason(error)}")
    versions.sort(key=lambda version: version.at or datetime.min.replace(tzinfo=UTC))
    fields: Mapping[str, Any] = item.value if item else {}
    try:
        # mem0 scopes by user, agent or run; an agent's memories are not those of a user of the same name.
        owner = user_id_of(fields)
        for kind in ("agent", "run") if owner is None else ():
            label = fields.get(f"{kind}_id")
            if isinstance(label, str) and label.strip():
                owner = f"{kind}:{label}"
                break
        if item is not None:
            text = clean_memory_text(fields.get("memory", fields.get("text")))
            if not versions or versions[-1].text != text:
                versions.append(_version(key, text, fields))
    except BROKEN_ENTRY as error:
        export.broken.append(f"{item.label if item else key}: {reason(error)}")
        return []
    if not versions:
        return []
    speaker, session = clean_name(fields.get("actor_id")), clean_name(fields.get("run_id"))
    if item is None:
        return [ImportedMemory(f"mem0:{key}", tuple(versions), owner, speaker, session)]
    tags = [*tags_of(fields.get("categories"), export.skipped), *tags_of(fields.get("tags"), export.skipped)]
    imported = ImportedMemory(
        f"mem0:{key}", tuple(versions), owner, speaker, session,
        metadata=metadata_of(fields, _READ, export.skipped),
        tags=tuple(dict.fromkeys(tags)),
        expires_at=expiry_of(fields.get("expiration_date") or fields.get("expires_at"), export.skipped),
    )  # fmt: skip
    return [imported]


def _version(key: str, text: str | None, fields: Mapping[str, Any]) -> MemoryVersion:
    at = parse_time(fields.get("updated_at")) or parse_time(fields.get("created_at"))
    return MemoryVersion(f"mem0:{key}@{short_hash(text, at)}", text, at)
