"""iMessage's database, `chat.db`, or a copy of it."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.importers.chats import TimedMessage, add_chat, chat_loader, sender
from langgraph_memory_r1.importers.export import Export

_APPLE_EPOCH = datetime(2001, 1, 1, tzinfo=UTC)
_NANOSECONDS = 1e11
"""Smaller numbers are seconds, as before macOS 10.13."""


def read_imessage(path: Path, scratch: Path) -> Export:
    """Return the chats of a database; what its owner wrote is said by "user"."""
    export = Export("imessage")
    base = chat_loader("imessage", "IMessageChatLoader")

    class Loader(base):  # type: ignore[misc, valid-type]
        """Counts a body that it cannot read; the loader itself would give up the database."""

        def _parse_attributed_body(self, attributed_body: bytes) -> str:
            try:
                return str(base._parse_attributed_body(attributed_body))
            except (IndexError, TypeError, AttributeError):
                export.broken.append(f"{path}: a message of {len(attributed_body):,} bytes has no readable text")
                return ""

    try:
        for session in Loader(path).lazy_load():
            messages = session["messages"]
            timed: list[TimedMessage] = []
            for message in messages:
                since = message.additional_kwargs.get("message_time") or 0
                seconds = since / 1e9 if abs(since) >= _NANOSECONDS else since
                timed.append((message, _APPLE_EPOCH + timedelta(seconds=seconds) if since else None))
            speakers = ["user" if message.additional_kwargs["is_from_me"] else sender(message) for message in messages]
            others = {sender(message) for message in messages if not message.additional_kwargs["is_from_me"]}
            add_chat(export, ", ".join(sorted(others)) or "chat", timed, speakers)
    except (sqlite3.Error, OverflowError, TypeError) as error:
        raise InputError(f"{path} cannot be read as iMessage's chat.db ({error}); copy the file first.") from error
    return export
