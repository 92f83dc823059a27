"""Systems that keep the turns as they are: the baselines that a memory has to beat, and the bounds it lives between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray

from langgraph_memory_r1.evals.retrieval_only import DESCRIPTIONS, PLAIN_BM25, memory_of
from langgraph_memory_r1.evals.systems.system import BankSnapshot, ConversationMemory, Retrieved, Retriever, System
from langgraph_memory_r1.retrieval import Hit, Index
from langgraph_memory_r1.schemas import Conversation, Memory, Question, Turn

__all__ = ["BM25", "Cosine", "Dense", "FullContext", "Hybrid", "NoMemory", "Oracle", "RankedTurns"]

T = TypeVar("T")


class _Turns:
    """Remembers turns by keeping them."""

    def __init__(self, keep: Callable[[Turn], bool]) -> None:
        self._keep = keep
        self._kept: list[Memory] = []
        self._heard = 0

    async def hear(self, turns: Sequence[Turn]) -> None:
        self._kept += [memory_of(turn) for turn in turns if self._keep(turn)]
        self._heard += len(turns)

    async def bank(self) -> BankSnapshot:
        return BankSnapshot(tuple(self._kept), self._heard)


class TurnSystem(System):
    """A system whose memories are the turns."""

    def keeps(self, turn: Turn) -> bool:
        """Whether a turn is remembered."""
        return True

    @asynccontextmanager
    async def memory(self, conversation: Conversation, folder: Path) -> AsyncIterator[ConversationMemory]:
        """A list of turns."""
        yield _Turns(self.keeps)


class _All:
    """Finds everything, in time order."""

    def __init__(self, memories: Sequence[Memory]) -> None:
        self._found = Retrieved(tuple(range(len(memories))), ranked=False)

    async def find(self, question: Question, k: int) -> Retrieved:
        return self._found


class NoMemory(TurnSystem):
    """Nothing is remembered: what the answering model knows or guesses by itself."""

    name = "no-memory"
    description = "nothing is remembered"

    def keeps(self, turn: Turn) -> bool:
        """Nothing is."""
        return False

    def finder(self, conversation: Conversation, bank: BankSnapshot) -> Retriever:
        """Finds nothing."""
        return _All(())


class FullContext(TurnSystem):
    """The whole conversation goes into the prompt."""

    name = "full-context"
    description = "the whole conversation in the prompt"

    def finder(self, conversation: Conversation, bank: BankSnapshot) -> Retriever:
        """Finds everything."""
        return _All(bank.memories)


class Oracle(TurnSystem):
    """The evidence turns and nothing else: what an ideal retrieval would give."""

    name = "oracle"
    description = "the evidence turns and nothing else"

    def finder(self, conversation: Conversation, bank: BankSnapshot) -> Retriever:
        """Finds what the question's evidence names."""
        return _Evidence(bank)


class _Evidence:
    def __init__(self, bank: BankSnapshot) -> None:
        self._places = places_of(bank.memories)

    async def find(self, question: Question, k: int) -> Retrieved:
        return Retrieved(tuple(self._places[turn] for turn in question.evidence if turn in self._places))


class BM25(TurnSystem):
    """Plain BM25 over the turns."""

    name = "bm25"
    description = DESCRIPTIONS["bm25"]

    def finder(self, conversation: Conversation, bank: BankSnapshot) -> Retriever:
        """Ranks every turn for itself."""
        return _Plain(bank.memories)


class _Plain:
    def __init__(self, memories: Sequence[Memory]) -> None:
        self._places = places_of(memories)
        self._index = Index(memories, weights=PLAIN_BM25)

    async def find(self, question: Question, k: int) -> Retrieved:
        return Retrieved(tuple(self._places[hit.memory.id] for hit in self._index.rank(question.text, k=k)))


class RankedTurns(TurnSystem):
    """The library's own ranking, over raw turns: what is left of the difference to it is the memory's."""

    name = "turns"
    description = DESCRIPTIONS["turns"]

    def finder(self, conversation: Conversation, bank: BankSnapshot) -> Retriever:
        """Ranks by words, neighbours, session and speaker."""
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

    def finder(self, conversation: Conversation, bank: BankSnapshot) -> Retriever:
        """Ranks by everything there is."""
        return IndexRetriever(bank.memories, self._embeddings)


class IndexRetriever:
    """The library's ranking over memories that stay as they are, as the Answer Agent's node uses it."""

    def __init__(self, memories: Sequence[Memory], embeddings: Embeddings | None) -> None:
        self._embeddings = embeddings
        self._places = places_of(memories)
        self._index = Index()
        for memory, vector in zip(memories, vectors_of(memories, embeddings), strict=True):
            self._index.put(memory, vector)

    def _best(self, query: str, k: int) -> list[Hit]:
        vector = np.array(self._embeddings.embed_query(query), np.float32) if self._embeddings else None
        return self._index.rank(query, k=k, vector=vector, per_speaker=(k + 1) // 2, fill=True)

    async def find(self, question: Question, k: int) -> Retrieved:
        """The best, half of them from each speaker as far as there are so many."""
        hits = await aside(self._embeddings, partial(self._best, question.text, k))
        return Retrieved(tuple(self._places[hit.memory.id] for hit in hits))


class Dense(EmbeddedTurns):
    """Vectors alone over the turns."""

    name = "dense"
    description = DESCRIPTIONS["dense"]

    def finder(self, conversation: Conversation, bank: BankSnapshot) -> Retriever:
        """Ranks by cosine."""
        return Cosine(bank.memories, self._embeddings)


class Cosine:
    """The ranking by vectors alone; `named` puts the speaker's name before each text, as most questions name one."""

    def __init__(self, memories: Sequence[Memory], embeddings: Embeddings, *, named: bool = True) -> None:
        self._embeddings = embeddings
        shown = [replace(each, text=f"{each.speaker}: {each.text}") for each in memories] if named else memories
        vectors = np.array(vectors_of(shown, embeddings), np.float32)
        self._matrix = _unit(vectors.reshape(len(memories), -1))

    async def find(self, question: Question, k: int) -> Retrieved:
        """The nearest."""
        return await aside(self._embeddings, partial(self._best, question.text, k))

    def _best(self, text: str, k: int) -> Retrieved:
        if not len(self._matrix):
            return Retrieved(())
        query = _unit(np.array([self._embeddings.embed_query(text)], np.float32))[0]
        return Retrieved(tuple(np.argsort(-(self._matrix @ query), kind="stable")[:k].tolist()))


async def aside(embeddings: Embeddings | None, search: Callable[[], T]) -> T:
    """Searches in a thread where an embedding model may take its time."""
    return search() if embeddings is None else await asyncio.to_thread(search)


def places_of(memories: Sequence[Memory]) -> dict[str, int]:
    """Where each memory stands, by id."""
    return {memory.id: place for place, memory in enumerate(memories)}


def vectors_of(memories: Sequence[Memory], embeddings: Embeddings | None) -> Sequence[NDArray[np.float32] | None]:
    """The vector of each memory's text, None each without an embedding model."""
    if embeddings is None:
        return [None] * len(memories)
    return [np.array(vector, np.float32) for vector in embeddings.embed_documents([each.text for each in memories])]


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.float32(1e-9))
    return unit
