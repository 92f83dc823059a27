"""This library's own memory: facts are extracted, a manager decides what they mean, and the bank is ranked."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

from langgraph_memory_r1.bank import MemoryBank
from langgraph_memory_r1.bank.storage import memory_index_config
from langgraph_memory_r1.batches import Limits
from langgraph_memory_r1.evals.call_cache import CachedChatModel, CachedEmbeddings
from langgraph_memory_r1.evals.systems.baselines import IndexRetriever
from langgraph_memory_r1.evals.systems.system import BankSnapshot, ConversationMemory, Retriever, System
from langgraph_memory_r1.graph import MemoryGraph, create_memory_graph
from langgraph_memory_r1.prompts import PROMPT_VERSION, Style
from langgraph_memory_r1.schemas import Conversation, Turn
from langgraph_memory_r1.store import LanceDBStore

__all__ = ["MemoryR1"]


class MemoryR1(System):
    """The memory graph of this library, on a bank in LanceDB."""

    name = "memory-r1"
    description = "facts that a Memory Manager keeps right"
    baseline: ClassVar[bool] = False
    learns: ClassVar[bool] = True

    def __init__(
        self,
        extractor: CachedChatModel,
        manager: CachedChatModel,
        embeddings: CachedEmbeddings | None,
        style: Style,
        related_k: int = 10,
        limits: Limits | None = None,
    ) -> None:
        self._extractor = extractor
        self._manager = manager
        self._embeddings = embeddings
        self._style = style
        self._related_k = related_k
        self._limits = limits or Limits()

    @property
    def settings(self) -> dict[str, Any]:
        """The models, and how they are asked."""
        return {
            "extractor": self._extractor.identity,
            "manager": self._manager.identity,
            "embedder": self._embeddings and self._embeddings.model,
            "style": self._style,
            "prompt_version": PROMPT_VERSION,
            "related_k": self._related_k,
            "limits": str(self._limits),
        }

    @asynccontextmanager
    async def memory(self, conversation: Conversation, folder: Path) -> AsyncIterator[ConversationMemory]:
        """Open a bank in a folder of its own; what an earlier, unfinished try left there is thrown away."""
        shutil.rmtree(folder, ignore_errors=True)
        with LanceDBStore(str(folder), index=memory_index_config(self._embeddings)) as store:
            bank = MemoryBank(store, conversation.id)
            graph = create_memory_graph(
                bank, extractor=self._extractor, manager=self._manager, style=self._style,
                related_k=self._related_k, limits=self._limits,
            )  # the answerer is never asked  # fmt: skip
            yield GraphMemory(bank, graph)

    def retriever(self, conversation: Conversation, bank: BankSnapshot) -> Retriever:
        """Return the ranking of `MemoryBank.search`, as the answer node uses it."""
        return IndexRetriever(bank.memories, self._embeddings)


class GraphMemory:
    """A bank that the memory graph fills, with the facts and operations counted."""

    def __init__(self, bank: MemoryBank, graph: MemoryGraph) -> None:
        self._bank = bank
        self._graph = graph
        self._turns = 0
        self._facts = 0
        self._operations: Counter[str] = Counter()

    async def add(self, turns: Sequence[Turn]) -> None:
        """Run the graph over the turns of the next session."""
        state: dict[str, Any] = {}
        chunk: Any
        async for mode, chunk in self._graph.astream({"turns": turns}, stream_mode=["custom", "values"]):
            if mode == "values":
                state = chunk
            elif chunk["event"] == "facts":
                self._facts += len(chunk["facts"])
        self._operations.update(operation["event"] for operation in state["memory_ops"])
        self._turns += len(turns)

    async def snapshot(self) -> BankSnapshot:
        """Return the memories of the bank, and the counts."""
        memories = await self._bank.aall()
        return BankSnapshot(tuple(memories), self._turns, self._facts, dict(sorted(self._operations.items())))
