"""Search and write speed of `LanceDBStore` and `MemoryBank`, beside a user's alternatives.

python benchmarks/run.py search          # this file's part of the suite
python benchmarks/store.py write FOLDER  # the writer that `search_beside_writer` runs
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
from langgraph.store.base import BaseStore, PutOp
from langgraph.store.sqlite import SqliteStore
from measure import FixedEmbeddings, Measure, index, p50, quiet_collector, seconds, sentence

from langgraph_memory_r1 import Add, LanceDBStore, MemoryBank

OWNERS, MEMORIES, K = 1000, 100, 60
QUERIES = [f"question {number}" for number in range(20)]
SEARCHES = 400
PAUSE = 0.005
WRITES_PER_SECOND = 20
TURNS, WARM_UP = 150, 20


def owner(number: int) -> tuple[str, ...]:
    return ("memories", f"owner{number}")


def fill(store: BaseStore) -> None:
    """Every owner's memories, in batches."""
    for start in range(0, OWNERS, 50):
        store.batch(
            [
                PutOp(owner(number), str(n), {"text": sentence(number * MEMORIES + n), "speaker": "Ann", "n": n})
                for number in range(start, start + 50)
                for n in range(MEMORIES)
            ]
        )


def search_measures(folder: Path) -> Iterator[Measure]:
    """The best 60 in one owner's namespace among 1,000 owners of 100 memories."""
    numpy = search_times(scanner())
    with sqlite_store(folder / "sqlite") as other:
        fill(other)
        sqlite = search_times(lambda query: other.search(owner(7), query=query, limit=K))
    with LanceDBStore(str(folder / "lance"), index=index()) as store:
        fill(store)
        store.compact()

        def search(query: str) -> Sequence[object]:
            return store.search(owner(7), query=query, limit=K)

        ours = search_times(search)
        yield Measure("search_vs_sqlite", ours, sqlite, 0.25)
        yield Measure("search_vs_numpy", ours, numpy, 12)
        idle = search_times(search, pause=PAUSE)
        with writer(folder / "lance"):
            busy = search_times(search, pause=PAUSE)
        yield Measure("search_beside_writer", busy, idle, 2)


def search_times(search: Callable[[str], Sequence[object]], pause: float = 0.0) -> float:
    """Median seconds of a search; the first ones, which may fill caches, do not count."""
    for query in QUERIES:
        assert len(search(query)) == K
    samples = []
    with quiet_collector():
        for number in range(SEARCHES):
            query = QUERIES[number % len(QUERIES)]
            samples.append(seconds(lambda q=query: search(q)))
            time.sleep(pause)
    return p50(samples)


def scanner() -> Callable[[str], Sequence[object]]:
    """The least that answers the question: one owner's matrix times the query's vector, and the best of it."""
    embed = FixedEmbeddings()
    matrix = np.array(embed.embed_documents([sentence(7 * MEMORIES + n) for n in range(MEMORIES)]), np.float32)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)

    def scan(query: str) -> list[tuple[int, float]]:
        vector = np.asarray(embed.embed_query(query), np.float32)
        scores = matrix @ (vector / np.linalg.norm(vector))
        best = np.argpartition(-scores, K)[:K]
        best = best[np.argsort(-scores[best])]
        return list(zip(best.tolist(), scores[best].tolist(), strict=True))

    return scan


@contextmanager
def sqlite_store(folder: Path) -> Iterator[SqliteStore]:
    """LangGraph's own store on disk, with sqlite-vec."""
    folder.mkdir(parents=True)
    connection = _sqlite().connect(folder / "store.db", check_same_thread=False, isolation_level=None)
    config: Any = {**index(), "text_fields": ["text"]}  # it reads no `fields`
    store = SqliteStore(connection, index=config)
    store.setup()
    try:
        yield store
    finally:
        connection.close()


def _sqlite() -> ModuleType:
    """An sqlite3 that can load sqlite-vec, which some builds of Python cannot."""
    probe = sqlite3.connect(":memory:")
    if "enable_load_extension" in dir(probe):
        return sqlite3
    import pysqlite3.dbapi2

    found: ModuleType = pysqlite3.dbapi2
    return found


@contextmanager
def writer(folder: Path) -> Iterator[None]:
    """Another process that writes turns for other owners for as long as this lasts."""
    command = [sys.executable, __file__, "write", str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    try:
        yield
    finally:
        assert process.poll() is None, "the writer ended early"
        rate, _ = process.communicate("stop\n", timeout=60)
        print(f"  the writer committed {rate.strip()} turns per second")


def write(folder: str) -> None:
    """The other process: turns of four memories for one owner after the other, until something is said on stdin."""
    import threading

    stopped = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), stopped.set()), daemon=True).start()
    with LanceDBStore(folder, index=index()) as store:
        done, start = 0, time.perf_counter()
        while not stopped.is_set():
            MemoryBank(store, f"owner{500 + done % 100}").apply(turn(10**6 + done))
            done += 1
            if done == 3:
                print("writing", flush=True)
            time.sleep(max(0.0, start + done / WRITES_PER_SECOND - time.perf_counter()))
        print(f"{done / (time.perf_counter() - start):.1f}")


def turn(number: int) -> list[Add]:
    """One turn's four memories."""
    return [Add(sentence(4 * number + n), speaker="Ann", source=(f"D{number}:{n}",)) for n in range(4)]


def turn_measures(folder: Path) -> Iterator[Measure]:
    """One turn of four memories and their history, beside a bare merge of the same rows into a table like ours."""
    with LanceDBStore(str(folder / "bank"), index=index()) as store:
        bank = MemoryBank(store, "ann")
        bank.apply(turn(0))
        written = lancedb.connect(folder / "bank", read_consistency_interval=timedelta(0)).open_table("items")
        bare = lancedb.connect(folder / "bare").create_table("rows", schema=written.schema)
        ours, merges, last = [], [], 0
        for number in range(1, WARM_UP + TURNS):
            ours.append(seconds(lambda n=number: bank.apply(turn(n))))
            rows = written.search().where(f"seq > {last}").to_arrow()
            last = max(rows["seq"].to_pylist())
            merges.append(seconds(lambda data=rows: _merge(bare, data)))
            if number % 32 == 0:  # so that the reference does not grow slow by its own small files
                vacuum(bare)
        assert bare.count_rows() == len(bank) + len(bank.history())
        yield Measure("turn_vs_merge_insert", p50(ours[WARM_UP:]), p50(merges[WARM_UP:]), 1.6)


def _merge(table: Any, rows: pa.Table) -> None:
    table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(rows)


def vacuum(table: Any) -> None:
    """Bring a bare table down to its newest version, as a store does by itself."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "optimize", UserWarning)
        table.optimize(cleanup_older_than=timedelta(0))


def fork_measures(folder: Path) -> Iterator[Measure]:
    """Fork, five operations and a search on a bank of 300 memories, in CPU seconds of one core."""
    with LanceDBStore(str(folder / "fork"), index=index()) as store:
        bank = MemoryBank(store, "ann")
        for number in range(75):
            bank.apply(turn(number))
        held = bank.all()
        assert len(held) == 300
        operations = _rollout([memory.id for memory in held])
        queries = [sentence(number) for number in range(300)]
        rounds, start = 2000, time.process_time()
        for number in range(rounds):
            fork = bank.fork()
            fork.apply(operations)
            assert fork.search(queries[number % 300], k=K)
        spent = (time.process_time() - start) / rounds
        yield Measure("fork_rollout", spent, 1 / 3000, 1)


def _rollout(ids: Sequence[str]) -> list[Any]:
    from langgraph_memory_r1 import Delete, Noop, Update

    return [
        Add("Ann adopted a dog, Scout."),
        Update(ids[3], "Ann has two dogs, Buddy and Scout."),
        Add("Ann moved to Lisbon."),
        Delete(ids[7]),
        Noop("small talk"),
    ]


MEASURES = {"search": search_measures, "turn": turn_measures, "fork": fork_measures}

if __name__ == "__main__":
    if sys.argv[1:2] == ["write"]:
        write(sys.argv[2])
