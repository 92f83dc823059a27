"""Chat messages as JSON or JSONL: OpenAI's, LangChain's in all its notations, and ChatGPT's own export.

    {"messages": [{"role": "user", "content": "Hi"}]}    [{"type": "human", "data": {"content": "Hi"}}]

Only what a person or the assistant said becomes a turn: instructions, tool calls and their results, reasoning and what
a memory had recalled are counted and left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langgraph_memory_r1.importers.documents import JsonDocument, JsonEntry
from langgraph_memory_r1.importers.export import Export, OwnedConversation
from langgraph_memory_r1.importers.fields import moment, name, owner, why
from langgraph_memory_r1.importers.identity import identified
from langgraph_memory_r1.schemas import Conversation, Turn
from langgraph_memory_r1.turns import RECALLED, text_of

_SPEAKERS = {
    "user": "user", "human": "user", "HumanMessage": "user", "HumanMessageChunk": "user",
    "assistant": "assistant", "ai": "assistant", "model": "assistant", "AIMessage": "assistant",
    "AIMessageChunk": "assistant",
}  # fmt: skip
_TEXTS = ("text", "input_text", "output_text", "refusal")
_TIMES = ("at", "created_at", "create_time", "timestamp", "created", "date")
_IDS = ("id", "conversation_id", "thread_id", "session_id", "title")
_OWN_ID = 16
"""Shorter ids are not unique by themselves ("1", "2", ...)."""


def read_messages(document: JsonDocument) -> Export:
    """The conversations of a file of messages."""
    export = Export("messages", broken=list(document.broken), personal=False)
    lines = [entry for entry in document.entries if _is_message(entry.value)]
    if lines:  # JSONL with a message a line is one conversation
        document = JsonDocument(document.path, [JsonEntry(str(document.path), [entry.value for entry in lines])])
    for entry in document.entries:
        for found in _conversations(entry, export):
            _take(found, document.path, export)
    return export


@dataclass(frozen=True, slots=True)
class _Found:
    """A list of messages, where it stands, and what is said about it."""

    place: str
    messages: list[Any]
    about: Mapping[str, Any]


def _conversations(entry: JsonEntry, export: Export) -> Iterator[_Found]:
    value = entry.value
    if isinstance(value, list) and value and not any(_is_message(part) for part in value):
        for number, part in enumerate(value, 1):
            yield from _conversations(JsonEntry(f"{entry.place}, entry {number}", part), export)
        return
    messages = _messages_in(value)
    if messages is None:
        export.broken.append(f"{entry.place}: it holds no messages")
    else:
        if isinstance(value, dict) and "mapping" in value:
            export.personal = True  # ChatGPT's export is of one account
        yield _Found(entry.place, messages, value if isinstance(value, dict) else {})


def _messages_in(value: Any) -> list[Any] | None:
    if isinstance(value, list):
        return value
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("mapping"), dict):
        return _branch(value)
    state = value.get("values")  # of a LangGraph thread
    within = state if isinstance(state, dict) else value
    held = within.get("messages", within.get("input"))
    return held if isinstance(held, list) else None


def _branch(chat: Mapping[str, Any]) -> list[Any]:
    """The messages of a ChatGPT conversation, from its first to its current one."""
    nodes, found, passed = chat["mapping"], [], set()
    key = chat.get("current_node")
    key = key if isinstance(key, str) and key in nodes else next(reversed(nodes), None)
    while isinstance(key, str) and key not in passed and isinstance(nodes.get(key), dict):
        passed.add(key)
        if nodes[key].get("message") is not None:
            found.append(nodes[key]["message"])
        key = nodes[key].get("parent")
    return found[::-1]


def _take(found: _Found, path: Path, export: Export) -> None:
    session = next((told for key in _IDS if (told := name(found.about.get(key)))), None)
    turns = []
    for number, message in enumerate(found.messages, 1):
        try:
            turn = _turn(message, session, export)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            export.broken.append(f"{found.place}, message {number}: {why(error)}")
            continue
        turns += [turn] if turn else []
    try:
        whose = owner(found.about)
    except ValueError as error:
        export.broken.append(f"{found.place}: {why(error)}")
        return
    if turns:
        label = session or f"{path.stem}-{len(export.conversations) + 1}"
        export.conversations.append(OwnedConversation(Conversation(label, identified(turns, "message")), whose))


def _turn(message: Any, session: str | None, export: Export) -> Turn | None:
    role, fields = _role(message)
    extra = fields.get("additional_kwargs")
    extra = extra if isinstance(extra, dict) else {}
    if role not in _SPEAKERS or extra.get(RECALLED):
        export.skipped["recalled" if extra.get(RECALLED) else role[:40]] += 1
        return None
    text, kinds = text_of(_blocks(fields.get("content")))
    export.skipped.update(kinds)
    if fields.get("tool_calls"):
        export.skipped["tool call"] += 1
    if not text:
        export.skipped["empty"] += 0 if kinds or fields.get("tool_calls") else 1
        return None
    at = next((moment(place[key]) for place in (fields, extra) for key in _TIMES if place.get(key)), None)
    told = name(fields.get("id"))
    speaker = name(fields.get("name")) or _SPEAKERS[role]
    return Turn(speaker, text, at, told if told and len(told) >= _OWN_ID else "", session)


def _is_message(value: Any) -> bool:
    try:
        _role(value)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError):
        return False
    return True


def _role(value: Any) -> tuple[str, dict[str, Any]]:
    """Who says it, and the message's fields, in whichever notation.

    Raises:
        ValueError: it is no message.
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


def _blocks(content: Any) -> Any:
    """Content with the text blocks of all providers under one name."""
    if not isinstance(content, list):
        return content
    return [
        {"type": "text", "text": block.get("text", block.get("refusal"))}
        if isinstance(block, dict) and block.get("type") in _TEXTS and not block.get(RECALLED)
        else block
        for block in content
    ]
