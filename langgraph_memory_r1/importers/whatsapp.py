"""WhatsApp's exported chats: a text file, a folder of them, or the zip that the app makes.

The app writes dates as the phone is set ("1/22/23, 6:30:05 PM", "22.01.23, 18:30", "[22/01/2023, 18:30:05] Ann: …");
the loader knows one of these. Lines are brought into its form first. Whether day or month comes first is told by the
dates themselves; where they leave it open, AM and PM speak for the month. They carry no zone and are taken as UTC.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from langgraph_memory_r1.importers.chats import Said, first_time, loader, take
from langgraph_memory_r1.importers.documents import decode
from langgraph_memory_r1.importers.export import Export
from langgraph_memory_r1.importers.files import members

_HEAD = re.compile(
    r"[\u200e\u200f\ufeff]*\[?(\d{1,4})[./-](\d{1,2})[./-](\d{1,4}),? (\d{1,2})[:.](\d{2})(?:[:.](\d{2}))?"
    r"(?:[ \u00a0\u202f]?([AaPp])\.?[ \u00a0\u202f]?[Mm]\.?)?(?:\]| -) [\u200e\u200f]*(?=\S)"
)
_NAMED = re.compile(r"[^:\n]{1,100}: ")
_TITLE = re.compile(r"(?:WhatsApp Chat (?:with|-) )(.+)")
_PICTURES = ("<Media omitted>", "image omitted", "video omitted", "audio omitted", "sticker omitted", "GIF omitted")


def looks_like_whatsapp(text: str) -> bool:
    """Whether a text begins as such an export does."""
    return any(_HEAD.match(line) for line in text.split("\n")[:20])


def read_whatsapp(path: Path, scratch: Path) -> Export:
    """The chats of an export."""
    export = Export("whatsapp")
    load = loader("whatsapp", "WhatsAppChatLoader")
    for number, member in enumerate(members(path, ".txt")):
        place = str(path) if member.name == path.name else f"{path}, {member.name}"
        text = decode(member.read(), place)
        prepared, us_order = _prepared(text, place, export)
        if not prepared:
            export.broken.append(f"{place}: no line of it begins as a message of WhatsApp does")
            continue
        copy = scratch / f"{number}.txt"
        copy.write_text("\n".join(prepared) + "\n", encoding="utf-8")
        for session in load(str(copy)).lazy_load():
            export.skipped["without words"] += len(prepared) - len(session["messages"])
            said: list[Said] = [(message, _moment(first_time(message), us_order)) for message in session["messages"]]
            take(export, _name(member.place), said)
    return export


def _prepared(text: str, place: str, export: Export) -> tuple[list[str], bool]:
    """A message a line, as the loader reads them; and whether the month comes first."""
    heads: list[re.Match[str]] = []
    messages: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        head = _HEAD.match(line)
        rest = line[head.end() :] if head else line
        if head is None:
            if messages:
                messages[-1] += f" {line.strip()}"
            elif line.strip():
                export.broken.append(f"{place}:{number}: it comes before the first message")
        elif not _NAMED.match(rest):
            messages.append("")  # "Ann added Bob", and what follows it
        else:
            messages.append(_line(head, rest))
            heads.append(head)
    export.skipped["notice"] += messages.count("") + sum(message.startswith(" ") for message in messages)
    said = [message for message in messages if message and not message.startswith(" ")]
    return said, _month_first(heads)


def _line(head: re.Match[str], rest: str) -> str:
    first, second, third, hour, minute, seconds, half = head.groups()
    if len(first) == 4:  # 2023-01-22
        first, third = third, first
    when = f"{first}/{second}/{third}, {hour}:{minute}:{seconds or '00'}{f' {half.upper()}M' if half else ''}"
    return f"[{when}] {rest}"


def _month_first(heads: list[re.Match[str]]) -> bool:
    if any(len(head[1]) == 4 or int(head[1]) > 12 for head in heads):
        return False
    return any(int(head[2]) > 12 for head in heads) or any(head[7] for head in heads)


def _moment(when: Any, month_first: bool) -> datetime | None:
    date = "%m/%d" if month_first else "%d/%m"
    year = "%Y" if re.match(r"\d+/\d+/\d{4}", str(when)) else "%y"
    clock = "%I:%M:%S %p" if str(when).upper().endswith("M") else "%H:%M:%S"
    try:
        return datetime.strptime(str(when), f"{date}/{year}, {clock}").replace(tzinfo=UTC)
    except ValueError:
        return None


def _name(place: PurePosixPath) -> str:
    found = _TITLE.fullmatch(place.stem)
    return found[1] if found else (place.parent.name or "chat") if place.stem == "_chat" else place.stem
