"""mem0's memories: what `get_all` and `search` return, its platform's pages, rows of its vector store, its history.

    {"results": [{"id": "…", "memory": "Loves pizza", "created_at": "…", "user_id": "ann", "metadata": {…}}]}

With the rows of `history(id)` (beside the results, or within an entry) every earlier wording comes along.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from langgraph_memory_r1.importers.documents import JsonDocument, JsonEntry
from langgraph_memory_r1.importers.export import Export, ImportedMemory, MemoryVersion
from langgraph_memory_r1.importers.fields import fact, fingerprint, moment, name, owner, why

_LISTS = ("results", "memories", "history")
_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError)


def read_mem0(document: JsonDocument) -> Export:
    """The memories of a mem0 export, each with its wordings."""
    export = Export("mem0", broken=list(document.broken))
    items: dict[str, JsonEntry] = {}
    rows: dict[str, list[JsonEntry]] = defaultdict(list)
    for entry in document.entries:
        for found in _entries(entry):
            try:
                _sort(found, items, rows)
            except _UNREADABLE as error:
                export.broken.append(f"{found.place}: {why(error)}")
    for key, item in items.items():
        export.memories += _kept(key, item, rows.pop(key, []), export)
    _take_deleted(rows, bool(items), export)
    return export


def _take_deleted(rows: Mapping[str, Sequence[JsonEntry]], items: bool, export: Export) -> None:
    """Memories of which only the history is left; it does not say whose they were."""
    owners = {kept.owner for kept in export.memories}
    if len(owners) > 1:
        export.skipped["history of a deleted memory of an unknown owner"] += len(rows)
        return
    export.personal = items
    for key, some in rows.items():
        found = _kept(key, None, some, export)
        export.memories += [replace(kept, owner=next(iter(owners), None)) for kept in found]


def _entries(entry: JsonEntry) -> Iterator[JsonEntry]:
    value = entry.value
    if isinstance(value, dict) and any(isinstance(value.get(key), list) for key in _LISTS) and "memory" not in value:
        for key in _LISTS:
            yield from _entries(JsonEntry(f"{entry.place}, {key}", value.get(key) or []))
    elif isinstance(value, list):
        for number, part in enumerate(value, 1):
            yield from _entries(JsonEntry(f"{entry.place}, entry {number}", part))
    else:
        yield entry


def _sort(entry: JsonEntry, items: dict[str, JsonEntry], rows: dict[str, list[JsonEntry]]) -> None:
    value = entry.value
    if not isinstance(value, dict):
        raise ValueError(f"it is {type(value).__name__}, no memory")
    if "memory_id" in value and ("new_memory" in value or "old_memory" in value):
        rows[_id(value["memory_id"])].append(entry)
        return
    payload = value.get("payload")
    if isinstance(payload, dict):  # as a vector store holds it
        value = {"memory": payload.get("data"), **payload, "id": value.get("id")}
    key = _id(value.get("id"))
    items[key] = JsonEntry(entry.place, value)
    history = value.get("history")
    for number, row in enumerate(history if isinstance(history, list) else [], 1):
        if isinstance(row, dict):
            rows[key].append(JsonEntry(f"{entry.place}, history {number}", row))


def _id(value: object) -> str:
    found = name(value)
    if found is None:
        raise ValueError("it has no id")
    return found


def _kept(key: str, item: JsonEntry | None, rows: Sequence[JsonEntry], export: Export) -> list[ImportedMemory]:
    """The memory, or nothing where it cannot be used."""
    about: Mapping[str, Any] = item.value if item else {}
    wordings = _history(key, rows, export)
    try:
        whose = _owner(about)
        if item is not None:
            text = fact(about.get("memory", about.get("text")))
            if not wordings or wordings[-1].text != text:
                at = moment(about.get("updated_at")) or moment(about.get("created_at"))
                wordings.append(_wording(key, text, at))
    except _UNREADABLE as error:
        export.broken.append(f"{item.place if item else key}: {why(error)}")
        return []
    speaker = name(about.get("actor_id"))
    return (
        [ImportedMemory(f"mem0:{key}", tuple(wordings), whose, speaker, name(about.get("run_id")))] if wordings else []
    )


def _history(key: str, rows: Sequence[JsonEntry], export: Export) -> list[MemoryVersion]:
    wordings = []
    for row in rows:
        try:
            at = moment(row.value.get("updated_at")) or moment(row.value.get("created_at"))
            gone = row.value.get("event") == "DELETE" or bool(row.value.get("is_deleted"))
            wordings.append(_wording(key, None if gone else fact(row.value.get("new_memory")), at))
        except _UNREADABLE as error:
            export.broken.append(f"{row.place}: {why(error)}")
    return sorted(wordings, key=lambda wording: wording.at or datetime.min.replace(tzinfo=UTC))


def _wording(key: str, text: str | None, at: datetime | None) -> MemoryVersion:
    return MemoryVersion(f"mem0:{key}@{fingerprint(text, at)}", text, at)


def _owner(item: Mapping[str, Any]) -> str | None:
    """mem0 scopes by user, agent or run; an agent's memories are not those of a user of the same name."""
    found = owner(item)
    if found is not None:
        return found
    for kind in ("agent", "run"):
        label = item.get(f"{kind}_id")
        if isinstance(label, str) and label.strip():
            return f"{kind}:{label}"
    return None
