"""Slack's workspace export: the zip, or the folder it unpacks to; a channel is a conversation."""

from __future__ import annotations

import json
import re
import zipfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.importers.chats import Said, first_time, loader, sender, take
from langgraph_memory_r1.importers.documents import decode, load
from langgraph_memory_r1.importers.export import Export
from langgraph_memory_r1.importers.fields import moment, name, why
from langgraph_memory_r1.importers.files import ExportFile, members

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_MENTION = re.compile(r"<@([A-Z0-9]+)(?:\|[^>]*)?>")
_LINK = re.compile(r"<(https?://[^|>]+)(?:\|([^>]+))?>")


def read_slack(path: Path, scratch: Path) -> Export:
    """The channels of an export, their days in order."""
    export = Export("slack")
    loads = loader("slack", "SlackChatLoader")
    files = list(members(path, ".json"))
    people = _people(files, path, export)
    days = [file for file in files if _DAY.fullmatch(file.place.stem) and file.place.parent.name]
    if not days:
        raise InputError(f"{path} holds no channel of Slack; name the zip of the export, or the folder it unpacks to.")
    said: dict[str, list[Said]] = defaultdict(list)
    copy = _copy(days, people, path, scratch, export)
    for day, session in zip(days, loads(copy).lazy_load(), strict=True):
        messages = session["messages"]
        said[day.place.parent.name] += [(message, moment(first_time(message))) for message in messages]
    for channel, messages in said.items():
        speakers = [people.get(sender(message), sender(message)) for message, _ in messages]
        take(export, channel, messages, speakers)
    return export


def _people(files: list[ExportFile], path: Path, export: Export) -> dict[str, str]:
    """The names behind the ids."""
    people: dict[str, str] = {}
    for file in files:
        if file.place.name == "users.json":
            for user in _list(file, path, export):
                profile = user.get("profile")
                profile = profile if isinstance(profile, dict) else {}
                told = [profile.get("display_name"), profile.get("real_name"), user.get("real_name"), user.get("name")]
                found = next((text for part in told if (text := name(part))), None)
                people |= {str(user.get("id")): found} if found else {}
    return people


def _copy(days: list[ExportFile], people: Mapping[str, str], path: Path, scratch: Path, export: Export) -> Path:
    """A zip that the loader reads to its end."""
    copy = scratch / "slack.zip"
    with zipfile.ZipFile(copy, "w") as archive:
        for number, day in enumerate(days):
            messages = [
                {**message, "text": _text(message["text"], people)}
                for message in _list(day, path, export)
                if _is_said(message, export)
            ]
            archive.writestr(f"{number:06}.json", json.dumps(messages))
    return copy


def _list(file: ExportFile, path: Path, export: Export) -> list[dict[str, Any]]:
    place = f"{path}, {file.name}"
    try:
        data = load(decode(file.read(), place))
        if not isinstance(data, list):
            raise ValueError(f"it holds {type(data).__name__}, no list")
    except ValueError as error:
        export.broken.append(f"{place}: {why(error)}")
        return []
    odd = [number for number, part in enumerate(data, 1) if not isinstance(part, dict)]
    export.broken += [f"{place}, entry {number}: it is no object" for number in odd]
    return [part for part in data if isinstance(part, dict)]


def _is_said(message: Mapping[str, Any], export: Export) -> bool:
    """Somebody's words: no one joining a channel, no bot."""
    if message.get("subtype") not in (None, "thread_broadcast", "me_message") or not name(message.get("user")):
        export.skipped["notice"] += 1
    elif not isinstance(message.get("text"), str) or not message["text"].strip():
        export.skipped["without words"] += 1
    else:
        return True
    return False


def _text(text: str, people: Mapping[str, str]) -> str:
    """Words as people see them: names for ids, links as links, and no escapes."""
    text = _MENTION.sub(lambda found: people.get(found[1], found[1]), text)
    text = _LINK.sub(lambda found: found[2] or found[1], text)
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
