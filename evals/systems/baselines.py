"""Systems that keep the turns as they are: the baselines that a memory has to beat, and the bounds it lives between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray

from langgraph_memory_r1.evals.retrieval_only import DESCRIPTIONS, PLAIN_BM25, memory_of
from langgraph_memory_r1.evals.systems.system import (
    BankSnapshot,
    ConversationMemory,
    Retrieved,
    Retriever,
    System,
)
from langgraph_memory_r1.retrieval import Index
from langgraph_memory_r1.schemas import Conversation, Memory, Question, Turn

__all__ = ["BM25", "Cosine", "Dense", "FullContext", "Hybrid", "IndexRetriever", "NoMemory", "Oracle", "RankedTurns"]

T = TypeVar("T")


class TurnList:
    """A memory that keeps the turns themselves; with `keep=False` it only counts them."""

    def __init__(self, keep: bool) -> None:
        self._keep = keep
        self._memories: list[Memory] = []
        self._turns = 0

    async def add(self, turns: Sequence[Turn]) -> None:
        """Remember the turns of the next session."""
        if self._keep:
            self._memories += map(memory_of, turns)
        self._turns += len(turns)

    async def snapshot(self) -> BankSnapshot:
        """Return what is remembered now."""
        return BankSnapshot(tuple(self._memories), self._turns)


class TurnSystem(System):
    """A system whose memories are the turns."""

    keep = True

    @asynccontextmanager
    async def memory(self, conversation: Conversation, folder: Path) -> AsyncIterator[ConversationMemory]:
        """Open a list of turns."""
        yield TurnList(self.keep)


class EveryMemory:
    """Retrieves everything, in time order."""

    def __init__(self, memories: Sequence[Memory]) -> None:
        self._retrieved = Retrieved(tuple(range(len(memories))), ranked=False)

    async def retrieve(self, question: Question, k: int) -> Retrieved:
        """Return all memories, however many."""
        return self._retrieved


class NoMemory(TurnSystem):
    """Nothing is remembered: what the answering model knows or guesses by itself."""

    name = "no-memory"
    description = "nothing is remembered"
    keep = False

    def retriever(self, conversation: Conversation, bank: BankSnapshot) -> Retriever:
        """Return a search without results."""
        return EveryMemory(())


class FullContext(TurnSystem):
    """The whole conversation goes into the prompt."""

    name = "full-context"
    description = "the whole conversation in the prompt"

    def retriever(self, conversation: Conversation, bank: BankSnapshot) -> Retriever:
        """Return a search that gives everything."""
        return EveryMemory(bank.memories)


class Oracle(TurnSystem):
    """The evidence turns and nothing else: what an ideal retrieval would give."""

    name = "oracle"
    description = "the evidence turns and nothing else"

    def retriever(self, conversation: Conversation, bank: BankSnapshot) -> Retriever:
        """Return a search that gives what the question's evidence names."""
        return EvidenceTurns(bank.memories)


class EvidenceTurns:
    """Retrieves the turns that a question's evidence names."""

    def __init__(self, memories: Sequence[Memory]) -> None:
        self._positions = positions_of(memories)

    async def retrieve(self, question: Question, k: int) -> Retrieved:
        """Return the evidence turns that are remembered."""
        return Retrieved(tuple(self._positions[turn] for turn in question.evidence if turn in self._positions))


class BM25(TurnSystem):
    """Plain BM25 over the turns."""

    name = "bm25"
    description = DESCRIPTIONS["bm25"]

    def retriever(self, conversation: Conversation, bank: BankSnapshot) -> Retriever:
        """Return the ranking of every turn for itself."""
        return PlainBM25(bank.memories)


class PlainBM25:
    """The library's index with all weights but BM25's at zero."""

    def __init__(self, memories: Sequence[Memory]) -> None:
        self._positions = positions_of(memories)
        self._index = Index(memories, weights=PLAIN_BM25)

    async def retrieve(self, question: Question, k: int) -> Retrieved:
        """Return the k best."""
        return Retrieved(tuple(self._positions[hit.memory.id] for hit in self._index.rank(question.text, k=k)))


class RankedTurns(TurnSystem):
    """The library's own ranking, over raw turns: what is left of the difference to it is the memory's."""

    name = "turns"
    description = DESCRIPTIONS["turns"]

    def retriever(self, conversation: Conversation, bank: BankSnapshot) -> Retriever:
        """Return the ranking by words, neighbours, session and speaker."""
        return IndexRetriever(bank.memories, None)


class EmbeddedTurns(TurnSystem):
    """A system that ranks turns by their vectors."""

    def __init__(self, embeddings: Embeddings, model: str) -> None:
        self._embeddings = embeddings
        self._model = model

    @property
    def settings(self) -> dict[str, Any]:
        """Whose vectors."""
        return {"embedder": self._model}


class Hybrid(EmbeddedTurns):
    """The library's own ranking with vectors, over raw turns."""

    name = "hybrid"
    description = DESCRIPTIONS["hybrid"]

    def retriever(self, conversation: Conversation, bank: BankSnapshot) -> Retriever:
        """Return the ranking by everything there is."""
        return IndexRetriever(bank.memories, self._embeddings)


class IndexRetriever:
    """The library's ranking over memories that stay as they are, as the Answer Agent's node uses it."""

    def __init__(self, memories: Sequence[Memory], embeddings: Embeddings | None) -> None:
        self._embeddings = embeddings
        self._positions = positions_of(memories)
        self._index = Index()
        for memory, vector in zip(memories, vectors_of(memories, embeddings), strict=True):
            self._index.put(memory, vector)

    async def retrieve(self, question: Question, k: int) -> Retrieved:
        """Return the best, half of them from each speaker as far as there are so many."""

        def search() -> Retrieved:
            vector = np.array(self._embeddings.embed_query(question.text), np.float32) if self._embeddings else None
            hits = self._index.rank(question.text, k=k, vector=vector, per_speaker=(k + 1) // 2, fill=True)
            return Retrieved(tuple(self._positions[hit.memory.id] for hit in hits))

        return await run_search(search, self._embeddings)


class Dense(EmbeddedTurns):
    """Vectors alone over the turns."""

    name = "dense"
    description = DESCRIPTIONS["dense"]

    def retriever(self, conversation: Conversation, bank: BankSnapshot) -> Retriever:
        """Return the ranking by cosine."""
        return Cosine(bank.memories, self._embeddings)


class Cosine:
    """The ranking by vectors alone; `named` puts the speaker's name before each text, as most questions name one."""

    def __init__(self, memories: Sequence[Memory], embeddings: Embeddings, *, named: bool = True) -> None:
        self._embeddings = embeddings
        shown = [replace(each, text=f"{each.speaker}: {each.text}") for each in memories] if named else memories
        vectors = np.array(vectors_of(shown, embeddings), np.float32)
        self._matrix = _unit(vectors.reshape(len(memories), -1))

    async def retrieve(self, question: Question, k: int) -> Retrieved:
        """Return the nearest."""

        def search() -> Retrieved:
            if not len(self._matrix):
                return Retrieved(())
            query = _unit(np.array([self._embeddings.embed_query(question.text)], np.float32))[0]
            return Retrieved(tuple(np.argsort(-(self._matrix @ query), kind="stable")[:k].tolist()))

        return await run_search(search, self._embeddings)


async def run_search(search: Callable[[], T], embeddings: Embeddings | None) -> T:
    """Run a search, in a thread where an embedding model may take its time: else it would hold up all other cells."""
    return search() if embeddings is None else await asyncio.to_thread(search)


def positions_of(memories: Sequence[Memory]) -> dict[str, int]:
    """Return where each memory stands, by id."""
    return {memory.id: position for position, memory in enumerate(memories)}


def vectors_of(memories: Sequence[Memory], embeddings: Embeddings | None) -> Sequence[NDArray[np.float32] | None]:
    """Return the vector of each memory's text, None each without an embedding model."""
    if embeddings is None:
        return [None] * len(memories)
    return [np.array(vector, np.float32) for vector in embeddings.embed_documents([each.text for each in memories])]


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale rows to length 1; a zero row stays zero."""
    unit: NDArray[np.float32] = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.float32(1e-9))
    return unit
