"""JSON and JSONL files of any origin, read without trust: what is broken is named, the rest is used."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from langgraph_memory_r1.errors import InputError

LARGEST = 512 * 1024 * 1024
"""Bytes that are read of one export, unpacked."""


@dataclass(frozen=True, slots=True)
class JsonEntry:
    """A value of a file, and where it stands."""

    place: str
    value: Any


@dataclass
class JsonDocument:
    """A file as entries: one for a JSON file, one a line for JSONL."""

    path: Path
    entries: list[JsonEntry] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


def read_document(path: Path) -> JsonDocument:
    """Reads a JSON or JSONL file.

    Raises:
        InputError: it cannot be read, or is neither.
    """
    text = read_text(path)
    document = JsonDocument(path)
    try:
        document.entries.append(JsonEntry(str(path), load(text)))
    except ValueError as error:
        whole = str(error)
    else:
        return document
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            _read_line(document, f"{path}:{number}", line)
    # Pretty-printed JSON with a fault in it has lines that are JSON by themselves ("}", "1"); JSONL has containers.
    if not any(isinstance(entry.value, (dict, list)) and entry.value for entry in document.entries):
        raise InputError(f"{path} is neither JSON nor JSONL ({whole}); export it again, or name its --format.")
    return document


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        InputError: it cannot be opened, is no text, or is larger than `LARGEST`.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(f"{path} is larger than {LARGEST // 2**20} MB; split it, and import the parts.")
        return decode(path.read_bytes(), str(path))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); name an export.") from error


def decode(data: bytes, place: str) -> str:
    """Bytes as text, UTF-8 or with a mark that says UTF-16.

    Raises:
        InputError: they are something else.
    """
    coding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(coding)
    except UnicodeDecodeError as error:
        raise InputError(f"{place} is no text in UTF-8 (byte {error.start:,}); save it as UTF-8.") from error


def load(text: str) -> Any:
    """JSON as a value.

    Raises:
        ValueError: it is none, or is nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _read_line(document: JsonDocument, place: str, line: str) -> None:
    try:
        document.entries.append(JsonEntry(place, load(line)))
    except ValueError as error:
        document.broken.append(f"{place}: {error}")
