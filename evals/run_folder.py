"""The folder of a run: what it was (manifest.json), what it gave, and what it needs to go on where it stopped.

manifest.json   what was measured, on which data, with which models and versions
results.jsonl   a line for each system and question; the same for the same replies of the models
banks.jsonl     a line for each system and conversation: what is remembered, and what is lost
costs.jsonl     calls, tokens and seconds of each system's stages
curve.jsonl     with --every: accuracy, lost facts and memories while the conversations go on
stages.jsonl, calls.sqlite, banks/   what is done, so that it is done once
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import langgraph_memory_r1
from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.evals.call_cache import CallCache
from langgraph_memory_r1.evals.stages import StageLog
from langgraph_memory_r1.store.locks import FileLock

__all__ = ["RunFolder", "code_digest", "git_commit", "versions"]

_PACKAGES = ("langgraph-memory-r1", "langgraph", "langchain-core", "lancedb", "numpy", "snowballstemmer")
_CODE = Path(langgraph_memory_r1.__file__).parent
_NO_PART = ("cli", "evals", "graphs", "importers", "middleware", "scoring", "train")
"""Folders whose code has no say in what is remembered, found and answered."""


class RunFolder:
    """What a run wrote, and where."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.banks = path / "banks"
        try:
            self.banks.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{path} cannot be written to ({error.strerror}); give another folder with --out"
            ) from error

    @contextmanager
    def locked(self) -> Iterator[tuple[StageLog, CallCache]]:
        """Open the stages and the model calls that are done, for as long as nobody else works in the folder.

        Raises:
            InputError: Another run works in it.
        """
        lock = FileLock(self.path / "lock")
        if not lock.acquire(blocking=False):
            raise InputError(f"Another run works in {self.path}; wait for it, or give another folder with --out.")
        try:
            stages, calls = StageLog(self.path / "stages.jsonl"), CallCache(self.path / "calls.sqlite")
            try:
                yield stages, calls
            finally:
                stages.close()
                calls.close()
        finally:
            lock.release()
            lock.close()

    def manifest(self) -> dict[str, Any]:
        """What the last run was; empty before the first."""
        place = self.path / "manifest.json"
        found: dict[str, Any] = json.loads(place.read_text(encoding="utf-8")) if place.exists() else {}
        return found

    def write_lines(self, name: str, lines: Iterable[Mapping[str, Any]]) -> None:
        """A file of JSON lines, whole or not at all."""
        self._replace(name, (json.dumps(line, ensure_ascii=False) + "\n" for line in lines))

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """What this run was."""
        self._replace("manifest.json", [json.dumps(manifest, ensure_ascii=False, indent=2) + "\n"])

    def _replace(self, name: str, parts: Iterable[str]) -> None:
        fresh = self.path / f".{name}.{os.getpid()}"
        with fresh.open("w", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(parts)
        fresh.replace(self.path / name)


@cache
def code_digest() -> str:
    """A hash of the code that decides what is remembered, found and answered: what another one did is not reused."""
    found = hashlib.sha256()
    for path in sorted(_sources()):
        found.update(path.relative_to(_CODE).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()


def _sources() -> Iterator[Path]:
    for place in _CODE.iterdir():
        if place.name not in _NO_PART:
            yield from [place] if place.suffix == ".py" else place.rglob("*.py")
    for name in ("answerer.py", "systems"):
        place = _CODE / "evals" / name
        yield from [place] if place.suffix == ".py" else place.rglob("*.py")


def git_commit() -> str | None:
    """The commit of the checkout that the library runs from, with "+" where files of it were changed."""
    try:
        if not _git("ls-files", "__init__.py"):
            return None  # the checkout of somebody's project, into which the library is installed
        head = _git("rev-parse", "HEAD")
        return f"{head}+" if _git("status", "--porcelain", "--untracked-files=no") else head
    except (OSError, subprocess.SubprocessError):
        return None


def versions() -> dict[str, str]:
    """The packages that numbers may depend on."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(_CODE), *arguments], capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
