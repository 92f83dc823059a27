"""Filters of a search: which items they let through, and which filters are refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.store.base import PutOp

from support.stores import BOTH, Store, keys, lancedb_only, opened

NS = ("people",)

ITEMS: dict[str, dict[str, Any]] = {
    "ann": {"name": "Ann", "age": 9, "ok": True, "tags": ["dog", "cat"], "home": {"city": "Rome", "zip-code": "00100"}},
    "bob": {"name": "Bob", "age": 10, "ok": False, "tags": [], "home": {"city": "Oslo"}, "note": None},
    "cyd": {"name": "Cyd", "age": 10.5, "ok": 1, "tags": ["dog"], "größe": 3, "since": "2024-05-01"},
    "dan": {"name": "D\"a'n", "age": "10", "ok": 0, "since": "2023-12-31", "home": "Rome"},
    "eve": {"name": "Eve"},
}


@pytest.fixture(params=BOTH, scope="module")
def people(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder: Path = tmp_path_factory.mktemp("filters") / "db"
    with opened(request.param, folder) as store:
        store.batch([PutOp(NS, key, value) for key, value in ITEMS.items()])
        yield store


def matching(store: Store, condition: dict[str, Any]) -> list[str]:
    return sorted(keys(store.search(NS, filter=condition, limit=100)))


SHARED: list[tuple[dict[str, Any], str]] = [
    ({}, "ann bob cyd dan eve"),
    ({"name": "Ann"}, "ann"),
    ({"name": "ann"}, ""),
    ({"name": "D\"a'n"}, "dan"),
    ({"name": {"$eq": "Bob"}}, "bob"),
    ({"name": {"$ne": "Bob"}}, "ann cyd dan eve"),
    ({"name": "Ann", "age": 9}, "ann"),
    ({"name": "Ann", "age": 10}, ""),
    ({"age": 10.0}, "bob"),
    ({"age": "10"}, "dan"),
    ({"name": None}, ""),
    ({"tags": ["dog", "cat"]}, "ann"),
    ({"tags": ["cat", "dog"]}, ""),
    ({"tags": []}, "bob"),
    ({"home": {"city": "Rome", "zip-code": "00100"}}, "ann"),
    ({"home": {"city": "Paris"}}, ""),
    ({"home": {"city": "Oslo"}}, "bob"),
    ({"home": "Rome"}, "dan"),
    ({"größe": 3}, "cyd"),
    ({"age": {"$ne": 9}}, "bob cyd dan eve"),
    ({"missing": {"$ne": 1}}, "ann bob cyd dan eve"),
    ({"name": {"$ne": "Ann", "$eq": "Bob"}}, "bob"),
    ({"age": float("nan")}, ""),
    ({"age": {"$eq": float("inf")}}, ""),
    ({"age": 10**100}, ""),
    ({"name": "\x00"}, ""),
    ({"name": "x' OR 1=1 --"}, ""),
    ({"name": "\\' OR 1=1) --"}, ""),
    ({"name": "\ud800"}, ""),
    ({"note": {"$eq": None}, "name": "Bob"}, "bob"),
    ({"name": {"$ne": None}}, "ann bob cyd dan eve"),
    ({"home.city.deeper": "Rome"}, ""),
]

OURS: list[tuple[dict[str, Any], str]] = [
    ({"age": {"$gt": 9}}, "bob cyd"),
    ({"age": {"$gte": 9}}, "ann bob cyd"),
    ({"age": {"$lt": 10}}, "ann"),
    ({"age": {"$lte": 10.0}}, "ann bob"),
    ({"age": {"$gt": 9, "$lt": 10.2}}, "bob"),
    ({"age": {"$lt": float("inf")}}, "ann bob cyd"),
    ({"age": {"$gt": float("-inf")}}, "ann bob cyd"),
    ({"age": {"$gt": float("nan")}}, ""),
    ({"age": {"$lt": 10**100}}, "ann bob cyd"),
    ({"age": {"$lt": 10**400}}, "ann bob cyd"),
    ({"age": {"$gt": 10**400}}, ""),
    ({"missing": {"$gt": 0}}, ""),
    ({"missing": {"$lte": 0}}, ""),
    ({"note": {"$lt": 1}}, ""),
    ({"since": {"$gte": "2024-01-01"}}, "cyd"),
    ({"since": {"$lt": "2024-01-01"}}, "dan"),
    ({"since": {"$gt": 0}}, ""),
    ({"tags": {"$gt": 0}}, ""),
    ({"ok": True}, "ann"),
    ({"ok": False}, "bob"),
    ({"ok": 1}, "cyd"),
    ({"ok": {"$eq": 0}}, "dan"),
    ({"ok": {"$in": [True]}}, "ann"),
    ({"ok": {"$ne": True}}, "bob cyd dan eve"),
    ({"name": {"$in": ["Ann", "Bob", "Zoe"]}}, "ann bob"),
    ({"name": {"$in": []}}, ""),
    ({"age": {"$in": [9, 10]}}, "ann bob"),
    ({"missing": {"$in": [1]}}, ""),
    ({"name": {"$nin": ["Ann", "Bob"]}}, "cyd dan eve"),
    ({"missing": {"$nin": [1]}}, "ann bob cyd dan eve"),
    ({"home": {"$in": [{"city": "Oslo"}, "Rome"]}}, "bob dan"),
    ({"name": {"$contains": "y"}}, "cyd"),
    ({"name": {"$contains": "'"}}, "dan"),
    ({"tags": {"$contains": "dog"}}, "ann cyd"),
    ({"tags": {"$contains": ["dog", "cat"]}}, "ann"),
    ({"tags": {"$contains": "do"}}, ""),
    ({"age": {"$contains": "1"}}, "dan"),
    ({"missing": {"$contains": "dog"}}, ""),
    ({"$and": [{"age": {"$gt": 9}}, {"tags": {"$contains": "dog"}}]}, "cyd"),
    ({"$or": [{"name": "Ann"}, {"age": 10}]}, "ann bob"),
    ({"$not": {"name": "Ann"}}, "bob cyd dan eve"),
    ({"$not": {"age": {"$gt": 9}}}, "ann dan eve"),
    ({"$and": [{"$or": [{"name": "Ann"}, {"name": "Bob"}]}, {"$not": {"ok": True}}]}, "bob"),
    ({"$or": [{"name": "Ann"}, {"name": "Bob"}], "age": 10}, "bob"),
    ({"$and": [{}, {"name": {"$eq": "Eve"}}]}, "eve"),
    ({"$and": [{"name": "Ann"}, {"name": "Bob"}]}, ""),
    ({"home.city": "Rome"}, "ann"),
    ({"home.zip-code": "00100"}, "ann"),
    ({"home.city": {"$in": ["Rome", "Oslo"]}}, "ann bob"),
    ({"home.city": {"$ne": "Rome"}}, "bob cyd dan eve"),
    ({"$or": [{"home.city": "Oslo"}, {"größe": {"$gte": 3}}]}, "bob cyd"),
]

REFUSED: list[Any] = [
    {"name": {"$like": "A%"}},
    {"$nor": [{"name": "Ann"}]},
    {"name": {"$gt": 1, "plain": 2}},
    {"$and": {"name": "Ann"}},
    {"$and": "name"},
    {"$or": [1]},
    {"$or": ["name"]},
    {"$not": [{"name": "Ann"}]},
    {"$not": "Ann"},
    {"name": {"$in": "Ann"}},
    {"name": {"$in": 3}},
    {"name": {"$nin": None}},
    {"$and": [{"name": {"$bad": 1}}]},
    {"name') OR 1=1 --": "x"},
    {"name' OR '1'='1": "x"},
    {"name; DROP TABLE memories": "x"},
    {'name"': "x"},
    {"name\x00": "x"},
    {"name\\": "x"},
    {"$or": [{"name' OR '1'='1": "x"}]},
    {"": "x"},
    {3: "x"},
]


@pytest.mark.parametrize(("condition", "expected"), SHARED, ids=repr)
def test_shared_filters(people: Store, condition: dict[str, Any], expected: str) -> None:
    assert matching(people, condition) == expected.split()


@lancedb_only("InMemoryStore lacks it, raises, or takes True for 1", "people")
@pytest.mark.parametrize(("condition", "expected"), OURS, ids=repr)
def test_filters(people: Store, condition: dict[str, Any], expected: str) -> None:
    assert matching(people, condition) == expected.split()


@lancedb_only("InMemoryStore ignores what it cannot read", "people")
@pytest.mark.parametrize("condition", REFUSED, ids=repr)
def test_a_filter_that_cannot_be_read_is_refused(people: Store, condition: Any) -> None:
    for namespace in (NS, ("empty",)):
        with pytest.raises(ValueError, match=r"(?i)filter|operator"):
            people.search(namespace, filter=condition)


@lancedb_only("InMemoryStore returns nothing for $and", "people")
def test_a_filter_as_the_server_wraps_it(people: Store) -> None:
    owned = {"$and": [{"home.city": {"$eq": "Rome"}}, {"name": {"$eq": "Ann"}}]}
    assert matching(people, owned) == ["ann"]
    assert matching(people, {"$and": [owned, {"tags": {"$contains": ["cat"]}}]}) == ["ann"]


@lancedb_only("InMemoryStore raises on a field that some items lack", "people")
def test_paging_counts_only_what_passes_the_filter(people: Store) -> None:
    pages = [keys(people.search(NS, filter={"age": {"$gt": 0}}, limit=2, offset=offset)) for offset in (0, 2, 4)]
    assert [len(page) for page in pages] == [2, 1, 0]
    assert sorted(key for page in pages for key in page) == ["ann", "bob", "cyd"]
