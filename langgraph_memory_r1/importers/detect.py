"""Which product an export is from, by what is in it."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

from langgraph_memory_r1.bank.records import FORMAT as BANK
from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.importers.documents import JsonDocument, read_document, read_text
from langgraph_memory_r1.importers.files import names
from langgraph_memory_r1.importers.whatsapp import looks_like_whatsapp

_SQLITE = b"SQLite format 3\0"
_LOOKED_AT = 20
_WRAPPERS = ("results", "memories", "items", "history", "data")


def detect(path: Path) -> str:
    """The name of the format.

    Raises:
        InputError: none fits, or the file cannot be read.
    """
    try:
        if path.is_dir() or zipfile.is_zipfile(path):
            found = _of_files(names(path))
        else:
            with path.open("rb") as file:
                head = file.read(4096)
            found = "imessage" if head.startswith(_SQLITE) else _of_text(path, head)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); name an export.") from error
    if found is None:
        raise InputError(
            f"{path} is no export that is known by its look; name its --format, or remember plain notes with: "
            f"memory-r1 remember {path}"
        )
    return found


def _of_files(there: set[str]) -> str | None:
    leaves = {PurePosixPath(name).name for name in there}
    if "channels.json" in leaves or "users.json" in leaves:
        return "slack"
    if "result.json" in leaves:
        return "telegram"
    if any(leaf.startswith("message_") and leaf.endswith(".json") for leaf in leaves):
        return "facebook"
    return "whatsapp" if any(leaf.endswith(".txt") for leaf in leaves) else None


def _of_text(path: Path, head: bytes) -> str | None:
    begin = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if begin[:1] == b"{" and BANK.encode() in begin.partition(b"\n")[0]:
        return "jsonl"
    text = head.decode("utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig", errors="replace")
    if looks_like_whatsapp(text):  # before JSON: "[1/22/23, 6:30:05 PM] Ann: ..." begins like a list
        return "whatsapp"
    if text.lstrip()[:1] in ("{", "["):
        return of_document(read_document(path))
    return None


def of_document(document: JsonDocument) -> str | None:
    """The format of a JSON or JSONL file: what the first of its entries that tells is."""
    for entry in document.entries[:_LOOKED_AT]:
        if found := _of_value(entry.value):
            return found
    return None


def _of_value(value: Any, depth: int = 3) -> str | None:
    if isinstance(value, list):
        if depth == 0:
            return None
        if len(value) == 2 and isinstance(value[0], str):
            return "messages"
        return next((found for part in value[:_LOOKED_AT] if (found := _of_value(part, depth - 1))), None)
    if not isinstance(value, dict):
        return None
    return _of_object(value) or next(
        (found for key in _WRAPPERS if depth and (found := _of_value(value.get(key), depth - 1))), None
    )


def _of_object(value: dict[str, Any]) -> str | None:
    has = value.keys()
    if value.get("format") == BANK or "turns" in has:
        return "jsonl"
    if {"memory_id", "new_memory"} <= has or ("memory" in has and "id" in has) or {"id", "payload"} <= has:
        return "mem0"
    if ("value" in has and "key" in has) or {"kind", "content"} <= has or {"namespace", "value"} <= has:
        return "langmem"
    if "chats" in has or {"name", "type", "messages"} <= has:
        return "telegram"
    if {"participants", "messages"} <= has:
        return "facebook"
    if "mapping" in has or {"messages"} <= has or {"input"} <= has or isinstance(value.get("values"), dict):
        return "messages"
    if "lc" in has or (("role" in has or "type" in has) and ({"content"} <= has or {"data"} <= has)):
        return "messages"
    return None


def is_bank(path: Path) -> bool:
    """Whether a JSONL file is what `memory-r1 export` wrote; else it holds conversations."""
    first = read_text(path).lstrip().partition("\n")[0]
    try:
        head = json.loads(first)
    except (ValueError, RecursionError):
        return False
    return isinstance(head, dict) and head.get("format") == BANK
