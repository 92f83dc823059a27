"""What LangGraph expects of any store, on LanceDBStore and on InMemoryStore, sync and async."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from langgraph.store.base import (
    GetOp,
    InvalidNamespaceError,
    ListNamespacesOp,
    MatchCondition,
    PutOp,
    SearchOp,
)

from langgraph_memory_r1 import LanceDBStore
from support.stores import FACES, Store, keys, lancedb_only, opened, slow

NS = ("docs",)


@pytest.fixture(params=FACES)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def fill(store: Store, *namespaces: tuple[str, ...]) -> None:
    """Put one item, keyed "k", into each of these namespaces."""
    store.batch([PutOp(namespace, "k", {"at": list(namespace)}) for namespace in namespaces])


def found(store: Store, prefix: tuple[str, ...]) -> set[tuple[str, ...]]:
    """The namespaces of everything that a search under this prefix returns."""
    return {item.namespace for item in store.search(prefix, limit=100)}


def test_missing_item_is_none(store: Store) -> None:
    assert store.list_namespaces() == []
    assert store.get(NS, "nothing") is None
    assert store.search(NS) == []


def test_put_then_get(store: Store) -> None:
    store.put(NS, "a", {"text": "Buddy", "n": 1})
    item = store.get(NS, "a")
    assert item is not None
    assert (item.namespace, item.key, item.value) == (NS, "a", {"text": "Buddy", "n": 1})


def test_overwrite_replaces_the_whole_value(store: Store) -> None:
    store.put(NS, "a", {"text": "old", "extra": True})
    store.put(NS, "a", {"text": "new"})
    item = store.get(NS, "a")
    assert item is not None
    assert item.value == {"text": "new"}
    assert keys(store.search(NS)) == ["a"]


def test_delete(store: Store) -> None:
    store.put(NS, "a", {"n": 1})
    store.put(NS, "b", {"n": 2})
    store.delete(NS, "a")
    store.delete(NS, "never there")
    assert store.get(NS, "a") is None
    assert keys(store.search(NS)) == ["b"]


def test_put_after_delete_is_a_new_item(store: Store) -> None:
    store.put(NS, "a", {"n": 1})
    store.delete(NS, "a")
    store.put(NS, "a", {"n": 2})
    assert [item.value for item in store.search(NS)] == [{"n": 2}]


def test_a_namespace_that_was_read_empty_is_filled(store: Store) -> None:
    for n in range(2):
        assert store.search(NS) == []
        assert store.get(NS, "a") is None
        store.put(NS, "a", {"n": n})
        assert [item.value for item in store.search(NS)] == [{"n": n}]
        store.delete(NS, "a")


def test_same_key_in_two_namespaces(store: Store) -> None:
    fill(store, ("a",), ("b",))
    store.delete(("a",), "k")
    assert found(store, ()) == {("b",)}


def test_key_is_made_a_string(store: Store) -> None:
    store.put(NS, 7, {"n": 1})
    item = store.get(NS, "7")
    assert item is not None
    assert item.key == "7"


def test_empty_value(store: Store) -> None:
    store.put(NS, "a", {})
    item = store.get(NS, "a")
    assert item is not None
    assert item.value == {}


# ---- batch


def test_results_come_in_the_order_of_the_operations(store: Store) -> None:
    store.batch([PutOp(NS, key, {"n": n}) for n, key in enumerate("abc")])
    results: list[Any] = store.batch(
        [
            GetOp(NS, "c"),
            PutOp(NS, "d", {"n": 3}),
            SearchOp(NS, limit=1, filter={"n": 1}),
            GetOp(NS, "nothing"),
            ListNamespacesOp(),
            GetOp(NS, "a"),
        ]
    )
    assert results[0].value == {"n": 2}
    assert results[1] is None
    assert keys(results[2]) == ["b"]
    assert results[3] is None
    assert results[4] == [NS]
    assert results[5].value == {"n": 0}


def test_reads_of_a_batch_come_before_its_writes(store: Store) -> None:
    store.put(NS, "a", {"n": 1})
    results: list[Any] = store.batch(
        [PutOp(NS, "a", {"n": 2}), PutOp(("new",), "b", {}), GetOp(NS, "a"), SearchOp(()), ListNamespacesOp()]
    )
    assert results[2].value == {"n": 1}
    assert keys(results[3]) == ["a"]
    assert results[4] == [NS]
    assert {item.key: item.value for item in store.search(())} == {"a": {"n": 2}, "b": {}}


def test_last_put_of_a_batch_wins(store: Store) -> None:
    store.batch([PutOp(NS, "a", {"n": n}) for n in range(5)])
    store.batch([PutOp(NS, "b", {"n": 1}), PutOp(NS, "b", None), PutOp(NS, "c", None), PutOp(NS, "c", {"n": 2})])
    assert {item.key: item.value for item in store.search(NS)} == {"a": {"n": 4}, "c": {"n": 2}}


def test_batch_takes_any_iterable(store: Store) -> None:
    assert store.batch([]) == []
    assert store.batch(PutOp(NS, str(n), {"n": n}) for n in range(3)) == [None] * 3
    assert len(store.search(NS)) == 3


def test_unknown_operation_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match=r"(?i)operation"):
        store.batch(["put"])


@lancedb_only("InMemoryStore keeps objects that no other store can")
@pytest.mark.parametrize("value", [{"x": object()}, {"x": {1, 2}}, {"x": b"bytes"}], ids=["object", "set", "bytes"])
def test_value_that_is_not_json_writes_nothing_of_its_batch(store: Store, value: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        store.batch([PutOp(NS, "good", {"n": 1}), PutOp(NS, "bad", value)])
    assert store.search(()) == []


# ---- times


def test_times_carry_a_zone_and_are_now(store: Store) -> None:
    store.put(NS, "a", {})
    now = datetime.now(UTC)
    for item in [store.get(NS, "a"), *store.search(NS)]:
        assert item is not None
        for at in (item.created_at, item.updated_at):
            assert at.utcoffset() is not None
            assert timedelta(0) <= now - at < timedelta(seconds=10)


@lancedb_only("InMemoryStore and SqliteStore lose created_at on update")
def test_update_keeps_created_at_and_moves_updated_at(store: Store) -> None:
    store.put(NS, "a", {"n": 1})
    before = store.get(NS, "a")
    time.sleep(0.002)
    store.put(NS, "a", {"n": 2})
    for after in [store.get(NS, "a"), *store.search(NS)]:
        assert before is not None
        assert after is not None
        assert after.created_at == before.created_at
        assert after.updated_at > before.updated_at


@lancedb_only("InMemoryStore hands out the stored object itself")
def test_changing_a_returned_value_changes_nothing(store: Store) -> None:
    value: dict[str, Any] = {"list": [1], "nested": {"x": 1}}
    store.put(NS, "a", value)
    value["nested"]["x"] = 2
    for item in [store.get(NS, "a"), *store.search(NS)]:
        assert item is not None
        assert item.value == {"list": [1], "nested": {"x": 1}}
        item.value["list"].append(2)
        item.value["nested"]["x"] = 3
    assert [item.value for item in store.search(NS)] == [{"list": [1], "nested": {"x": 1}}]


# ---- namespaces


@pytest.mark.parametrize(
    ("prefix", "others"),
    [
        (("user1",), [("user12",), ("user",), ("xuser1",), ("User1",), ("USER1",)]),
        (("100%",), [("100x",), ("100",), ("100%%",)]),
        (("a_b",), [("axb",), ("a%5Fb",)]),
        (("*",), [("a",), ("**",)]),
        (("a?",), [("ab",), ("a",)]),
        (("[ab]",), [("a",), ("b",)]),
        (("a/b",), [("a", "b"), ("a%2Fb",), ("a",)]),
        (("a%2Fb",), [("a/b",), ("a%252Fb",)]),
        (("line\nbreak",), [("line",), ("break",), ("line\n",), ("line\nbreak\n",)]),
        (("é",), [("e\u0301",), ("e",), ("É",)]),
        (("it's",), [("its",), ("it''s",), ("it\\'s",)]),
        (("a\\",), [("a",), ("a\\\\",)]),
        ((" ",), [("  ",), ("%20",), ("+",)]),
        (("~",), [("~~",), ("%7E",)]),
        (("a:b",), [("a", "b"), ("a:b:c",)]),
        (("a|b",), [("a", "b")]),
        (("a\x1fb",), [("a", "b")]),
    ],
    ids=lambda value: repr(value[0]) if isinstance(value, tuple) else "others",
)
@pytest.mark.parametrize("backend", ["lancedb", slow("lancedb-async"), "memory", slow("memory-async")], indirect=True)
def test_prefix_is_literal_and_whole_segments(
    store: Store, prefix: tuple[str, ...], others: list[tuple[str, ...]]
) -> None:
    below = (*prefix, "below")
    fill(store, prefix, below, *others)
    assert found(store, prefix) == {prefix, below}
    assert set(store.list_namespaces(suffix=prefix)) >= {prefix}
    assert found(store, ()) == {prefix, below, *others}


def test_search_of_the_root_finds_everything(store: Store) -> None:
    fill(store, ("a",), ("a", "b"), ("c", "d", "e"))
    assert found(store, ()) == {("a",), ("a", "b"), ("c", "d", "e")}
    assert found(store, ("a",)) == {("a",), ("a", "b")}
    assert found(store, ("c", "d")) == {("c", "d", "e")}
    assert found(store, ("d",)) == set()


@lancedb_only("InMemoryStore cannot hash a list as namespace")
def test_a_list_is_a_namespace(store: Store) -> None:
    store.put(["a", "b"], "k", {"n": 1})
    item = store.get(["a", "b"], "k")
    assert item is not None
    assert item.namespace == ("a", "b")
    assert [item.namespace for item in store.search(["a"])] == [("a", "b")]
    assert store.list_namespaces(prefix=["a"]) == [("a", "b")]
    store.delete(["a", "b"], "k")
    assert store.search([]) == []


BAD_LABELS: list[Any] = [("",), ("a", ""), ("a.b",), ("a\x00",), (1,), ("a", None)]


@pytest.mark.parametrize("namespace", BAD_LABELS, ids=repr)
def test_invalid_labels_are_refused(store: Store, namespace: Any) -> None:
    for call in (store.put, store.get, store.delete):
        arguments = (namespace, "k", {}) if call == store.put else (namespace, "k")
        with pytest.raises(InvalidNamespaceError):
            call(*arguments)
    with pytest.raises(InvalidNamespaceError):
        store.search(namespace)
    with pytest.raises(InvalidNamespaceError):
        store.list_namespaces(prefix=namespace)


@pytest.mark.parametrize("namespace", [(), ("langgraph",), ("langgraph", "x")], ids=repr)
def test_invalid_roots_are_refused_for_writing(store: Store, namespace: tuple[str, ...]) -> None:
    with pytest.raises(InvalidNamespaceError):
        store.put(namespace, "k", {})


@lancedb_only("InMemoryStore does not check the namespaces of raw operations")
@pytest.mark.parametrize("namespace", BAD_LABELS, ids=repr)
def test_invalid_labels_of_raw_operations_are_refused(store: Store, namespace: Any) -> None:
    condition = MatchCondition("prefix", namespace)
    for op in (PutOp(namespace, "k", {}), GetOp(namespace, "k"), SearchOp(namespace), ListNamespacesOp((condition,))):
        with pytest.raises(InvalidNamespaceError):
            store.batch([PutOp(NS, "good", {}), op])
    assert store.search(()) == []


TREE = [("a", "b", "c"), ("a", "b", "d"), ("a", "x"), ("a_b", "c"), ("axb", "c"), ("b", "b", "c"), ("z",)]


@pytest.fixture(params=FACES, scope="module")
def tree(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store that is only read."""
    with opened(request.param, tmp_path_factory.mktemp("tree") / "db") as store:
        fill(store, *TREE)
        yield store


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, TREE),
        ({"prefix": ("a",)}, TREE[:3]),
        ({"prefix": ("a", "b")}, TREE[:2]),
        ({"prefix": ("a_b",)}, [("a_b", "c")]),
        ({"prefix": ("*", "b")}, [TREE[0], TREE[1], TREE[5]]),
        ({"prefix": ("a", "*", "c")}, [TREE[0]]),
        ({"prefix": ("*",)}, TREE),
        ({"prefix": ("*", "*", "*")}, [TREE[0], TREE[1], TREE[5]]),
        ({"prefix": ("a", "b", "c", "*")}, []),
        ({"prefix": ("%",)}, []),
        ({"suffix": ("c",)}, [TREE[0], TREE[3], TREE[4], TREE[5]]),
        ({"suffix": ("b", "c")}, [TREE[0], TREE[5]]),
        ({"suffix": ("b", "*")}, [TREE[0], TREE[1], TREE[5]]),
        ({"prefix": ("a",), "suffix": ("c",)}, [TREE[0]]),
        ({"max_depth": 1}, [("a",), ("a_b",), ("axb",), ("b",), ("z",)]),
        ({"max_depth": 2, "prefix": ("a",)}, [("a", "b"), ("a", "x")]),
        ({"max_depth": 9}, TREE),
        ({"limit": 2}, TREE[:2]),
        ({"limit": 3, "offset": 2}, TREE[2:5]),
        ({"limit": 1, "offset": 1, "max_depth": 1}, [("a_b",)]),
        ({"limit": 5, "offset": 50}, []),
    ],
    ids=repr,
)
def test_list_namespaces(tree: Store, options: dict[str, Any], expected: list[tuple[str, ...]]) -> None:
    assert tree.list_namespaces(**options) == sorted(expected)


@lancedb_only("InMemoryStore lists namespaces that were emptied or only read")
def test_an_emptied_namespace_is_gone(store: Store) -> None:
    fill(store, ("a",), ("b",))
    store.delete(("a",), "k")
    store.get(("never",), "k")
    assert store.list_namespaces() == [("b",)]


# ---- plain listing


def test_limit_and_offset_page_without_overlap(store: Store) -> None:
    store.batch([PutOp(NS, f"{n:02}", {"n": n}) for n in range(25)])
    pages = [keys(store.search(NS, limit=10, offset=offset)) for offset in range(0, 40, 10)]
    assert [len(page) for page in pages] == [10, 10, 5, 0]
    assert sorted(key for page in pages for key in page) == [f"{n:02}" for n in range(25)]
    assert len(store.search(NS)) == 10


def test_an_empty_query_lists(store: Store) -> None:
    store.batch([PutOp(NS, str(n), {"n": n}) for n in range(3)])
    assert sorted(keys(store.search(NS, query=""))) == sorted(keys(store.search(NS, query=None))) == ["0", "1", "2"]
    assert {item.score for item in store.search(NS, query="")} == {None}


@lancedb_only("InMemoryStore lists in the order of first insertion")
def test_listing_shows_the_most_recently_updated_first(store: Store) -> None:
    for key in "abc":
        store.put(NS, key, {"n": 1})
        time.sleep(0.002)
    store.put(NS, "a", {"n": 2})
    assert keys(store.search(NS)) == ["a", "c", "b"]


# ---- threads and loops


def test_sync_calls_inside_a_running_loop(tmp_path: Path) -> None:
    async def both(store: LanceDBStore) -> None:
        store.put(NS, "sync", {"n": 1})
        await store.aput(NS, "async", {"n": 2})
        assert sorted(keys(store.search(NS))) == sorted(keys(await store.asearch(NS))) == ["async", "sync"]
        assert store.get(NS, "async") == await store.aget(NS, "async")

    with LanceDBStore(str(tmp_path / "db")) as store:
        asyncio.run(both(store))


def test_one_store_serves_several_event_loops(tmp_path: Path) -> None:
    async def write(store: LanceDBStore, worker: int) -> None:
        await asyncio.gather(*(store.aput((f"w{worker}",), str(n), {"n": n}) for n in range(5)))

    with LanceDBStore(str(tmp_path / "db")) as store, ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda worker: asyncio.run(write(store, worker)), range(4)))
        assert sorted((item.namespace, item.key) for item in store.search((), limit=100)) == [
            ((f"w{worker}",), str(n)) for worker in range(4) for n in range(5)
        ]


def test_item_has_the_shape_that_the_server_sends(store: Store) -> None:
    store.put(NS, "a", {"n": 1})
    (hit,) = store.search(NS)
    assert set(hit.dict()) == {"namespace", "key", "value", "created_at", "updated_at", "score"}
    assert hit.dict()["namespace"] == ["docs"]
