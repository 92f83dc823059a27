"""The memory systems that can be compared; each is made when its name is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from langgraph_memory_r1.batches import Limits
from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.evals.call_cache import CachedChatModel, CachedEmbeddings
from langgraph_memory_r1.evals.systems.baselines import (
    BM25,
    Dense,
    FullContext,
    Hybrid,
    NoMemory,
    Oracle,
    RankedTurns,
)
from langgraph_memory_r1.evals.systems.libraries import LangMem, Mem0
from langgraph_memory_r1.evals.systems.memory_r1 import MemoryR1
from langgraph_memory_r1.evals.systems.system import System
from langgraph_memory_r1.prompts import Style

__all__ = ["SYSTEMS", "Parts", "systems"]


@dataclass(frozen=True, slots=True)
class Parts:
    """What systems are made of."""

    extractor: CachedChatModel
    manager: CachedChatModel
    embedder: CachedEmbeddings | None = None
    style: Style = "full"
    related_k: int = 10
    """Memories that the manager is shown for each fact."""
    limits: Limits = field(default_factory=Limits)
    """How many turns one model call looks at."""

    def vectors(self, system: str) -> CachedEmbeddings:
        """Return the embedding model.

        Raises:
            InputError: none was chosen.
        """
        if self.embedder is None:
            raise InputError(
                f"{system} needs vectors; choose their model with --embedder (minilm, provider:model, hash)"
            )
        return self.embedder


SYSTEMS: Final[Mapping[str, Callable[[Parts], System]]] = {
    "memory-r1": lambda parts: MemoryR1(
        parts.extractor, parts.manager, parts.embedder, parts.style, parts.related_k, parts.limits
    ),
    "no-memory": lambda parts: NoMemory(),
    "bm25": lambda parts: BM25(),
    "turns": lambda parts: RankedTurns(),
    "dense": lambda parts: Dense(parts.vectors("dense"), parts.vectors("dense").model),
    "hybrid": lambda parts: Hybrid(parts.vectors("hybrid"), parts.vectors("hybrid").model),
    "full-context": lambda parts: FullContext(),
    "oracle": lambda parts: Oracle(),
    "mem0": lambda parts: Mem0(parts.manager, parts.vectors("mem0")),
    "langmem": lambda parts: LangMem(parts.manager, parts.vectors("langmem")),
}
"""How each is made."""


def systems(names: Sequence[str], parts: Parts) -> tuple[System, ...]:
    """Make the systems of these names, each once, in their order.

    Raises:
        InputError: One is unknown, or lacks what it needs.
    """
    unknown = [name for name in names if name not in SYSTEMS]
    if unknown or not names:
        choices = ", ".join(SYSTEMS)
        raise InputError(f"There is no system {', '.join(map(repr, unknown)) or 'named'}; choose from: {choices}.")
    return tuple(SYSTEMS[name](parts) for name in dict.fromkeys(names))
