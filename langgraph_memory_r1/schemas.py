"""The nouns that flow through the library: frozen, typed, serialisable, without behaviour or I/O.

    Turn ─► Fact ─► Operation ─► Change ─► Memory ─► Answer

`Conversation` as JSONL (one conversation a line, see `conversations.py`) is the interchange format between users' own
data, evals and train. Times are time-zone aware; a time without a zone is taken as UTC at the border.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeAlias

_SHOWN = 60
"""Characters of a text that a memory or a change shows of itself."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One utterance of a conversation."""

    speaker: str
    text: str
    at: datetime | None = None
    """When it was said."""
    id: str = ""
    """Unique in its conversation; memories name their source turns by it (LoCoMo: `D1:3`)."""
    session: str | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """A question about a conversation, with its gold answer where there is one."""

    text: str
    gold: str | None = None
    evidence: tuple[str, ...] = ()
    """Ids of the turns that hold the answer."""
    category: str | None = None
    id: str = ""
    """Stable in its source, so that results of several runs can be compared question by question."""
    at: datetime | None = None
    """When it is asked, where that matters ("how many days ago ...?")."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns in the order in which they were said, and the questions asked about them."""

    id: str
    turns: tuple[Turn, ...]
    questions: tuple[Question, ...] = ()


@dataclass(frozen=True, slots=True)
class Fact:
    """Something worth remembering that was found in the newest turns; self-contained, with absolute dates."""

    text: str
    speaker: str | None = None
    at: datetime | None = None
    source: tuple[str, ...] = ()
    session: str | None = None


@dataclass(frozen=True, slots=True)
class Memory:
    """One entry of a memory bank."""

    id: str
    text: str
    speaker: str | None = None
    at: datetime | None = None
    """When the remembered thing was said (not when it was stored)."""
    source: tuple[str, ...] = ()
    """Ids of the turns that it came from."""
    session: str | None = None
    rev: int = 1
    """Counts the operations that made this text, from 1; an operation based on an older one is refused."""
    created_at: datetime | None = None
    updated_at: datetime | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """What an application keeps with it: JSON values by name, which `search(filter=...)` can ask for."""
    tags: tuple[str, ...] = ()
    expires_at: datetime | None = None
    """From then on it is not there any more: neither found nor listed; its history says why."""

    def __repr__(self) -> str:
        """Show what a reader looks for, on one line."""
        speaker = f", speaker={self.speaker!r}" if self.speaker is not None else ""
        at = f", at={self.at:%Y-%m-%d}" if self.at is not None else ""
        rev = f", rev={self.rev}" if self.rev > 1 else ""
        tags = f", tags={self.tags!r}" if self.tags else ""
        return f"Memory({self.id!r}, {_shortened(self.text)}{speaker}{at}{rev}{tags})"


@dataclass(frozen=True, slots=True)
class Add:
    """Remember something new."""

    text: str
    speaker: str | None = None
    at: datetime | None = None
    source: tuple[str, ...] = ()
    session: str | None = None
    reason: str = ""
    """Why, where that is not plain: a fact that is added because no decision about it could be read."""
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)
    tags: tuple[str, ...] = ()
    expires_at: datetime | None = None
    """When the memory ends; None: after the store's default time to live, where it has one."""
    event: Literal["ADD"] = "ADD"


@dataclass(frozen=True, slots=True)
class Update:
    """Replace the text of a memory; its id stays, its sources grow."""

    id: str
    text: str
    source: tuple[str, ...] = ()
    at: datetime | None = None
    """When the new wording was said; None keeps the memory's time."""
    metadata: Mapping[str, Any] | None = field(default=None, hash=False)
    """All of the memory's metadata from now on; None keeps what it has, as with the next two."""
    tags: tuple[str, ...] | None = None
    expires_at: datetime | None = None
    """A default time to live begins anew."""
    event: Literal["UPDATE"] = "UPDATE"


@dataclass(frozen=True, slots=True)
class Delete:
    """Supersede a memory: it is no longer recalled, its history stays."""

    id: str
    source: tuple[str, ...] = ()
    reason: str = ""
    event: Literal["DELETE"] = "DELETE"


@dataclass(frozen=True, slots=True)
class Noop:
    """Change nothing, and say why."""

    reason: str = ""
    source: tuple[str, ...] = ()
    event: Literal["NOOP"] = "NOOP"


Operation: TypeAlias = Add | Update | Delete | Noop
"""What a Memory Manager decides (Memory-R1, section 3): a closed union of values that a bank applies."""

Event: TypeAlias = Literal["ADD", "UPDATE", "DELETE", "NOOP"]


@dataclass(frozen=True, slots=True)
class Change:
    """One line of a bank's history: an operation that was applied, and all that undoing or explaining it needs."""

    id: str
    """Names the operation, for `undo`: `<memory id>.<rev>`, or `noop-<time>` for a NOOP."""
    event: Event
    memory_id: str | None = None
    before: Memory | None = None
    after: Memory | None = None
    source: tuple[str, ...] = ()
    model: str | None = None
    """Which model decided; None for a change made by hand."""
    reason: str = ""
    at: datetime | None = None
    """When it was applied."""
    undoes: str | None = None
    """The operation that this one took back."""

    def __repr__(self) -> str:
        """Show what changed, on one line."""
        texts = [_shortened(memory.text) for memory in (self.before, self.after) if memory is not None]
        undoes = f", undoes={self.undoes!r}" if self.undoes else ""
        return f"Change({self.id!r}, {self.event}: {' → '.join(texts) or _shortened(self.reason)}{undoes})"


@dataclass(frozen=True, slots=True)
class Answer:
    """The Answer Agent's reply: what it looked at, what it kept of it, what it said."""

    text: str
    selected: tuple[Memory, ...] = ()
    """The distilled memories (Memory-R1, section 3.3): those that the answer rests on."""
    retrieved: tuple[Memory, ...] = ()


def _shortened(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")
