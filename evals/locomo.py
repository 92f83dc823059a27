"""LoCoMo: ten long two-person chats with questions whose evidence turns are known.

Data: `locomo10.json` of https://github.com/snap-research/locomo (Maharana et al., ACL 2024); licence CC BY-NC 4.0, so
the file is never part of this project. A turn keeps its `dia_id` as id and its session's name and time; a photo that
was shared becomes part of the text as ` [shares an image: CAPTION]`, because some answers stand only in the caption.
The file does not say when questions are asked; they count as asked a day after the last turn.

What the file gets wrong is repaired where the meaning is clear (several ids in one string, leading zeros, numbers as
answers) and otherwise passed over and counted: an id that names no turn, a question that is not one.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

from langgraph_memory_r1.conversations import dated
from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.evals.benchmark import Benchmark, Licence, Skipped, Source
from langgraph_memory_r1.evals.data_file import parse_json, read_bytes, required, typed
from langgraph_memory_r1.schemas import Conversation, Question, Turn

__all__ = ["CATEGORIES", "CONVERSATIONS", "PAPER_LABELS", "SHA256", "SPLITS", "TRAIN", "LoCoMo", "load"]

logger = logging.getLogger(__name__)

SHA256 = "79fa87e90f04081343b8c8debecb80a9a6842b76a7aa537dc9fdf651ea698ff4"
"""Of the canonical file; edited copies are in circulation."""

CATEGORIES = {1: "multi-hop", 2: "temporal", 3: "open-domain", 4: "single-hop", 5: "adversarial"}
"""The true names of the numbers in the file (some papers permute them)."""

TRAIN = ("conv-26", "conv-30")
"""The conversations that settings may be tuned on; the other eight are for reporting."""

CONVERSATIONS = (*TRAIN, "conv-41", "conv-42", "conv-43", "conv-44", "conv-47", "conv-48", "conv-49", "conv-50")
"""In the order of the file."""

SPLITS: Final[Mapping[str, tuple[str, ...]]] = {
    "test": CONVERSATIONS[2:],
    "train": ("conv-26",),
    "validation": ("conv-30",),
    "memory-r2/test": ("conv-26", "conv-30", "conv-41", "conv-42", "conv-48", "conv-49", "conv-50"),
    "memory-r2/train": ("conv-43", "conv-47"),
    "memory-r2/validation": ("conv-44",),
    "full": CONVERSATIONS,
}
"""The conversations of each split; `full` is all that a file holds, and the one split of data of one's own.

The first three are Memory-R1's 1,307/152/81 questions, the next Memory-R2's (whose authors count 1,085 test questions
after mending the file, not 1,089); only `full` keeps the adversarial questions, which neither paper asks."""

PAPER_LABELS: Final[Mapping[str, Mapping[str, str]]] = {
    "memory-r1": {
        "multi-hop": "Single Hop",
        "open-domain": "Multi-Hop",
        "single-hop": "Open Domain",
        "temporal": "Temporal",
    }
}
"""What a paper prints over the columns. Memory-R1's are permuted: its overall scores are the mean of its columns only
when these are weighted by the numbers of questions under the true names."""

_MONTHS = "january february march april may june july august september october november december".split()
_TIME = re.compile(r"\s*(\d{1,2}):(\d{2})\s*([ap])m on (\d{1,2}) ([a-z]+),? (\d{4})\s*", re.IGNORECASE)
_TURN_ID = re.compile(r"D0*(\d+):0*(\d+)")


class LoCoMo(Benchmark):
    """LoCoMo in the splits of Memory-R1 and Memory-R2, or whole."""

    name = "locomo"
    title = "LoCoMo (Maharana et al., 2024)"
    licence = Licence(
        "CC BY-NC 4.0",
        "https://github.com/snap-research/locomo/blob/main/LICENSE.txt",
        "Non-commercial use only.",
    )
    sources = (
        Source(
            "locomo10.json",
            SHA256,
            2_805_274,
            "https://raw.githubusercontent.com/snap-research/locomo/3eb6f2c585f5e1699204e3c3bdf7adc5c28cb376/data/locomo10.json",
        ),
    )
    splits = tuple(SPLITS)
    default_split = "test"
    categories = ("single-hop", "multi-hop", "temporal", "open-domain", "adversarial")
    metric = "f1_locomo"
    paper_labels: ClassVar[Mapping[str, Mapping[str, str]]] = PAPER_LABELS

    def parse(self, content: bytes, location: str, skipped: Skipped) -> Iterator[Conversation]:
        """Yield all ten conversations, each with all of its questions."""
        for number, sample in enumerate(typed(parse_json(content, location), list, location)):
            yield _conversation(sample, f"{location}: sample {number}", skipped)

    def select(self, conversations: Sequence[Conversation], split: str) -> tuple[Conversation, ...]:
        """Return the conversations of a split, without the adversarial questions except in `full`."""
        if split == "full":
            return tuple(conversations)
        chosen = tuple(each for each in conversations if each.id in SPLITS[split])
        questions = [tuple(q for q in each.questions if q.category != "adversarial") for each in chosen]
        return tuple(replace(each, questions=asked) for each, asked in zip(chosen, questions, strict=True))

    def own_split(self, content: bytes) -> str | None:
        """Return `full` where no conversation has the name of one of LoCoMo's; a mixture is a changed file."""
        try:
            samples = json.loads(content)
        except (ValueError, RecursionError):
            return None
        if not isinstance(samples, list):
            return None
        names = {str(sample.get("sample_id")) for sample in samples if isinstance(sample, dict)}
        return "full" if names and names.isdisjoint(CONVERSATIONS) else None

    def unanswerable(self, question: Question) -> bool:
        """Return whether it is one of the adversarial ones."""
        return question.category == "adversarial"


def load(path: str | os.PathLike[str], *, on_skip: Callable[[str], None] | None = None) -> list[Conversation]:
    """Read any file of LoCoMo's shape, whatever its content; `LoCoMo().load` accepts the published one only.

    A question of the category "adversarial" mostly has no answer in the chat, only a tempting wrong one, which is left
    out: its gold is None, and the right reply is that nothing is known.

    Args:
        path: Where the file lies.
        on_skip: Called with a sentence for everything that was passed over; without it their number is logged.

    Raises:
        InputError: The file is missing, is not JSON, or is not LoCoMo; the message names the place.
    """
    skipped = Skipped(on_skip)
    conversations = list(LoCoMo().parse(read_bytes(path, "LoCoMo's locomo10.json"), str(path), skipped))
    if skipped.kinds and on_skip is None:
        logger.info("%s: %d malformed piece(s) passed over", path, skipped.kinds.total())
    return conversations


def _conversation(raw: Any, location: str, skipped: Skipped) -> Conversation:
    sample = typed(raw, dict, location)
    name = required(sample, "sample_id", str, location)
    turns = tuple(_turns(required(sample, "conversation", dict, location), f"{location} ({name})"))
    turn_ids = {turn.id for turn in turns}
    questions = (
        _question(item, f"{name}/{number}", turn_ids, skipped)
        for number, item in enumerate(required(sample, "qa", list, location))
    )
    return dated(Conversation(name, turns, tuple(question for question in questions if question is not None)))


def _turns(chat: dict[str, Any], location: str) -> Iterator[Turn]:
    """Yield the turns of all sessions in order."""
    # Not by the dates: the file also has some of sessions that do not exist.
    numbers = sorted(int(key.removeprefix("session_")) for key in chat if re.fullmatch(r"session_\d+", key))
    for session in (f"session_{number}" for number in numbers):
        at = _time(required(chat, f"{session}_date_time", str, location), f"{location} {session}_date_time")
        for index, raw in enumerate(required(chat, session, list, location)):
            where = f"{location} {session} turn {index}"
            turn = typed(raw, dict, where)
            speaker, turn_id, text = (required(turn, key, str, where) for key in ("speaker", "dia_id", "text"))
            text, caption = text.strip(), turn.get("blip_caption")
            if caption:  # some answers stand in the caption alone
                text = f"{text} [shares an image: {caption}]".strip()
            yield Turn(speaker, text, at, turn_id, session)


def _time(text: str, location: str) -> datetime:
    match = _TIME.fullmatch(text)
    if match is None and (moment := _iso(text)) is not None:  # as people write it in data of their own
        return moment
    if match is None or match[5].lower() not in _MONTHS:
        raise InputError(f"{location}: {text!r} is not a time like '1:56 pm on 8 May, 2023' or '2023-05-08 13:56'")
    hour = int(match[1]) % 12 + (12 if match[3].lower() == "p" else 0)
    month = _MONTHS.index(match[5].lower()) + 1
    try:
        return datetime(int(match[6]), month, int(match[4]), hour, int(match[2]), tzinfo=UTC)
    except ValueError as error:
        raise InputError(f"{location}: {text!r} is no time: {error}") from error


def _iso(text: str) -> datetime | None:
    """Return a time in ISO's form, in UTC where it names no zone; None for another text."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _question(raw: Any, name: str, turn_ids: set[str], skipped: Skipped) -> Question | None:
    """Return a question under its place in the file, which is its id in every split; None for what is none."""
    item = raw if isinstance(raw, dict) else {}
    text, number, gold = (item.get(key) for key in ("question", "category", "answer"))
    if not isinstance(text, str):
        skipped("not a question", name)
        return None
    category = CATEGORIES.get(number) if isinstance(number, int) else number
    if category not in CATEGORIES.values():
        skipped("unknown category", name, repr(number))
        return None
    if category != "adversarial" and gold is None:
        skipped("no answer", name)
        return None
    evidence = _evidence(item.get("evidence"), name, turn_ids, skipped)
    return Question(text, None if gold is None else str(gold), evidence, category, name)


def _evidence(raw: Any, name: str, turn_ids: set[str], skipped: Skipped) -> tuple[str, ...]:
    """Return the evidence turns that exist, each once: of "D8:6; D9:17" and "D30:05" too, as the file writes some."""
    names = " ".join(each for each in raw if isinstance(each, str)) if isinstance(raw, list) else ""
    evidence: dict[str, None] = {}
    for each in names.replace(";", " ").split():
        match = _TURN_ID.fullmatch(each)
        turn_id = f"D{match[1]}:{match[2]}" if match else each
        if turn_id in turn_ids:
            evidence[turn_id] = None
        else:
            skipped("evidence names no turn", name, repr(each))
    if not evidence:
        skipped("no evidence", name)
    return tuple(evidence)
