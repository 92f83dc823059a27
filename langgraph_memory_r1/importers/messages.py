"""Chat messages as JSON or JSONL: OpenAI's, LangChain's in all its notations, and ChatGPT's own export.

    {"messages": [{"role": "user", "content": "Hi"}]}    [{"type": "human", "data": {"content": "Hi"}}]

Only what a person or the assistant said becomes a turn: instructions, tool calls and their results, reasoning and what
a memory had recalled are counted and left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from langgraph_memory_r1.importers.export import Export, OwnedConversation
from langgraph_memory_r1.importers.fields import (
    BROKEN_ENTRY,
    clean_name,
    parse_time,
    reason,
    user_id_of,
    with_turn_ids,
)
from langgraph_memory_r1.importers.files import JsonDocument, JsonEntry
from langgraph_memory_r1.schemas import Conversation, Turn
from langgraph_memory_r1.turns import RECALLED, text_of

_SPEAKERS = {
    "user": "user", "human": "user", "HumanMessage": "user", "HumanMessageChunk": "user",
    "assistant": "assistant", "ai": "assistant", "model": "assistant", "AIMessage": "assistant",
    "AIMessageChunk": "assistant",
}  # fmt: skip
_TIMES = ("at", "created_at", "create_time", "timestamp", "created", "date")
_IDS = ("id", "conversation_id", "thread_id", "session_id", "title")
_OWN_ID = 16
"""Shorter ids are not unique by themselves ("1", "2", ...)."""


def read_messages(document: JsonDocument) -> Export:
    """Return the conversations of a file of messages."""
    export = Export("messages", broken=list(document.broken), personal=False)
    lines = [entry for entry in document.entries if _is_message(entry.value)]
    if lines:  # JSONL with a message a line is one conversation
        document = JsonDocument(document.path, [JsonEntry(str(document.path), [entry.value for entry in lines])])
    for chat in (chat for entry in document.entries for chat in _chats(entry, export)):
        session = next((name for key in _IDS if (name := clean_name(chat.fields.get(key)))), None)
        turns = []
        for number, message in enumerate(chat.messages, 1):
            try:
                if turn := _turn(message, session, export):
                    turns.append(turn)
            except BROKEN_ENTRY as error:
                export.broken.append(f"{chat.label}, message {number}: {reason(error)}")
        try:
            owner = user_id_of(chat.fields)
        except ValueError as error:
            export.broken.append(f"{chat.label}: {reason(error)}")
            continue
        if turns:
            name = session or f"{document.path.stem}-{len(export.conversations) + 1}"
            export.conversations.append(OwnedConversation(Conversation(name, with_turn_ids(turns, "message")), owner))
    return export


@dataclass(frozen=True, slots=True)
class _Chat:
    """A list of messages, what error messages call it, and the fields of the object that it stands in."""

    label: str
    messages: list[Any]
    fields: Mapping[str, Any]


def _chats(entry: JsonEntry, export: Export) -> Iterator[_Chat]:
    """Yield the lists of messages within an entry, in whichever notation."""
    value = entry.value
    if isinstance(value, list) and value and not any(_is_message(part) for part in value):
        for number, part in enumerate(value, 1):
            yield from _chats(JsonEntry(f"{entry.label}, entry {number}", part), export)
        return
    messages: Any = value
    fields: dict[str, Any] = {}
    if isinstance(value, dict):
        fields = value
        state = value.get("values")  # of a LangGraph thread
        within = state if isinstance(state, dict) else value
        messages = within.get("messages", within.get("input"))
        if isinstance(value.get("mapping"), dict):
            messages = _current_branch(value)
    if not isinstance(messages, list):
        export.broken.append(f"{entry.label}: it holds no messages")
        return
    if "mapping" in fields:
        export.personal = True  # ChatGPT's export is of one account
    yield _Chat(entry.label, messages, fields)


def _current_branch(chat: Mapping[str, Any]) -> list[Any]:
    """Return the messages of a ChatGPT conversation, from its first to its current one.

    Edited messages and replies that were made anew begin other branches, which are left out.
    """
    nodes, messages, passed = chat["mapping"], [], set()
    key = chat.get("current_node")
    key = key if isinstance(key, str) and key in nodes else next(reversed(nodes), None)
    # A broken file may have nodes in a circle.
    while isinstance(key, str) and key not in passed and isinstance(nodes.get(key), dict):
        passed.add(key)
        if nodes[key].get("message") is not None:
            messages.append(nodes[key]["message"])
        key = nodes[key].get("parent")
    return messages[::-1]


def _turn(message: Any, session: str | None, export: Export) -> Turn | None:
    """Return a message as a turn; None, and counted, where nobody's words are in it."""
    role, fields = _role_and_fields(message)
    extra = fields.get("additional_kwargs")
    extra = extra if isinstance(extra, dict) else {}
    if role not in _SPEAKERS or extra.get(RECALLED):
        export.skipped["recalled" if extra.get(RECALLED) else role[:40]] += 1
        return None
    text, other_kinds = text_of(fields.get("content"))
    export.skipped.update(other_kinds)
    if fields.get("tool_calls"):
        export.skipped["tool call"] += 1
    if not text:
        if not other_kinds and not fields.get("tool_calls"):
            export.skipped["empty"] += 1
        return None
    at = next((parse_time(part[key]) for part in (fields, extra) for key in _TIMES if part.get(key)), None)
    message_id = clean_name(fields.get("id")) or ""
    speaker = clean_name(fields.get("name")) or _SPEAKERS[role]
    return Turn(speaker, text, at, message_id if len(message_id) >= _OWN_ID else "", session)


def _is_message(value: Any) -> bool:
    try:
        _role_and_fields(value)
    except (*BROKEN_ENTRY, IndexError):
        return False
    return True


def _role_and_fields(value: Any) -> tuple[str, dict[str, Any]]:
    """Return whose a message is, and its fields, in whichever notation.

    Raises:
        ValueError: It is no message.
    """
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and value[0] in _SPEAKERS:
        return value[0], {"content": value[1]}
    if isinstance(value, dict):
        if value.get("lc") and isinstance(value.get("kwargs"), dict):
            return str(value["id"][-1]), value["kwargs"]
        if isinstance(value.get("data"), dict) and isinstance(value.get("type"), str):
            return value["type"], value["data"]
        if isinstance(value.get("author"), dict) and isinstance(value.get("content"), dict):
            return str(value["author"].get("role")), {**value, "content": value["content"].get("parts", "")}
        role = value.get("role", value.get("type"))
        if isinstance(role, str) and ("content" in value or "tool_calls" in value or "output" in value):
            return role, value
    raise ValueError("it is no message with a role and content")
