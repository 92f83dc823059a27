"""Memories of langmem, and of any LangGraph store: lists of `Item.dict()`, or the values alone.

[{"namespace": ["memories", "ann"], "key": "…", "value": {"kind": "Memory", "content": {"content": "Loves pizza"}},
  "created_at": "…", "updated_at": "…"}]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from langgraph_memory_r1.importers.documents import JsonDocument, JsonEntry
from langgraph_memory_r1.importers.export import Export, ImportedMemory, MemoryVersion
from langgraph_memory_r1.importers.fields import fact, fingerprint, moment, name, why

_TEXTS = ("content", "text", "memory", "data")
_PLAIN_KINDS = ("Memory", "str", None)
_GENERIC = frozenset({"memories", "memory", "users", "user"})
"""Labels of a namespace that say nothing about whose it is."""


def read_langmem(document: JsonDocument) -> Export:
    """The memories of a langmem or LangGraph store."""
    export = Export("langmem", broken=list(document.broken))
    for entry in document.entries:
        for found in _entries(entry):
            try:
                export.memories.append(_kept(found.value))
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                export.broken.append(f"{found.place}: {why(error)}")
    return export


def _entries(entry: JsonEntry) -> Iterator[JsonEntry]:
    value = entry.value
    if isinstance(value, dict) and isinstance(value.get("items"), list) and "key" not in value:
        value = value["items"]  # as a LangGraph server answers a search
    if isinstance(value, list):
        for number, part in enumerate(value, 1):
            yield from _entries(JsonEntry(f"{entry.place}, entry {number}", part))
    else:
        yield JsonEntry(entry.place, value)


def _kept(item: Any) -> ImportedMemory:
    if not isinstance(item, dict):
        raise ValueError(f"it is {type(item).__name__}, no item of a store")
    value = item.get("value", item)
    if not isinstance(value, dict):
        raise ValueError(f"its value is {type(value).__name__}, no object")
    text = fact(_text(value))
    labels = item.get("namespace") or []
    labels = labels.split(".") if isinstance(labels, str) else [str(label) for label in labels]
    at = moment(item.get("updated_at")) or moment(item.get("created_at"))
    key = name(item.get("key")) or fingerprint(text)
    place = "/".join([*labels, key])
    wording = MemoryVersion(f"langmem:{place}@{fingerprint(text, at)}", text, at)
    return ImportedMemory(f"langmem:{place}", (wording,), _owner(labels))


def _owner(labels: list[str]) -> str | None:
    """What is particular in a namespace: ("memories", "ann") is Ann's."""
    telling = [label for label in labels if label not in _GENERIC]
    if any(not label.strip() for label in telling):
        raise ValueError("a label of its namespace is blank")
    return "/".join(telling) or None


def _text(value: Mapping[str, Any]) -> str:
    """A plain memory as it is; a profile as the name of its schema and its fields."""
    kind = value.get("kind")
    content = value.get("content") if kind is not None else next((value[key] for key in _TEXTS if key in value), value)
    if isinstance(content, str):
        return content
    if not isinstance(content, dict):
        raise ValueError(f"its content is {'missing' if content is None else type(content).__name__}")
    if set(content) == {"content"} and isinstance(content["content"], str):
        return content["content"]
    fields = "; ".join(f"{key}: {_shown(part)}" for key, part in content.items() if part not in (None, "", [], {}))
    return fields if kind in _PLAIN_KINDS or not fields else f"{kind}: {fields}"


def _shown(part: Any) -> str:
    if isinstance(part, dict):
        return ", ".join(f"{key} {_shown(value)}" for key, value in part.items())
    return ", ".join(_shown(value) for value in part) if isinstance(part, list) else str(part)
