"""Quoted text on one line: how turns, facts and memories look in a prompt, and how they are read back.

    [0] Caroline (Mon 2023-05-08 13:56): what she said, with every line break and control character escaped

Because quoted text can never start a line of its own, it can neither forge another entry nor a heading of the prompt.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from langgraph_memory_r1.errors import InputError

EMPTY = "(none)"
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_UNSAFE = re.compile("[\\\\\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
# In a name also what delimits an entry, or somebody called "Ann (2024-01-01): I" would be read as Ann.
_UNSAFE_NAME = re.compile("[\\\\\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff()\\[\\]:]")
_ESCAPED = re.compile(r"\\(u[0-9a-f]{4}|.)")
_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\t": "\\t"}
_UNESCAPES = {"\\": "\\", "n": "\n", "t": "\t"}
_LINE = re.compile(r"\[(?:fact )?(\d+)\](?: ([^():\[\]]+?))?(?: \(([^()]*)\))?: (.*)")
_DROPPED = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Line:
    """One entry of a prompt, as the model sees it."""

    number: int
    text: str
    speaker: str | None = None
    at: datetime | None = None


def clean(text: str) -> str:
    """Return text as it may be stored.

    Lone surrogates, control characters, terminal colours and outer white space are dropped.
    """
    return _DROPPED.sub("", text.replace("\r\n", "\n").replace("\r", "\n")).strip()


def escape(text: str) -> str:
    """Escape a text so that it stays on one line."""
    return _UNSAFE.sub(_escape_one, text)


def unescape(line: str) -> str:
    """Invert `escape`."""
    return _ESCAPED.sub(lambda match: _UNESCAPES.get(match[1]) or chr(int(match[1][1:], 16)), line)


def show(mark: str, text: str, speaker: str | None = None, when: str = "") -> str:
    """Format one entry of a prompt, e.g. `[0] Ana (2024-03-05): has a cat`."""
    name = f" {_UNSAFE_NAME.sub(_escape_one, speaker)}" if speaker else ""
    return f"[{mark}]{name}{f' ({when})' if when else ''}: {escape(text)}"


def date_of(at: datetime | None) -> str:
    """Format the day, for memories and facts."""
    return at.date().isoformat() if at else ""


def moment_of(at: datetime | None) -> str:
    """Format weekday, day and minute, for turns: what "last Friday" is resolved against."""
    if at is None:
        return ""
    # UTC goes without saying: `read_moment` takes a time without a zone for it, and a prompt is shorter so.
    text = at.isoformat(sep=" ", timespec="minutes").removesuffix("+00:00")
    return f"{_DAYS[at.weekday()]} {text}"


def read_moment(text: str | None) -> datetime | None:
    """Invert `date_of` and `moment_of`; a time without a zone is UTC."""
    if not text:
        return None
    at = datetime.fromisoformat(text[4:] if text[:3] in _DAYS else text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def block(heading: str, lines: Iterable[str]) -> str:
    """Put entries under a heading."""
    return "\n".join([f"{heading}:", *(list(lines) or [EMPTY])])


def read_block(lines: Iterable[str]) -> list[Line]:
    """Read the entries under a heading, in order.

    Raises:
        InputError: If a line was not written by `show`.
    """
    entries: list[Line] = []
    for line in lines:
        if line == EMPTY:
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise InputError(
                f"{line[:80]!r} is not an entry of a prompt; give messages that `prompts.render` returned."
            )
        number, speaker, when, text = match.groups()
        entries.append(Line(int(number), unescape(text), unescape(speaker) if speaker else None, read_moment(when)))
    return entries


def _escape_one(match: re.Match[str]) -> str:
    return _ESCAPES.get(match[0]) or f"\\u{ord(match[0]):04x}"
