"""Semantic search: scores, fields, vectors that come and go, paging."""

from __future__ import annotations

from pathlib import Path

import pytest
from langgraph.store.base import IndexConfig, PutOp, SearchOp

from langgraph_memory_r1 import LanceDBStore
from support.stores import BOTH, DIMS, FACES, Store, WordEmbeddings, cosine, index, keys, lancedb_only, opened

NS = ("docs",)


@pytest.fixture(params=FACES)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def store_index() -> IndexConfig:
    return index("title", "body")


def scores(store: Store, query: str, limit: int = 100) -> dict[str, float | None]:
    return {hit.key: hit.score for hit in store.search(NS, query=query, limit=limit)}


def test_score_is_the_cosine(store: Store) -> None:
    texts = {"a": "adopted a dog", "b": "the dog barks", "c": "green tea", "d": "adopted a dog named Buddy"}
    store.batch([PutOp(NS, key, {"title": text}) for key, text in texts.items()])
    assert scores(store, "adopted a dog") == pytest.approx(
        {key: cosine("adopted a dog", text) for key, text in texts.items()}, abs=1e-3
    )


def test_best_comes_first(store: Store) -> None:
    texts = ["one two three", "one two", "one", "four", "one two three four"]
    store.batch([PutOp(NS, text, {"title": text}) for text in texts])
    hits = store.search(NS, query="one two three four")
    assert keys(hits) == sorted(texts, key=lambda text: -cosine("one two three four", text))
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert keys(store.search(NS, query="one two three four", limit=2)) == keys(hits)[:2]


def test_several_fields_are_pooled_by_their_best(store: Store) -> None:
    store.put(NS, "both", {"title": "red apple", "body": "blue sky"})
    store.put(NS, "title", {"title": "red apple"})
    for query in ("red apple", "blue sky"):
        got = scores(store, query)
        assert got["both"] == pytest.approx(1, abs=1e-3)
        assert got["title"] == pytest.approx(cosine(query, "red apple"), abs=1e-3)
    assert len(store.search(NS, query="red apple")) == 2


def test_put_names_its_own_fields(store: Store) -> None:
    store.put(NS, "a", {"title": "red apple", "other": {"deep": "blue sky"}}, index=["other.deep"])
    store.put(NS, "b", {"tags": ["green tea", "black coffee"]}, index=["tags[*]"])
    assert scores(store, "blue sky")["a"] == pytest.approx(1, abs=1e-3)
    assert scores(store, "red apple")["a"] == pytest.approx(cosine("red apple", "blue sky"), abs=1e-3)
    assert scores(store, "green tea")["b"] == pytest.approx(1, abs=1e-3)
    assert scores(store, "black coffee")["b"] == pytest.approx(1, abs=1e-3)


def test_without_index_fields_the_whole_value_is_embedded(tmp_path: Path) -> None:
    for backend in BOTH:
        with opened(backend, tmp_path / backend, index()) as store:
            store.put(NS, "a", {"text": "hello"})
            assert scores(store, '{"text": "hello"}')["a"] == pytest.approx(1, abs=1e-3)


def test_update_replaces_the_vector(store: Store) -> None:
    store.put(NS, "a", {"title": "red apple"})
    store.put(NS, "a", {"title": "blue sky"})
    assert scores(store, "blue sky")["a"] == pytest.approx(1, abs=1e-3)
    assert scores(store, "red apple")["a"] == pytest.approx(cosine("red apple", "blue sky"), abs=1e-3)


@lancedb_only("InMemoryStore keeps vectors of fields that are gone")
def test_update_drops_the_vectors_of_fields_that_are_gone(store: Store) -> None:
    store.put(NS, "a", {"title": "red apple", "body": "blue sky"})
    store.put(NS, "a", {"body": "blue sky"})
    assert scores(store, "red apple")["a"] == pytest.approx(cosine("red apple", "blue sky"), abs=1e-3)


def test_an_item_without_a_vector_stays_gettable_and_comes_last(store: Store) -> None:
    store.put(NS, "hidden", {"title": "red apple"}, index=False)
    store.put(NS, "textless", {"other": 1})
    store.put(NS, "seen", {"title": "green tea"})
    assert store.get(NS, "hidden") is not None
    assert set(keys(store.search(NS))) == {"hidden", "textless", "seen"}
    hits = store.search(NS, query="red apple")
    assert keys(hits)[0] == "seen"
    assert {hit.key: hit.score for hit in hits[1:]} == {"hidden": None, "textless": None}


@lancedb_only("InMemoryStore keeps the stale vector")
def test_index_false_drops_the_vector(store: Store) -> None:
    store.put(NS, "a", {"title": "red apple"})
    store.put(NS, "a", {"title": "red apple", "n": 2}, index=False)
    assert scores(store, "red apple") == {"a": None}


@lancedb_only("InMemoryStore raises for two equal texts in one batch")
def test_equal_texts_in_one_batch(store: Store) -> None:
    store.batch([PutOp(NS, key, {"title": "same words", "body": "same words"}) for key in "abc"])
    assert scores(store, "same words") == pytest.approx({"a": 1, "b": 1, "c": 1}, abs=1e-3)


def test_deleted_items_are_not_found(store: Store) -> None:
    store.put(NS, "a", {"title": "red apple"})
    store.delete(NS, "a")
    assert store.search(NS, query="red apple") == []
    store.put(NS, "a", {"other": 1})
    assert scores(store, "red apple") == {"a": None}


def test_paging_is_disjoint_and_descending_at_any_depth(store: Store) -> None:
    store.batch([PutOp(NS, f"{n:03}", {"title": f"word{n} and more{n % 7}"}) for n in range(120)])
    pages = [store.search(NS, query="word3 and more5", limit=10, offset=offset) for offset in range(0, 130, 10)]
    assert [len(page) for page in pages] == [10] * 12 + [0]
    hits = [hit for page in pages for hit in page]
    assert len(set(keys(hits))) == 120
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


@lancedb_only("InMemoryStore repeats items without a vector on every page")
def test_paging_goes_on_through_items_without_a_vector(store: Store) -> None:
    store.batch([PutOp(NS, f"{n:02}", {"title": f"word{n}"}, index=None if n < 12 else False) for n in range(24)])
    hits = [hit for offset in range(0, 30, 5) for hit in store.search(NS, query="word1", limit=5, offset=offset)]
    assert len(hits) == len(set(keys(hits))) == 24
    assert [hit.score is None for hit in hits] == [False] * 12 + [True] * 12


def test_ties_are_the_same_on_every_page_size(store: Store) -> None:
    for n in range(20):
        store.put(NS, str(n), {"title": "the same"})
    whole = keys(store.search(NS, query="the same", limit=20))
    paged = [key for offset in range(20) for key in keys(store.search(NS, query="the same", limit=1, offset=offset))]
    assert paged == whole


def test_filter_and_prefix_hold_for_semantic_search(store: Store) -> None:
    store.batch(
        [
            PutOp(("docs", "a"), "in", {"title": "green apple", "kind": "fruit"}),
            PutOp(("docs", "a"), "kind", {"title": "red apple", "kind": "toy"}),
            PutOp(("docsx",), "out", {"title": "red apples", "kind": "fruit"}),
        ]
    )
    hits = store.search(("docs",), query="red apple", filter={"kind": "fruit"})
    assert [(hit.namespace, hit.key) for hit in hits] == [(("docs", "a"), "in")]


def test_several_queries_in_one_batch(store: Store) -> None:
    store.batch([PutOp(NS, "a", {"title": "red apple"}), PutOp(NS, "b", {"title": "blue sky"})])
    queries = ["blue sky", "", "red apple"]
    best = store.batch([SearchOp(NS, query=query, limit=1) for query in queries])
    assert keys(best[0]) == ["b"]
    assert best[1][0].score is None
    assert keys(best[2]) == ["a"]


@pytest.mark.parametrize("backend", BOTH)
def test_a_query_without_an_index_lists(backend: str, tmp_path: Path) -> None:
    with opened(backend, tmp_path / "db") as store:
        store.batch([PutOp(NS, key, {"title": key}) for key in "abc"])
        hits = store.search(NS, query="anything")
        assert sorted(keys(hits)) == ["a", "b", "c"]
        assert {hit.score for hit in hits} == {None}


@pytest.mark.parametrize("asynchronous", [False, True], ids=["function", "async function"])
def test_embedding_functions_are_taken_as_well(asynchronous: bool, tmp_path: Path) -> None:
    async def aembed(texts: list[str]) -> list[list[float]]:
        return WordEmbeddings().embed_documents(texts)

    embed = aembed if asynchronous else WordEmbeddings().embed_documents
    backend = "lancedb-async" if asynchronous else "lancedb"
    with opened(backend, tmp_path / "db", {"dims": DIMS, "embed": embed, "fields": ["title"]}) as store:
        store.put(NS, "a", {"title": "red apple"})
        assert scores(store, "red apple")["a"] == pytest.approx(1, abs=1e-3)


def test_a_vector_of_another_length_is_refused(tmp_path: Path) -> None:
    folder = str(tmp_path / "db")
    with LanceDBStore(folder, index={"dims": DIMS + 1, "embed": WordEmbeddings(), "fields": ["title"]}) as store:
        with pytest.raises(ValueError, match=rf"{DIMS}\D+{DIMS + 1}|{DIMS + 1}\D+{DIMS}"):
            store.put(NS, "a", {"title": "red apple"})
        assert store.search(()) == []
