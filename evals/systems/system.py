"""What every memory system promises: to remember the turns of a conversation, and to retrieve memories for a question.

    async with system.memory(conversation, folder) as memory:
        await memory.add(turns)
        bank = await memory.snapshot()
    retrieved = await system.retriever(conversation, bank).retrieve(question, k)

Answering is no part of it: all systems share one Answer Agent, so that only what is remembered and retrieved differs,
unless rows with and without its adapter are wanted.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

from langgraph_memory_r1.evals.call_cache import Cost, key_of
from langgraph_memory_r1.schemas import Conversation, Memory, Question, Turn


@dataclass(frozen=True)
class BankSnapshot:
    """What a system remembers of a conversation at one moment."""

    memories: tuple[Memory, ...]
    """In time order."""
    turns: int
    """How many turns were added."""
    facts: int | None = None
    operations: Mapping[str, int] = field(default_factory=dict)
    """How many of each kind made it."""
    cost: Cost = field(default_factory=Cost)
    seconds: float = 0.0
    """How long the remembering took."""
    traced: bool = True
    """Whether memories know the turns that they came from; where not, recall and loss cannot be computed."""

    @cached_property
    def digest(self) -> str:
        """The same for banks that remember the same; ids and times of storing do not count."""
        return key_of([(m.text, m.speaker, m.at, m.source, m.session) for m in self.memories])


@dataclass(frozen=True, slots=True)
class Retrieved:
    """The memories for a question, best first."""

    positions: tuple[int, ...]
    """Where they stand in the bank."""
    ranked: bool = True
    """Whether their order says anything."""


class ConversationMemory(Protocol):
    """A memory of one conversation while it is being filled."""

    async def add(self, turns: Sequence[Turn]) -> None:
        """Remember the turns of the next session."""

    async def snapshot(self) -> BankSnapshot:
        """Return what is remembered now."""


class Retriever(Protocol):
    """Retrieves memories from a bank that stays as it is."""

    async def retrieve(self, question: Question, k: int) -> Retrieved:
        """Return at most k memories for a question."""


class System(ABC):
    """A way to remember."""

    name: str
    """Of its row in a report."""
    description: str
    baseline: ClassVar[bool] = True
    learns: ClassVar[bool] = False
    """Whether filling it costs something, so that what it remembers is kept and its cost is counted."""

    @property
    def settings(self) -> dict[str, Any]:
        """What determines its results; plain values."""
        return {}

    def as_row(self, suffix: str, remark: str) -> Self:
        """Return the same system as another row of a report."""
        row = copy(self)
        row.name, row.description = f"{self.name}:{suffix}", f"{self.description}; {remark}"
        return row

    @abstractmethod
    def memory(self, conversation: Conversation, folder: Path) -> AbstractAsyncContextManager[ConversationMemory]:
        """Open a new, empty memory for a conversation; it may keep files in a folder of its own."""

    @abstractmethod
    def retriever(self, conversation: Conversation, bank: BankSnapshot) -> Retriever:
        """Return the search over a bank."""
