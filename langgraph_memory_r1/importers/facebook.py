"""Facebook Messenger's download as JSON: one `message_1.json`, or the folder or zip that holds them."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.importers.chats import loader, take
from langgraph_memory_r1.importers.documents import decode, load
from langgraph_memory_r1.importers.export import Export
from langgraph_memory_r1.importers.fields import moment, name, why
from langgraph_memory_r1.importers.files import members

_BROKEN = (ValueError, TypeError, KeyError, AttributeError)


def read_facebook(path: Path, scratch: Path) -> Export:
    """The chats of a download; the parts of one chat are put together."""
    export = Export("facebook")
    loads = loader("facebook_messenger", "SingleFileFacebookMessengerChatLoader")
    chats: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for member in members(path, ".json"):
        place = str(path) if member.name == path.name else f"{path}, {member.name}"
        try:
            data = load(decode(member.read(), place))
            chats[_repaired(name(data.get("title")) or member.place.parent.name or "chat")] += _prepared(
                place, data["messages"], export
            )
        except _BROKEN as error:
            export.broken.append(f"{place}: {why(error)}")
    if not chats and not export.broken:
        raise InputError(f"{path} holds no chat of Messenger; download your messages as JSON.")
    for title, messages in chats.items():
        messages.sort(key=lambda message: message["timestamp_ms"])
        copy = scratch / "messages.json"
        copy.write_text(json.dumps({"messages": messages}), encoding="utf-8")
        times = [moment(message["timestamp_ms"]) for message in messages]  # the loader keeps none
        for session in loads(copy).lazy_load():
            take(export, title, zip(session["messages"], times, strict=True))
    return export


def _prepared(place: str, messages: list[Any], export: Export) -> list[dict[str, Any]]:
    prepared = []
    for number, message in enumerate(messages, 1):
        try:
            if "content" not in message:
                export.skipped["without words"] += 1
                continue
            words = {"content": _repaired(message["content"]), "sender_name": _repaired(message["sender_name"])}
            moment(message["timestamp_ms"])
            prepared.append({**words, "timestamp_ms": float(message["timestamp_ms"])})
        except _BROKEN as error:
            export.broken.append(f"{place}, message {number}: {why(error)}")
    return prepared


def _repaired(text: str) -> str:
    """Facebook writes each byte of UTF-8 as a character of its own."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text
