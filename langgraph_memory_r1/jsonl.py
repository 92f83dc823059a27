"""Read files of lines, and write files that appear whole or not at all: JSONL, and whatever else has to be whole."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from langgraph_memory_r1.errors import InputError, MemoryR1Error

__all__ = ["read_lines", "write_file"]

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_lines(path: str | os.PathLike[str], content: str) -> Iterator[tuple[int, bytes]]:
    """Yield the non-blank lines of a file, stripped, with their numbers from 1.

    Args:
        path: The file; a byte order mark at its beginning is passed over.
        content: What the lines hold, for the error: "conversations".

    Raises:
        InputError: The file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                text = (line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line).strip()
                if text:
                    yield number, text
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); name a JSONL file of {content}") from error


def write_file(path: str | os.PathLike[str], chunks: Iterable[bytes]) -> int:
    """Write chunks, such as lines with their line ends, to a file, and return how many there were.

    The file appears whole or not at all: if anything fails, in making a chunk too, what was there before stays.

    Raises:
        InputError: The place cannot be written.
    """
    target = Path(path)
    # A name of its own for each writer, and one that is not there yet: two that write to the same place, in two
    # processes or in two threads of one, must not write into each other's draft.
    draft = target.with_name(f"{target.name}.{secrets.token_hex(8)}.part")
    count = 0
    try:
        with draft.open("xb") as file:
            for chunk in chunks:
                file.write(chunk)
                count += 1
        draft.replace(target)
    except MemoryR1Error:  # of a chunk; a StoreError is an OSError too
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}); name a file in a writable folder") from error
    finally:
        with suppress(OSError):  # where it could not be made, or has become the file, there is nothing to remove
            draft.unlink()
    return count
