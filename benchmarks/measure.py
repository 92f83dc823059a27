"""What the benchmarks share: a measured ratio, fair timing, and an embedding that costs next to nothing."""

from __future__ import annotations

import gc
import os
import statistics
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from langchain_core.embeddings import Embeddings
from langgraph.store.base import IndexConfig

DIMS = 384
"""The width of the small embedding models that people run on a laptop."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure and what it is held against; both in the same unit, the lower the better."""

    name: str
    value: float
    reference: float
    limit: float
    """The ratio may not be larger than this."""

    @property
    def ratio(self) -> float:
        """The value over the reference."""
        return self.value / self.reference if self.reference else float(bool(self.value))

    @property
    def kept(self) -> bool:
        """Whether the ratio is within its limit."""
        return self.ratio <= self.limit

    def line(self) -> str:
        """The measure as it is printed."""
        verdict = "" if self.kept else "  OVER"
        return f"{self.name} ratio={self.ratio:.3f} limit={self.limit:.3f}{verdict}"


@lru_cache(maxsize=256)  # no more, or the cache's growth is what a benchmark of memory sees
def _vector(text: str) -> list[float]:
    vector: list[float] = np.random.default_rng(zlib.crc32(text.encode())).standard_normal(DIMS, np.float32).tolist()
    return vector


class FixedEmbeddings(Embeddings):
    """A text has a random but fixed vector, at hand when asked for again: stores are measured and not models."""

    def embed_query(self, text: str) -> list[float]:
        """Embed one text."""
        return _vector(text)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed several texts."""
        return [_vector(text) for text in texts]


def index() -> IndexConfig:
    """The index of every store that is measured."""
    return {"dims": DIMS, "embed": FixedEmbeddings(), "fields": ["text"]}


def seconds(call: Callable[[], object]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def p50(samples: Sequence[float]) -> float:
    """The median."""
    return statistics.median(samples)


@contextmanager
def quiet_collector() -> Iterator[None]:
    """Keep the garbage collector from running inside a measured call."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def folder_size(folder: Path) -> int:
    """Bytes of all files under a folder, some of which may vanish meanwhile."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += os.stat(os.path.join(parent, name)).st_size
    return total


_SYLLABLES = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "er", "ol")]


def sentence(number: int) -> str:
    """A memory of twelve words; a word's frequency falls with its rank, as in real text (Zipf)."""
    ranks = np.exp(np.random.default_rng(number).random(11) * np.log(10_000)).astype(int).tolist()
    return f"Ann{number} " + " ".join(_SYLLABLES[r % 112] + _SYLLABLES[r * 7 // 112 % 112] for r in ranks) + "."
