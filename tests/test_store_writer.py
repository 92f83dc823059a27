"""Commits that threads share: who waits, who leads, and who is interrupted; and what the store knows to be empty."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lancedb
import pytest
from langgraph.store.base import PutOp

from langgraph_memory_r1 import Add, ConflictError, LanceDBStore, MemoryBank
from langgraph_memory_r1.store.locks import FileLock
from langgraph_memory_r1.store.reader import Census

SPACE = ("a",)


@pytest.fixture
def backend() -> str:
    return "lancedb"


@pytest.fixture(autouse=True)
def _first(store: LanceDBStore) -> None:
    store.put(SPACE, "first", {})


@contextmanager
def writing_elsewhere(store: LanceDBStore) -> Iterator[None]:
    """As another process does that is in the middle of a commit."""
    lock = FileLock(Path(store.uri) / ".write.lock")
    with lock:
        yield
    lock.close()


@contextmanager
def interrupted(seconds: float) -> Iterator[None]:
    """Somebody presses Ctrl-C after so many seconds."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def started(work: Any, *args: Any) -> threading.Thread:
    thread = threading.Thread(target=work, args=args, daemon=True)
    thread.start()
    return thread


def keys(store: LanceDBStore) -> set[str]:
    return {item.key for item in store.search(SPACE, limit=100)}


def versions(store: LanceDBStore) -> int:
    return int(lancedb.connect(store.uri).open_table("items").version)


def test_those_who_wait_share_a_commit(store: LanceDBStore) -> None:
    before = versions(store)
    with writing_elsewhere(store):
        threads = [started(store.put, SPACE, str(number), {}) for number in range(20)]
        time.sleep(0.1)
    for thread in threads:
        thread.join(10)
    assert keys(store) == {"first", *map(str, range(20))}
    assert versions(store) - before <= 3


def test_in_a_shared_commit_a_conflict_is_one_callers_alone(store: LanceDBStore) -> None:
    refused: list[ConflictError] = []

    def conditional() -> None:
        try:
            store.engine.commit([PutOp(SPACE, "no", {})], expect={(SPACE, "first"): None})
        except ConflictError as error:
            refused.append(error)

    with writing_elsewhere(store):
        threads = [started(store.put, SPACE, "0", {}), started(conditional), started(store.put, SPACE, "1", {})]
        time.sleep(0.1)
    for thread in threads:
        thread.join(10)
    assert keys(store) == {"first", "0", "1"}
    assert [list(error.keys) for error in refused] == [["first"]]


def test_a_key_that_is_no_text_fails_its_own_caller_alone(store: LanceDBStore) -> None:
    with writing_elsewhere(store):
        good = started(store.put, SPACE, "0", {})
        time.sleep(0.05)
        with pytest.raises(ValueError, match="lone surrogate"):
            store.put(SPACE, "half \ud800", {})
        other = started(store.put, SPACE, "1", {})
    good.join(10)
    other.join(10)
    assert keys(store) == {"first", "0", "1"}


def test_who_is_interrupted_while_waiting_holds_up_nobody(store: LanceDBStore) -> None:
    with writing_elsewhere(store):
        leader = started(store.put, SPACE, "leader", {})
        time.sleep(0.05)
        with interrupted(0.1), pytest.raises(KeyboardInterrupt):
            store.put(SPACE, "interrupted", {})
        last = started(store.put, SPACE, "last", {})
    leader.join(10)
    last.join(10)
    assert keys(store) == {"first", "leader", "last"}


def test_who_is_interrupted_while_committing_holds_up_nobody(store: LanceDBStore) -> None:
    with writing_elsewhere(store), interrupted(0.1), pytest.raises(KeyboardInterrupt):
        store.put(SPACE, "interrupted", {})
    last = started(store.put, SPACE, "last", {})
    last.join(10)
    assert not last.is_alive()
    assert keys(store) == {"first", "last"}


def test_a_census_counts_below_every_prefix() -> None:
    census = Census({"a/b/": 2, "a/c/": 3}, room=10)
    census.add("a/b/", 1)
    assert [census.most(prefix) for prefix in ("", "a/", "a/b/", "a/c/", "a/d/", "b/")] == [6, 6, 3, 3, 0, 0]
    census.add("a/c/")
    assert [census.most(prefix) for prefix in ("a/b/", "a/c/", "")] == [3, math.inf, math.inf]
    census.counted("a/c/", 7)
    assert census.most("a/c/") == 7


@pytest.mark.parametrize("census", [Census(None, room=10), Census({"a/b/c/": 1, "b/c/d/": 1}, room=4)])
def test_a_census_without_room_knows_nothing(census: Census) -> None:
    census.add("x/", 1)
    census.counted("x/", 1)
    assert census.most("x/") == census.most("y/") == math.inf


def test_an_owner_who_was_empty_here_is_filled_elsewhere(tmp_path: Path) -> None:
    with LanceDBStore(tmp_path) as here, LanceDBStore(tmp_path) as there:
        MemoryBank(here, "ann").apply([Add("Ann has a dog.")])
        assert len(MemoryBank(here, "ann")) == 1
        assert len(MemoryBank(here, "ben")) == 0
        for number in range(3):
            MemoryBank(there, "ben").apply([Add(f"Ben owns {number} cats.")])
            MemoryBank(there, "cleo").apply([Add(f"Cleo owns {number} cats.")])
        assert len(MemoryBank(here, "ben")) == len(MemoryBank(here, "cleo")) == 3
        MemoryBank(there, "ben").forget()
        assert len(MemoryBank(here, "ben")) == 0
        MemoryBank(here, "ben").apply([Add("Ben is back.")])
        assert len(MemoryBank(there, "ben")) == 1
