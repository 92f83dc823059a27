"""The terms of a benchmark's data, told to its user once, and where what is downloaded lies."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from langgraph_memory_r1.evals.benchmark import Benchmark

__all__ = ["cache_folder", "licence_notice"]


def cache_folder() -> Path:
    """Where downloaded data lies unless the user names a place: the user's own cache, outside any project."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "langgraph-memory-r1"


def licence_notice(benchmark: Benchmark, folder: str | os.PathLike[str] | None = None) -> str | None:
    """The terms of a benchmark's data the first time, None later: a note in the cache remembers that it was shown.

    Args:
        benchmark: Whose data is used.
        folder: Where the note is kept; None is `cache_folder()`. Where it cannot be, the terms are shown again.
    """
    shown = Path(folder or cache_folder()) / "licences" / benchmark.name
    licence = benchmark.licence
    notice = f"{benchmark.title}: data under {licence.name}, {licence.url}. {licence.note}".rstrip()
    with suppress(OSError):  # a read-only home: better shown twice than not at all
        if shown.exists() and shown.read_text("utf-8") == notice:
            return None
        shown.parent.mkdir(parents=True, exist_ok=True)
        shown.write_text(notice, "utf-8")
    return notice
