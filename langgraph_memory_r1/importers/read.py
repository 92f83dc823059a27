"""Reading an export of any known format."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from langgraph_memory_r1.conversations import read_conversations
from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.importers.detect import detect
from langgraph_memory_r1.importers.export import Export, ImportedMemory, OwnedConversation
from langgraph_memory_r1.importers.facebook import read_facebook
from langgraph_memory_r1.importers.files import JsonDocument, read_json_document
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
    """Return everything that an export holds.

    Args:
        path: A file, a folder or a zip.
        format: One of `FORMATS`; "auto" looks at what is in it.
        strict: Refuse an export with a broken entry.

    Raises:
        InputError: It cannot be read, is of no known format, holds nothing, or with `strict` an entry is broken.
        MissingDependencyError: Chats of an app need an extra.
    """
    path = Path(path)
    format = detect(path) if format == "auto" else format
    if not path.exists():
        raise InputError(f"{path} cannot be read (there is no such file); name an export.")
    if format in _JSON:
        export = _JSON[format](read_json_document(path))
    elif format in _APPS:
        with TemporaryDirectory(prefix="memory-r1-") as scratch:
            export = _APPS[format](path, Path(scratch))
    elif format == "jsonl":
        export = Export("jsonl", personal=False)
        for conversation in read_conversations(path, on_skip=lambda error: export.broken.append(str(error))):
            # The ids that `remember` gives their turns: importing what was remembered changes nothing.
            turns = [replace(turn, id=f"{conversation.id}/{turn.id}") for turn in with_ids(conversation.turns)]
            export.conversations.append(OwnedConversation(replace(conversation, turns=tuple(turns), questions=())))
    else:
        raise InputError(f"There is no format {format!r}; give one of {', '.join(FORMATS)}.")
    # Pages and searches overlap: a memory that comes twice is one, with the versions of both.
    memories: dict[str, ImportedMemory] = {}
    for memory in export.memories:
        first = memories.get(memory.id, memory)
        versions = {version.id: version for version in (*first.versions, *memory.versions)}
        memories[memory.id] = replace(first, versions=tuple(versions.values()))
    export.memories = list(memories.values())
    if strict and export.broken:
        raise InputError(f"{export.broken[0]}. Nothing was imported; leave strict out to skip broken entries.")
    if not (export.conversations or export.memories):
        broken = f" ({export.broken[0]})" if export.broken else ""
        raise InputError(f"{path} holds nothing to import as {format}{broken}; name another file or --format.")
    return export
