"""What only LanceDBStore promises: it is on disk, fresh across processes, small, and forgets for good."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import lancedb
import pytest
from langgraph.store.base import GetOp, IndexConfig, ListNamespacesOp, PutOp, SearchOp

from langgraph_memory_r1 import EmbedderMismatchError, LanceDBStore, StoreError
from langgraph_memory_r1.testing import HashEmbeddings
from support.stores import DIMS, WordEmbeddings, folder_bytes, index, keys, versions

NS = ("docs",)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "db"


def elsewhere(folder: Path, statement: str) -> str:
    """Run a statement on a `store` of this folder in another process; what it prints."""
    program = (
        f"from langgraph_memory_r1 import LanceDBStore\nwith LanceDBStore({str(folder)!r}) as store:\n    {statement}"
    )
    return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.strip()


# ---- opening and closing


def test_everything_is_there_after_reopening(folder: Path) -> None:
    with LanceDBStore(str(folder), index=index("title")) as store:
        store.batch([PutOp(NS, str(n), {"title": f"word{n}"}) for n in range(5)])
        store.put(("other",), "b", {"n": 1}, index=False)
        store.delete(NS, "0")
        before = store.search((), limit=100)
    with LanceDBStore(str(folder), index=index("title")) as store:
        assert store.search((), limit=100) == before
        assert store.list_namespaces() == [NS, ("other",)]
        assert keys(store.search((), query="word3", limit=1)) == ["3"]


def test_a_path_object_and_a_missing_parent_are_fine(tmp_path: Path) -> None:
    with LanceDBStore(tmp_path / "deep" / "er" / "db") as store:
        store.put(NS, "a", {"n": 1})
    with LanceDBStore(str(tmp_path / "deep" / "er" / "db")) as store:
        assert keys(store.search(())) == ["a"]


def test_reading_an_empty_place_writes_nothing(folder: Path) -> None:
    with LanceDBStore(str(folder)) as store:
        assert store.get(NS, "a") is None
        assert store.search(()) == []
        assert store.list_namespaces() == []
    assert not list(folder.rglob("*.lance"))


def test_async_context_manager(folder: Path) -> None:
    async def use() -> list[str]:
        async with LanceDBStore(str(folder)) as store:
            await store.aput(NS, "a", {"n": 1})
            return keys(await store.asearch(NS))

    assert asyncio.run(use()) == ["a"]
    assert asyncio.run(use()) == ["a"]


def test_usable_without_a_context_manager_and_closed_twice(folder: Path) -> None:
    store = LanceDBStore(str(folder))
    store.put(NS, "a", {"n": 1})
    store.close()
    store.close()
    with LanceDBStore(str(folder)) as again:
        assert keys(again.search(())) == ["a"]


def test_use_after_close_is_refused(folder: Path) -> None:
    with LanceDBStore(str(folder)) as store:
        store.put(NS, "a", {"n": 1})
    uses: list[Any] = [GetOp(NS, "a"), SearchOp(()), ListNamespacesOp(), PutOp(NS, "b", {})]
    for op in uses:
        with pytest.raises(StoreError, match=r"(?i)closed"):
            store.batch([op])
    with pytest.raises(StoreError, match=r"(?i)closed"):
        asyncio.run(store.aget(NS, "a"))


def test_closing_waits_for_nobody_and_leaves_no_thread(folder: Path) -> None:
    before = set(threading.enumerate())
    with LanceDBStore(str(folder), ttl={"default_ttl": 1, "sweep_interval_minutes": 1}) as store:
        store.put(NS, "a", {"n": 1})
    left = {thread for thread in threading.enumerate() if thread not in before and not thread.daemon}
    assert not left


def test_async_methods_do_not_block_the_event_loop(folder: Path) -> None:
    blockbuster = pytest.importorskip("blockbuster", reason="blockbuster is not installed")

    async def use() -> None:
        async with LanceDBStore(str(folder), index=index("title")) as store:
            await store.aput(NS, "a", {"title": "red apple"})
            await store.asearch(NS, query="red apple")
            await store.aget(NS, "a")
            await store.alist_namespaces()
            await store.adelete(NS, "a")

    with blockbuster.blockbuster_ctx():
        asyncio.run(use())


# ---- the embedder


class OtherEmbeddings(WordEmbeddings):
    """Another model of the same width."""

    def embed_query(self, text: str) -> list[float]:
        return list(reversed(super().embed_query(text)))


@pytest.mark.parametrize(
    "other",
    [
        {"dims": DIMS, "embed": OtherEmbeddings(), "fields": ["title"]},
        {"dims": DIMS, "embed": OtherEmbeddings().embed_documents, "fields": ["title"]},
        {"dims": 8, "embed": lambda texts: [[1.0] * 8 for _ in texts], "fields": ["title"]},
        index("body"),
    ],
    ids=["model", "function", "dims", "fields"],
)
def test_a_changed_embedder_is_said_with_the_command_that_embeds_anew(folder: Path, other: Any) -> None:
    with LanceDBStore(str(folder), index=index("title")) as store:
        store.put(NS, "a", {"title": "red apple"})
    for op in (PutOp(NS, "b", {"title": "blue sky"}), SearchOp(NS, query="red apple")):
        with (
            pytest.raises(EmbedderMismatchError, match="memory-r1 reembed") as caught,
            LanceDBStore(folder, index=other) as store,
        ):
            store.batch([op])
        assert str(folder) in str(caught.value)
    with LanceDBStore(str(folder), index=index("title")) as store:
        assert keys(store.search(NS)) == ["a"]


def test_the_same_embedder_is_recognised(folder: Path) -> None:
    for key in "ab":
        with LanceDBStore(str(folder), index=index("title")) as store:
            store.put(NS, key, {"title": "red apple"})
    with LanceDBStore(str(folder), index=index("title")) as store:
        assert [hit.score for hit in store.search(NS, query="red apple")] == pytest.approx([1, 1], abs=1e-3)


def test_a_search_without_the_embedder_says_once_that_it_goes_by_words(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given: IndexConfig = {"dims": 64, "embed": HashEmbeddings(), "fields": ["text"]}
    with LanceDBStore(folder) as store:
        assert store.about() == {} and store.search(NS, query="apple") == []
    with LanceDBStore(folder, index=given) as store:
        store.put(NS, "a", {"text": "red apple"})
        store.search(NS, query="apple")
        assert json.loads(store.about()["embedder"])["spec"] == "hash"
    with LanceDBStore(folder) as store:
        store.search(NS)
        assert caplog.text == ""
        for _ in range(2):
            store.search(NS, query="apple")
            store.engine.embed_query("apple")
    (record,) = caplog.records
    assert "searched by words only" in record.getMessage() and "--embedder hash" in record.getMessage()


# ---- freshness


def test_two_stores_on_one_folder_see_each_other_at_once(folder: Path) -> None:
    with LanceDBStore(str(folder), index=index("t")) as one, LanceDBStore(str(folder), index=index("t")) as two:
        for n in range(6):
            writer, reader = (one, two) if n % 2 else (two, one)
            assert len(reader.search(NS)) == n
            writer.put(NS, str(n), {"t": f"word{n}"})
            assert reader.get(NS, str(n)) is not None
            assert len(reader.search(NS)) == n + 1
            assert keys(reader.search(NS, query=f"word{n}", limit=1)) == [str(n)]
        one.put(NS, "0", {"t": "changed"})
        assert keys(two.search(NS, query="changed", limit=1)) == ["0"]
        two.delete(NS, "0")
        assert one.get(NS, "0") is None
        assert "0" not in keys(one.search(NS))
        one.put(("new",), "a", {})
        assert two.list_namespaces() == [NS, ("new",)]
        for n in range(1, 6):
            two.delete(NS, str(n))
        assert one.list_namespaces() == [("new",)]


def test_many_writes_of_another_owner_keep_a_reader_right(folder: Path) -> None:
    with LanceDBStore(str(folder)) as one, LanceDBStore(str(folder)) as two:
        two.put(NS, "mine", {"n": 0})
        for n in range(40):
            one.put(("other", str(n)), "k", {"n": n})
            assert keys(two.search(NS)) == ["mine"]
        one.put(NS, "mine", {"n": 1})
        one.put(NS, "second", {"n": 2})
        assert [item.value["n"] for item in two.search(NS)] == [2, 1]
        assert len(two.search(("other",), limit=100)) == 40


@pytest.mark.slow
def test_another_process_is_seen_and_sees(folder: Path) -> None:
    with LanceDBStore(str(folder)) as store:
        store.put(NS, "mine", {"n": 1})
        assert (
            elsewhere(folder, "store.put(('docs',), 'theirs', {'n': 2}); print(store.get(('docs',), 'mine').value)")
            == "{'n': 1}"
        )
        assert sorted(keys(store.search(NS))) == ["mine", "theirs"]
        elsewhere(folder, "store.delete(('docs',), 'mine')")
        assert keys(store.search(NS)) == ["theirs"]


# ---- commits


def test_one_batch_is_one_commit_and_reads_are_none(folder: Path) -> None:
    with LanceDBStore(str(folder), index=index("t")) as store:
        store.put(NS, "first", {"t": "first"})
        start = versions(folder)
        store.batch([PutOp(NS, str(n), {"t": f"word{n}"}) for n in range(20)] + [PutOp(NS, "first", None)])
        assert versions(folder) == start + 1
        store.batch([PutOp(NS, "0", {"t": "new"}), PutOp(NS, "1", None), PutOp(("else",), "a", {})])
        assert versions(folder) == start + 2
        store.search(NS, query="word3", filter={"t": "word3"})
        store.batch([GetOp(NS, "1"), SearchOp(()), ListNamespacesOp()])
        assert versions(folder) == start + 2


def test_deleting_what_is_not_there_commits_nothing(folder: Path) -> None:
    with LanceDBStore(str(folder)) as store:
        store.put(NS, "a", {})
        start = versions(folder)
        store.delete(NS, "never there")
        store.delete(("nowhere",), "a")
        assert versions(folder) == start


@pytest.mark.slow
def test_small_commits_never_pile_up(folder: Path) -> None:
    with LanceDBStore(str(folder)) as store:
        for n in range(200):
            store.put(NS, str(n % 50), {"n": n})
        files = [path for path in folder.rglob("*") if path.is_file()]
        assert len(files) < 200
        assert len(store.search(NS, limit=100)) == 50
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) < 60


# ---- erasing


def test_erase_leaves_no_byte_and_spares_the_others(folder: Path) -> None:
    with (
        LanceDBStore(str(folder), index=index("text")) as store,
        LanceDBStore(str(folder), index=index("text")) as other,
    ):
        for n in range(4):
            store.put(("ann",), f"secretkey{n}", {"text": f"secret{n}"})
            store.put(("ann", "deep"), f"secretkey{n}", {"text": f"deepsecret{n}"})
            store.put(("anna",), str(n), {"text": f"public{n}"})
        store.put(("ann",), "secretkey0", {"text": "secretnew"})
        store.delete(("ann",), "secretkey1")
        assert len(other.search((), limit=100, query="secret")) == 11
        assert b"secret" in folder_bytes(folder)
        assert store.erase(("ann",)) == 7
        assert b"secret" not in folder_bytes(folder)
        for opened in (store, other):
            assert opened.search(("ann",)) == []
            assert opened.get(("ann",), "secretkey2") is None
            assert opened.list_namespaces() == [("anna",)]
            assert {item.value["text"] for item in opened.search((), query="x")} == {f"public{n}" for n in range(4)}
        store.put(("ann",), "again", {"text": "new"})
        assert keys(other.search(("ann",))) == ["again"]


def test_erase_of_everything_and_of_nothing(folder: Path) -> None:
    with LanceDBStore(str(folder)) as store:
        store.put(NS, "a", {"text": "findme"})
        assert store.erase(("nobody",)) == 0
        assert store.erase(()) == 1
        assert store.search(()) == []
        assert b"findme" not in folder_bytes(folder)


def test_rows_of_the_table_are_what_the_store_says(folder: Path) -> None:
    with LanceDBStore(str(folder)) as store:
        for n in range(30):
            store.put(NS, str(n % 10), {"n": n})
        store.delete(NS, "3")
    rows = lancedb.connect(folder).open_table("items").to_arrow().to_pylist()
    live = [row["key"] for row in rows if row["live"]]
    assert sorted(live) == sorted(str(n) for n in range(10) if n != 3)
    assert len({row["id"] for row in rows}) == len(rows)


def test_a_store_shows_where_it_is_without_a_look_at_its_files(folder: Path) -> None:
    """It may be shown on an event loop, where a debugger or `repr(runtime)` asks for it."""
    blockbuster = pytest.importorskip("blockbuster", reason="blockbuster is not installed")

    async def shown(store: LanceDBStore) -> str:
        with blockbuster.blockbuster_ctx():
            return repr(store)

    with LanceDBStore(folder) as store:
        store.put(NS, "a", {"n": 1})
        assert asyncio.run(shown(store)) == f"LanceDBStore({str(folder)!r})"
    assert repr(store) == f"LanceDBStore({str(folder)!r}, closed)"
    with LanceDBStore(folder / "indexed", index={"dims": 8, "embed": HashEmbeddings(8)}) as indexed:
        assert repr(indexed) == f"LanceDBStore({str(folder / 'indexed')!r}, dims=8)"
    unfinished = LanceDBStore.__new__(LanceDBStore)
    unfinished.uri, unfinished.index_config = "here", None
    assert repr(unfinished) == "LanceDBStore('here')"


def test_a_value_that_is_refused_leaves_no_table_behind(folder: Path) -> None:
    with LanceDBStore(folder) as store:
        with pytest.raises(ValueError, match="object"):
            store.put(NS, "a", {"x": object()})
        assert store.about() == {}
    assert not folder.exists()
