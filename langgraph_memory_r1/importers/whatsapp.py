"""WhatsApp's exported chats: a text file, a folder of them, or the zip that the app makes.

The app writes dates as the phone is set ("1/22/23, 6:30:05 PM", "22.01.23, 18:30", "[22/01/2023, 18:30:05] Ann: …");
the loader knows one of these. Lines are brought into its form first. Whether day or month comes first is told by the
dates themselves; where they leave it open, AM and PM speak for the month. They carry no zone and are taken as UTC.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from langgraph_memory_r1.importers.chats import TimedMessage, add_chat, chat_loader, message_time
from langgraph_memory_r1.importers.export import Export
from langgraph_memory_r1.importers.files import decode_text, files_in

_HEAD = re.compile(
    r"[\u200e\u200f\ufeff]*\[?(\d{1,4})[./-](\d{1,2})[./-](\d{1,4}),? (\d{1,2})[:.](\d{2})(?:[:.](\d{2}))?"
    r"(?:[ \u00a0\u202f]?([AaPp])\.?[ \u00a0\u202f]?[Mm]\.?)?(?:\]| -) [\u200e\u200f]*(?=\S)"
)
_NAMED = re.compile(r"[^:\n]{1,100}: ")
_TITLE = re.compile(r"(?:WhatsApp Chat (?:with|-) )(.+)")


def looks_like_whatsapp(text: str) -> bool:
    """Return whether a text begins as such an export does."""
    return any(_HEAD.match(line) for line in text.split("\n")[:20])


def read_whatsapp(path: Path, scratch: Path) -> Export:
    """Return the chats of an export."""
    export = Export("whatsapp")
    loader = chat_loader("whatsapp", "WhatsAppChatLoader")
    for number, file in enumerate(files_in(path, ".txt")):
        text = decode_text(file.read(), file.label)
        lines, month_first = _message_lines(text, file.label, export)
        if not lines:
            export.broken.append(f"{file.label}: no line of it begins as a message of WhatsApp does")
            continue
        copy = scratch / f"{number}.txt"
        copy.write_text("\n".join(lines) + "\n", encoding="utf-8")
        for session in loader(str(copy)).lazy_load():
            export.skipped["without words"] += len(lines) - len(session["messages"])
            messages: list[TimedMessage] = []
            for message in session["messages"]:
                written = str(message_time(message))
                date = "%m/%d" if month_first else "%d/%m"
                year = "%Y" if re.match(r"\d+/\d+/\d{4}", written) else "%y"
                clock = "%I:%M:%S %p" if written.upper().endswith("M") else "%H:%M:%S"
                try:
                    at = datetime.strptime(written, f"{date}/{year}, {clock}").replace(tzinfo=UTC)
                except ValueError:
                    at = None
                messages.append((message, at))
            name = file.path.stem
            if title := _TITLE.fullmatch(name):
                name = title[1]
            elif name == "_chat":  # what iPhones call every chat
                name = file.path.parent.name or "chat"
            add_chat(export, name, messages)
    return export


def _message_lines(text: str, label: str, export: Export) -> tuple[list[str], bool]:
    """Return the messages one a line, as the loader reads them; and whether the month comes first in their dates."""
    heads: list[re.Match[str]] = []
    messages: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        head = _HEAD.match(line)
        words = line[head.end() :] if head else line
        if head is None:
            if messages:
                messages[-1] += f" {line.strip()}"
            elif line.strip():
                export.broken.append(f"{label}:{number}: it comes before the first message")
        elif not _NAMED.match(words):
            messages.append("")  # "Ann added Bob", and what follows it
        else:
            first, second, third, hour, minute, seconds, half = head.groups()
            if len(first) == 4:  # 2023-01-22
                first, third = third, first
            at = f"{first}/{second}/{third}, {hour}:{minute}:{seconds or '00'}{f' {half.upper()}M' if half else ''}"
            messages.append(f"[{at}] {words}")
            heads.append(head)
    export.skipped["notice"] += messages.count("") + sum(message.startswith(" ") for message in messages)
    # Day first, unless a second number is above 12 or there are AM and PM; a year or more than 12 in front says no.
    month_first = any(int(head[2]) > 12 for head in heads) or any(head[7] for head in heads)
    if any(len(head[1]) == 4 or int(head[1]) > 12 for head in heads):
        month_first = False
    return [message for message in messages if message and not message.startswith(" ")], month_first
