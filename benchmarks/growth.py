"""What 5,000 small commits do to speed, disk and memory: one owner, one turn after the other, 384-d vectors."""

from __future__ import annotations

import json
import threading
import warnings
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import lancedb
import psutil
import pyarrow as pa
from measure import DIMS, Measure, folder_size, index, seconds, sentence

from langgraph_memory_r1 import Add, LanceDBStore, MemoryBank

COMMITS = 5000
TENTH = COMMITS // 10
FLOOR = 200_000
"""Bytes of raw data below which the folder's fixed parts say nothing about its growth."""


class Sampler(threading.Thread):
    """Watches a folder's size beside the work: the largest factor over the raw data that was ever seen."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.raw = 0
        self.worst = (0, 1)
        """Bytes of the folder and of the raw data at its worst moment."""
        self._folder = folder
        self._stopped = threading.Event()

    def run(self) -> None:
        """Sample until stopped."""
        while not self._stopped.wait(0.1):
            size, raw = folder_size(self._folder), self.raw
            if raw >= FLOOR and size * self.worst[1] > self.worst[0] * raw:
                self.worst = size, raw

    def stop(self) -> None:
        """Take no further sample."""
        self._stopped.set()
        self.join()


class Yardstick:
    """A bare `add` of one such row to a small LanceDB table: what the machine is good for at the moment."""

    def __init__(self, folder: Path) -> None:
        vector = pa.array([[0.5] * DIMS], pa.list_(pa.float32(), DIMS))
        self._row = pa.table({"id": [""], "text": ["x" * 100], "vector": vector})
        self._table = lancedb.connect(str(folder)).create_table("bare", data=self._row)
        self._added = 0

    def seconds(self) -> float:
        """Add the row; the table is kept small, outside the measured time."""
        self._added += 1
        if self._added % 32 == 0:
            with warnings.catch_warnings(action="ignore"):
                self._table.optimize(cleanup_older_than=timedelta(0))
        return seconds(lambda: self._table.add(self._row))


def growth_measures(folder: Path) -> Iterator[Measure]:
    """A turn is one new memory with its record in the history: the smallest commit that there is.

    In the first and the last tenth each commit is followed by a bare `add` elsewhere, so that the machine's own moods
    do not look like growth: the slowdown is the commits', over that of the bare adds.
    """
    process, path = psutil.Process(), folder / "growth"
    sampler, yardstick = Sampler(path), Yardstick(folder / "bare")
    times: list[float] = []
    bare: dict[int, float] = {}
    resident: list[int] = []
    with LanceDBStore(str(path), index=index()) as store:
        bank = MemoryBank(store, "ann")
        bank.apply([Add("The first commit makes the table.")])
        sampler.start()
        for number in range(COMMITS):
            operation = Add(sentence(number), speaker="Ann", source=(f"D{number}:1",))
            times.append(seconds(lambda op=operation: bank.apply([op])))
            sampler.raw += raw_bytes(operation)
            if number < TENTH or number >= COMMITS - TENTH:
                bare[number] = yardstick.seconds()
            if number % 50 == 49:
                resident.append(process.memory_info().rss)
        sampler.stop()
        assert len(bank) == len(bank.history()) == COMMITS + 1
    closed = folder_size(path)
    print(f"  {COMMITS} commits in {sum(times):.0f} s, {sampler.raw / 1e6:.1f} MB raw, {closed / 1e6:.1f} MB on disk")
    machine = sum(bare[n] for n in range(COMMITS - TENTH, COMMITS)) / sum(bare[n] for n in range(TENTH))
    yield Measure("growth_slowdown", sum(times[-TENTH:]) / sum(times[:TENTH]), machine, 1 / 0.8)
    yield Measure("growth_folder_peak", *sampler.worst, limit=10)
    yield Measure("growth_folder_closed", closed, sampler.raw, 3)
    yield Measure("growth_memory", max(resident[-10:]), max(resident[10:20]), 1.3)


def raw_bytes(operation: Add) -> int:
    """What has to be kept of an operation: text and vector, and the text once more in its history."""
    fields = json.dumps({"text": operation.text, "speaker": operation.speaker, "source": operation.source})
    return 2 * len(fields.encode()) + 4 * DIMS


MEASURES = {"growth": growth_measures}
