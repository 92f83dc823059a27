"""Memories of other libraries, with their own prompts and a given model: mem0 and langmem, where they are installed.

Both are told who spoke when, as text. What they remember is ranked by its vectors, as they do without their paid or
optional parts; then the Answer Agent of all systems answers. mem0's prompts hold today's date and langmem's random ids,
so of a conversation that was broken off their calls may be made again.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
from abc import abstractmethod
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


class _Library(System):
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

    def finder(self, conversation: Conversation, bank: BankSnapshot) -> Retriever:
        """Ranks by cosine."""
        return Cosine(bank.memories, self.embeddings, named=False)

    @asynccontextmanager
    async def memory(self, conversation: Conversation, folder: Path) -> AsyncIterator[ConversationMemory]:
        """A new memory; what an earlier, unfinished try left is thrown away."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        listener = await asyncio.to_thread(self.listener, folder)
        try:
            yield listener
        finally:
            listener.close()

    @abstractmethod
    def listener(self, folder: Path) -> _Listener:
        """The library's memory of one conversation."""

    def dims(self) -> int:
        """How wide the vectors are."""
        return len(self.embeddings.embed_query("width"))


class _Listener:
    def __init__(self) -> None:
        self.turns = 0

    async def hear(self, turns: Sequence[Turn]) -> None:
        await self.take(turns)
        self.turns += len(turns)

    @abstractmethod
    async def take(self, turns: Sequence[Turn]) -> None:
        """Hands turns to the library."""

    @abstractmethod
    async def bank(self) -> BankSnapshot: ...

    def close(self) -> None: ...


class Mem0(_Library):
    """mem0, open source, on a local Qdrant."""

    name = "mem0"
    description = "what mem0 remembers, ranked by the cosine of its vectors"
    package: ClassVar[str] = "mem0ai"

    def listener(self, folder: Path) -> _Listener:
        """A memory in a folder; mem0's telemetry is off, and its home is the folder too."""
        os.environ["MEM0_TELEMETRY"] = "False"
        os.environ.setdefault("MEM0_DIR", str(folder))
        place = {"path": str(folder / "qdrant"), "embedding_model_dims": self.dims()}
        memory = import_module("mem0").Memory.from_config(
            {
                "llm": {"provider": "langchain", "config": {"model": self.model}},
                "embedder": {"provider": "langchain", "config": {"model": self.embeddings}},
                "vector_store": {"provider": "qdrant", "config": place},
                "history_db_path": ":memory:",
            }
        )
        return _Mem0Listener(memory)


class _Mem0Listener(_Listener):
    def __init__(self, memory: Any) -> None:
        super().__init__()
        self._memory = memory

    async def take(self, turns: Sequence[Turn]) -> None:
        for start in range(0, len(turns), _PAIR):
            pair = turns[start : start + _PAIR]
            about = {"turns": " ".join(turn.id for turn in pair), "at": _moment(pair[0].at)}
            said = [{"role": "user", "content": _told(turn)} for turn in pair]
            await asyncio.to_thread(partial(self._memory.add, said, user_id=_OWNER, metadata=about))

    async def bank(self) -> BankSnapshot:
        found = self._memory.get_all(filters={"user_id": _OWNER}, top_k=_MANY)["results"]
        return BankSnapshot(_in_order(_from_mem0(each) for each in found), self.turns)

    def close(self) -> None:
        self._memory.close()


class LangMem(_Library):
    """langmem's store manager, on LangGraph's store in memory."""

    name = "langmem"
    description = "what langmem remembers, ranked by the cosine of its vectors"
    package: ClassVar[str] = "langmem"

    def listener(self, folder: Path) -> _Listener:
        """A manager that may also delete."""
        store = InMemoryStore(index={"dims": self.dims(), "embed": self.embeddings})
        make = import_module("langmem").create_memory_store_manager
        return _LangMemListener(make(self.model, namespace=_SPACE, store=store, enable_deletes=True), store)


class _LangMemListener(_Listener):
    def __init__(self, manager: Any, store: InMemoryStore) -> None:
        super().__init__()
        self._manager = manager
        self._store = store
        self._said: dict[str, datetime | None] = {}

    async def take(self, turns: Sequence[Turn]) -> None:
        said = [{"role": "user", "content": _told(turn)} for turn in turns]
        for written in await self._manager.ainvoke({"messages": said}):
            self._said[written["key"]] = turns[0].at

    async def bank(self) -> BankSnapshot:
        items = await self._store.asearch(_SPACE, limit=_MANY)
        held = (Memory(item.key, _content(item.value), at=self._said.get(item.key)) for item in items)
        return BankSnapshot(_in_order(held), self.turns, traced=False)


_OWNER = "owner"
_SPACE = ("memories", "owner")


def _told(turn: Turn) -> str:
    when = f"[{_moment(turn.at)}] " if turn.at else ""
    return f"{when}{turn.speaker}: {turn.text}"


def _moment(at: datetime | None) -> str:
    return at.isoformat(sep=" ", timespec="minutes").removesuffix("+00:00") if at else ""


def _from_mem0(found: dict[str, Any]) -> Memory:
    about = found.get("metadata") or {}
    at = datetime.fromisoformat(f"{about['at']}+00:00") if about.get("at") else None
    return Memory(found["id"], found["memory"], at=at, source=tuple(str(about.get("turns", "")).split()))


def _content(value: dict[str, Any]) -> str:
    content = value.get("content", value)
    return str(content.get("content", content) if isinstance(content, dict) else content)


def _in_order(memories: Iterable[Memory]) -> tuple[Memory, ...]:
    """In time order; of the same time by their text, as ids are random."""
    return tuple(sorted(memories, key=lambda memory: (_moment(memory.at), memory.text)))
