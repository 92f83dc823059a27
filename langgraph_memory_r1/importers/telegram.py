"""Telegram Desktop's export as machine-readable JSON: one chat, or all of an account."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.importers.chats import Said, first_time, loader, take
from langgraph_memory_r1.importers.documents import decode, load
from langgraph_memory_r1.importers.export import Export
from langgraph_memory_r1.importers.fields import moment, name, why
from langgraph_memory_r1.importers.files import members


def read_telegram(path: Path, scratch: Path) -> Export:
    """The chats of an export."""
    export = Export("telegram")
    loads = loader("telegram", "TelegramChatLoader")
    for place, chat in _chats(path, export):
        messages = _prepared(place, chat, export)
        copy = scratch / "chat.json"
        copy.write_text(json.dumps({"messages": messages}), encoding="utf-8")
        for session in loads(str(copy)).lazy_load():
            said: list[Said] = [(message, moment(first_time(message))) for message in session["messages"]]
            take(export, name(chat.get("name")) or "chat", said)
    return export


def _chats(path: Path, export: Export) -> Iterator[tuple[str, dict[str, Any]]]:
    found = False
    for member in members(path, ".json"):
        place = str(path) if member.name == path.name else f"{path}, {member.name}"
        try:
            data = load(decode(member.read(), place))
        except ValueError as error:
            export.broken.append(f"{place}: {why(error)}")
            continue
        for number, chat in enumerate(_listed(data), 1):
            found = True
            yield f"{place}, chat {number}", chat
    if not found and not export.broken:
        raise InputError(f"{path} holds no chat of Telegram; export it as machine-readable JSON (result.json).")


def _listed(data: Any) -> list[dict[str, Any]]:
    """The one chat, or those of an account."""
    if not isinstance(data, dict):
        return []
    if isinstance(data.get("messages"), list):
        return [data]
    held = [part.get("list") for part in (data.get("chats"), data.get("left_chats")) if isinstance(part, dict)]
    chats = [chat for part in held if isinstance(part, list) for chat in part if isinstance(chat, dict)]
    return [chat for chat in chats if isinstance(chat.get("messages"), list)]


def _prepared(place: str, chat: dict[str, Any], export: Export) -> list[dict[str, Any]]:
    """Messages as the loader reads them: a text without its formatting, a time that says its zone."""
    messages = []
    for number, message in enumerate(chat["messages"], 1):
        try:
            if message.get("type") == "service":
                export.skipped["notice"] += 1
                continue
            at = moment(message.get("date_unixtime")) or moment(message.get("date"))
            words = {"text": _text(message.get("text", "")), "from": message.get("from")}
            messages.append({**words, "date": at.isoformat() if at else ""})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            export.broken.append(f"{place}, message {number}: {why(error)}")
    return messages


def _text(text: Any) -> str:
    """A text may be a list of words and formatted parts."""
    if isinstance(text, str):
        return text
    return "".join(part if isinstance(part, str) else str(part["text"]) for part in text)
