"""What an application keeps with a memory: metadata, tags and an end, checked where they come in; filters over them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.schemas import Memory
from langgraph_memory_r1.store.filters import compile_filter

Filter: TypeAlias = Mapping[str, Any]
"""Conditions in the filter language of the store; see `memory_filter`."""


def aware(moment: datetime) -> datetime:
    """Return the time with a zone: UTC where it has none."""
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def checked_metadata(metadata: object) -> dict[str, Any]:
    """Return a copy of the metadata as it will be read back.

    Raises:
        InputError: it is no mapping of names to JSON values; the message names the place.
    """
    if not isinstance(metadata, Mapping):
        raise InputError(f"metadata is {type(metadata).__name__}; give a dictionary of names and JSON values.")
    copied: dict[str, Any] = _json_value(metadata, "metadata")
    return copied


def _json_value(value: object, where: str) -> Any:
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str) or not name:
                raise InputError(f"{where} has the name {name!r}; names are texts and not empty.")
        return {name: _json_value(part, f"{where}[{name!r}]") for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(part, f"{where}[{number}]") for number, part in enumerate(value)]
    if value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    what = repr(value) if isinstance(value, float) else type(value).__name__
    raise InputError(
        f"{where} is {what}; give text, a number, true, false, null, a list or an object (a time as text)."
    )


def checked_tags(tags: object) -> tuple[str, ...]:
    """Return the tags, each once and without space around it.

    Raises:
        InputError: they are no sequence of texts, or one of them is blank.
    """
    if isinstance(tags, str) or not isinstance(tags, Sequence | set | frozenset):
        raise InputError(f"tags is {tags!r:.80}; give a sequence of texts, such as ('work', 'health').")
    for tag in tags:
        if not isinstance(tag, str) or not tag.strip():
            raise InputError(f"tags holds {tag!r:.80}; a tag is a text and not blank.")
    return tuple(dict.fromkeys(tag.strip() for tag in (sorted(tags) if isinstance(tags, set | frozenset) else tags)))


def checked_expiry(expires_at: object) -> datetime | None:
    """Return when a memory ends, with a zone; None where it does not.

    Raises:
        InputError: it is no time.
    """
    if expires_at is not None and not isinstance(expires_at, datetime):
        raise InputError(f"expires_at is {expires_at!r:.80}; give a datetime with a time zone.")
    return expires_at and aware(expires_at)


def memory_filter(conditions: Filter | None) -> Callable[[Memory], bool] | None:
    """Turn a filter into a test of memories; None where there is nothing to filter.

    A condition is on a field of the memory (`text`, `speaker`, `at`, `tags`, ...) or on a name in its metadata, plain
    or as `metadata.NAME`, which also reaches names that a field has: `{"tags": {"$contains": "work"}, "team": "red"}`.
    Times compare as ISO text in UTC; a `datetime` may stand for one.

    Raises:
        InputError: it is no filter; the message says what is wrong.
    """
    if not isinstance(conditions, Mapping | None):
        raise InputError(f"The filter cannot be used: {conditions!r:.80} is no mapping of fields to conditions.")
    try:
        matches = compile_filter(_times_as_text(conditions))
    except (TypeError, ValueError) as error:
        raise InputError(f"The filter cannot be used: {error}") from error
    return None if matches is None else lambda memory: matches(_Fields(memory))


def _times_as_text(condition: Any) -> Any:
    if isinstance(condition, datetime):
        return aware(condition).astimezone(UTC).isoformat()
    if isinstance(condition, Mapping):
        return {name: _times_as_text(part) for name, part in condition.items()}
    if isinstance(condition, list | tuple | set | frozenset):
        return [_times_as_text(part) for part in condition]
    return condition


_FIELDS: dict[str, Callable[[Memory], Any]] = {
    "id": lambda memory: memory.id,
    "text": lambda memory: memory.text,
    "content": lambda memory: memory.text,  # as langmem's tools call it
    "speaker": lambda memory: memory.speaker,
    "at": lambda memory: _times_as_text(memory.at),
    "source": lambda memory: memory.source,
    "session": lambda memory: memory.session,
    "rev": lambda memory: memory.rev,
    "created_at": lambda memory: _times_as_text(memory.created_at),
    "updated_at": lambda memory: _times_as_text(memory.updated_at),
    "metadata": lambda memory: memory.metadata,
    "tags": lambda memory: memory.tags,
    "expires_at": lambda memory: _times_as_text(memory.expires_at),
}


class _Fields(Mapping[str, Any]):
    """A memory as a filter sees it, each field made when it is asked for: all of them cost five times as much."""

    __slots__ = ("_memory",)

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def __getitem__(self, name: str) -> Any:
        return _FIELDS[name](self._memory) if name in _FIELDS else self._memory.metadata[name]

    def __contains__(self, name: object) -> bool:
        return name in _FIELDS or name in self._memory.metadata

    def __iter__(self) -> Iterator[str]:
        return iter({**_FIELDS, **self._memory.metadata})

    def __len__(self) -> int:
        return len({**_FIELDS, **self._memory.metadata})
