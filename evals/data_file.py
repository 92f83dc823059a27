"""Single values of a data file: of the expected type, or a message that says where they are not."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from langgraph_memory_r1.errors import InputError

__all__ = ["read_bytes", "parse_json", "required", "typed"]


def read_bytes(path: str | os.PathLike[str], wanted: str) -> bytes:
    """The bytes of a file; `wanted` says which file it should have been.

    Raises:
        InputError: It cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); name {wanted}") from error


def parse_json(content: bytes, place: str) -> Any:
    """The value that JSON text stands for.

    Raises:
        InputError: It is not JSON.
    """
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place} is not JSON: {error}") from error


def required(mapping: dict[str, Any], key: str, kind: type[Any], place: str) -> Any:
    """The value of a key that has to be there.

    Raises:
        InputError: It is missing, or of another type.
    """
    if key not in mapping:
        raise InputError(f"{place}: {key!r} is missing; is this the benchmark's own file?")
    return typed(mapping[key], kind, f"{place} {key}")


def typed(value: Any, kind: type[Any], place: str) -> Any:
    """The value, which has to be of this type.

    Raises:
        InputError: It is of another one.
    """
    if not isinstance(value, kind):
        raise InputError(f"{place}: expected {kind.__name__}, found {type(value).__name__}")
    return value
