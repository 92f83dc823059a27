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
from langgraph_memory_r1.importers.identity import identified
from langgraph_memory_r1.prompts import clean
from langgraph_memory_r1.schemas import Conversation, Turn

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

Said: TypeAlias = "tuple[BaseMessage, datetime | None]"


def loader(module: str, name: str) -> Any:
    """A loader class.

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
    """Who a loader says that a message is from."""
    return clean(str(message.additional_kwargs.get("sender") or "")) or "somebody"


def first_time(message: BaseMessage) -> Any:
    """The time that a loader gives a message, as the app wrote it."""
    events = message.additional_kwargs.get("events") or [{}]
    return events[0].get("message_time")


def take(export: Export, name: str, said: Iterable[Said], speakers: Sequence[str] | None = None) -> None:
    """One chat into the export; what has no words is counted."""
    turns = []
    for number, (message, at) in enumerate(said):
        text = clean(message.content) if isinstance(message.content, str) else ""
        if not text:
            export.skipped["without words"] += 1
            continue
        turns.append(Turn(speakers[number] if speakers else sender(message), text, at, session=_day(name, at)))
    if turns:
        export.conversations.append(OwnedConversation(Conversation(name, identified(turns, export.format))))


def _day(name: str, at: datetime | None) -> str:
    """A chat goes on for years; what is said on one day belongs together."""
    return f"{name} {at.date().isoformat()}" if at else name
