"""Facebook Messenger's download as JSON: one `message_1.json`, or the folder or zip that holds them."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.importers.chats import add_chat, chat_loader
from langgraph_memory_r1.importers.export import Export
from langgraph_memory_r1.importers.fields import BROKEN_ENTRY, clean_name, parse_time, reason
from langgraph_memory_r1.importers.files import decode_text, files_in, load_json


def read_facebook(path: Path, scratch: Path) -> Export:
    """Return the chats of a download; the parts of one chat are put together."""
    export = Export("facebook")
    loader = chat_loader("facebook_messenger", "SingleFileFacebookMessengerChatLoader")
    chats: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for file in files_in(path, ".json"):
        try:
            data = load_json(decode_text(file.read(), file.label))
            chat = chats[_repaired(clean_name(data.get("title")) or file.path.parent.name or "chat")]
            numbered = list(enumerate(data["messages"], 1))
        except BROKEN_ENTRY as error:
            export.broken.append(f"{file.label}: {reason(error)}")
            continue
        for number, message in numbered:
            try:
                if "content" not in message:
                    export.skipped["without words"] += 1
                    continue
                words = {"content": _repaired(message["content"]), "sender_name": _repaired(message["sender_name"])}
                parse_time(message["timestamp_ms"])
                chat.append({**words, "timestamp_ms": float(message["timestamp_ms"])})
            except BROKEN_ENTRY as error:
                export.broken.append(f"{file.label}, message {number}: {reason(error)}")
    if not chats and not export.broken:
        raise InputError(f"{path} holds no chat of Messenger; download your messages as JSON.")
    for title, messages in chats.items():
        messages.sort(key=lambda message: message["timestamp_ms"])
        copy = scratch / "messages.json"
        copy.write_text(json.dumps({"messages": messages}), encoding="utf-8")
        times = [parse_time(message["timestamp_ms"]) for message in messages]  # the loader keeps none
        for session in loader(copy).lazy_load():
            add_chat(export, title, zip(session["messages"], times, strict=True))
    return export


def _repaired(text: str) -> str:
    """Return a text as it was written: Facebook exports each byte of UTF-8 as a character of its own."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text
