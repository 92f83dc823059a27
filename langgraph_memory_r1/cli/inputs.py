"""What a command is given to read (words, a file or standard input), as conversations or as questions."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from langgraph_memory_r1.cli.options import Format
from langgraph_memory_r1.cli.output import note, plain
from langgraph_memory_r1.errors import InputError

if TYPE_CHECKING:
    from langgraph_memory_r1.schemas import Conversation, Turn

_NAMED_LINE = re.compile(r"([^\W\d_][\w .'’-]{0,39}): +(\S.*)")
_LOOKS_LIKE_A_FILE = re.compile(r"\S+\.(?:jsonl?|txt|md|log)|(?:\.{0,2}/)\S+")
_HEAD = 4096
_STDIN = "stdin"


@dataclass(frozen=True, slots=True)
class Source:
    """What the first argument of `remember` and `ask` stands for."""

    text: str | None = None
    """Words from the command line."""
    path: Path | None = None
    format: Format = Format.text
    name: str = "text"


def find(argument: str | None, wanted: Format, scratch: str) -> Source:
    """A file where there is one, standard input for "-", else the words themselves.

    Args:
        argument: What was given; None reads standard input if something is piped into it.
        wanted: `--format`.
        scratch: Where standard input may lie while it is read.

    Raises:
        InputError: nothing was given, or the name of a file that is not there.
    """
    if argument == "-" or (argument is None and not sys.stdin.isatty()):
        path = Path(scratch) / _STDIN
        path.write_bytes(sys.stdin.buffer.read())
        return Source(path=path, format=_format(path, wanted), name=_STDIN)
    if argument is None:
        raise InputError("Nothing was given; name a file, put the words in quotes, or pipe them in.")
    if _is_file(argument):
        return Source(path=Path(argument), format=_format(Path(argument), wanted), name=Path(argument).name)
    if wanted in (Format.jsonl, Format.locomo) or _LOOKS_LIKE_A_FILE.fullmatch(argument):
        raise InputError(f"There is no file {argument}; check the name, or put a sentence in quotes.")
    if not argument.strip():
        raise InputError("The text is empty; put some words in quotes.")
    return Source(text=argument)


def conversations(
    source: Source, chosen: Sequence[str], *, strict: bool = False, speaker: str = "user", at: datetime | None = None
) -> list[Conversation]:
    """The conversations of a source, their turns with ids that no other conversation has.

    Raises:
        InputError: it cannot be read, or a chosen conversation is not in it.
    """
    from langgraph_memory_r1.schemas import Conversation

    at = at or datetime.now(UTC)
    if source.path is None:
        return [Conversation("text", tuple(_said([source.text or ""], speaker, at, again=True)))]
    if source.format is Format.text:
        turns = _said(_lines(source.path), speaker, at, again=source.name == _STDIN)
        return [Conversation(source.path.stem, tuple(turns))]
    found = _read(source.path, source.format, strict)
    return [_identified(conversation) for conversation in _chosen(found, chosen, source.name)]


def questions(source: Source, chosen: Sequence[str]) -> list[Conversation]:
    """The questions of a source as conversations that hold nothing else.

    Raises:
        InputError: it cannot be read, or there is no question in it.
    """
    from langgraph_memory_r1.schemas import Conversation, Question

    if source.path is None:
        return [Conversation("text", (), (Question((source.text or "").strip()),))]
    if source.format is Format.text:
        asked = tuple(Question(line) for line in _lines(source.path))
        found = [Conversation(source.path.stem, (), asked)]
    else:
        found = _chosen(_read(source.path, source.format, strict=False), chosen, source.name)
    kept = [replace(conversation, turns=()) for conversation in found if conversation.questions]
    if not kept:
        raise InputError(f"There is no question in {source.name}; give one a line, or conversations with questions.")
    return kept


def _is_file(argument: str) -> bool:
    try:
        return Path(argument).is_file()
    except (OSError, ValueError):  # words, too long or too odd for a file's name
        return False


def _format(path: Path, wanted: Format) -> Format:
    if wanted is not Format.auto:
        return wanted
    with path.open("rb") as file:
        head = file.read(_HEAD).removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith(b'{"format": "langgraph-memory-r1/bank"'):
        raise InputError(f"{path} is the export of a bank; take it over with: memory-r1 import {path}")
    if b"\0" in head:
        raise InputError(f"{path} is not text; name a file of notes or of conversations.")
    if head.startswith(b"{"):
        return Format.jsonl
    return Format.locomo if re.match(rb"\[\s*\{", head) else Format.text


def _lines(path: Path) -> list[str]:
    """Lines that are not blank; bytes that are no text are replaced."""
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    return [line.strip() for line in text.split("\n") if line.strip()]


def _said(lines: Sequence[str], speaker: str, at: datetime, *, again: bool) -> list[Turn]:
    """A turn for each line; where every line of several begins with a name, that is its speaker.

    A file that is read again brings the same ids, whenever that is; what is typed or piped in is said anew each time.
    """
    from langgraph_memory_r1.schemas import Turn
    from langgraph_memory_r1.turns import with_ids

    named = [_NAMED_LINE.fullmatch(line) for line in lines]
    pairs = [(found[1], found[2]) for found in named if found]
    if len(pairs) < max(len(lines), 2):
        pairs = [(speaker, line) for line in lines]
    turns = [Turn(who, text, at if again else None) for who, text in pairs]
    return [replace(turn, at=at) for turn in with_ids(turns)]


def _read(path: Path, kind: Format, strict: bool) -> list[Conversation]:
    if kind is Format.locomo:
        from langgraph_memory_r1.evals.locomo import load

        return load(path)
    from langgraph_memory_r1.conversations import read_conversations

    return list(read_conversations(path, strict, on_skip=lambda error: note(f"Skipped: {plain(str(error))}")))


def _chosen(found: Sequence[Conversation], chosen: Sequence[str], name: str) -> list[Conversation]:
    there = {conversation.id: conversation for conversation in found}
    missing = [wanted for wanted in chosen if wanted not in there]
    if missing or not found:
        held = ", ".join(there) or "none"
        raise InputError(f"{name} has no conversation {missing[0] if missing else ''}; it holds: {held}.")
    return [there[wanted] for wanted in dict.fromkeys(chosen)] if chosen else list(found)


def _identified(conversation: Conversation) -> Conversation:
    """Ids are unique in their conversation only ("D1:3", "1"); a bank that holds several needs more than that."""
    from langgraph_memory_r1.turns import with_ids

    turns = tuple(replace(turn, id=f"{conversation.id}/{turn.id}") for turn in with_ids(conversation.turns))
    return replace(conversation, turns=turns)
