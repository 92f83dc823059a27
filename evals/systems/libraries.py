"""Memories of other libraries, with their own prompts and a given model: mem0 and langmem, where they are installed.

Both are given who spoke when, as text. What they remember is ranked by its vectors, as they do without their paid or
optional parts; then the Answer Agent of all systems answers. mem0's prompts hold today's date and langmem's random ids,
so of a conversation that was broken off their calls may be made again.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

from langgraph.store.memory import InMemoryStore

from langgraph_memory_r1.errors import MissingDependencyError
from langgraph_memory_r1.evals.call_cache import CachedChatModel, CachedEmbeddings
from langgraph_memory_r1.evals.systems.baselines import Cosine
from langgraph_memory_r1.evals.systems.system import BankSnapshot, ConversationMemory, Retriever, System
from langgraph_memory_r1.schemas import Conversation, Memory, Turn

__all__ = ["LangMem", "Mem0"]

_MANY = 100_000
_PAIR = 2
"""So many turns mem0 is given at once, as in its own evaluation."""


class Library(System):
    """A memory of another library."""

    baseline: ClassVar[bool] = True
    learns: ClassVar[bool] = True
    package: ClassVar[str]
    """What to install."""

    def __init__(self, model: CachedChatModel, embeddings: CachedEmbeddings) -> None:
        if importlib.util.find_spec(self.name) is None:
            raise MissingDependencyError(f"pip install {self.package}, to compare with {self.name}")
        self.model = model
        self.embeddings = embeddings

    @property
    def settings(self) -> dict[str, Any]:
        """The library's version, the model and the embedder."""
        return {"version": version(self.package), "model": self.model.identity, "embedder": self.embeddings.model}

    def retriever(self, conversation: Conversation, bank: BankSnapshot) -> Retriever:
        """Return the ranking by cosine."""
        return Cosine(bank.memories, self.embeddings, named=False)

    @asynccontextmanager
    async def memory(self, conversation: Conversation, folder: Path) -> AsyncIterator[ConversationMemory]:
        """Open a new memory; what an earlier, unfinished try left is thrown away."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        dims = len(self.embeddings.embed_query("width"))
        # mem0 opens databases on disk, which would hold up all other cells.
        memory = await asyncio.to_thread(self.open, folder, dims)
        try:
            yield memory
        finally:
            memory.close()

    @abstractmethod
    def open(self, folder: Path, dims: int) -> LibraryMemory:
        """Open the library's memory of one conversation, for vectors of this many numbers."""


class LibraryMemory(ABC):
    """A library's memory of one conversation."""

    def __init__(self) -> None:
        self.turns = 0

    @abstractmethod
    async def add(self, turns: Sequence[Turn]) -> None:
        """Hand the turns of the next session to the library, and count them."""

    @abstractmethod
    async def snapshot(self) -> BankSnapshot:
        """Return what the library remembers now."""

    def close(self) -> None:  # noqa: B027  (langmem's store is in memory: there is nothing to close)
        """Let go of what it holds."""


class Mem0(Library):
    """mem0, open source, on a local Qdrant."""

    name = "mem0"
    description = "what mem0 remembers, ranked by the cosine of its vectors"
    package: ClassVar[str] = "mem0ai"

    def open(self, folder: Path, dims: int) -> LibraryMemory:
        """Open a memory in a folder; mem0's telemetry is off, and its home is the folder too."""
        os.environ["MEM0_TELEMETRY"] = "False"
        os.environ.setdefault("MEM0_DIR", str(folder))
        memory = import_module("mem0").Memory.from_config(
            {
                "llm": {"provider": "langchain", "config": {"model": self.model}},
                "embedder": {"provider": "langchain", "config": {"model": self.embeddings}},
                "vector_store": {
                    "provider": "qdrant",
                    "config": {"path": str(folder / "qdrant"), "embedding_model_dims": dims},
                },
                "history_db_path": ":memory:",
            }
        )
        return Mem0Memory(memory)


class Mem0Memory(LibraryMemory):
    """What mem0 remembers of one conversation, each memory with the turns that it was made of."""

    def __init__(self, memory: Any) -> None:
        super().__init__()
        self._memory = memory

    async def add(self, turns: Sequence[Turn]) -> None:
        """Hand the turns over in pairs."""
        for start in range(0, len(turns), _PAIR):
            pair = turns[start : start + _PAIR]
            metadata = {"turns": " ".join(turn.id for turn in pair), "at": _moment(pair[0].at)}
            await asyncio.to_thread(partial(self._memory.add, _messages(pair), user_id=_OWNER, metadata=metadata))
        self.turns += len(turns)

    async def snapshot(self) -> BankSnapshot:
        """Return all memories with the turns and times that their metadata hold."""
        memories = []
        for row in self._memory.get_all(filters={"user_id": _OWNER}, top_k=_MANY)["results"]:
            metadata = row.get("metadata") or {}
            at = datetime.fromisoformat(f"{metadata['at']}+00:00") if metadata.get("at") else None
            source = tuple(str(metadata.get("turns", "")).split())
            memories.append(Memory(row["id"], row["memory"], at=at, source=source))
        return BankSnapshot(_in_order(memories), self.turns)

    def close(self) -> None:
        """Close mem0's databases."""
        self._memory.close()


class LangMem(Library):
    """langmem's store manager, on LangGraph's store in memory."""

    name = "langmem"
    description = "what langmem remembers, ranked by the cosine of its vectors"
    package: ClassVar[str] = "langmem"

    def open(self, folder: Path, dims: int) -> LibraryMemory:
        """Open a manager that may also delete."""
        store = InMemoryStore(index={"dims": dims, "embed": self.embeddings})
        make = import_module("langmem").create_memory_store_manager
        return LangMemMemory(make(self.model, namespace=_NAMESPACE, store=store, enable_deletes=True), store)


class LangMemMemory(LibraryMemory):
    """What langmem remembers of one conversation; it does not say of which turns a memory was made."""

    def __init__(self, manager: Any, store: InMemoryStore) -> None:
        super().__init__()
        self._manager = manager
        self._store = store
        self._written_at: dict[str, datetime | None] = {}

    async def add(self, turns: Sequence[Turn]) -> None:
        """Hand a session over at once; a memory has the time of the session that it was last written in."""
        for written in await self._manager.ainvoke({"messages": _messages(turns)}):
            self._written_at[written["key"]] = turns[0].at
        self.turns += len(turns)

    async def snapshot(self) -> BankSnapshot:
        """Return all memories, not traced to turns."""
        memories = []
        for item in await self._store.asearch(_NAMESPACE, limit=_MANY):
            content = item.value.get("content", item.value)
            text = str(content.get("content", content) if isinstance(content, dict) else content)
            memories.append(Memory(item.key, text, at=self._written_at.get(item.key)))
        return BankSnapshot(_in_order(memories), self.turns, traced=False)


_OWNER = "owner"
_NAMESPACE = ("memories", "owner")


def _messages(turns: Sequence[Turn]) -> list[dict[str, str]]:
    """Return turns as messages of a user, with their time and speaker in the text."""
    return [
        {"role": "user", "content": f"{f'[{_moment(turn.at)}] ' if turn.at else ''}{turn.speaker}: {turn.text}"}
        for turn in turns
    ]


def _moment(at: datetime | None) -> str:
    return at.isoformat(sep=" ", timespec="minutes").removesuffix("+00:00") if at else ""


def _in_order(memories: Iterable[Memory]) -> tuple[Memory, ...]:
    """Sort memories by time; of the same time by their text, as ids are random."""
    return tuple(sorted(memories, key=lambda memory: (_moment(memory.at), memory.text)))
