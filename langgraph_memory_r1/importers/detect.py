"""Which product an export is from, by what is in it."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

from langgraph_memory_r1.bank.records import FORMAT as BANK
from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.importers.files import file_names, read_json_document, read_text
from langgraph_memory_r1.importers.whatsapp import looks_like_whatsapp

_SQLITE = b"SQLite format 3\0"
_LOOKED_AT = 20
_WRAPPERS = ("results", "memories", "items", "history", "data")


def detect(path: Path) -> str:
    """Return the name of the format of an export.

    Raises:
        InputError: None fits, or the file cannot be read.
    """
    format: str | None = None
    try:
        if path.is_dir() or zipfile.is_zipfile(path):
            names = {PurePosixPath(name).name for name in file_names(path)}
            if "channels.json" in names or "users.json" in names:
                format = "slack"
            elif "result.json" in names:
                format = "telegram"
            elif any(name.startswith("message_") and name.endswith(".json") for name in names):
                format = "facebook"
            elif any(name.endswith(".txt") for name in names):
                format = "whatsapp"
        else:
            with path.open("rb") as file:
                head = file.read(4096)
            start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
            coding = "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
            text = head.decode(coding, errors="replace")
            if head.startswith(_SQLITE):
                format = "imessage"
            elif start[:1] == b"{" and BANK.encode() in start.partition(b"\n")[0]:
                format = "jsonl"
            elif looks_like_whatsapp(text):  # before JSON: "[1/22/23, 6:30:05 PM] Ann: ..." begins like a list
                format = "whatsapp"
            elif text.lstrip()[:1] in ("{", "["):
                entries = read_json_document(path).entries[:_LOOKED_AT]
                format = next((shape for entry in entries if (shape := _format_of_value(entry.value))), None)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); name an export.") from error
    if format is None:
        raise InputError(
            f"{path} is no export that is known by its look; name its --format, or remember plain notes with: "
            f"memory-r1 remember {path}"
        )
    return format


def is_bank(path: Path) -> bool:
    """Return whether a JSONL file is what `memory-r1 export` wrote; else it holds conversations."""
    first_line = read_text(path).lstrip().partition("\n")[0]
    try:
        header = json.loads(first_line)
    except (ValueError, RecursionError):
        return False
    return isinstance(header, dict) and header.get("format") == BANK


def _format_of_value(value: Any, depth: int = 3) -> str | None:
    """Return the format that a value looks like, or the first value within its lists and wrappers that has one."""
    if isinstance(value, list):
        if depth == 0:
            return None
        if len(value) == 2 and isinstance(value[0], str):
            return "messages"
        parts = value[:_LOOKED_AT]
    elif isinstance(value, dict):
        keys = value.keys()
        if value.get("format") == BANK or "turns" in keys:
            return "jsonl"
        if {"memory_id", "new_memory"} <= keys or {"memory", "id"} <= keys or {"id", "payload"} <= keys:
            return "mem0"
        if {"key", "value"} <= keys or {"kind", "content"} <= keys or {"namespace", "value"} <= keys:
            return "langmem"
        if "chats" in keys or {"name", "type", "messages"} <= keys:
            return "telegram"
        if {"participants", "messages"} <= keys:
            return "facebook"
        if "mapping" in keys or "messages" in keys or "input" in keys or isinstance(value.get("values"), dict):
            return "messages"
        if "lc" in keys or (("role" in keys or "type" in keys) and ("content" in keys or "data" in keys)):
            return "messages"
        parts = [value.get(key) for key in _WRAPPERS] if depth else []
    else:
        return None
    return next((format for part in parts if (format := _format_of_value(part, depth - 1))), None)
