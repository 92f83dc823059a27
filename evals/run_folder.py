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
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import langgraph_memory_r1
from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.evals.call_cache import CallCache
from langgraph_memory_r1.evals.stages import StageLog
from langgraph_memory_r1.jsonl import write_file
from langgraph_memory_r1.store.locks import FileLock

__all__ = ["RunFolder", "code_digest", "git_commit", "versions"]

_PACKAGES = ("langgraph-memory-r1", "langgraph", "langchain-core", "lancedb", "numpy", "snowballstemmer")
_CODE = Path(langgraph_memory_r1.__file__).parent
_NO_PART = ("cli", "evals", "graphs", "importers", "middleware", "scoring", "train")
"""Folders whose code has no say in what is remembered, retrieved and answered."""


class RunFolder:
    """The files that a run writes and goes on from."""

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
        """Read what the last run was; empty before the first."""
        file = self.path / "manifest.json"
        manifest: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        return manifest

    def write_lines(self, name: str, lines: Iterable[Mapping[str, Any]]) -> None:
        """Write a file of JSON lines, whole or not at all."""
        # A lone surrogate, which a model may reply with, has no UTF-8: it is written as its escape.
        texts = (json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        write_file(self.path / name, (text.encode("utf-8", "backslashreplace") for text in texts))

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Write what this run was."""
        text = json.dumps(manifest, ensure_ascii=False, indent=2) + "\n"
        write_file(self.path / "manifest.json", [text.encode("utf-8", "backslashreplace")])


@cache
def code_digest() -> str:
    """Return a hash of the code that decides what is remembered, retrieved and answered.

    What a run did with other code is not reused.
    """
    paths: list[Path] = []
    for path in [*_CODE.iterdir(), _CODE / "evals" / "answerer.py", _CODE / "evals" / "systems"]:
        if path.name not in _NO_PART:
            paths += [path] if path.suffix == ".py" else path.rglob("*.py")
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(path.relative_to(_CODE).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def git_commit() -> str | None:
    """Return the commit of the checkout that the library runs from, with "+" where files of it were changed."""
    try:
        if not _git("ls-files", "__init__.py"):
            return None  # the checkout of somebody's project, into which the library is installed
        head = _git("rev-parse", "HEAD")
        return f"{head}+" if _git("status", "--porcelain", "--untracked-files=no") else head
    except (OSError, subprocess.SubprocessError):
        return None


def versions() -> dict[str, str]:
    """Return the versions of the packages that numbers may depend on."""
    installed = {}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            installed[package] = version(package)
    return installed


def _git(*arguments: str) -> str:
    process = subprocess.run(
        ["git", "-C", str(_CODE), *arguments], capture_output=True, text=True, check=True, timeout=10
    )
    return process.stdout.strip()
