"""Keys, values, namespaces and queries of any characters: they come back as they went in and touch nothing else."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.store.base import IndexConfig, PutOp

from langgraph_memory_r1 import LanceDBStore
from support.stores import BOTH, Store, index, keys, lancedb_only, opened, slow

NS = ("docs",)

TEXTS = [
    "it's",
    '"double"',
    "''",
    "\\",
    "\\'",
    "\\' OR 1=1) --",
    "x'; DROP TABLE items; --",
    "' OR '1'='1",
    "/* comment */",
    "%",
    "_",
    "a%b_c",
    "a/b",
    "../../etc/passwd",
    "..",
    "user@example.com",
    "{curly} ${dollar} $.path",
    "`tick`",
    "line\nbreak\r\n\ttab",
    "\x01\x02\x1f\x7f",
    "NUL\x00inside",
    "\x00",
    "emoji 🐕‍🦺 ❤️",
    "日本語 العربية हिन्दी",
    "e\u0301 versus é",
    "\u202eright to left",
    "\ufeffmark",
    "\uffff",
    " leading and trailing ",
    "null",
    "true",
    "1e5",
    "x" * 5000,
]

VALUES: dict[str, Any] = {
    "nested": {"a": {"b": {"c": [1, [2, {"d": None}]]}}},
    "deep": None,
    "empty": [{}, [], "", None],
    "numbers": [0, -1, 1.5, 1e300, 5e-324, 2**53 + 1, 10**100, -(10**100)],
    "booleans": [True, False, 1, 0],
    "keys": {text: number for number, text in enumerate(TEXTS)},
    "unicode": TEXTS,
    "big": "ab\\'\"\n" * 200_000,
    "many": {f"field{n}": n for n in range(2000)},
}
for _ in range(60):
    VALUES["deep"] = {"in": VALUES["deep"]}


HERE = [slow(name) if "async" in name else name for name in BOTH]


@pytest.fixture(params=HERE)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def store_index() -> IndexConfig:
    return index("text")


def test_any_key_comes_back(store: Store) -> None:
    store.batch([PutOp(NS, text, {"n": n}) for n, text in enumerate(TEXTS)])
    assert {item.key: item.value for item in store.search(NS, limit=100)} == {t: {"n": n} for n, t in enumerate(TEXTS)}
    for n, text in enumerate(TEXTS):
        item = store.get(NS, text)
        assert item is not None
        assert (item.key, item.value) == (text, {"n": n})


def test_any_key_is_updated_and_deleted_alone(store: Store) -> None:
    store.batch([PutOp(NS, text, {"n": 0}) for text in TEXTS])
    for text in TEXTS[:12]:
        store.put(NS, text, {"n": 1})
        store.delete(NS, text)
        assert store.get(NS, text) is None
    assert {item.key: item.value for item in store.search(NS, limit=100)} == {text: {"n": 0} for text in TEXTS[12:]}


@pytest.mark.parametrize("name", VALUES)
def test_any_value_comes_back(store: Store, name: str) -> None:
    store.put(NS, "a", {"value": VALUES[name]})
    for item in (store.get(NS, "a"), *store.search(NS)):
        assert item is not None
        assert item.value == {"value": VALUES[name]}
        assert repr(item.value) == repr({"value": VALUES[name]})


@pytest.mark.slow
def test_values_come_back_after_reopening(tmp_path: Path) -> None:
    folder = str(tmp_path / "db")
    with LanceDBStore(folder) as store:
        store.batch([PutOp((text.replace("\x00", "0").replace(".", "_"),), text, VALUES) for text in TEXTS])
    with LanceDBStore(folder) as store:
        assert sorted(keys(store.search((), limit=100))) == sorted(TEXTS)
        assert all(repr(item.value) == repr(VALUES) for item in store.search((), limit=100))


@pytest.fixture(params=HERE, scope="module")
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store for several tests, each in a namespace of its own."""
    with opened(request.param, tmp_path_factory.mktemp("shared") / "db", index("text")) as store:
        yield store


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text[:20]))
def test_any_text_is_found_by_its_meaning_and_by_a_filter(shared: Store, text: str) -> None:
    mine = (f"text {TEXTS.index(text)}",)
    other = {"text": "something else", "id": "other"}
    shared.batch([PutOp(mine, "a", {"text": text, "id": text}), PutOp(mine, "b", other)])
    assert keys(shared.search(mine, query=text))[0] == "a"
    assert keys(shared.search(mine, filter={"id": text})) == ["a"]


@lancedb_only("InMemoryStore never turns text into bytes")
def test_lone_surrogates_come_back_or_are_refused_clearly(store: Store) -> None:
    store.put(NS, "good", {"n": 1})
    writes: list[PutOp] = [
        PutOp(NS, "value", {"text": "half \ud83d emoji"}),
        PutOp(NS, "key \udc00", {"n": 1}),
        PutOp(("label \udc00",), "k", {"n": 1}),
    ]
    kept = [op for op in writes if _accepted(store, op)]
    for op in kept:
        item = store.get(op.namespace, op.key)
        assert item is not None
        assert item.value == op.value
    assert len(store.search((), limit=100)) == 1 + len(kept)


def _accepted(store: Store, op: PutOp) -> bool:
    try:
        store.batch([op, PutOp(NS, "good", {"n": 1})])
    except ValueError as error:
        assert "surrogate" in str(error)
        return False
    return True


@lancedb_only("InMemoryStore keeps the objects themselves")
@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan")], ids=str)
def test_numbers_that_json_lacks_come_back_or_are_refused_clearly(store: Store, number: float) -> None:
    try:
        store.put(NS, "a", {"x": number})
    except ValueError as error:
        assert "JSON" in str(error)
        assert store.search(()) == []
        return
    item = store.get(NS, "a")
    assert item is not None
    assert repr(item.value["x"]) == repr(number)


TOKENS = [
    "'",
    "''",
    "\\",
    "\\'",
    '"',
    ")",
    "(",
    " OR 1=1",
    "--",
    ";",
    "/*",
    "*/",
    "%",
    "_",
    "*",
    "/",
    "\n",
    "\x01",
    "é",
    "🐕",
    "a",
]


def fuzzed(seed: int, count: int) -> list[str]:
    rng = random.Random(seed)
    return ["".join(rng.choices(TOKENS, k=rng.randint(1, 6))) for _ in range(count)]


def snapshot(store: Store, prefix: tuple[str, ...]) -> list[tuple[Any, ...]]:
    hits = store.search(prefix, limit=100, refresh_ttl=False)
    return sorted((hit.namespace, hit.key, repr(hit.value), hit.created_at, hit.updated_at) for hit in hits)


@pytest.mark.parametrize("seed", [0, slow(1), slow(2)])
def test_no_operation_reaches_another_namespace(store: Store, seed: int) -> None:
    """A property test with a fixed alphabet: whatever is done to one owner, the witness next door stays as it was."""
    store.batch([PutOp(("witness", "'"), str(n), {"text": str(n), "n": n}) for n in range(5)])
    before = snapshot(store, ("witness",))
    labels = [text for text in fuzzed(seed, 8) if text.strip()]
    for number, label in enumerate(labels):
        namespace, key = (f"{label}{number}",), labels[-number]
        store.batch(
            [PutOp(namespace, key, {"text": label}), PutOp((*namespace, label), label, {"text": f"{key} below"})]
        )
        store.put(namespace, key, {"text": key, "n": 2}, ttl=None)
        assert {hit.namespace for hit in store.search(namespace, query=label)} == {namespace, (*namespace, label)}
        assert keys(store.search(namespace, filter={"text": key, "n": 2})) == [key]
        store.delete(namespace, key)
        assert [hit.namespace for hit in store.search(namespace)] == [(*namespace, label)]
        assert snapshot(store, ("witness",)) == before
