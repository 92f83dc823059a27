"""The seam between a bank and its store: the same from both sides, and few calls deep."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import lancedb.table
import numpy as np
import pytest
from langchain_core.embeddings import Embeddings
from langgraph.store.base import BaseStore, IndexConfig, PutOp, SearchOp
from langgraph.store.memory import InMemoryStore

from langgraph_memory_r1 import Add, ConflictError, LanceDBStore, MemoryBank, create_memory_graph
from langgraph_memory_r1.bank.storage import BaseStoreStorage, LanceDBStorage, Storage, storage_of
from langgraph_memory_r1.testing import HashEmbeddings
from support.stores import index

MEMORIES, HISTORY = ("ann", "memory"), ("ann", "history")
CODE = str(Path(__file__).resolve().parents[1] / "langgraph_memory_r1")


@pytest.fixture(params=["lancedb", "lancedb-index", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    if request.param == "memory":
        yield storage_of(InMemoryStore(), MEMORIES, HISTORY)
        return
    config = index("text") if "index" in request.param else None
    with LanceDBStore(str(tmp_path / "db"), index=config) as store:
        yield storage_of(store, MEMORIES, HISTORY)


def put(key: str, text: str | None, namespace: tuple[str, ...] = MEMORIES) -> PutOp:
    return PutOp(namespace, key, None if text is None else {"text": text, "rev": 1}, ["text"])


def changed(storage: Storage, namespace: tuple[str, ...] = MEMORIES) -> tuple[dict[str, str], list[str]]:
    items, gone = storage.changes(namespace)
    return {item.key: item.value["text"] for item in items}, list(gone)


def test_the_class_is_picked_by_the_store(tmp_path: Path) -> None:
    assert isinstance(storage_of(InMemoryStore(), MEMORIES, HISTORY), BaseStoreStorage)
    with LanceDBStore(str(tmp_path / "db")) as store:
        assert isinstance(storage_of(store, MEMORIES, HISTORY), LanceDBStorage)


def test_changes_are_what_came_since_the_last_look(storage: Storage) -> None:
    assert changed(storage) == ({}, [])
    storage.commit([put("a", "one"), put("b", "two"), put("c", "a change", HISTORY)], {}, ())
    assert changed(storage) == ({"a": "one", "b": "two"}, [])
    assert changed(storage) == ({}, [])
    storage.commit([put("a", "three"), put("b", None)], {}, ())
    assert changed(storage) == ({"a": "three"}, ["b"])
    assert changed(storage, HISTORY) == ({"c": "a change"}, [])
    assert not storage.too_large()


def test_a_key_that_came_and_went_between_two_looks_is_no_change(storage: Storage) -> None:
    storage.commit([put("a", "one")], {}, ())
    storage.commit([put("a", None)], {}, ())
    assert changed(storage) == ({}, [])


def test_a_condition_that_does_not_hold_refuses_everything(storage: Storage) -> None:
    storage.commit([put("a", "one")], {(MEMORIES, "a"): None}, ())
    for wrong in ({"rev": 2}, None):
        with pytest.raises(ConflictError) as caught:
            storage.commit([put("a", "two"), put("b", "three")], {(MEMORIES, "a"): wrong}, ())
        assert caught.value.keys == ("a",)
    assert changed(storage) == ({"a": "one"}, [])
    storage.commit([put("a", "two"), put("b", "new")], {(MEMORIES, "a"): {"rev": 1}}, {(MEMORIES, "b")})
    assert changed(storage) == ({"a": "two", "b": "new"}, [])


def test_noops_are_kept_and_erased_with_the_rest(storage: Storage) -> None:
    storage.commit([put("a", "one")], {}, ())
    storage.append(HISTORY, [{"id": "noop-1", "text": "small talk"}])
    assert changed(storage, HISTORY) == ({"noop-1": "small talk"}, []) or storage.read_appended(HISTORY) == (
        True,
        [{"id": "noop-1", "text": "small talk"}],
    )
    assert storage.erase() == 1
    assert changed(storage)[0] == changed(storage, HISTORY)[0] == {}
    assert storage.read_appended(HISTORY)[1] == []
    assert storage.erase() == 0


class TwoSided(Embeddings):
    """A model to which a query is another thing than a document."""

    def embed_query(self, text: str) -> list[float]:
        return [1.0, 0.0]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [[0.0, 1.0] for _ in texts]


def test_a_query_and_a_document_of_the_same_text_have_vectors_of_their_own(tmp_path: Path) -> None:
    """Also where one begins with the mark that once told them apart."""

    with LanceDBStore(str(tmp_path / "db"), index={"dims": 2, "embed": TwoSided(), "fields": ["text"]}) as store:
        ops = [PutOp(("a",), "1", {"text": "?why"}), SearchOp(("a",), query="why")]
        vectors = store.engine.embed(ops)
        assert vectors.documents["?why"].tolist() == [0.0, 1.0]
        assert vectors.queries["why"].tolist() == [1.0, 0.0]
        store.batch(ops)
        (item,) = store.search(("a",), query="why")
        assert item.score == 0.0


def test_vectors_are_held_twice_and_no_more(tmp_path: Path) -> None:
    """In the matrix of the store's mirror, which the rows are views of, and in the index of the bank."""
    with LanceDBStore(str(tmp_path / "db"), index=index("text")) as store:
        bank = MemoryBank(store, "ann")
        for number in range(40):
            bank.apply([Add(f"memory number {number}")])
        bank.search("memory")
        (mirror,) = [mirror for prefix, mirror in store.engine.reader._mirrors.items() if prefix.endswith("memory/")]
        assert len(mirror) == 40
        assert all(np.shares_memory(row.vectors, mirror._matrix) for row in mirror.rows.values() if row is not None)
        assert not hasattr(bank._index._segments[-1].entries[-1], "vector")


def test_a_mirror_holds_on_to_no_other_mirrors_vectors(tmp_path: Path) -> None:
    with LanceDBStore(str(tmp_path / "db"), index=index("text")) as store:
        store.put(("a", "b"), "0", {"text": "zero"})
        for prefix in (("a",), ("a", "b")):
            assert len(store.search(prefix)) == 1
        for number in range(1, 40):
            store.put(("a", "b"), str(number), {"text": f"number {number}"})
        upper, lower = (store.engine.reader._mirrors[prefix] for prefix in ("a/", "a/b/"))
        for mirror, other in ((upper, lower), (lower, upper)):
            assert len(mirror) == 40
            for row in mirror.rows.values():
                assert row.vectors is not None
                assert np.shares_memory(row.vectors, mirror._matrix)
                assert not np.shares_memory(row.vectors, other._matrix)
                assert np.array_equal(row.vectors, other.rows[row.id].vectors)


def frames_of_ours() -> list[str]:
    names = []
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code.co_filename.startswith(CODE):
            names.append(f"{Path(frame.f_code.co_filename).name}:{frame.f_code.co_name}")
        frame = frame.f_back
    return names[::-1]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The frames of this library above each `add` to a table of LanceDB."""
    calls: list[list[str]] = []
    add = lancedb.table.LanceTable.add

    def probe(table: Any, *args: Any, **options: Any) -> Any:
        calls.append(frames_of_ours())
        return add(table, *args, **options)

    monkeypatch.setattr(lancedb.table.LanceTable, "add", probe)
    return calls


def test_from_apply_to_the_table_are_seven_calls(tmp_path: Path, calls: list[list[str]]) -> None:
    with LanceDBStore(str(tmp_path / "db")) as store:
        MemoryBank(store, "ann").apply([Add("Ann adopted a dog, Buddy.")])
    assert len(calls) == 1
    assert len(calls[0]) <= 7, calls[0]


def test_from_the_graph_to_the_table_are_twelve_calls(tmp_path: Path, calls: list[list[str]]) -> None:
    store: BaseStore = LanceDBStore(str(tmp_path / "db"))
    graph = create_memory_graph(store, model="rules")
    said = {"messages": [("user", "My name is Ann and I have a dog called Buddy.")]}
    graph.invoke(said, context={"user_id": "ann"})
    assert calls
    assert len(calls[0]) <= 12, calls[0]


class Short(HashEmbeddings):
    """An embedding model that takes no long texts, and may be away."""

    away = False

    def embed_query(self, text: str) -> list[float]:
        if self.away or len(text) > 500:
            raise ConnectionError("the server is away") if self.away else ValueError("maximum context length exceeded")
        return super().embed_query(text)


@pytest.mark.parametrize("mirrored", [True, False])
def test_recall_falls_back_on_words_where_the_embedder_fails(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, mirrored: bool
) -> None:
    model = Short(32)
    monkeypatch.setattr(LanceDBStore, "mirror_rows", 100 if mirrored else 1)
    with LanceDBStore(str(tmp_path / "db"), index={"dims": 32, "embed": model, "fields": ["text"]}) as store:
        bank = MemoryBank(store, "ann")
        bank.apply([Add("Ann plays the cello."), Add("Ann likes tea.")])
        for query in ("cello " * 500, "Who plays the cello? " + "x" * 600):
            assert bank.search(query, k=1)[0].memory.text == "Ann plays the cello."
        model.away = True
        assert bank.search("cello", k=1)[0].memory.text == "Ann plays the cello."
        assert [record.levelname for record in caplog.records] == ["WARNING"]  # one for a whole outage
        assert "maximum context length exceeded" in caplog.text and "searched by words" in caplog.text
        with pytest.raises(ConnectionError):
            bank.apply([Add("Ann moved to Denver.")])
        assert len(bank) == 2
        model.away = False
        assert len(bank.search("tea")) == 2
        model.away = True
        assert bank.search("tea", k=1)[0].memory.text == "Ann likes tea."
        assert len(caplog.records) == 2


def test_an_embedder_that_is_away_from_the_start_leaves_words(tmp_path: Path) -> None:
    config: IndexConfig = {"dims": 32, "embed": HashEmbeddings(32), "fields": ["text"]}
    with LanceDBStore(str(tmp_path / "db"), index=config) as store:
        MemoryBank(store, "ann").apply([Add("Ann plays the cello.")])
    model = Short(32)
    model.away = True
    with LanceDBStore(str(tmp_path / "db"), index={**config, "embed": model}) as store:
        assert len(MemoryBank(store, "ann").search("cello")) == 1
