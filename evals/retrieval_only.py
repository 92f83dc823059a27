"""Retrieval alone: how much of the evidence stands among the first k memories, without asking any model.

    results = list(retrieve(benchmark("locomo").load("locomo10.json", "test")))

Over the turns, each a memory of its own: `bm25` ranks every turn for itself, `turns` as this library ranks memories;
with an embedding model also `dense` (cosine alone) and `hybrid` (the library's ranking with vectors). Over what a
memory system made of the turns, under the system's name: a turn is found where a memory has it among its sources.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.evals.benchmark import Dataset
from langgraph_memory_r1.retrieval import Index, Weights
from langgraph_memory_r1.schemas import Conversation, Memory, Question, Turn

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

__all__ = ["CUTS", "DESCRIPTIONS", "PLAIN_BM25", "memory_of", "recall_scores", "retrieve"]

CUTS: Final = (1, 5, 10, 30, 60)
"""After so many memories recall is measured."""

PLAIN_BM25: Final = Weights(earlier=(), later=(), session=0.0, speaker=0.0)
"""Every memory for itself: no neighbours, no session, no speaker."""

DESCRIPTIONS: Final[Mapping[str, str]] = {
    "bm25": "turns, ranked by BM25 alone",
    "turns": "turns, ranked as this library ranks memories, without vectors",
    "dense": "turns with their speaker's name, ranked by the cosine of their vectors alone",
    "hybrid": "turns, ranked as this library ranks memories, words and vectors",
}
"""What each ranking of turns is, in the order of a report."""

_SHOWN = 10
"""So many of the ranked memories stand in a result; more would make a run's file larger than its data."""

Ranker: TypeAlias = Callable[[str], Sequence[Memory]]
"""A query's memories, best first."""
Vector: TypeAlias = NDArray[np.float32]


def retrieve(
    dataset: Dataset,
    *,
    embeddings: Embeddings | None = None,
    banks: Mapping[str, Mapping[str, Sequence[Memory]]] | None = None,
    on_question: Callable[[str], None] | None = None,
) -> Iterator[dict[str, Any]]:
    """Rank every question's memories in every way that is possible, and yield how much of its evidence was found.

    Args:
        dataset: Conversations and questions.
        embeddings: Adds the rankings that need vectors.
        banks: System → conversation → the memories that it made; adds a ranking over each system's, for the
            conversations that it knows.
        on_question: Called with the name of the ranking after each question, to show progress.

    Yields:
        One result for each question and ranking, in the shape of `results.jsonl`, without an answer; a question that
        names no evidence has None for scores.

    Raises:
        InputError: No question names evidence.
    """
    if not any(question.evidence for chat in dataset.conversations for question in chat.questions):
        raise InputError(f"no question of {dataset.benchmark} names evidence turns; leave --retrieval-only out")
    for conversation in dataset.conversations:
        texts = {turn.id: turn.text for turn in conversation.turns}
        for name, ranker in _rankers(conversation, embeddings, banks or {}):
            for question in conversation.questions:
                memories = ranker(question.text)
                yield {
                    "benchmark": dataset.benchmark,
                    "split": dataset.split,
                    "conversation": conversation.id,
                    "question_id": question.id,
                    "category": question.category,
                    "question": question.text,
                    "gold": question.gold,
                    "evidence": list(question.evidence),
                    "evidence_text": [texts.get(turn, "") for turn in question.evidence],
                    "answer": None,
                    "error": None,
                    "selected": [],
                    "tokens": {},
                    "system": name,
                    "retrieved": [_shown(memory, question) for memory in memories[:_SHOWN]],
                    "looked_at": len(memories),
                    "scores": recall_scores(memories, question.evidence),
                }
                if on_question is not None:
                    on_question(name)


def recall_scores(
    memories: Sequence[Memory], evidence: Sequence[str], cuts: Sequence[int] = CUTS
) -> dict[str, float | None]:
    """Return evidence recall after each cut, as `scoring.recall_at` defines it: the mean share, any, and all.

    Args:
        memories: The retrieved ones, best first.
        evidence: The ids of the turns that are needed.
        cuts: After how many memories.
    """
    needed = set(evidence)
    # The ranks at which the needed turns first stand; all cuts are read off them, in one pass over the memories.
    first_ranks: dict[str, int] = {}
    for rank, memory in enumerate(memories):
        for turn in needed.intersection(memory.source):
            first_ranks.setdefault(turn, rank)
    scores: dict[str, float | None] = {}
    for cut in cuts:
        share = sum(rank < cut for rank in first_ranks.values()) / len(needed) if needed else None
        scores[f"recall@{cut}"] = share
        scores[f"recall_any@{cut}"] = None if share is None else float(share > 0)
        scores[f"recall_all@{cut}"] = None if share is None else float(share == 1)
    return scores


def _shown(memory: Memory, question: Question) -> dict[str, Any]:
    return {
        "text": memory.text,
        "speaker": memory.speaker,
        "at": memory.at.isoformat() if memory.at else None,
        "source": list(memory.source),
        "hit": not set(memory.source).isdisjoint(question.evidence),
    }


def memory_of(turn: Turn) -> Memory:
    """Return a turn as a memory of its own."""
    return Memory(turn.id, turn.text, turn.speaker, turn.at, (turn.id,), turn.session)


def _rankers(
    conversation: Conversation, embeddings: Embeddings | None, banks: Mapping[str, Mapping[str, Sequence[Memory]]]
) -> Iterator[tuple[str, Ranker]]:
    """Yield every ranking that is possible with its name, in the order of a report."""
    vectors = None if embeddings is None else _Vectors(embeddings)
    turns = [memory_of(turn) for turn in conversation.turns]
    index = _indexed(turns, vectors)
    plain = index.fork()
    plain.weights = PLAIN_BM25
    yield "bm25", _ranker(plain)
    yield "turns", _ranker(index)
    if vectors is not None:
        yield "dense", _cosine_ranker(turns, vectors)
        yield "hybrid", _ranker(index, vectors)
    for system, memories in banks.items():
        if conversation.id in memories:
            yield system, _ranker(_indexed(memories[conversation.id], vectors), vectors)


class _Vectors:
    """An embedding model's vectors; a query's is made once for all rankings."""

    def __init__(self, embeddings: Embeddings) -> None:
        self._embeddings = embeddings
        self.of_query = cache(lambda text: np.array(embeddings.embed_query(text), np.float32))

    def of_texts(self, texts: list[str]) -> list[Vector]:
        return [np.array(row, np.float32) for row in self._embeddings.embed_documents(texts)]


def _indexed(memories: Sequence[Memory], vectors: _Vectors | None) -> Index:
    """Return the library's index of some memories, with vectors of their texts where there is a model for them."""
    rows = [] if vectors is None else vectors.of_texts([memory.text for memory in memories])
    index = Index()
    for memory, row in zip_longest(memories, rows):
        index.put(memory, row)
    return index


def _ranker(index: Index, vectors: _Vectors | None = None) -> Ranker:
    """Return the library's ranking, with vectors where a model is given."""

    def rank(text: str) -> Sequence[Memory]:
        vector = None if vectors is None else vectors.of_query(text)
        return [hit.memory for hit in index.rank(text, k=max(CUTS), vector=vector)]

    return rank


def _cosine_ranker(memories: Sequence[Memory], vectors: _Vectors) -> Ranker:
    """Return the ranking by vectors alone."""
    if not memories:
        return lambda text: ()
    # Without the speaker's name in the text a third less is found, as most questions name somebody.
    rows = np.stack(vectors.of_texts([f"{memory.speaker}: {memory.text}" for memory in memories]))
    lengths = np.linalg.norm(rows, axis=1)

    def rank(text: str) -> Sequence[Memory]:
        cosines = rows @ vectors.of_query(text) / np.maximum(lengths, 1e-9)
        return [memories[number] for number in np.argsort(-cosines, kind="stable")[: max(CUTS)]]

    return rank
