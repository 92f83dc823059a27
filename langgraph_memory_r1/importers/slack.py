"""Slack's workspace export: the zip, or the folder it unpacks to; a channel is a conversation."""

from __future__ import annotations

import json
import re
import zipfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.importers.chats import TimedMessage, add_chat, chat_loader, message_time, sender
from langgraph_memory_r1.importers.export import Export
from langgraph_memory_r1.importers.fields import clean_name, parse_time, reason
from langgraph_memory_r1.importers.files import ExportFile, decode_text, files_in, load_json

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_MENTION = re.compile(r"<@([A-Z0-9]+)(?:\|[^>]*)?>")
_SAID = (None, "thread_broadcast", "me_message")
"""Subtypes of messages that a person wrote."""
_LINK = re.compile(r"<(https?://[^|>]+)(?:\|([^>]+))?>")


def read_slack(path: Path, scratch: Path) -> Export:
    """Return the channels of an export, their days in order."""
    export = Export("slack")
    loader = chat_loader("slack", "SlackChatLoader")
    files = list(files_in(path, ".json"))
    people = _names_of_people(files, export)
    days = [file for file in files if _DAY.fullmatch(file.path.stem) and file.path.parent.name]
    if not days:
        raise InputError(f"{path} holds no channel of Slack; name the zip of the export, or the folder it unpacks to.")
    copy = scratch / "slack.zip"
    with zipfile.ZipFile(copy, "w") as archive:
        for number, day in enumerate(days):
            messages = []
            for message in _objects(day, export):
                text = message.get("text")
                if message.get("subtype") not in _SAID or not clean_name(message.get("user")):
                    export.skipped["notice"] += 1  # of a bot, or of Slack itself
                elif not isinstance(text, str) or not text.strip():
                    export.skipped["without words"] += 1
                else:
                    # As people see it: names for ids, links as links, and no escapes.
                    text = _MENTION.sub(lambda match: people.get(match[1], match[1]), text)
                    text = _LINK.sub(lambda match: match[2] or match[1], text)
                    text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
                    messages.append({**message, "text": text})
            # Numbered, so that the loader gives the days in our order, and no channel's name leads outside.
            archive.writestr(f"{number:06}.json", json.dumps(messages))
    channels: dict[str, list[TimedMessage]] = defaultdict(list)
    for day, session in zip(days, loader(copy).lazy_load(), strict=True):
        channels[day.path.parent.name] += [
            (message, parse_time(message_time(message))) for message in session["messages"]
        ]
    for channel, timed in channels.items():
        speakers = [people.get(sender(message), sender(message)) for message, _ in timed]
        add_chat(export, channel, timed, speakers)
    return export


def _names_of_people(files: list[ExportFile], export: Export) -> dict[str, str]:
    """Return the names behind the ids of people."""
    people: dict[str, str] = {}
    for file in files:
        if file.path.name == "users.json":
            for user in _objects(file, export):
                profile = user.get("profile")
                profile = profile if isinstance(profile, dict) else {}
                names = [profile.get("display_name"), profile.get("real_name"), user.get("real_name"), user.get("name")]
                if name := next(filter(None, map(clean_name, names)), None):
                    people[str(user.get("id"))] = name
    return people


def _objects(file: ExportFile, export: Export) -> list[dict[str, Any]]:
    """Return the objects of a file that holds a list of them; what is broken is named."""
    try:
        data = load_json(decode_text(file.read(), file.label))
        if not isinstance(data, list):
            raise ValueError(f"it holds {type(data).__name__}, no list")
    except ValueError as error:
        export.broken.append(f"{file.label}: {reason(error)}")
        return []
    odd = [number for number, part in enumerate(data, 1) if not isinstance(part, dict)]
    export.broken += [f"{file.label}, entry {number}: it is no object" for number in odd]
    return [part for part in data if isinstance(part, dict)]
