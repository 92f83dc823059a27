"""Namespaces too large to mirror are read through LanceDB, with the same results as those that are held in memory."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.store.base import PutOp, SearchItem

from langgraph_memory_r1 import Add, LanceDBStore, MemoryBank
from support.stores import folder_bytes, index, keys, slow

Pair = tuple[LanceDBStore, LanceDBStore]
WORDS = "red green blue apple pear plum dog cat tea jazz".split()


class SmallMirrors(LanceDBStore):
    """Holds next to nothing in memory, so that LanceDB answers."""

    mirror_rows = 3
    mirror_total = 6


def phrase(rng: random.Random) -> str:
    return " ".join(rng.choices(WORDS, k=3))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """The same folder, mirrored and not."""
    folder = str(tmp_path_factory.mktemp("large") / "db")
    rng = random.Random(7)
    with (
        LanceDBStore(folder, index=index("title", "body")) as mirrored,
        SmallMirrors(folder, index=index("title", "body")) as direct,
    ):
        puts = [
            PutOp(
                ("docs", f"d{n % 3}", "it's"),
                f"key'{n:03}",
                {"title": phrase(rng), "body": phrase(rng), "n": n, "tags": rng.sample(WORDS, 2)},
                index=False if n % 10 == 0 else None,
            )
            for n in range(120)
        ]
        mirrored.batch(puts[:60])
        direct.batch(puts[60:])
        mirrored.batch([PutOp(op.namespace, op.key, None) for op in puts[5:120:12]])
        direct.batch([PutOp(op.namespace, op.key, {"title": "changed", "n": -1}) for op in puts[7:120:12]])
        mirrored.batch([PutOp(("docs", "d9", "it's"), "gone", {"title": "red"}, ttl=0.001 / 60)])
        time.sleep(0.01)
        yield mirrored, direct


def shown(hits: list[SearchItem]) -> list[tuple[Any, ...]]:
    return [
        (hit.namespace, hit.key, hit.value, hit.created_at, hit.updated_at, hit.score and round(hit.score, 4))
        for hit in hits
    ]


@pytest.mark.parametrize("prefix", [(), slow(("docs",)), ("docs", "d1"), ("docs", "d1", "it's"), ("doc",)], ids=repr)
@pytest.mark.parametrize("condition", [None, {"n": {"$lt": 40}}, {"tags": {"$contains": "dog"}}], ids=repr)
def test_listing_is_the_same(pair: Pair, prefix: tuple[str, ...], condition: dict[str, Any] | None) -> None:
    mirrored, direct = pair
    for limit, offset in ((10, 0), (7, 14), (500, 0), (5, 400), (0, 0)):
        expected = mirrored.search(prefix, filter=condition, limit=limit, offset=offset)
        assert shown(direct.search(prefix, filter=condition, limit=limit, offset=offset)) == shown(expected)


@pytest.mark.parametrize("prefix", [(), slow(("docs", "d1")), ("docs", "d1", "it's"), ("doc",)], ids=repr)
@pytest.mark.parametrize("query", ["red apple pear", "changed", slow("nothing like it")])
def test_semantic_search_is_the_same(pair: Pair, prefix: tuple[str, ...], query: str) -> None:
    mirrored, direct = pair
    for condition in (None, {"n": {"$lt": 40}}):
        for limit, offset in ((10, 0), (7, 14), (25, 70), (500, 0)):
            expected = mirrored.search(prefix, query=query, filter=condition, limit=limit, offset=offset)
            found = direct.search(prefix, query=query, filter=condition, limit=limit, offset=offset)
            assert shown(found) == shown(expected)


def test_gets_and_namespaces_are_the_same(pair: Pair) -> None:
    mirrored, direct = pair
    assert direct.list_namespaces() == mirrored.list_namespaces()
    for n in range(0, 120, 5):
        namespace, key = ("docs", f"d{n % 3}", "it's"), f"key'{n:03}"
        assert direct.get(namespace, key) == mirrored.get(namespace, key)


@pytest.mark.slow
def test_writing_through_a_small_mirror(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    with (
        SmallMirrors(str(folder), index=index("title")) as store,
        LanceDBStore(str(folder), index=index("title")) as other,
    ):
        for n in range(12):
            store.put(("a",), str(n), {"title": f"word{n}", "n": n})
            assert keys(store.search(("a",), limit=1)) == [str(n)]
            assert keys(store.search((), query=f"word{n}", limit=1)) == [str(n)]
        store.put(("a",), "0", {"title": "changed"})
        assert keys(store.search(("a",), limit=2)) == ["0", "11"]
        for n in range(12):
            store.delete(("a",), str(n))
            assert len(store.search(("a",), limit=20)) == 11 - n
        store.put(("a",), "back", {"title": "secret"})
        assert keys(store.search(("a",))) == keys(other.search(("a",))) == ["back"]
        assert store.erase(("a",)) == 1
        assert b"secret" not in folder_bytes(folder)


@pytest.mark.slow
def test_mirrors_make_room_for_each_other(tmp_path: Path) -> None:
    with SmallMirrors(str(tmp_path / "db")) as store:
        for n in range(30):
            store.put((f"owner{n % 10}",), str(n), {"n": n})
        for n in range(60):
            owner = n * 7 % 10
            assert keys(store.search((f"owner{owner}",))) == [str(owner + 20), str(owner + 10), str(owner)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("喝茶", "我每天早上喝茶"),
        ("你住在哪里", "她住在东京"),
        ("猫の名前", "飼い猫の名前はタマです"),
        ("커피", "나는 커피를 좋아해요"),
        ("แมว", "ฉันมีแมวสองตัว"),
        ("cafe", "We met in the Café Rex."),
        ("Soren", "Søren plays chess."),
        ("Москва", "Я живу в Москве."),
        ("हिन्दी", "वह हिन्दी बोलता है"),
    ],
)
def test_a_large_bank_finds_words_of_every_script(tmp_path: Path, query: str, expected: str) -> None:
    texts = [
        "我每天早上喝茶", "她住在东京", "飼い猫の名前はタマです", "나는 커피를 좋아해요", "ฉันมีแมวสองตัว",
        "We met in the Café Rex.", "Søren plays chess.", "Я живу в Москве.", "वह हिन्दी बोलता है", "Ann likes dogs.",
    ]  # fmt: skip
    with SmallMirrors(str(tmp_path / "db")) as store:
        bank = MemoryBank(store, "ann")
        bank.apply([Add(text) for text in texts])
        hits = bank.search(query, k=1)
        assert [hit.memory.text for hit in hits] == [expected] and hits[0].score > 0
        assert bank.search("dog", k=1)[0].memory.text == "Ann likes dogs."


@pytest.mark.parametrize("texts", [["a", "b"], ["我", "b\x1d"], ["\x1d"], [""], ["é\x1d\x1d", ""]])
def test_texts_of_any_characters_come_back_to_be_embedded_anew(texts: list[str]) -> None:
    from langgraph_memory_r1.store.rows import join_texts, split_texts

    assert split_texts(join_texts(texts)) == texts
