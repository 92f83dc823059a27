"""What a command is given to read (words, a file or standard input), as conversations or as questions."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
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
_ITEM = re.compile(r"(?:[-*+•]|\d{1,3}[.)])\s+(?:\[[ xX]\]\s+)?(?P<text>\S.*)")
_HEADING = re.compile(r"#{1,6}\s+(?P<text>\S.*?)[\s#]*")
_FIRST_PERSON = re.compile(r"\b(?:I|my|mine|me|we|our|us)\b", re.IGNORECASE)
_SHORT_ITEM = 4
"""An item of no more words says little without what its list is about."""
_NOTES = (".markdown", ".md", ".text", ".txt")
_HEAD = 4096
_STDIN = "stdin"


@dataclass(frozen=True, slots=True)
class Input:
    """What the first argument of `remember` and `ask` stands for."""

    text: str | None = None
    """Words from the command line."""
    path: Path | None = None
    format: Format = Format.text
    name: str = "text"


def find_input(argument: str | None, file_format: Format, scratch: str, *, folders: bool = False) -> Input:
    """Find a file where there is one, standard input for "-", else the words themselves.

    Args:
        argument: What was given; None reads standard input if something is piped into it.
        file_format: `--format`.
        scratch: Where standard input may lie while it is read.
        folders: A folder of notes may be named too.

    Raises:
        InputError: Nothing was given, or the name of a file that is not there.
    """
    if argument == "-" or (argument is None and not sys.stdin.isatty()):
        path = Path(scratch) / _STDIN
        path.write_bytes(sys.stdin.buffer.read())
        return Input(path=path, format=_format(path, file_format), name=_STDIN)
    if argument is None:
        raise InputError("Nothing was given; name a file, put the words in quotes, or pipe them in.")
    try:
        exists, folder = Path(argument).is_file(), folders and Path(argument).is_dir()
    except (OSError, ValueError):  # words, too long or too odd for a file's name
        exists = folder = False
    if folder and file_format in (Format.auto, Format.text):
        return Input(path=Path(argument), name=Path(argument).resolve().name)
    if exists:
        return Input(path=Path(argument), format=_format(Path(argument), file_format), name=Path(argument).name)
    if file_format in (Format.jsonl, Format.locomo) or _LOOKS_LIKE_A_FILE.fullmatch(argument):
        raise InputError(f"There is no file {argument}; check the name, or put a sentence in quotes.")
    if not argument.strip():
        raise InputError("The text is empty; put some words in quotes.")
    return Input(text=argument)


def read_conversations(
    source: Input, chosen: Sequence[str], *, strict: bool = False, speaker: str = "user", at: datetime | None = None
) -> list[Conversation]:
    """Read the conversations of an input, their turns with ids that no other conversation has.

    A folder of notes is one conversation, each file a session; hidden files are passed over.

    Raises:
        InputError: It cannot be read, or a chosen conversation is not in it.
    """
    from langgraph_memory_r1.schemas import Conversation
    from langgraph_memory_r1.turns import with_ids

    at = datetime.now().astimezone() if at is None else at.replace(tzinfo=at.tzinfo or UTC)
    if source.path is None:
        return [Conversation("text", tuple(_turns([source.text or ""], speaker, at, new_each_time=True)))]
    if source.path.is_dir():
        notes: list[Turn] = []
        files = [path for path in sorted(source.path.rglob("*")) if path.is_file()]
        files = [path for path in files if not re.search(r"(?:^|/)\.", path.relative_to(source.path).as_posix())]
        for path in files:
            if path.suffix.lower() in _NOTES:
                session = path.relative_to(source.path).as_posix()
                notes += _turns(_lines(path), speaker, at, about=path.stem, session=session, new_each_time=False)
        if not notes:
            raise InputError(
                f"There are no notes in {source.path}; it needs files that end with {' or '.join(_NOTES)}."
            )
        if others := sum(path.suffix.lower() not in _NOTES for path in files):
            note(f"Passed over in {plain(source.name)}: {others:,} that end with none of {', '.join(_NOTES)}.")
        return [Conversation(source.name, tuple(notes))]
    if source.format is Format.text:
        piped = source.name == _STDIN
        lines, about = _lines(source.path), "" if piped else source.path.stem
        return [Conversation(source.path.stem, tuple(_turns(lines, speaker, at, about=about, new_each_time=piped)))]
    # Ids are unique in their conversation only ("D1:3", "1"); a bank that holds several needs more than that.
    return [
        replace(each, turns=tuple(replace(turn, id=f"{each.id}/{turn.id}") for turn in with_ids(each.turns)))
        for each in _chosen(source, chosen, strict)
    ]


def read_questions(source: Input, chosen: Sequence[str]) -> list[Conversation]:
    """Read the questions of an input as conversations that hold nothing else.

    Raises:
        InputError: It cannot be read, or there is no question in it.
    """
    from langgraph_memory_r1.schemas import Conversation, Question

    if source.path is None:
        return [Conversation("text", (), (Question((source.text or "").strip()),))]
    if source.format is Format.text:
        questions = tuple(Question(line) for line in _lines(source.path))
        conversations = [Conversation(source.path.stem, (), questions)]
    else:
        conversations = _chosen(source, chosen, strict=False)
    asking = [replace(conversation, turns=()) for conversation in conversations if conversation.questions]
    if not asking:
        raise InputError(f"There is no question in {source.name}; give one a line, or conversations with questions.")
    return asking


def typed_lines(prompt: str) -> Iterator[str]:
    """Yield the lines that are typed after a prompt, with editing, until Ctrl-D; or those that are piped in."""
    if not sys.stdin.isatty():
        yield from (line.strip() for line in sys.stdin)
        return
    with suppress(ImportError):  # some Pythons have none, and read lines just the same
        importlib.import_module("readline")  # gives input() its editing
    while True:
        try:
            line = input(prompt)
        except (EOFError, KeyboardInterrupt):
            print()
            return
        yield line.strip()


def _format(path: Path, file_format: Format) -> Format:
    """Return what `--format` says, or how the file begins."""
    if file_format is not Format.auto:
        return file_format
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
    """Return the lines that are not blank; bytes that are no text are replaced."""
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    return [line.strip() for line in text.split("\n") if line.strip()]


def _turns(
    lines: Sequence[str],
    speaker: str,
    at: datetime,
    *,
    new_each_time: bool,
    about: str = "",
    session: str | None = None,
) -> list[Turn]:
    """Return a turn for each line; where every line of several begins with a name, that is its speaker.

    A file that is read again brings the same ids, whenever that is; what is typed or piped in is new each time. A short
    item of a list comes behind what the list is about ("Shopping: milk"): the line before it that ends with a colon,
    else the heading above, else `about`.
    """
    from langgraph_memory_r1.schemas import Turn
    from langgraph_memory_r1.turns import with_ids

    matches = [_NAMED_LINE.fullmatch(line) for line in lines]
    pairs = [(match[1], match[2]) for match in matches if match]
    if len(pairs) < max(len(lines), 2):
        heading, opening, pairs = about, "", []
        for line in lines:
            text = line
            if item := _ITEM.fullmatch(line):
                text, topic = item["text"], opening or heading
                if topic and len(text.split()) <= _SHORT_ITEM and not _FIRST_PERSON.search(text):
                    text = f"{topic}: {text}"
            else:
                heading = title["text"] if (title := _HEADING.fullmatch(line)) else heading
                opening = line.rstrip(": ") if line.endswith(":") else ""
            pairs.append((speaker, text))
    # An id is made of what a turn holds; with its time in it, the same words at another time are another turn.
    turns = [Turn(name, text, at if new_each_time else None, session=session) for name, text in pairs]
    return [replace(turn, at=at) for turn in with_ids(turns)]


def _chosen(source: Input, chosen: Sequence[str], strict: bool) -> list[Conversation]:
    """Read a file's conversations, all or those with the chosen ids."""
    assert source.path is not None
    if source.format is Format.locomo:
        from langgraph_memory_r1.evals.locomo import load

        conversations = load(source.path)
    else:
        from langgraph_memory_r1.conversations import read_conversations as read

        conversations = list(read(source.path, strict, on_skip=lambda error: note(f"Skipped: {plain(str(error))}")))
    by_id = {conversation.id: conversation for conversation in conversations}
    missing = [conversation_id for conversation_id in chosen if conversation_id not in by_id]
    if missing or not conversations:
        listed = ", ".join(by_id) or "none"
        raise InputError(f"{source.name} has no conversation {missing[0] if missing else ''}; it holds: {listed}.")
    return [by_id[conversation_id] for conversation_id in dict.fromkeys(chosen)] if chosen else conversations
