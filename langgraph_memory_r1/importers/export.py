"""What an export holds: conversations that are still to be remembered, and memories that another product made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from langgraph_memory_r1.schemas import Conversation


@dataclass(frozen=True, slots=True)
class OwnedConversation:
    """A conversation, and whose memories it makes."""

    conversation: Conversation
    owner: str | None = None
    """None where the export does not say."""


@dataclass(frozen=True, slots=True)
class MemoryVersion:
    """The text of a memory from some time on."""

    id: str
    """Stands as a source in the bank's history: the version is not imported twice."""
    text: str | None
    """None: it was deleted."""
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ImportedMemory:
    """A memory of another product: its versions, the oldest first."""

    id: str
    """`mem0:…`, `langmem:…`; stands as a source in the bank's history."""
    versions: tuple[MemoryVersion, ...]
    owner: str | None = None
    speaker: str | None = None
    session: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """What else the product kept with it, now."""
    tags: tuple[str, ...] = ()
    expires_at: datetime | None = None


@dataclass
class Export:
    """All that a reader found in an export."""

    format: str
    conversations: list[OwnedConversation] = field(default_factory=list)
    memories: list[ImportedMemory] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """Entries that cannot be used, each with where it stands and the reason."""
    skipped: Counter[str] = field(default_factory=Counter)
    """What is not for remembering (system messages, pictures, ...), counted by kind."""
    personal: bool = True
    """The file is one person's; False where conversations of several people may lie in it."""

    @property
    def turn_count(self) -> int:
        """How many turns the conversations have."""
        return sum(len(owned.conversation.turns) for owned in self.conversations)
