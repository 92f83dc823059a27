"""Memories of langmem, and of any LangGraph store: lists of `Item.dict()`, or the values alone.

[{"namespace": ["memories", "ann"], "key": "…", "value": {"kind": "Memory", "content": {"content": "Loves pizza"}},
  "created_at": "…", "updated_at": "…"}]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
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
)
from langgraph_memory_r1.importers.files import JsonDocument, JsonEntry

_TEXTS = ("content", "text", "memory", "data")
_PLAIN_KINDS = ("Memory", "str", None)
_ITEM = frozenset({"namespace", "key", "value", "created_at", "updated_at", "score"})
"""Fields of an item of a store."""
_GENERIC = frozenset({"memories", "memory", "users", "user"})
"""Labels of a namespace that say nothing about whose it is."""


def read_langmem(document: JsonDocument) -> Export:
    """Return the memories of a langmem or LangGraph store."""
    export = Export("langmem", broken=list(document.broken))
    for entry in chain.from_iterable(map(_items, document.entries)):
        try:
            item = entry.value
            if not isinstance(item, dict):
                raise ValueError(f"it is {type(item).__name__}, no item of a store")
            value = item.get("value", item)
            if not isinstance(value, dict):
                raise ValueError(f"its value is {type(value).__name__}, no object")
            text = clean_memory_text(_text(value))
            labels = item.get("namespace") or []
            labels = labels.split(".") if isinstance(labels, str) else [str(label) for label in labels]
            # What is particular in a namespace names the owner: ("memories", "ann") is Ann's.
            particular = [label for label in labels if label not in _GENERIC]
            if any(not label.strip() for label in particular):
                raise ValueError("a label of its namespace is blank")
            at = parse_time(item.get("updated_at")) or parse_time(item.get("created_at"))
            key = "/".join([*labels, clean_name(item.get("key")) or short_hash(text)])
            version = MemoryVersion(f"langmem:{key}@{short_hash(text, at)}", text, at)
            if "value" in item:
                export.skipped.update(f"field {name[:40]!r}" for name in item if name not in _ITEM)
            read = _read_of(value)
            imported = ImportedMemory(
                f"langmem:{key}", (version,), "/".join(particular) or None,
                metadata=metadata_of(value, read, export.skipped) if read else {},
                tags=tags_of(value.get("tags"), export.skipped) if read else (),
                expires_at=expiry_of(value.get("expires_at"), export.skipped) if read else None,
            )  # fmt: skip
            export.memories.append(imported)
        except BROKEN_ENTRY as error:
            export.broken.append(f"{entry.label}: {reason(error)}")
    return export


def _items(entry: JsonEntry) -> Iterator[JsonEntry]:
    """Yield the items within an entry, whatever lists they stand in."""
    value = entry.value
    if isinstance(value, dict) and isinstance(value.get("items"), list) and "key" not in value:
        value = value["items"]  # as a LangGraph server answers a search
    if isinstance(value, list):
        for number, part in enumerate(value, 1):
            yield from _items(JsonEntry(f"{entry.label}, entry {number}", part))
    else:
        yield JsonEntry(entry.label, value)


def _text(value: Mapping[str, Any]) -> str:
    """Return a plain memory as it is, a profile as the name of its schema and its fields."""
    kind = value.get("kind")
    content = value.get("content") if kind is not None else next((value[key] for key in _TEXTS if key in value), value)
    if isinstance(content, str):
        return content
    if not isinstance(content, dict):
        raise ValueError(f"its content is {'missing' if content is None else type(content).__name__}")
    if set(content) == {"content"} and isinstance(content["content"], str):
        return content["content"]
    fields = "; ".join(f"{key}: {_in_words(part)}" for key, part in content.items() if part not in (None, "", [], {}))
    return fields if kind in _PLAIN_KINDS or not fields else f"{kind}: {fields}"


def _read_of(value: Mapping[str, Any]) -> frozenset[str]:
    """Return the fields of a value that are no metadata; none where all of them make its text."""
    own = next((key for key in _TEXTS if key in value), None)
    if value.get("kind") is None and own is None:
        return frozenset()
    # The value may stand alone, with the fields of its item in it.
    return frozenset({"kind", "content" if value.get("kind") is not None else str(own), "tags", "expires_at", *_ITEM})


def _in_words(part: Any) -> str:
    if isinstance(part, dict):
        return ", ".join(f"{key} {_in_words(value)}" for key, value in part.items())
    return ", ".join(_in_words(value) for value in part) if isinstance(part, list) else str(part)
