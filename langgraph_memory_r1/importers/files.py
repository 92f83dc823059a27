"""The files of an export, whether it is one file, a folder or a zip; names in a zip are never used as paths."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.importers.documents import LARGEST


@dataclass(frozen=True, slots=True)
class ExportFile:
    """One file of an export."""

    name: str
    """Its path within the export."""
    read: Callable[[], bytes]

    @property
    def place(self) -> PurePosixPath:
        """Its name, taken apart."""
        return PurePosixPath(self.name)


def members(path: Path, suffix: str) -> Iterator[ExportFile]:
    """The files with a suffix, in the order of their names; a single file whatever it is called.

    Raises:
        InputError: the export cannot be read, is damaged, has a password, or unpacks to more than is read.
    """
    if path.is_dir():
        files = sorted(file for file in path.rglob(f"*{suffix}") if file.is_file())
        _check_size(path, sum(file.stat().st_size for file in files))
        for file in files:
            yield ExportFile(file.relative_to(path).as_posix(), file.read_bytes)
    elif zipfile.is_zipfile(path):
        yield from _zipped(path, suffix)
    else:
        _check_size(path, path.stat().st_size)
        yield ExportFile(path.name, path.read_bytes)


def names(path: Path) -> set[str]:
    """Which files are in a folder or zip."""
    if path.is_dir():
        return {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()}
    try:
        with zipfile.ZipFile(path) as archive:
            return set(archive.namelist())
    except (zipfile.BadZipFile, OSError) as error:
        raise _damaged(path, error) from error


def _zipped(path: Path, suffix: str) -> Iterator[ExportFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            chosen = [info for info in archive.infolist() if info.filename.endswith(suffix) and not info.is_dir()]
            _check_size(path, sum(info.file_size for info in chosen))
            for info in sorted(chosen, key=lambda info: info.filename):
                data = archive.read(info)
                yield ExportFile(info.filename, partial(bytes, data))
    # NotImplementedError is what zipfile says of a compression that it does not know, RuntimeError of a password.
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise _damaged(path, error) from error


def _check_size(path: Path, size: int) -> None:
    if size > LARGEST:
        raise InputError(f"{path} holds more than {LARGEST // 2**20} MB; import parts of it, one by one.")


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(f"{path} cannot be unpacked ({error}); export it again, or unpack it and name the folder.")
