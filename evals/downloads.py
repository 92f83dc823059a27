"""Where a benchmark's data file comes from: fetch it when a user asks for it, and show its terms once.

Nothing is downloaded on its own. A file appears whole and with the expected content, or not at all.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.evals.benchmark import Benchmark, Source
from langgraph_memory_r1.jsonl import write_file

__all__ = ["cache_folder", "fetch", "licence_notice"]

_SECONDS = 30.0
_CHUNK = 1 << 20


def fetch(source: Source, folder: str | os.PathLike[str], *, on_bytes: Callable[[int], None] | None = None) -> Path:
    """Download a data file into a folder, unless it is there already.

    Args:
        source: The file and the content that is expected.
        folder: Where it is kept, under its own name; made where it is missing.
        on_bytes: Called with the size of every piece that arrived, to show progress.

    Raises:
        InputError: It has no address, cannot be reached or written, or has another content; then nothing is kept.
    """
    target = Path(folder) / source.name
    if not source.url:
        raise InputError(f"{source.name} cannot be downloaded; give its place with --data")
    if target.exists():
        with target.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != source.sha256:
            raise InputError(f"{target} has another content than {source.url}; move it away to download it anew")
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_file(target, _download(source, on_bytes or (lambda _: None)))
    except httpx.HTTPError as error:
        raise InputError(
            f"{source.url} cannot be downloaded ({error or type(error).__name__}); "
            "fetch it by hand and name it with --data"
        ) from error
    except OSError as error:
        raise InputError(f"{target} cannot be written ({error.strerror}); name a writable place with --data") from error
    return target


def _download(source: Source, on_bytes: Callable[[int], None]) -> Iterator[bytes]:
    """Yield what an address serves; the last thing is an error if it is not what was expected, so nothing is kept."""
    digest = hashlib.sha256()
    with httpx.stream("GET", source.url, follow_redirects=True, timeout=_SECONDS) as response:
        response.raise_for_status()
        for chunk in response.iter_bytes(_CHUNK):
            digest.update(chunk)
            on_bytes(len(chunk))
            yield chunk
    if digest.hexdigest() != source.sha256:
        raise InputError(
            f"{source.url} has another content than expected (sha256 {digest.hexdigest()[:12]}...); nothing is kept"
        )


def cache_folder() -> Path:
    """Return where downloaded data lies unless the user names a place: the user's own cache, outside any project."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "langgraph-memory-r1"


def licence_notice(benchmark: Benchmark, folder: str | os.PathLike[str] | None = None) -> str | None:
    """Return the terms of a benchmark's data the first time, None later.

    That they were shown is remembered by a note in the cache.

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
