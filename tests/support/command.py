"""The `memory-r1` command in this process, for the tests of its parts."""

from __future__ import annotations

import io
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from langgraph_memory_r1 import LanceDBStore, MemoryBank
from langgraph_memory_r1.cli import main

DOG, SCOUT = "I adopted a dog called Buddy.", "I adopted another dog, Scout!"
_SETTINGS = ("MEMORY_R1_MODEL", "MEMORY_R1_EMBEDDER", "FORCE_COLOR", "NO_COLOR", "COLUMNS")


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


class Command:
    """`memory-r1` with the folder of this test, in this process."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.db = str(folder / "bank")
        for name in _SETTINGS:
            patch.delenv(name, raising=False)
        patch.setenv("MEMORY_R1_DB", self.db)
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        self._patch = patch
        self._capture = capture

    def __call__(self, *arguments: str, stdin: str | bytes = b"") -> Done:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        self._patch.setattr(sys, "argv", ["memory-r1", *arguments])
        self._patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))
        self._capture.readouterr()
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        out, err = self._capture.readouterr()
        return Done(code, out, err)

    def file(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    def remember_dogs(self, cache: Path) -> Command:
        """Remember three turns about dogs: once in a process, after that their bank is copied from `cache`."""
        if cache.exists():
            shutil.copytree(cache, self.db)
            return self
        for turn in (DOG, "hello there", SCOUT):
            self("remember", turn)
        shutil.copytree(self.db, cache)
        return self

    def bank(self, user: str = "default") -> MemoryBank:
        return MemoryBank(LanceDBStore(self.db), user)
