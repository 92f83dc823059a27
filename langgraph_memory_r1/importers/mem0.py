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

from langgraph_memory_r1.importers.documents import Document, Entry
from langgraph_memory_r1.importers.fields import fact, fingerprint, moment, name, owner, why
from langgraph_memory_r1.importers.harvest import Harvest, Kept, Wording

_LISTS = ("results", "memories", "history")
_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError)


def read_mem0(document: Document) -> Harvest:
    """The memories of a mem0 export, each with its wordings."""
    harvest = Harvest("mem0", broken=list(document.broken))
    items: dict[str, Entry] = {}
    rows: dict[str, list[Entry]] = defaultdict(list)
    for entry in document.entries:
        for found in _entries(entry):
            try:
                _sort(found, items, rows)
            except _UNREADABLE as error:
                harvest.broken.append(f"{found.place}: {why(error)}")
    for key, item in items.items():
        harvest.kept += _kept(key, item, rows.pop(key, []), harvest)
    _take_deleted(rows, bool(items), harvest)
    return harvest


def _take_deleted(rows: Mapping[str, Sequence[Entry]], items: bool, harvest: Harvest) -> None:
    """Memories of which only the history is left; it does not say whose they were."""
    owners = {kept.owner for kept in harvest.kept}
    if len(owners) > 1:
        harvest.skipped["history of a deleted memory of an unknown owner"] += len(rows)
        return
    harvest.personal = items
    for key, some in rows.items():
        found = _kept(key, None, some, harvest)
        harvest.kept += [replace(kept, owner=next(iter(owners), None)) for kept in found]


def _entries(entry: Entry) -> Iterator[Entry]:
    value = entry.value
    if isinstance(value, dict) and any(isinstance(value.get(key), list) for key in _LISTS) and "memory" not in value:
        for key in _LISTS:
            yield from _entries(Entry(f"{entry.place}, {key}", value.get(key) or []))
    elif isinstance(value, list):
        for number, part in enumerate(value, 1):
            yield from _entries(Entry(f"{entry.place}, entry {number}", part))
    else:
        yield entry


def _sort(entry: Entry, items: dict[str, Entry], rows: dict[str, list[Entry]]) -> None:
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
    items[key] = Entry(entry.place, value)
    history = value.get("history")
    for number, row in enumerate(history if isinstance(history, list) else [], 1):
        if isinstance(row, dict):
            rows[key].append(Entry(f"{entry.place}, history {number}", row))


def _id(value: object) -> str:
    found = name(value)
    if found is None:
        raise ValueError("it has no id")
    return found


def _kept(key: str, item: Entry | None, rows: Sequence[Entry], harvest: Harvest) -> list[Kept]:
    """The memory, or nothing where it cannot be used."""
    about: Mapping[str, Any] = item.value if item else {}
    wordings = _history(key, rows, harvest)
    try:
        whose = _owner(about)
        if item is not None:
            text = fact(about.get("memory", about.get("text")))
            if not wordings or wordings[-1].text != text:
                at = moment(about.get("updated_at")) or moment(about.get("created_at"))
                wordings.append(_wording(key, text, at))
    except _UNREADABLE as error:
        harvest.broken.append(f"{item.place if item else key}: {why(error)}")
        return []
    speaker = name(about.get("actor_id"))
    return [Kept(f"mem0:{key}", tuple(wordings), whose, speaker, name(about.get("run_id")))] if wordings else []


def _history(key: str, rows: Sequence[Entry], harvest: Harvest) -> list[Wording]:
    wordings = []
    for row in rows:
        try:
            at = moment(row.value.get("updated_at")) or moment(row.value.get("created_at"))
            gone = row.value.get("event") == "DELETE" or bool(row.value.get("is_deleted"))
            wordings.append(_wording(key, None if gone else fact(row.value.get("new_memory")), at))
        except _UNREADABLE as error:
            harvest.broken.append(f"{row.place}: {why(error)}")
    return sorted(wordings, key=lambda wording: wording.at or datetime.min.replace(tzinfo=UTC))


def _wording(key: str, text: str | None, at: datetime | None) -> Wording:
    return Wording(f"mem0:{key}@{fingerprint(text, at)}", text, at)


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
