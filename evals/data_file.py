"""Read a benchmark's data file value by value: each of the expected type, or an error that says where it is not."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from langgraph_memory_r1.errors import InputError

__all__ = ["read_bytes", "parse_json", "required", "typed"]


def read_bytes(path: str | os.PathLike[str], expected: str) -> bytes:
    """Return the bytes of a file; `expected` says for the message which file should be named.

    Raises:
        InputError: It cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); name {expected}") from error


def parse_json(content: bytes, location: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        InputError: It is not JSON.
    """
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{location} is not JSON: {error}") from error


def required(mapping: dict[str, Any], key: str, kind: type[Any], location: str) -> Any:
    """Return the value of a key that has to be there, of a type that it has to be of.

    Raises:
        InputError: It is missing, or of another type.
    """
    if key not in mapping:
        raise InputError(f"{location}: {key!r} is missing; is this the benchmark's own file?")
    return typed(mapping[key], kind, f"{location} {key}")


def typed(value: Any, kind: type[Any], location: str) -> Any:
    """Return the value, which has to be of this type.

    Raises:
        InputError: It is of another one.
    """
    if not isinstance(value, kind):
        raise InputError(f"{location}: expected {kind.__name__}, found {type(value).__name__}")
    return value
