"""The files of an export, one file, a folder or a zip, read without trust: what is broken is named, the rest is used.

Names in a zip are never used as paths.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from langgraph_memory_r1.errors import InputError

LARGEST = 512 * 1024 * 1024
"""Bytes that are read of one export, unpacked."""


@dataclass(frozen=True, slots=True)
class ExportFile:
    """One file of an export."""

    path: PurePosixPath
    """Its path within the export."""
    label: str
    """What messages call it."""
    read: Callable[[], bytes]


def files_in(path: Path, suffix: str) -> Iterator[ExportFile]:
    """Yield the files with a suffix, in the order of their names; a single file whatever it is called.

    Raises:
        InputError: The export cannot be read, is damaged, has a password, or unpacks to more than `LARGEST`.
    """
    if path.is_dir():
        files = sorted(file for file in path.rglob(f"*{suffix}") if file.is_file())
        _check_size(path, sum(file.stat().st_size for file in files))
        for file in files:
            name = PurePosixPath(file.relative_to(path).as_posix())
            yield ExportFile(name, f"{path}, {name}", file.read_bytes)
    elif zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                infos = [info for info in archive.infolist() if info.filename.endswith(suffix) and not info.is_dir()]
                # By what the zip says before anything is unpacked: a zip of kilobytes may hold gigabytes of zeros.
                _check_size(path, sum(info.file_size for info in infos))
                for info in sorted(infos, key=lambda info: info.filename):
                    data = archive.read(info)
                    yield ExportFile(PurePosixPath(info.filename), f"{path}, {info.filename}", partial(bytes, data))
        # zipfile raises NotImplementedError for a compression that it does not know, RuntimeError for a password.
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise _damaged(path, error) from error
    else:
        _check_size(path, path.stat().st_size)
        yield ExportFile(PurePosixPath(path.name), str(path), path.read_bytes)


def file_names(path: Path) -> set[str]:
    """Return the names of the files in a folder or zip.

    Raises:
        InputError: The zip is damaged.
    """
    if path.is_dir():
        return {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()}
    try:
        with zipfile.ZipFile(path) as archive:
            return set(archive.namelist())
    except (zipfile.BadZipFile, OSError) as error:
        raise _damaged(path, error) from error


def _check_size(path: Path, size: int) -> None:
    if size > LARGEST:
        raise InputError(f"{path} holds more than {LARGEST // 2**20} MB; import parts of it, one by one.")


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(f"{path} cannot be unpacked ({error}); export it again, or unpack it and name the folder.")


@dataclass(frozen=True, slots=True)
class JsonEntry:
    """A value of a file, and what messages call it."""

    label: str
    value: Any


@dataclass
class JsonDocument:
    """A file as entries: one for a JSON file, one a line for JSONL."""

    path: Path
    entries: list[JsonEntry] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


def read_json_document(path: Path) -> JsonDocument:
    """Return the entries of a JSON or JSONL file.

    Raises:
        InputError: It cannot be read, or is neither.
    """
    # Not `jsonl.read_lines`: only a try tells a JSON document from lines, and some products write UTF-16.
    text = read_text(path)
    try:
        return JsonDocument(path, [JsonEntry(str(path), load_json(text))])
    except ValueError as error:
        not_json = str(error)
    document = JsonDocument(path)
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                document.entries.append(JsonEntry(f"{path}:{number}", load_json(line)))
            except ValueError as error:
                document.broken.append(f"{path}:{number}: {error}")
    # Pretty-printed JSON with a fault in it has lines that are JSON by themselves ("}", "1"); JSONL has containers.
    if not any(isinstance(entry.value, (dict, list)) and entry.value for entry in document.entries):
        raise InputError(f"{path} is neither JSON nor JSONL ({not_json}); export it again, or name its --format.")
    return document


def read_text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        InputError: It cannot be opened, is no text, or is larger than `LARGEST`.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(f"{path} is larger than {LARGEST // 2**20} MB; split it, and import the parts.")
        return decode_text(path.read_bytes(), str(path))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); name an export.") from error


def decode_text(data: bytes, label: str) -> str:
    """Return bytes as text, UTF-8 or with a mark that says UTF-16.

    Raises:
        InputError: They are something else; `label` names them.
    """
    coding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(coding)
    except UnicodeDecodeError as error:
        raise InputError(f"{label} is no text in UTF-8 (byte {error.start:,}); save it as UTF-8.") from error


def load_json(text: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: It is none, or is nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
