"""A folder for what a process still has to do: it outlives the process, and the next one that looks takes it over.

    pending/<namespace>.<name>.<process>.<number>.json    one piece of work
    pending/<process>.lock                                locked while that process lives; freed however it dies

A file appears as a whole and never changes. It is gone once its work is done, or once its namespace is erased: whoever
has the work in memory looks whether its file is still there.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import secrets
import threading
import weakref
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from io import FileIO
from itertools import count
from pathlib import Path
from typing import Any

from langgraph_memory_r1.errors import StoreError
from langgraph_memory_r1.store.rows import encode_namespace

try:
    import fcntl
except ImportError:  # Windows: what a killed process left stays there, since no other one can tell that it is dead.
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)


class PendingFolder:
    """What this process has to do, and what dead ones have left to do.

    Args:
        folder: A local folder; it is made when something is first put into it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mutex = threading.Lock()
        self._numbers = count()
        self._pid = 0
        self._process = ""
        self._unlock: Callable[[], object] = lambda: None

    def put(self, namespace: tuple[str, ...], name: str, record: Mapping[str, Any]) -> Path:
        """Note what is to be done in a namespace; return the file, to be removed when it is done.

        Args:
            namespace: Labels.
            name: Who can do it; without a dot.
            record: Whatever whoever does it has to know.

        Raises:
            StoreError: The folder cannot be written to.
        """
        path = self._folder
        try:
            path = self._folder / f"{_hash(namespace)}.{name}.{self._own_process()}.{next(self._numbers)}.json"
            part = path.with_suffix(".part")
            # For nobody else's eyes: it holds what people said.
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
                json.dump({**record, "namespace": encode_namespace(namespace)}, file, ensure_ascii=False)
            os.replace(part, path)
        except OSError as error:
            raise StoreError(f"{path} could not be written: {error.strerror}. Give another folder.") from error
        return path

    def take_over(self, name: str) -> list[tuple[Path, dict[str, Any]]]:
        """Return what dead processes have left to do under a name, each with its file; no other process gets it too."""
        if fcntl is None or not self._folder.is_dir():
            return []
        own, dead, taken = self._own_process(), dict[str, bool](), []
        with ExitStack() as locks:
            for path in sorted(self._folder.glob(f"*.{name}.*.json")):
                namespace, _, process, _ = path.stem.split(".")
                if process != own and process not in dead:
                    dead[process] = self._lock_dead(process, locks)
                if not dead.get(process):
                    continue
                # A rename is atomic: of two processes that start at once one gets it, and its file names who.
                mine = path.with_name(f"{namespace}.{name}.{own}.{next(self._numbers)}.json")
                try:
                    os.replace(path, mine)
                    taken.append((mine, json.loads(mine.read_text(encoding="utf-8"))))
                except FileNotFoundError:
                    continue
                except ValueError:
                    log.warning("What a process left to do cannot be read, and is passed over: %s", mine)
            for process in [process for process, is_dead in dead.items() if is_dead]:
                if not any(self._folder.glob(f"*.{process}.*.json")):
                    (self._folder / f"{process}.lock").unlink(missing_ok=True)
        return taken

    def erase(self, namespace: tuple[str, ...], *, below: bool) -> None:
        """Call off what is to be done in a namespace, and with `below` in those below it: nothing stays on disk."""
        if not below:
            for path in self._folder.glob(f"{_hash(namespace)}.*"):
                path.unlink(missing_ok=True)
            return
        prefix = encode_namespace(namespace)
        for path in self._folder.glob("*.json"):
            try:
                if json.loads(path.read_text(encoding="utf-8"))["namespace"].startswith(prefix):
                    path.unlink()
            except FileNotFoundError:
                continue  # Done meanwhile.

    def _own_process(self) -> str:
        """What this process is called here; a forked child is another one than its parent."""
        with self._mutex:
            if self._pid != os.getpid():
                self._pid, self._process = os.getpid(), secrets.token_hex(8)
                self._folder.mkdir(parents=True, exist_ok=True)
                self._unlock()
                path = self._folder / f"{self._process}.lock"
                while fcntl is not None:
                    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                    # Until this object is gone at the latest: what is pending then is for others to take over.
                    self._unlock = weakref.finalize(self, os.close, file)
                    fcntl.flock(file, fcntl.LOCK_EX)
                    # Somebody may have locked it before us, taken us for dead, and removed it.
                    if path.exists() and path.stat().st_ino == os.fstat(file).st_ino:
                        break
                    self._unlock()
            return self._process

    def _lock_dead(self, process: str, locks: ExitStack) -> bool:
        """Whether a process is dead; its lock is then held until the stack is left."""
        try:
            lock = locks.enter_context(FileIO(self._folder / f"{process}.lock", "r+"))
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def _hash(namespace: tuple[str, ...]) -> str:
    # Labels may hold any characters and be longer than a file's name.
    return hashlib.blake2b(encode_namespace(namespace).encode(), digest_size=16).hexdigest()
