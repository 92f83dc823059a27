"""Single fields of an export: times in every usual notation, texts that can be stored, owners, ids of turns."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any

from langgraph_memory_r1.bank.attributes import checked_metadata
from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.prompts import clean
from langgraph_memory_r1.schemas import Turn

LONGEST = 64_000
"""Characters of one memory; what is longer is no fact but a document."""

BROKEN_ENTRY = (ValueError, TypeError, KeyError, AttributeError)
"""What reading an entry raises that is not built as such entries are: any part may be missing, or of another type."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_NUMBER = re.compile(r"-?\d{1,20}(?:\.\d{1,20})?")
_SECONDS = 1e11
"""A larger number would lie beyond the year 5000: it counts milli-, micro- or nanoseconds."""


def parse_time(value: object) -> datetime | None:
    """Return a time: ISO text, or a number of seconds, milli-, micro- or nanoseconds; None where there is none.

    Raises:
        ValueError: It cannot be read.
    """
    if value is None or value == "":
        return None
    if isinstance(value, str) and not _NUMBER.fullmatch(value.strip()):
        at = datetime.fromisoformat(value.strip())
        try:
            return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
        except OverflowError as error:  # "0001-01-01T00:00+14:00" lies before the first year in UTC
            raise ValueError(f"{at} is no time") from error
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(f"a time cannot be {type(value).__name__}")
    try:
        number = float(value)
        unit = next((unit for unit in (1, 1e3, 1e6) if abs(number) < _SECONDS * unit), 1e9)
        return _EPOCH + timedelta(seconds=number / unit)
    except (OverflowError, ValueError) as error:
        raise ValueError(f"{value!r:.40} is no time") from error


def clean_memory_text(value: object) -> str:
    """Return the text of a memory, cleaned.

    Raises:
        ValueError: There is none, or it is too long for a memory.
    """
    if not isinstance(value, str):
        raise ValueError(f"its text is {'missing' if value is None else type(value).__name__}")
    text = clean(value)
    if not text:
        raise ValueError("its text is empty")
    if len(text) > LONGEST:
        raise ValueError(f"its text has {len(text):,} characters; a memory holds at most {LONGEST:,}")
    return text


def clean_name(value: object) -> str | None:
    """Return a name or an id, cleaned; None where there is none."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    return clean(str(value)) or None


def user_id_of(entry: Mapping[str, Any]) -> str | None:
    """Return whose an entry is: its `user_id`, also within `metadata`; any characters. None where it does not say.

    Raises:
        ValueError: The id is blank; pooling such entries would mix people's memories.
    """
    metadata = entry.get("metadata")
    for fields in (entry, metadata if isinstance(metadata, Mapping) else {}):
        user_id = fields.get("user_id")
        if isinstance(user_id, (str, int)) and not isinstance(user_id, bool):
            if not str(user_id).strip():
                raise ValueError("its user_id is blank")
            return str(user_id)
    return None


def metadata_of(fields: Mapping[str, Any], read: Collection[str], skipped: Counter[str]) -> dict[str, Any]:
    """Return what an entry holds beyond the fields that are read otherwise: its `metadata`, then all others.

    What cannot be kept is counted.
    """
    own = fields.get("metadata")
    collected: dict[str, Any] = {}
    if isinstance(own, Mapping):
        collected.update(own)
    elif own not in (None, ""):
        skipped["metadata that is no object"] += 1
    collected.update((name, value) for name, value in fields.items() if name not in read and name != "metadata")
    metadata: dict[str, Any] = {}
    for name, value in collected.items():
        if value in (None, "", [], {}) or name == "user_id":  # the owner
            continue
        try:
            metadata |= checked_metadata({name: value})
        except InputError:
            skipped["unusable metadata"] += 1
    return metadata


def tags_of(value: object, skipped: Counter[str]) -> tuple[str, ...]:
    """Return the labels of an entry, cleaned; what is none is counted."""
    labels = [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else []
    tags = [clean_name(label) for label in labels]
    skipped["unusable tag"] += tags.count(None) + (value is not None and not isinstance(value, str | list | tuple))
    return tuple(dict.fromkeys(tag for tag in tags if tag is not None))


def expiry_of(value: object, skipped: Counter[str]) -> datetime | None:
    """Return when an entry ends; a date without a time is its last day. What is no time is counted."""
    try:
        end = parse_time(value)
        if end is not None and isinstance(value, str) and _DATE.fullmatch(value.strip()):
            end += timedelta(days=1)
    except (ValueError, OverflowError):
        skipped["unreadable expiry"] += 1
        return None
    return end


def short_hash(*parts: object) -> str:
    """Return a short hash of the parts, the same in every process; None counts as ""."""
    joined = "\x1f".join("" if part is None else str(part) for part in parts)
    return blake2b(joined.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def with_turn_ids(turns: Sequence[Turn], prefix: str) -> tuple[Turn, ...]:
    """Return the turns of one conversation, each with an id from its words; ids that are there already stay.

    The same export brings the same ids, a grown one new ones besides. A time and the words tell a turn from all others,
    even where an export begins later than the last one did. Without a time it counts what was said before it, so that
    "Yes." in two conversations are two turns.
    """
    counts: Counter[str] = Counter()
    before, with_ids = "", []
    for turn in turns:
        key = short_hash(turn.at.isoformat() if turn.at else before, turn.speaker, turn.text)
        before = short_hash(before, key)
        counts[key] += 1
        again = "" if counts[key] == 1 else f"-{counts[key]}"
        with_ids.append(turn if turn.id else replace(turn, id=f"{prefix}-{key}{again}"))
    return tuple(with_ids)


def reason(error: Exception) -> str:
    """Return why an entry cannot be used, on one line."""
    if isinstance(error, KeyError):
        return f"it has no {error.args[0]!r}"
    if isinstance(error, AttributeError):
        return "it is not built as such entries are"
    return (str(error) or type(error).__name__).partition("\n")[0][:300]
