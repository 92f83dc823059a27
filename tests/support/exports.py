"""What the tests of the importers share: hand-written exports, and short ways to look at what was read."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from langgraph_memory_r1 import Turn
from langgraph_memory_r1.importers import Export

DATA = Path(__file__).parent.parent / "data"


def at(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]


def turns(export: Export) -> list[Turn]:
    return [turn for talk in export.conversations for turn in talk.conversation.turns]


def said(export: Export) -> list[tuple[str, str]]:
    return [(turn.speaker, turn.text) for turn in turns(export)]


def write_export(path: Path, value: Any) -> Path:
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def chat_database(path: Path) -> Path:
    """The tables of macOS's chat.db that matter, with two chats in them."""
    base = 736_000_000 * 10**9  # nanoseconds since 2001
    body = b"streamtyped\x81\xe8\x03NSString\x01\x94\x84\x01+\x11I play the cello.\x86"
    with sqlite3.connect(path) as db:
        db.executescript(
            "CREATE TABLE handle (ROWID INTEGER PRIMARY KEY, id TEXT);"
            "CREATE TABLE message (ROWID INTEGER PRIMARY KEY, date INTEGER, text TEXT, is_from_me INTEGER,"
            " handle_id INTEGER, attributedBody BLOB);"
            "CREATE TABLE chat_message_join (chat_id INTEGER, message_id INTEGER);"
            "INSERT INTO handle VALUES (1, '+31612345678'), (2, 'eve@example.com');"
            "INSERT INTO chat_message_join VALUES (1, 1), (1, 2), (1, 3), (1, 4), (2, 5);"
        )
        rows = [
            (1, base, "I adopted a dog called Buddy.", 1, 1, None),
            (2, base + 10**9, "I moved to Denver.", 0, 1, None),
            (3, base + 2 * 10**9, None, 1, 1, body),
            (4, base + 3 * 10**9, None, 0, 1, b"NSString"),
            (5, base + 4 * 10**9, "I hate mushrooms.", 0, 2, None),
        ]
        db.executemany("INSERT INTO message VALUES (?, ?, ?, ?, ?, ?)", rows)
    db.close()
    return path
