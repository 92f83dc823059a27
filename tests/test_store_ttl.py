"""Time to live: expired items are gone at once, and swept from the disk without a server's help."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from langgraph.store.base import GetOp, IndexConfig, PutOp, TTLConfig

from langgraph_memory_r1 import LanceDBStore
from support.stores import Store, folder_bytes, index, keys, slow

NS = ("notes",)
LIFE = 0.4
"""Seconds that the items of these tests live; the store takes minutes."""
TTL = LIFE / 60


@pytest.fixture(params=["lancedb", slow("lancedb-async")])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def store_index() -> IndexConfig:
    return index("text")


def after(seconds: float, start: float) -> None:
    """Sleep until so many seconds have passed since `start`."""
    time.sleep(max(0.0, start + seconds - time.monotonic()))


def in_time(scenario: Callable[[str], bool]) -> None:
    """Run a scenario that only holds on a machine that was not held up: it returns False if it was, and is repeated."""
    assert any(scenario(f"key{attempt}") for attempt in range(8)), "this machine is too busy to test times on"


def test_ttl_is_supported(tmp_path: Path) -> None:
    assert LanceDBStore.supports_ttl
    config: TTLConfig = {"default_ttl": 5, "refresh_on_read": False}
    with LanceDBStore(str(tmp_path / "db"), ttl=config) as store:
        assert store.ttl_config == config


def test_an_expired_item_is_invisible_everywhere(store: Store) -> None:
    store.put(NS, "short", {"text": "red apple"}, ttl=0.05 / 60)
    store.put(("kept",), "long", {"text": "red apple"}, ttl=60)
    time.sleep(0.1)
    assert store.get(NS, "short") is None
    assert keys(store.search(())) == keys(store.search((), query="red apple")) == ["long"]
    assert store.list_namespaces() == [("kept",)]


def test_an_expired_key_can_be_used_again(store: Store) -> None:
    store.put(NS, "a", {"n": 1}, ttl=0.02 / 60)
    first = time.time()
    time.sleep(0.05)
    store.put(NS, "a", {"n": 2}, ttl=None)
    item = store.get(NS, "a")
    assert item is not None
    assert item.value == {"n": 2}
    assert item.created_at.timestamp() > first


def test_reading_refreshes(store: Store) -> None:
    reads: list[Callable[[str], object]] = [
        lambda key: store.get(NS, key),
        lambda key: store.search(NS, filter={"k": key}),
    ]

    def scenario(key: str) -> bool:
        store.batch([PutOp(NS, f"{key}-{n}", {"k": f"{key}-{n}"}, ttl=TTL) for n in range(2)])
        start = time.monotonic()
        after(0.6 * LIFE, start)
        for n, read in enumerate(reads):
            read(f"{key}-{n}")
        refreshed = time.monotonic() - start < 0.9 * LIFE
        after(1.3 * LIFE, start)
        got = store.batch([GetOp(NS, f"{key}-{n}", refresh_ttl=False) for n in range(2)])
        if not refreshed or time.monotonic() - start > 1.55 * LIFE:
            return False
        assert None not in got
        return True

    in_time(scenario)


@pytest.mark.parametrize("by", ["get", "search"])
def test_reading_without_refresh_leaves_the_end_where_it_was(store: Store, by: str) -> None:
    store.put(NS, "a", {}, ttl=TTL)
    end = time.monotonic() + LIFE
    while time.monotonic() < end:
        store.get(NS, "a", refresh_ttl=False) if by == "get" else store.search(NS, refresh_ttl=False)
        time.sleep(0.05)
    assert store.get(NS, "a", refresh_ttl=False) is None


def test_refresh_on_read_can_be_switched_off(tmp_path: Path) -> None:
    with LanceDBStore(str(tmp_path / "db"), ttl={"refresh_on_read": False, "default_ttl": TTL}) as store:
        store.put(NS, "a", {})
        end = time.monotonic() + LIFE
        while time.monotonic() < end:
            store.get(NS, "a")
            time.sleep(0.05)
        assert store.get(NS, "a") is None


def test_default_ttl_and_none(tmp_path: Path) -> None:
    with LanceDBStore(str(tmp_path / "db"), ttl={"default_ttl": 0.05 / 60}) as store:
        store.put(NS, "default", {})
        store.put(NS, "forever", {}, ttl=None)
        store.put(NS, "longer", {}, ttl=60)
        time.sleep(0.1)
        assert sorted(keys(store.search(NS))) == ["forever", "longer"]


def test_update_without_a_ttl_lives_for_ever(store: Store) -> None:
    store.put(NS, "a", {"n": 1}, ttl=0.05 / 60)
    store.put(NS, "a", {"n": 2})
    time.sleep(0.1)
    assert store.get(NS, "a") is not None


def test_sweep_deletes_what_has_expired(tmp_path: Path) -> None:
    folder = tmp_path / "db"
    with LanceDBStore(str(folder)) as store:
        store.batch([PutOp(NS, str(n), {"text": f"marker{n}"}, ttl=0.02 / 60) for n in range(3)])
        store.put(NS, "kept", {"text": "kept"})
        time.sleep(0.05)
        assert store.sweep_ttl() == 3
        assert store.sweep_ttl() == 0
        assert keys(store.search(NS)) == ["kept"]
    assert b"kept" in folder_bytes(folder)


def test_the_store_sweeps_by_itself(tmp_path: Path) -> None:
    config: TTLConfig = {"default_ttl": 0.02 / 60, "sweep_interval_minutes": 0.1 / 60}
    with LanceDBStore(str(tmp_path / "db"), ttl=config) as store:
        store.put(NS, "short", {"n": 1})
        time.sleep(0.3)
        store.put(NS, "kept", {"n": 2}, ttl=None)  # A store may sweep beside its traffic rather than from a thread.
        store.get(NS, "kept")
        time.sleep(0.3)
        assert store.sweep_ttl() == 0, "nothing was left to sweep"


def test_sweeping_spares_what_was_put_again(store: Store, tmp_path: Path) -> None:
    store.put(NS, "a", {"n": 1}, ttl=0.02 / 60)
    time.sleep(0.05)
    store.put(NS, "a", {"n": 2})
    with LanceDBStore(str(tmp_path / "db"), index=index("text")) as other:
        assert other.sweep_ttl() == 0
    assert store.get(NS, "a") is not None
