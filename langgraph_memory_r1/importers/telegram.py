"""Telegram Desktop's export as machine-readable JSON: one chat, or all of an account."""

from __future__ import annotations

import json
from pathlib import Path

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.importers.chats import TimedMessage, add_chat, chat_loader, message_time
from langgraph_memory_r1.importers.export import Export
from langgraph_memory_r1.importers.fields import BROKEN_ENTRY, clean_name, parse_time, reason
from langgraph_memory_r1.importers.files import decode_text, files_in, load_json


def read_telegram(path: Path, scratch: Path) -> Export:
    """Return the chats of an export."""
    export = Export("telegram")
    loader = chat_loader("telegram", "TelegramChatLoader")
    any_chat = False
    for file in files_in(path, ".json"):
        try:
            data = load_json(decode_text(file.read(), file.label))
        except ValueError as error:
            export.broken.append(f"{file.label}: {reason(error)}")
            continue
        chats = [data] if isinstance(data, dict) else []
        if chats and not isinstance(data.get("messages"), list):  # an account, with its chats in two lists
            parts = [part.get("list") for part in (data.get("chats"), data.get("left_chats")) if isinstance(part, dict)]
            chats = [chat for part in parts if isinstance(part, list) for chat in part if isinstance(chat, dict)]
            chats = [chat for chat in chats if isinstance(chat.get("messages"), list)]
        for number, chat in enumerate(chats, 1):
            any_chat = True
            # As the loader reads them: a text without its formatting, a time that says its zone.
            messages = []
            for position, message in enumerate(chat["messages"], 1):
                try:
                    if message.get("type") == "service":
                        export.skipped["notice"] += 1
                        continue
                    at = parse_time(message.get("date_unixtime")) or parse_time(message.get("date"))
                    text = message.get("text", "")
                    if not isinstance(text, str):  # a list of words and of formatted parts
                        text = "".join(part if isinstance(part, str) else str(part["text"]) for part in text)
                    messages.append({"text": text, "from": message.get("from"), "date": at.isoformat() if at else ""})
                except BROKEN_ENTRY as error:
                    export.broken.append(f"{file.label}, chat {number}, message {position}: {reason(error)}")
            copy = scratch / "chat.json"
            copy.write_text(json.dumps({"messages": messages}), encoding="utf-8")
            for session in loader(str(copy)).lazy_load():
                timed: list[TimedMessage] = [
                    (message, parse_time(message_time(message))) for message in session["messages"]
                ]
                add_chat(export, clean_name(chat.get("name")) or "chat", timed)
    if not any_chat and not export.broken:
        raise InputError(f"{path} holds no chat of Telegram; export it as machine-readable JSON (result.json).")
    return export
