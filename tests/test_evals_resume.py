"""A run that is killed at any point, again and again, ends like one that was not, and makes no finished call twice."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.chats import by_rules, data_file
from support.openai_server import Server, serving

pytestmark = pytest.mark.slow


class Runs:
    """`memory-r1 eval` in processes of their own."""

    def __init__(self, folder: Path, server: Server, *options: str) -> None:
        self.folder = folder
        self.server = server
        self._options = options
        self._data = data_file(folder)

    def start(self, out: str, seed: int = 0) -> subprocess.Popen[bytes]:
        arguments = [
            "--data", self._data, "--allow-modified", "--systems", "memory-r1,bm25,oracle",
            "--model", f"vllm:base@{self.server.url}", "--out", str(self.folder / out), *self._options,
        ]  # fmt: skip
        environment = {**os.environ, "PYTHONHASHSEED": str(seed), "XDG_CACHE_HOME": str(self.folder)}
        command = [sys.executable, "-m", "langgraph_memory_r1", "eval", "locomo", *arguments]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def finish(self, out: str) -> None:
        process = self.start(out)
        told, _ = process.communicate()
        assert process.returncode == 0, told.decode()

    def killed(self, out: str, calls: int, wait: float, seed: int) -> bool:
        """Kill a run once it has made so many calls; whether it was still there."""
        target = len(self.server.asked) + calls
        process = self.start(out, seed)
        while process.poll() is None and len(self.server.asked) < target:
            time.sleep(0.002)
        time.sleep(wait)
        process.kill()
        process.communicate()
        return process.returncode != 0

    def results(self, out: str) -> bytes:
        return (self.folder / out / "results.jsonl").read_bytes()

    def kept(self, out: str) -> set[str]:
        """The keys of all finished calls."""
        path = self.folder / out / "calls.sqlite"
        if not path.exists():
            return set()
        database = sqlite3.connect(path)
        try:
            return {key for (key,) in database.execute("SELECT key FROM calls")}
        finally:
            database.close()


@pytest.mark.parametrize(
    ("options", "at_once"),
    [(("--concurrency", "1"), 1), (("--concurrency", "4", "--every", "1"), 4)],
    ids=["one at a time", "four at a time, streaming"],
)
def test_killed_again_and_again_it_ends_the_same(tmp_path: Path, options: tuple[str, ...], at_once: int) -> None:
    chance = random.Random(4)
    with serving(by_rules) as server:
        runs = Runs(tmp_path, server, *options)
        runs.finish("whole")
        unbroken = len(server.asked)
        kills = 0
        while True:
            asked, kept = len(server.asked), runs.kept("broken") if kills else set()
            alive = runs.killed("broken", chance.randint(1, 9), chance.uniform(0, 0.05), seed=kills)
            now = runs.kept("broken")
            assert kept <= now
            assert len(server.asked) - asked <= len(now - kept) + at_once  # nothing but what was in flight is lost
            if not alive:
                break
            kills += 1
        assert kills >= 5
        assert runs.results("broken") == runs.results("whole")
        assert runs.kept("broken") == runs.kept("whole")
        assert unbroken <= len(server.asked) - unbroken <= unbroken + kills * at_once
        runs.finish("broken")
        assert runs.results("broken") == runs.results("whole")
