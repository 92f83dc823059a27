"""From chat messages to the turns that may be remembered: only new ones, only what a person or the assistant said.

The feedback-loop guard stands here. System and tool messages are never turns, nor is anything that carries
`RECALLED`: what was recalled must not be remembered again.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from pydantic import TypeAdapter, ValidationError

from langgraph_memory_r1.prompts import clean
from langgraph_memory_r1.schemas import Turn
from langgraph_memory_r1.state import as_turn

log = logging.getLogger(__name__)

RECALLED = "memory_r1_recalled"
"""Key in a message's `additional_kwargs`, or in a content block, that marks recalled memories."""

_WRITTEN_BY = "lc_source"
"""LangChain's mark on human messages that no human wrote, such as summaries of earlier ones."""
_LONE_ID = 16
"""Ids shorter than this are not unique by themselves ("1", "2", ...); they are read together with their thread."""
_MOMENT = TypeAdapter(datetime)


@dataclass(frozen=True, slots=True)
class NewTurns:
    """What is new in a conversation."""

    turns: tuple[Turn, ...] = ()
    cursors: tuple[str | None, ...] = ()
    """For each turn the message that it stands for."""
    last: str | None = None
    """The newest message, whether or not it is a turn."""
    skipped: Mapping[str, int] = field(default_factory=dict)
    """What was passed over, counted by kind."""
    own: frozenset[str] = frozenset()
    """Ids of the assistant's turns."""


@dataclass(frozen=True, slots=True)
class Speakers:
    """How the two sides of a chat are called where messages carry no name, and in which conversation it is."""

    human: str = "user"
    assistant: str = "assistant"
    thread: str | None = None


def text_of(content: object) -> tuple[str, list[str]]:
    """The text of a message's content, cleaned, and the kinds of what is no text."""
    if isinstance(content, str):
        return clean(content), []
    if not isinstance(content, list):
        return "", [] if content is None else [type(content).__name__]
    texts: list[str] = []
    skipped: list[str] = []
    for block in content:
        text, kind = _block(block)
        texts += [text] if text else []
        skipped += [kind] if kind else []
    return clean("\n".join(texts)), skipped


def is_recalled(message: BaseMessage) -> bool:
    """Whether a message was put into the conversation by the memory itself."""
    return bool(message.additional_kwargs.get(RECALLED))


def turns_from_messages(messages: Sequence[BaseMessage], cursor: str | None, who: Speakers, now: datetime) -> NewTurns:
    """The turns in the messages after the cursor.

    A cursor that is not among the messages (they were trimmed or summarised) means that all are looked at again;
    turns that the bank knows are passed over later.
    """
    new = _after(messages, cursor)
    skipped: Counter[str] = Counter()
    turns: list[Turn] = []
    said_in: list[BaseMessage] = []
    for message in new:
        turn, kinds = _turn(message, who, now)
        skipped.update(kinds)
        if turn:
            turns.append(turn)
            said_in.append(message)
    turns = with_ids(turns)
    own = {turn.id for turn, message in zip(turns, said_in, strict=True) if isinstance(message, AIMessage)}
    cursors = tuple(message.id for message in said_in)
    return NewTurns(tuple(turns), cursors, new[-1].id if new else cursor, skipped, frozenset(own))


def turns_from_input(given: Iterable[Turn | Mapping[str, Any]], cursor: str | None) -> NewTurns:
    """The turns that were given as such; empty ones are passed over."""
    taken = [as_turn(turn) for turn in given]
    turns = [turn for turn in taken if turn.text]
    skipped = {"empty": len(taken) - len(turns)} if len(taken) > len(turns) else {}
    return NewTurns(tuple(with_ids(turns)), (cursor,) * len(turns), cursor, skipped)


def concatenate(first: NewTurns, second: NewTurns) -> NewTurns:
    """Both, one after the other."""
    return NewTurns(
        first.turns + second.turns,
        first.cursors + second.cursors,
        second.last,
        Counter(first.skipped) + Counter(second.skipped),
        first.own | second.own,
    )


def with_ids(turns: Sequence[Turn]) -> list[Turn]:
    """The turns, each with an id: one without gets a fingerprint of what was said, by whom and when.

    The same turns given again have the same ids, and are passed over. Give ids or times where somebody says the same
    twice and means something new.
    """
    seen: Counter[str] = Counter()
    named = []
    for turn in turns:
        if not turn.id:
            mark = _fingerprint(turn)
            seen[mark] += 1
            turn = replace(turn, id=mark if seen[mark] == 1 else f"{mark}-{seen[mark]}")
        named.append(turn)
    return named


def _after(messages: Sequence[BaseMessage], cursor: str | None) -> Sequence[BaseMessage]:
    for position in range(len(messages) - 1, -1, -1):
        if cursor is not None and messages[position].id == cursor:
            return messages[position + 1 :]
    return messages


def _turn(message: BaseMessage, who: Speakers, now: datetime) -> tuple[Turn | None, list[str]]:
    if is_recalled(message):
        return None, ["recalled"]
    if message.additional_kwargs.get(_WRITTEN_BY):
        return None, [str(message.additional_kwargs[_WRITTEN_BY])[:40]]
    if not isinstance(message, HumanMessage | AIMessage):
        return None, [message.type]
    text, skipped = text_of(message.content)
    if not text:
        return None, [*skipped, "empty"]
    default = who.human if isinstance(message, HumanMessage) else who.assistant
    at = _said_at(message) or now
    return Turn(clean(message.name or "") or default, text, at, _id(message, who.thread), who.thread), skipped


def _id(message: BaseMessage, thread: str | None) -> str:
    """Ids from LangGraph and the providers are unique; short ones that an app counts up are so in their thread."""
    if not message.id or thread is None or len(message.id) >= _LONE_ID:
        return message.id or ""
    return f"{thread}:{message.id}"


def _said_at(message: BaseMessage) -> datetime | None:
    """The time that an app noted in `additional_kwargs["at"]`, ISO text or a number of seconds."""
    noted = message.additional_kwargs.get("at")
    try:
        at = None if noted is None else _MOMENT.validate_python(noted)
    except ValidationError:
        log.warning('Message %r has no readable time in additional_kwargs["at"]; give ISO text.', message.id)
        return None
    return at.replace(tzinfo=UTC) if at and not at.tzinfo else at


def _block(block: object) -> tuple[str, str | None]:
    """One content block: its text, or else its kind."""
    if isinstance(block, str):
        return block, None
    if not isinstance(block, dict):
        return "", type(block).__name__
    if block.get(RECALLED):
        return "", "recalled"
    text = block.get("text")
    if block.get("type") == "text" and isinstance(text, str):
        return text, None
    return "", str(block.get("type", "block"))[:40]


def _fingerprint(turn: Turn) -> str:
    said = "\x1f".join([turn.session or "", turn.at.isoformat() if turn.at else "", turn.speaker, turn.text])
    return f"turn-{blake2b(said.encode(), digest_size=8).hexdigest()}"
