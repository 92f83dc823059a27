"""LoCoMo: ten long two-person chats with questions whose evidence turns are known.

Data: `locomo10.json` of https://github.com/snap-research/locomo (Maharana et al., ACL 2024); licence CC BY-NC 4.0, so
the file is never part of this project. A turn keeps its `dia_id` as id and its session's name and time; a photo that
was shared becomes part of the text as ` [shares an image: CAPTION]`, because some answers stand only in the caption.

What the file gets wrong is repaired where the meaning is clear (several ids in one string, leading zeros, numbers as
answers) and otherwise passed over and reported: an id that names no turn, a question that is not one.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.schemas import Conversation, Question, Turn

__all__ = ["CATEGORIES", "SHA256", "TRAIN", "load"]

logger = logging.getLogger(__name__)

SHA256 = "79fa87e90f04081343b8c8debecb80a9a6842b76a7aa537dc9fdf651ea698ff4"
"""Of the canonical file; edited copies are in circulation."""

CATEGORIES = {1: "multi-hop", 2: "temporal", 3: "open-domain", 4: "single-hop", 5: "adversarial"}
"""The true names of the numbers in the file (some papers permute them)."""

TRAIN = ("conv-26", "conv-30")
"""The conversations that settings may be tuned on; the other eight are for reporting."""

_MONTHS = "january february march april may june july august september october november december".split()
_TIME = re.compile(r"\s*(\d{1,2}):(\d{2})\s*([ap])m on (\d{1,2}) ([a-z]+),? (\d{4})\s*", re.IGNORECASE)
_TURN_ID = re.compile(r"D0*(\d+):0*(\d+)")

Report = Callable[[str], None]


def load(path: str | os.PathLike[str], *, on_skip: Report | None = None) -> list[Conversation]:
    """Read LoCoMo's own file.

    A question of the category "adversarial" mostly has no answer in the chat, only a tempting wrong one, which is left
    out: its gold is None, and the right reply is that nothing is known.

    Args:
        path: Where `locomo10.json` lies.
        on_skip: Called with a sentence for everything that was passed over; without it their number is logged.

    Raises:
        InputError: The file is missing, is not JSON, or is not LoCoMo; the message names the place.
    """
    skipped: list[str] = []
    conversations = [_conversation(raw, place, on_skip or skipped.append) for place, raw in _samples(path)]
    if skipped:
        logger.info("%s: %d malformed piece(s) passed over, the first: %s", path, len(skipped), skipped[0])
    return conversations


def _samples(path: str | os.PathLike[str]) -> Iterator[tuple[str, Any]]:
    try:
        samples = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); name LoCoMo's locomo10.json") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}") from error
    for number, sample in enumerate(_typed(samples, list, str(path))):
        yield f"{path}: sample {number}", sample


def _conversation(raw: Any, place: str, report: Report) -> Conversation:
    sample = _typed(raw, dict, place)
    name = _field(sample, "sample_id", str, place)
    chat = _field(sample, "conversation", dict, place)
    turns = tuple(turn for number in _session_numbers(chat) for turn in _session(chat, number, f"{place} ({name})"))
    known = {turn.id for turn in turns}
    questions = (
        _question(item, f"{name} question {number}", known, report)
        for number, item in enumerate(_field(sample, "qa", list, place))
    )
    return Conversation(name, turns, tuple(question for question in questions if question is not None))


def _session_numbers(chat: dict[str, Any]) -> list[int]:
    """The numbers of the sessions that have turns, in order; the file also dates sessions that do not exist."""
    return sorted(int(key.removeprefix("session_")) for key in chat if re.fullmatch(r"session_\d+", key))


def _session(chat: dict[str, Any], number: int, place: str) -> Iterator[Turn]:
    session = f"session_{number}"
    at = _time(_field(chat, f"{session}_date_time", str, place), f"{place} {session}_date_time")
    for index, raw in enumerate(_field(chat, session, list, place)):
        where = f"{place} {session} turn {index}"
        turn = _typed(raw, dict, where)
        speaker, turn_id = (_field(turn, key, str, where) for key in ("speaker", "dia_id"))
        yield Turn(speaker, _text(turn, where), at, turn_id, session)


def _text(turn: dict[str, Any], place: str) -> str:
    text, caption = _field(turn, "text", str, place).strip(), turn.get("blip_caption")
    return f"{text} [shares an image: {caption}]".strip() if caption else text


def _time(text: str, place: str) -> datetime:
    found = _TIME.fullmatch(text)
    if found is None or found[5].lower() not in _MONTHS:
        raise InputError(f"{place}: {text!r} is not a time like '1:56 pm on 8 May, 2023'")
    hour = int(found[1]) % 12 + (12 if found[3].lower() == "p" else 0)
    try:
        return datetime(
            int(found[6]), _MONTHS.index(found[5].lower()) + 1, int(found[4]), hour, int(found[2]), tzinfo=UTC
        )
    except ValueError as error:
        raise InputError(f"{place}: {text!r} is no time: {error}") from error


def _question(raw: Any, place: str, known: set[str], report: Report) -> Question | None:
    item = raw if isinstance(raw, dict) else {}
    text, number, gold = (item.get(key) for key in ("question", "category", "answer"))
    category = CATEGORIES.get(number) if isinstance(number, int) else None
    if not isinstance(text, str) or category is None:
        report(f"{place}: not a question of a known category")
        return None
    if category != "adversarial" and gold is None:
        report(f"{place}: no answer")
        return None
    evidence = _evidence(item.get("evidence"), place, known, report)
    return Question(text, None if gold is None else str(gold), evidence, category)


def _evidence(raw: Any, place: str, known: set[str], report: Report) -> tuple[str, ...]:
    """The evidence turns that exist, each once."""
    names = " ".join(name for name in raw if isinstance(name, str)) if isinstance(raw, list) else ""
    found: dict[str, None] = {}
    for name in names.replace(";", " ").split():
        match = _TURN_ID.fullmatch(name)
        turn_id = f"D{match[1]}:{match[2]}" if match else name
        if turn_id in known:
            found[turn_id] = None
        else:
            report(f"{place}: evidence {name!r} names no turn")
    if not found:
        report(f"{place}: no evidence")
    return tuple(found)


def _field(mapping: dict[str, Any], key: str, kind: type[Any], place: str) -> Any:
    if key not in mapping:
        raise InputError(f"{place}: {key!r} is missing; is this LoCoMo's own file?")
    return _typed(mapping[key], kind, f"{place} {key}")


def _typed(value: Any, kind: type[Any], place: str) -> Any:
    if not isinstance(value, kind):
        raise InputError(f"{place}: expected {kind.__name__}, found {type(value).__name__}")
    return value
