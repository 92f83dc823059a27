"""What the store suites share: the stores to run on, one blocking face for sync and async, and a small embedding."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pytest
from langchain_core.embeddings import Embeddings
from langgraph.store.base import BaseStore, IndexConfig, Item, Op, Result, SearchItem
from langgraph.store.memory import InMemoryStore

from langgraph_memory_r1 import LanceDBStore

DIMS = 32

BOTH = ("lancedb", "lancedb-async", "memory", "memory-async")
"""The contract that every LangGraph store shares, through its sync and its async methods."""


FACES = tuple(pytest.param(name, marks=pytest.mark.slow if name == "memory-async" else ()) for name in BOTH)
"""`BOTH` as parameters; the async methods of LangGraph's own store are looked at in the slow tests."""


def slow(*parameters: object) -> Any:
    """Parameters of one test that say the same in another way, for the slow tests."""
    return pytest.param(*parameters, marks=pytest.mark.slow)


class WordEmbeddings(Embeddings):
    """A text is the sum of its words' fixed random vectors: equal words give equal vectors, in every process."""

    def embed_query(self, text: str) -> list[float]:
        """Embed one text."""
        words = text.lower().split() or [""]
        seeds = [zlib.crc32(word.encode("utf-8", "surrogatepass")) for word in words]
        return [float(x) for x in sum(np.random.default_rng(seed).standard_normal(DIMS) for seed in seeds)]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed several texts."""
        return [self.embed_query(text) for text in texts]


def cosine(a: str, b: str) -> float:
    """The score that a search for `a` has to give to an item whose text is `b`."""
    x, y = (np.array(WordEmbeddings().embed_query(text)) for text in (a, b))
    return float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))


def index(*fields: str) -> IndexConfig:
    """An index over these fields; over the whole value without any."""
    config: IndexConfig = {"dims": DIMS, "embed": WordEmbeddings()}
    return {**config, "fields": list(fields)} if fields else config


class AsyncFace:
    """A store's async methods under the names of its sync ones, so that one test drives both."""

    def __init__(self, store: BaseStore, runner: asyncio.Runner) -> None:
        self._store = store
        self._run = runner.run

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        return self._run(self._store.abatch(ops))

    def get(self, *args: Any, **options: Any) -> Item | None:
        return self._run(self._store.aget(*args, **options))

    def search(self, *args: Any, **options: Any) -> list[SearchItem]:
        return self._run(self._store.asearch(*args, **options))

    def put(self, *args: Any, **options: Any) -> None:
        self._run(self._store.aput(*args, **options))

    def delete(self, *args: Any) -> None:
        self._run(self._store.adelete(*args))

    def list_namespaces(self, **options: Any) -> list[tuple[str, ...]]:
        return self._run(self._store.alist_namespaces(**options))


Store = BaseStore | AsyncFace


@contextmanager
def opened(backend: str, folder: Path, config: IndexConfig | None = None) -> Iterator[Store]:
    """Open an empty store: `lancedb` or `memory`, with `-async` by its async methods, with `-index` over `text`."""
    kind, *ways = backend.split("-")
    config = index("text") if "index" in ways else config
    with ExitStack() as stack:
        store: BaseStore = InMemoryStore(index=config)
        if kind == "lancedb":
            store = stack.enter_context(LanceDBStore(str(folder), index=config))
        yield AsyncFace(store, stack.enter_context(asyncio.Runner())) if "async" in ways else store


def lancedb_only(reason: str, fixture: str = "backend") -> pytest.MarkDecorator:
    """Run on LanceDBStore alone, because `reason`; it becomes the test's id."""
    backends = BOTH[:2]
    return pytest.mark.parametrize(fixture, backends, indirect=True, ids=[f"{b}: {reason}" for b in backends])


def keys(items: Iterable[Item]) -> list[str]:
    """The keys of these items, in order."""
    return [item.key for item in items]


def versions(folder: Path) -> int:
    """How many commits all Lance tables in this folder have seen, read through LanceDB itself."""
    db = lancedb.connect(folder)
    return sum(db.open_table(path.stem).version for path in folder.glob("*.lance"))


def folder_bytes(folder: Path) -> bytes:
    """Every byte under this folder."""
    return b"\0".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())
