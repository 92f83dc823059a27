"""What the chat apps share: the loaders of langchain-community, and their messages as conversations.

The loaders give up on a whole export because of one odd entry, or skip it without a word. So each app has a reader
here that names and counts such entries and hands the loader a clean copy (`whatsapp.py`, `telegram.py`, ...).
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from langgraph_memory_r1.errors import MissingDependencyError
from langgraph_memory_r1.importers.export import Export, OwnedConversation
from langgraph_memory_r1.importers.fields import with_turn_ids
from langgraph_memory_r1.prompts import clean
from langgraph_memory_r1.schemas import Conversation, Turn

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

TimedMessage: TypeAlias = "tuple[BaseMessage, datetime | None]"
"""A message of a loader, with the time that it was sent."""


def chat_loader(module: str, name: str) -> Any:
    """Return a loader class of langchain-community.

    Raises:
        MissingDependencyError: langchain-community is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`langchain-community` is being sunset", DeprecationWarning)
            return getattr(importlib.import_module(f"langchain_community.chat_loaders.{module}"), name)
    except ImportError as error:
        raise MissingDependencyError(f"pip install 'langgraph-memory-r1[chats]' to import chats of {module}") from error


def sender(message: BaseMessage) -> str:
    """Return who a message is from, as its loader says."""
    return clean(str(message.additional_kwargs.get("sender") or "")) or "somebody"


def message_time(message: BaseMessage) -> Any:
    """Return the time that a loader gives a message, as the app wrote it."""
    events = message.additional_kwargs.get("events") or [{}]
    return events[0].get("message_time")


def add_chat(
    export: Export, name: str, messages: Iterable[TimedMessage], speakers: Sequence[str] | None = None
) -> None:
    """Add one chat to the export; messages without words are counted.

    Args:
        export: What is read so far.
        name: The chat's.
        messages: In their order.
        speakers: Who says each of them, where it is not the sender.
    """
    turns = []
    for number, (message, at) in enumerate(messages):
        text = clean(message.content) if isinstance(message.content, str) else ""
        if not text:
            export.skipped["without words"] += 1
            continue
        session = f"{name} {at.date().isoformat()}" if at else name  # a chat goes on for years; a day belongs together
        turns.append(Turn(speakers[number] if speakers else sender(message), text, at, session=session))
    if turns:
        export.conversations.append(OwnedConversation(Conversation(name, with_turn_ids(turns, export.format))))
