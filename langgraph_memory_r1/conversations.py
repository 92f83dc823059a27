"""Conversations as JSONL, one a line: the interchange format between users' own data, evals and train.

    {"id": "c1", "turns": [{"speaker": "Ann", "text": "Hi!", "at": "2024-05-01T10:00:00Z", "id": "1"}], "questions": []}

A broken line is named (file, line, why) and skipped, or refused with `strict`; times without a zone are taken as UTC.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, timedelta
from functools import cache
from typing import TYPE_CHECKING

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.jsonl import read_lines, write_file
from langgraph_memory_r1.schemas import Conversation

if TYPE_CHECKING:
    from pydantic import TypeAdapter

__all__ = ["dated", "read_conversations", "write_conversations"]

logger = logging.getLogger(__name__)

_QUESTION_DELAY = timedelta(days=1)


def dated(conversation: Conversation) -> Conversation:
    """Give every question of a conversation a time: where none is known, a day after the last turn that has one.

    A deployed graph always tells its Answer Agent the time; without one, prompts of rows and evaluations would differ.
    """
    last = next((turn.at for turn in reversed(conversation.turns) if turn.at), None)
    if last is None:
        return conversation
    questions = (replace(each, at=each.at or last + _QUESTION_DELAY) for each in conversation.questions)
    return replace(conversation, questions=tuple(questions))


def read_conversations(
    path: str | os.PathLike[str], strict: bool = False, *, on_skip: Callable[[InputError], None] | None = None
) -> Iterator[Conversation]:
    """Read the conversations of a JSONL file, one at a time.

    Example::

        broken: list[InputError] = []
        conversations = list(read_conversations("chats.jsonl", on_skip=broken.append))

    Args:
        path: The file; blank lines in it are passed over.
        strict: Raise at the first broken line instead of skipping it.
        on_skip: Called with every skipped line's error; without it each is logged, and then their number.

    Raises:
        InputError: The file cannot be opened, or a line is broken and `strict` is set.
    """
    skipped = 0
    for number, line in read_lines(path, "conversations"):
        try:
            yield _parse(line, f"{path}:{number}")
        except InputError as error:
            if strict:
                raise
            skipped += 1
            (on_skip or logger.warning)(error)
    if skipped and on_skip is None:
        logger.warning("%s: %d broken line(s) skipped", path, skipped)


def write_conversations(path: str | os.PathLike[str], conversations: Iterable[Conversation]) -> int:
    """Write conversations to a JSONL file and return how many; the file appears whole or not at all.

    Raises:
        InputError: The place cannot be written, or a text holds half a character (a lone surrogate).
    """
    return write_file(path, (_dump(conversation) + b"\n" for conversation in conversations))


def _parse(line: bytes, position: str) -> Conversation:
    from pydantic import ValidationError

    try:
        conversation = _adapter().validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{position}: {field + ': ' if field else ''}{first['msg']}") from error
    turns = (
        replace(turn, at=turn.at.replace(tzinfo=UTC)) if turn.at and turn.at.tzinfo is None else turn
        for turn in conversation.turns
    )
    return replace(conversation, turns=tuple(turns))


def _dump(conversation: Conversation) -> bytes:
    from pydantic_core import PydanticSerializationError

    try:
        return _adapter().dump_json(conversation, exclude_none=True)
    except (PydanticSerializationError, UnicodeEncodeError) as error:
        raise InputError(f"conversation {conversation.id!r} cannot be written as JSON: {error}") from error


@cache
def _adapter() -> TypeAdapter[Conversation]:
    from pydantic import TypeAdapter

    return TypeAdapter(Conversation)
