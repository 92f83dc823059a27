"""What the commands print: on a terminal with colour and wrapped to its width, in a pipe plain and one record a line.

Memories are words of people and models; what could move a cursor or hide text in them is shown as an escape sequence.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

Part: TypeAlias = "str | tuple[str, str] | Text"
"""Text, or text with a style."""

COLOURS = {"ADD": "green", "UPDATE": "yellow", "DELETE": "red", "NOOP": "dim", "ERROR": "bold red"}
FAINT = "dim"
BASELINE = "the no-model baseline"

# What moves a cursor, changes the direction of writing or shows nothing at all, and halves of surrogate pairs.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
_NARROW = 60
"""Fewer columns than that hold no table."""
_SPACE = re.compile(r"\s+")


def plain(text: str) -> str:
    """Return text as it may reach a terminal: one line, control and direction characters as escapes."""
    return _UNSAFE.sub(_escape, _SPACE.sub(" ", text)).strip()


@cache
def console(stderr: bool = False) -> Console:
    """Return the terminal, or what stands in its place."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


def styled(*parts: Part) -> Text:
    """Join parts to one line; what is not safe to print becomes visible."""
    from rich.text import Text

    line = Text()
    for part in parts:
        if isinstance(part, Text):
            line.append_text(part)
        else:
            text, style = (part, "") if isinstance(part, str) else part
            line.append(_UNSAFE.sub(_escape, text), style)
    return line


def say(*parts: Part) -> None:
    """Print one line to standard output."""
    _print(styled(*parts))


def note(*parts: Part) -> None:
    """Print one line to standard error: what is not the result."""
    _print(styled(*parts), style=FAINT, stderr=True)


def show_error(sentence: str) -> None:
    """Print what went wrong to standard error."""
    _print(styled(("Error: ", "bold red"), sentence), stderr=True)


def heading(text: str) -> None:
    """Print an empty line and a title."""
    say()
    say((text, "bold"))


def entry(label: Part, *parts: Part, width: int = 8, indent: int = 2) -> None:
    """Print a label and a text beside it, which on a terminal wraps below itself."""
    head, body = styled(label), styled(*parts)
    screen = console()
    if not screen.is_terminal:
        head.pad_right(max(width - head.cell_len, 1))
        say(" " * indent, head, body)
        return
    from rich.padding import Padding
    from rich.table import Table

    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(min_width=width - 1, no_wrap=True)
    grid.add_column()
    grid.add_row(head, body)
    screen.print(Padding(grid, (0, 0, 0, indent)))


def columns(rows: Iterable[Sequence[Part]], *, titles: Sequence[str]) -> None:
    """Print rows, on a terminal under titles, in a pipe with tabs between the cells and without titles."""
    from rich.text import Text

    screen = console()
    if not screen.is_terminal or screen.width < _NARROW:
        between = Text("  " if screen.is_terminal else "\t")
        for row in rows:
            _print(between.join(styled(cell) for cell in row))
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style=FAINT, padding=(0, 2, 0, 0))
    for title in titles:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*(styled(cell) for cell in row))
    screen.print(table)


def print_json(value: Any, *, indent: int | None = 2) -> None:
    """Print a value as JSON, in readable Unicode but for what is not safe to print."""
    import json

    narrow = (sys.stdout.encoding or "").lower() not in ("utf-8", "utf8")  # cannot print all that JSON may hold
    text = json.dumps(value, ensure_ascii=narrow, indent=indent)
    # JSON leaves DEL and all above it as it is; ESC and its like below are escaped already.
    print(
        re.sub(r"[\x7f-\uffff]", lambda match: f"\\u{ord(match[0]):04x}" if _UNSAFE.match(match[0]) else match[0], text)
    )


def word_diff(before: str, after: str) -> tuple[Text, Text]:
    """Return two wordings with the words that differ marked: removed from the one, added in the other."""
    from difflib import SequenceMatcher

    old, new = plain(before).split(" "), plain(after).split(" ")
    removed, added = styled(), styled()
    for tag, i, j, k, m in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        removed.append("".join(f"{word} " for word in old[i:j]), "" if tag == "equal" else "red")
        added.append("".join(f"{word} " for word in new[k:m]), "" if tag == "equal" else "green")
    removed.rstrip()
    added.rstrip()
    return removed, added


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: 1 memory, 2 memories."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def is_terminal() -> bool:
    """Return whether somebody is there to answer a question."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _print(line: Text, *, style: str = "", stderr: bool = False) -> None:
    """Print one line; in a pipe as it is, without wrapping and with its tabs."""
    screen = console(stderr)
    if screen.is_terminal:
        screen.print(line, style=style)
    else:
        print(line.plain, file=sys.stderr if stderr else sys.stdout)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
