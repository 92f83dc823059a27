"""Single fields of an export: times in every usual notation, texts that can be stored, names of owners."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any

from langgraph_memory_r1.prompts import clean

LONGEST = 64_000
"""Characters of one memory; what is longer is no fact but a document."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER = re.compile(r"-?\d{1,20}(?:\.\d{1,20})?")
_SECONDS = 1e11
"""A larger number would lie beyond the year 5000: it counts milli-, micro- or nanoseconds."""


def moment(value: object) -> datetime | None:
    """A time: ISO text or a number of seconds, milli-, micro- or nanoseconds; None where there is none.

    Raises:
        ValueError: it cannot be read.
    """
    if value is None or value == "":
        return None
    if isinstance(value, str) and not _NUMBER.fullmatch(value.strip()):
        return _utc(datetime.fromisoformat(value.strip()))
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"a time cannot be {type(value).__name__}")
    try:
        number = float(value)
        unit = next((unit for unit in (1, 1e3, 1e6) if abs(number) < _SECONDS * unit), 1e9)
        return _EPOCH + timedelta(seconds=number / unit)
    except (OverflowError, ValueError) as error:
        raise ValueError(f"{value!r:.40} is no time") from error


def _utc(at: datetime) -> datetime:
    try:
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except OverflowError as error:
        raise ValueError(f"{at} is no time") from error


def fact(value: object) -> str:
    """The text of a memory, cleaned.

    Raises:
        ValueError: there is none, or it is too long for a memory.
    """
    if not isinstance(value, str):
        raise ValueError(f"its text is {'missing' if value is None else type(value).__name__}")
    text = clean(value)
    if not text:
        raise ValueError("its text is empty")
    if len(text) > LONGEST:
        raise ValueError(f"its text has {len(text):,} characters; a memory holds at most {LONGEST:,}")
    return text


def name(value: object) -> str | None:
    """A name or an id, cleaned; None where there is none."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    return clean(str(value)) or None


def owner(entry: Mapping[str, Any]) -> str | None:
    """Whose an entry is: its `user_id`, also within `metadata`; any characters. None where it does not say.

    Raises:
        ValueError: the name is blank; pooling such entries would mix people's memories.
    """
    told = entry.get("metadata")
    within = told if isinstance(told, Mapping) else {}
    for place in (entry, within):
        found = place.get("user_id")
        if isinstance(found, (str, int)) and not isinstance(found, bool):
            if not str(found).strip():
                raise ValueError("its user_id is blank")
            return str(found)
    return None


def fingerprint(*parts: object) -> str:
    """The same for the same parts, always."""
    said = "\x1f".join("" if part is None else str(part) for part in parts)
    return blake2b(said.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def why(error: Exception) -> str:
    """The reason why an entry cannot be used, on one line."""
    if isinstance(error, KeyError):
        return f"it has no {error.args[0]!r}"
    if isinstance(error, AttributeError):
        return "it is not built as such entries are"
    return (str(error) or type(error).__name__).partition("\n")[0][:300]
