"""Threads and processes that write at once, and processes that are killed: nothing lost, double or half done."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import lancedb
import pytest
from langgraph.store.base import PutOp

from langgraph_memory_r1 import Add, ConflictError, LanceDBStore, MemoryBank
from support import bank_worker
from support.stores import index, keys, versions

NS = ("docs",)
HERE = Path(__file__).parent


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "db"


def rows(folder: Path) -> list[dict[str, Any]]:
    """The rows of the Lance table itself; a key twice in it would be hidden by a store that reads by key."""
    table: list[dict[str, Any]] = lancedb.connect(folder).open_table("items").to_arrow().to_pylist()
    assert len({row["id"] for row in table}) == len(table), "duplicate rows"
    return [row for row in table if row["live"]]


def together(workers: int, work: Any) -> None:
    """Run `work(number)` in so many threads that start at the same moment."""
    gate = threading.Barrier(workers)

    def start(number: int) -> None:
        gate.wait()
        work(number)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(start, range(workers)))


def processes(folder: Path, workers: int, program: str) -> None:
    """Run a program in so many processes at once; it has a `store` and its `number`."""
    source = f"""
import sys
from langgraph.store.base import PutOp
from langgraph_memory_r1 import ConflictError, LanceDBStore
number = int(sys.argv[1])
store = LanceDBStore({str(folder)!r})
{program}
store.close()
"""
    running = [
        subprocess.Popen([sys.executable, "-c", source, str(number)], stderr=subprocess.PIPE, text=True)
        for number in range(workers)
    ]
    for process in running:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors


# ---- threads


def test_threads_on_one_store_lose_nothing(folder: Path) -> None:
    with LanceDBStore(str(folder), index=index("t")) as store:

        def work(number: int) -> None:
            for n in range(10):
                store.put((f"w{number}",), str(n), {"t": f"word {number} {n}"})
                assert store.get((f"w{number}",), str(n)) is not None
                store.put(("shared",), "one", {"t": f"{number} {n}", "number": number, "n": n})

        together(6, work)
        found = Counter(item.namespace for item in store.search((), limit=1000))
        assert found == {("shared",): 1} | {(f"w{number}",): 10 for number in range(6)}
        last = store.get(("shared",), "one")
        assert last is not None
        assert last.value["n"] == 9
    assert len(rows(folder)) == 61


@pytest.mark.slow
def test_threads_on_two_stores_of_one_folder_lose_nothing(folder: Path) -> None:
    with LanceDBStore(str(folder)) as one, LanceDBStore(str(folder)) as two:

        def work(number: int) -> None:
            store = (one, two)[number % 2]
            for n in range(8):
                store.put(NS, f"{number} {n}", {"n": n})
                store.put(NS, "shared", {"n": n})
                store.delete(NS, f"{number} {n - 1}")

        together(4, work)
        expected = sorted(["shared", *(f"{number} 7" for number in range(4))])
        assert sorted(keys(one.search(NS, limit=100))) == sorted(keys(two.search(NS, limit=100))) == expected
    assert sorted(row["key"] for row in rows(folder)) == expected


def test_the_same_new_keys_at_once_are_stored_once(folder: Path) -> None:
    with LanceDBStore(str(folder)) as one, LanceDBStore(str(folder)) as two:
        for attempt in range(5):
            together(4, lambda number, a=attempt: (one, two)[number % 2].put((f"n{a}",), "k", {"by": number}))
    assert sorted(row["namespace"] for row in rows(folder)) == [f"n{attempt}/" for attempt in range(5)]


@pytest.mark.slow
def test_readers_see_whole_batches_beside_writers_and_compaction(folder: Path) -> None:
    with LanceDBStore(str(folder)) as writer, LanceDBStore(str(folder)) as reader:
        writer.batch([PutOp(NS, str(key), {"n": -1}) for key in range(5)])
        done = threading.Event()
        seen: list[set[int]] = []

        def read(_: int) -> None:
            while not done.is_set():
                seen.append({hit.value["n"] for hit in reader.search(NS)})

        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(read, 0)
            for n in range(60):
                writer.batch([PutOp(NS, str(key), {"n": n}) for key in range(5)])
            writer.compact()
            done.set()
            reading.result()
        assert {len(values) for values in seen} == {1}
        order = [min(values) for values in seen]
        assert order == sorted(order)


# ---- compare and set


def test_commit_checks_every_expectation_or_writes_nothing(folder: Path) -> None:
    with LanceDBStore(str(folder)) as store:
        store.batch([PutOp(NS, "a", {"rev": 1, "x": "a"}), PutOp(NS, "b", {"rev": 5, "nested": {"y": [1]}})])
        start = versions(folder)
        puts = [PutOp(NS, "a", {"rev": 2}), PutOp(NS, "new", {"rev": 1}), PutOp(NS, "b", None)]
        stale: list[Any] = [
            {(NS, "a"): {"rev": 2}},
            {(NS, "a"): {"rev": 1}, (NS, "b"): {"rev": 6}},
            {(NS, "a"): {"rev": 1, "x": "other"}},
            {(NS, "a"): {"missing": 1}},
            {(NS, "a"): None},
            {(NS, "absent"): {"rev": 1}},
            {(("else",), "a"): {}},
        ]
        for expect in stale:
            with pytest.raises(ConflictError) as caught:
                store.engine.commit(puts, expect=expect)
            assert set(caught.value.keys) <= {"a", "b", "absent"}
            assert caught.value.keys
        assert versions(folder) == start
        assert {item.key: item.value["rev"] for item in store.search(NS)} == {"a": 1, "b": 5}
        store.engine.commit(puts, expect={(NS, "a"): {"rev": 1}, (NS, "b"): {"nested": {"y": [1]}}, (NS, "new"): None})
        assert versions(folder) == start + 1
        assert {item.key: item.value["rev"] for item in store.search(NS)} == {"a": 2, "new": 1}


def test_commit_without_expectation_is_a_batch(folder: Path) -> None:
    with LanceDBStore(str(folder), index=index("t")) as store:
        store.engine.commit([PutOp(NS, "a", {"t": "red"}), PutOp(NS, "b", {"t": "blue"})])
        assert keys(store.search(NS, query="red", limit=1)) == ["a"]


def test_of_those_who_expect_the_same_one_wins(folder: Path) -> None:
    with LanceDBStore(str(folder)) as one, LanceDBStore(str(folder)) as two:
        one.put(NS, "counter", {"rev": 0})

        def work(number: int) -> None:
            store = (one, two)[number % 2]
            for _ in range(8):
                while True:
                    item = store.get(NS, "counter")
                    assert item is not None
                    rev = item.value["rev"]
                    try:
                        store.engine.commit(
                            [PutOp(NS, "counter", {"rev": rev + 1})], expect={(NS, "counter"): {"rev": rev}}
                        )
                    except ConflictError:
                        continue
                    break

        together(4, work)
        final = two.get(NS, "counter")
        assert final is not None
        assert final.value == {"rev": 32}


def test_of_those_who_expect_nothing_one_wins(folder: Path) -> None:
    with LanceDBStore(str(folder)) as one, LanceDBStore(str(folder)) as two:
        won: list[int] = []

        def work(number: int) -> None:
            try:
                store = (one, two)[number % 2]
                store.engine.commit([PutOp(NS, "a", {"by": number})], expect={(NS, "a"): None})
            except ConflictError:
                return
            won.append(number)

        together(4, work)
        item = one.get(NS, "a")
        assert item is not None
        assert won == [item.value["by"]]


# ---- processes


@pytest.mark.slow
def test_processes_lose_nothing(folder: Path) -> None:
    program = """
for n in range(40):
    store.batch([PutOp((f"w{number}",), str(n), {"n": n}), PutOp(("shared",), str(n), {"by": number})])
    store.put(("shared",), "hot", {"by": number, "n": n})
    if n:
        store.delete((f"w{number}",), str(n - 1))
"""
    processes(folder, 3, program)
    expected = Counter({("shared",): 41} | {(f"w{number}",): 1 for number in range(3)})
    with LanceDBStore(str(folder)) as store:
        assert Counter(item.namespace for item in store.search((), limit=1000)) == expected
    assert len(rows(folder)) == 44


@pytest.mark.slow
def test_processes_count_together(folder: Path) -> None:
    program = """
for n in range(40):
    while True:
        item = store.get(("docs",), "counter")
        rev = item.value["rev"] if item else 0
        expect = {(("docs",), "counter"): {"rev": rev} if item else None}
        try:
            store.engine.commit([PutOp(("docs",), "counter", {"rev": rev + 1})], expect=expect)
            break
        except ConflictError:
            pass
"""
    processes(folder, 3, program)
    with LanceDBStore(str(folder)) as store:
        item = store.get(NS, "counter")
        assert item is not None
        assert item.value == {"rev": 120}


OWNER = "ann@example.com"


def start_victim(folder: Path, turns: int, acks: Path) -> subprocess.Popen[str]:
    arguments = [str(folder), OWNER, "victim", str(turns), str(acks)]
    return subprocess.Popen(
        [sys.executable, str(HERE / "support" / "bank_worker.py"), *arguments], stderr=subprocess.PIPE, text=True
    )


def acknowledged(acks: Path) -> list[str]:
    return acks.read_text().split() if acks.exists() else []


def write_and_kill(folder: Path, turns: int, kills: int, acks: Path) -> None:
    """This process and another one write so many turns each; the other is killed again and again, at random moments."""
    rng = random.Random(1)
    with ThreadPoolExecutor(1) as pool:
        steady = pool.submit(bank_worker.main, str(folder), OWNER, "steady", turns, str(acks))
        for kill in range(1, kills + 1):
            victim = start_victim(folder, turns, acks)
            goal = kill * turns // (kills + 1)
            while victim.poll() is None and sum(ack.startswith("victim") for ack in acknowledged(acks)) < goal:
                time.sleep(0.002)
            time.sleep(rng.random() * 0.03)
            victim.send_signal(signal.SIGKILL)
            _, errors = victim.communicate()
            assert victim.returncode == -signal.SIGKILL, f"the worker ended before it could be killed: {errors}"
        victim = start_victim(folder, turns, acks)
        _, errors = victim.communicate(timeout=600)
        assert victim.returncode == 0, errors
        steady.result()


def check_bank(folder: Path, turns: int, acks: Path) -> None:
    everything = {f"{name}:{turn}" for name in ("steady", "victim") for turn in range(turns)}
    assert set(acknowledged(acks)) <= everything
    with LanceDBStore(str(folder)) as store:
        bank = MemoryBank(store, OWNER)
        history, memories = bank.history(), bank.all()
        assert bank.seen() == everything | {"start"}
    added = Counter(change.after.text for change in history if change.event == "ADD" and change.after)
    assert added == Counter([f"{bank_worker.COUNTER} 0", *(f"{turn.replace(':', ' ')} new" for turn in everything)])
    noops = Counter(change.reason for change in history if change.event == "NOOP")
    assert set(noops.values()) <= {1}
    assert len(noops) == 2 * len(range(0, turns, 4))
    (counter,) = (memory for memory in memories if memory.text.startswith(bank_worker.COUNTER))
    assert (counter.text, counter.rev) == (f"{bank_worker.COUNTER} {2 * turns}", 2 * turns + 1)
    deleted = sum(change.event == "DELETE" for change in history)
    assert deleted == 2 * len(range(10, turns, 10))
    assert len(memories) == 1 + 2 * turns - deleted
    assert len({change.id for change in history}) == len(history)
    steps = Counter(change.memory_id for change in history if change.memory_id)
    assert all(steps[memory.id] == memory.rev for memory in memories), "every revision has its record"
    assert len(rows(folder)) >= len(memories)


@pytest.mark.parametrize(
    ("turns", "kills"),
    [
        pytest.param(20, 1, id="short", marks=pytest.mark.slow),
        pytest.param(620, 10, id="2000 operations each", marks=pytest.mark.slow),
    ],
)
def test_a_killed_writer_leaves_every_acknowledged_turn_once(folder: Path, turns: int, kills: int) -> None:
    acks = folder.with_suffix(".acks")
    with LanceDBStore(str(folder)) as store:
        MemoryBank(store, OWNER).apply([Add(f"{bank_worker.COUNTER} 0", source=("start",))])
    write_and_kill(folder, turns, kills, acks)
    assert len(acknowledged(acks)) <= 2 * turns
    check_bank(folder, turns, acks)
