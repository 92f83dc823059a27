"""LongMemEval: 500 questions, each about its own history of chats between a user and an assistant.

Data: https://huggingface.co/datasets/xiaowu0162/longmemeval-cleaned (Wu et al., ICLR 2025), MIT. Two splits, each a
file: `s` with about 50 sessions a question, `oracle` with the evidence sessions alone. Every question is a conversation
of its own, asked at its `question_date`; sessions are put in order of time, which `oracle` is not.

Evidence are the turns marked `has_answer`; where none is, all turns of the answer sessions. The 30 questions whose id
ends with `_abs` ask for something that was never said: they have no evidence, and their gold answer says why.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain
from operator import itemgetter
from typing import Any

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.evals.benchmark import Benchmark, Licence, Skipped, Source
from langgraph_memory_r1.evals.data_file import parse_json, required, typed
from langgraph_memory_r1.schemas import Conversation, Question, Turn

__all__ = ["ABSTENTION", "CATEGORIES", "LongMemEval"]

ABSTENTION = "_abs"
"""Ends the id of a question that cannot be answered."""

CATEGORIES = (
    "single-session-user",
    "single-session-assistant",
    "single-session-preference",
    "multi-session",
    "temporal-reasoning",
    "knowledge-update",
)

_FOLDER = (
    "https://huggingface.co/datasets/xiaowu0162/longmemeval-cleaned/resolve/98d7416c24c778c2fee6e6f3006e7a073259d48f"
)
_TIME = re.compile(r"(\d{4})/(\d\d)/(\d\d) \([A-Za-z]{3}\) (\d\d):(\d\d)")


class LongMemEval(Benchmark):
    """LongMemEval_S, or its oracle setting."""

    name = "longmemeval"
    title = "LongMemEval (Wu et al., 2025)"
    licence = Licence("MIT", "https://huggingface.co/datasets/xiaowu0162/longmemeval-cleaned")
    sources = (
        Source(
            "longmemeval_s_cleaned.json",
            "d6f21ea9d60a0d56f34a05b609c79c88a451d2ae03597821ea3d5a9678c3a442",
            277_383_467,
            f"{_FOLDER}/longmemeval_s_cleaned.json",
            ("s",),
        ),
        Source(
            "longmemeval_oracle.json",
            "821a2034d219ab45846873dd14c14f12cfe7776e73527a483f9dac095d38620c",
            15_388_478,
            f"{_FOLDER}/longmemeval_oracle.json",
            ("oracle",),
        ),
        Source(
            "longmemeval_s_3_instances.json",
            "fb214aebd232287eb9e25ae5f38b5e5f9b1d7336ea08082630df5ad582bf1023",
            1_688_916,
            splits=("s",),
            sample=True,
        ),
    )
    splits = ("s", "oracle")
    default_split = "s"
    categories = CATEGORIES
    metric = "judge_longmemeval"
    judge = "longmemeval"

    def parse(self, content: bytes, location: str, skipped: Skipped) -> Iterator[Conversation]:
        """Yield one conversation for each question; a question of an unknown type is passed over."""
        for number, raw in enumerate(typed(parse_json(content, location), list, location)):
            instance = typed(raw, dict, f"{location}: instance {number}")
            conversation = _conversation(instance, f"{location}: instance {number}", skipped)
            if conversation is not None:
                yield conversation

    def unanswerable(self, question: Question) -> bool:
        """Return whether it is an abstention question."""
        return question.id.endswith(ABSTENTION)


def _conversation(instance: dict[str, Any], location: str, skipped: Skipped) -> Conversation | None:
    name = required(instance, "question_id", str, location)
    category = required(instance, "question_type", str, location)
    if category not in CATEGORIES:
        skipped("unknown category", name, repr(category))
        return None
    if instance.get("answer") is None:
        skipped("no answer", name)
        return None
    sessions, marked = _sessions(instance, f"{location} ({name})")
    question = Question(
        required(instance, "question", str, location),
        str(instance["answer"]),
        () if name.endswith(ABSTENTION) else _evidence(instance, sessions, marked, name, skipped),
        category,
        name,
        _time(required(instance, "question_date", str, location), f"{location} question_date"),
    )
    return Conversation(name, tuple(chain.from_iterable(sessions)), (question,))


def _sessions(instance: dict[str, Any], location: str) -> tuple[list[list[Turn]], list[str]]:
    """Return the turns of each session in order of time, and the ids of those that are marked as evidence."""
    keys = ("haystack_session_ids", "haystack_dates", "haystack_sessions")
    names, dates, chats = (required(instance, key, list, location) for key in keys)
    if not len(names) == len(dates) == len(chats):
        raise InputError(f"{location}: {len(chats)} sessions have {len(names)} ids and {len(dates)} dates")
    sessions: list[tuple[datetime, list[Turn]]] = []
    marked: list[str] = []
    times_seen: Counter[str] = Counter()
    for raw_name, date, chat in zip(names, dates, chats, strict=True):
        name = str(raw_name)
        times_seen[name] += 1
        if times_seen[name] > 1:  # a session may stand twice in a history; its turns need ids of their own
            name = f"{name}#{times_seen[name]}"
        where = f"{location} {name}"
        at = _time(typed(date, str, where), where)
        turns = []
        for number, raw in enumerate(typed(chat, list, where), 1):
            turn = typed(raw, dict, f"{where} turn {number}")
            speaker, text = (required(turn, key, str, f"{where} turn {number}") for key in ("role", "content"))
            turns.append(Turn(speaker, text, at, f"{name}:{number}", name))
            if turn.get("has_answer") is True:
                marked.append(turns[-1].id)
        sessions.append((at, turns))
    return [turns for _, turns in sorted(sessions, key=itemgetter(0))], marked


def _evidence(
    instance: dict[str, Any], sessions: list[list[Turn]], marked: list[str], name: str, skipped: Skipped
) -> tuple[str, ...]:
    """Return the marked turns, else all of the answer sessions."""
    if marked:
        return tuple(marked)
    raw = instance.get("answer_session_ids")
    answer_sessions = [each for each in raw if isinstance(each, str)] if isinstance(raw, list) else []
    evidence = tuple(turn.id for session in sessions for turn in session if turn.session in answer_sessions)
    existing = {turn.session for session in sessions for turn in session}
    for each in answer_sessions:
        if each not in existing:
            skipped("evidence names no session", name, repr(each))
    if not evidence:
        skipped("no evidence", name)
    return evidence


def _time(text: str, location: str) -> datetime:
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise InputError(f"{location}: {text!r} is not a time like '2023/05/30 (Tue) 23:40'")
    year, month, day, hour, minute = map(int, match.groups())
    try:
        return datetime(year, month, day, hour, minute, tzinfo=UTC)
    except ValueError as error:
        raise InputError(f"{location}: {text!r} is no time: {error}") from error
