"""Reads an export of any known format."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from langgraph_memory_r1.conversations import read_conversations
from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.importers.detect import detect
from langgraph_memory_r1.importers.documents import JsonDocument, read_document
from langgraph_memory_r1.importers.export import Export, ImportedMemory, OwnedConversation
from langgraph_memory_r1.importers.facebook import read_facebook
from langgraph_memory_r1.importers.imessage import read_imessage
from langgraph_memory_r1.importers.langmem import read_langmem
from langgraph_memory_r1.importers.mem0 import read_mem0
from langgraph_memory_r1.importers.messages import read_messages
from langgraph_memory_r1.importers.slack import read_slack
from langgraph_memory_r1.importers.telegram import read_telegram
from langgraph_memory_r1.importers.whatsapp import read_whatsapp
from langgraph_memory_r1.turns import with_ids

_JSON: dict[str, Callable[[JsonDocument], Export]] = {
    "messages": read_messages,
    "mem0": read_mem0,
    "langmem": read_langmem,
}
_APPS: dict[str, Callable[[Path, Path], Export]] = {
    "whatsapp": read_whatsapp,
    "telegram": read_telegram,
    "slack": read_slack,
    "imessage": read_imessage,
    "facebook": read_facebook,
}
FORMATS = ("jsonl", *_JSON, *_APPS)


def read_export(path: str | os.PathLike[str], format: str = "auto", *, strict: bool = False) -> Export:
    """Everything that an export holds.

    Args:
        path: A file, a folder or a zip.
        format: One of `FORMATS`; "auto" looks at what is in it.
        strict: Refuse an export with a broken entry.

    Raises:
        InputError: it cannot be read, is of no known format, holds nothing, or with `strict` an entry is broken.
        MissingDependencyError: chats of an app need an extra.
    """
    path = Path(path)
    format = detect(path) if format == "auto" else format
    export = _read(path, format)
    export.memories = _each_once(export.memories)
    if strict and export.broken:
        raise InputError(f"{export.broken[0]}. Nothing was imported; leave out --strict to skip broken entries.")
    if not (export.conversations or export.memories):
        broken = f" ({export.broken[0]})" if export.broken else ""
        raise InputError(f"{path} holds nothing to import as {format}{broken}; name another file or --format.")
    return export


def _read(path: Path, format: str) -> Export:
    if not path.exists():
        raise InputError(f"{path} cannot be read (there is no such file); name an export.")
    if format in _JSON:
        return _JSON[format](read_document(path))
    if format in _APPS:
        with TemporaryDirectory(prefix="memory-r1-") as scratch:
            return _APPS[format](path, Path(scratch))
    if format == "jsonl":
        return _read_jsonl(path)
    raise InputError(f"There is no format {format!r}; give one of {', '.join(FORMATS)}.")


def _each_once(kept: list[ImportedMemory]) -> list[ImportedMemory]:
    """Pages and searches overlap: a memory that comes twice is one, with the wordings of both."""
    found: dict[str, ImportedMemory] = {}
    for memory in kept:
        first = found.get(memory.id, memory)
        wordings = {wording.id: wording for wording in (*first.versions, *memory.versions)}
        found[memory.id] = replace(first, versions=tuple(wordings.values()))
    return list(found.values())


def _read_jsonl(path: Path) -> Export:
    """Our own conversations, with the ids that `remember` gives their turns."""
    export = Export("jsonl", personal=False)
    found = read_conversations(path, on_skip=lambda error: export.broken.append(str(error)))
    for conversation in found:
        turns = [replace(turn, id=f"{conversation.id}/{turn.id}") for turn in with_ids(conversation.turns)]
        export.conversations.append(OwnedConversation(replace(conversation, turns=tuple(turns), questions=())))
    return export
