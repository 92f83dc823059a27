"""From chat messages to the turns that may be remembered: only new ones, only what a person or the assistant said.

The feedback-loop guard stands here. System and tool messages are never turns, nor is anything that carries
`RECALLED`: what was recalled must not be remembered again.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, tzinfo
from hashlib import blake2b
from typing import Any, Literal, TypeAlias

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from pydantic import TypeAdapter, ValidationError

from langgraph_memory_r1.bank.ledger import LONE_ID, TurnMark
from langgraph_memory_r1.prompts import clean
from langgraph_memory_r1.schemas import Turn
from langgraph_memory_r1.state import as_turn, turn_as_dict

log = logging.getLogger(__name__)

RECALLED = "memory_r1_recalled"
"""Key in a message's `additional_kwargs`, or in a content block, that marks recalled memories."""

Side: TypeAlias = Literal["user", "assistant"]
"""A side of a chat."""

_TEXT_BLOCKS = ("text", "input_text", "output_text", "refusal")
"""What the providers call a block of words: Anthropic, and OpenAI in its chat, Responses and Assistants APIs."""
_WRITTEN_BY = "lc_source"
"""LangChain's mark on human messages that no human wrote, such as summaries of earlier ones."""
_LOOKED_BACK = 100
"""So many messages up to the cursor are looked at for edits: in a long chat the rest would cost more than a turn."""
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
    before: tuple[Turn, ...] = field(default=(), compare=False)
    """The last turns up to the cursor: dealt with, unless they were edited since."""
    own_before: frozenset[str] = field(default=frozenset(), compare=False)
    """Ids of the assistant's turns among those."""
    thread: str | None = None
    """The thread whose messages these are."""
    replayed_since: datetime | None = None
    """Where the run goes on from an older checkpoint of the thread: the time of that."""
    run: str | None = None
    """The run in which they were looked at; None where it cannot be told."""
    marks: tuple[TurnMark, ...] = ()
    """For each turn what a bank knows it by, once a bank was asked."""
    edited: frozenset[str] = frozenset()
    """Ids of turns that the bank has heard with another text."""


@dataclass(frozen=True, slots=True)
class Speakers:
    """What the two sides of a chat are called where messages carry no name, and in which conversation it is."""

    human: str = "user"
    assistant: str = "assistant"
    thread: str | None = None
    zone: tzinfo | None = None
    """Where the people are: "today" is their day. Without it a time keeps the zone that it came with."""
    replayed_since: datetime | None = None
    """See `NewTurns.replayed_since`."""
    nested: bool = False
    """The run lies in a node of another graph, where agents may write human messages to one another."""
    run: str | None = None
    """See `NewTurns.run`."""
    waits: bool = False
    """The turns wait among others, by their ids: short ones without a thread are made unique by what was said."""


def text_of(content: object) -> tuple[str, list[str]]:
    """Return the text of a message's content, cleaned, and the kinds of what is no text."""
    if isinstance(content, str):
        return clean(content), []
    if not isinstance(content, list):
        return "", [] if content is None else [type(content).__name__]
    texts: list[str] = []
    skipped: list[str] = []
    for block in content:
        if isinstance(block, str):
            texts.append(block)
        elif not isinstance(block, dict):
            skipped.append(type(block).__name__)
        elif block.get(RECALLED):
            skipped.append("recalled")
        elif block.get("type") in _TEXT_BLOCKS and isinstance(text := _text_of_block(block), str):
            texts.append(text)
        else:
            skipped.append(str(block.get("type", "block"))[:40])
    return clean("\n".join(text for text in texts if text)), skipped


def _text_of_block(block: Mapping[str, Any]) -> Any:
    text = block.get("text", block.get("refusal"))
    return text.get("value") if isinstance(text, dict) else text  # as the Assistants API has it


def is_recalled(message: BaseMessage) -> bool:
    """Return whether a message was put into the conversation by the memory itself."""
    return bool(message.additional_kwargs.get(RECALLED))


def turns_from_messages(
    messages: Sequence[BaseMessage], cursor: str | None, speakers: Speakers, now: datetime
) -> NewTurns:
    """Turn the messages after the cursor into turns.

    A cursor that is not among the messages (they were trimmed or summarised) means that all are looked at again;
    turns that the bank knows are passed over later.

    Args:
        messages: A chat.
        cursor: Id of the last message that was dealt with.
        speakers: What the sides are called, and in which conversation it is.
        now: The time of messages that carry none.
    """
    seen = next((n for n in range(len(messages), 0, -1) if cursor is not None and messages[n - 1].id == cursor), 0)
    new = messages[seen:]
    skipped: Counter[str] = Counter()
    pairs: list[tuple[Turn, BaseMessage]] = []
    delegated = _delegated(messages, seen) if speakers.nested else set()
    for message in new:
        turn, kinds = (None, ["delegated"]) if id(message) in delegated else _turn(message, speakers, now)
        skipped.update(kinds)
        if turn:
            pairs.append((turn, message))
    earlier = messages[max(0, seen - _LOOKED_BACK) : seen]
    before = [(turn, each) for each in earlier if id(each) not in delegated and (turn := _turn(each, speakers, now)[0])]
    turns = with_ids([turn for turn, _ in pairs])
    own = {turn.id for turn, (_, message) in zip(turns, pairs, strict=True) if isinstance(message, AIMessage)}
    cursors = tuple(message.id for _, message in pairs)
    return NewTurns(
        _in_zone(turns, speakers.zone), cursors, new[-1].id if new else cursor, skipped, frozenset(own),
        before=_in_zone([turn for turn, _ in before if turn.id], speakers.zone),
        own_before=frozenset(turn.id for turn, message in before if isinstance(message, AIMessage)),
        thread=speakers.thread, replayed_since=speakers.replayed_since, run=speakers.run,
    )  # fmt: skip


def turns_from_input(
    items: Iterable[Turn | Mapping[str, Any]], cursor: str | None, zone: tzinfo | None = None
) -> NewTurns:
    """Read turns that were given as such, their times in the people's zone; empty ones are passed over."""
    read = [as_turn(turn) for turn in items]
    turns = [turn for turn in read if turn.text]
    skipped = {"empty": len(read) - len(turns)} if len(read) > len(turns) else {}
    return NewTurns(_in_zone(with_ids(turns), zone), (cursor,) * len(turns), cursor, skipped)


def concatenate(first: NewTurns, second: NewTurns) -> NewTurns:
    """Concatenate two parts of a conversation."""
    return NewTurns(
        first.turns + second.turns,
        first.cursors + second.cursors,
        second.last,
        Counter(first.skipped) + Counter(second.skipped),
        first.own | second.own,
        first.before + second.before,
        first.own_before | second.own_before,
        second.thread or first.thread,
        second.replayed_since or first.replayed_since,
        second.run or first.run,
    )


def merge_turns(older: NewTurns, newer: NewTurns) -> NewTurns:
    """Put before newer turns the older ones that are not among them; a turn that is among both keeps its first time."""
    first = {turn.id: turn.at for turn in older.turns}
    refreshed = tuple(replace(turn, at=first.get(turn.id, turn.at)) for turn in newer.turns)
    gone = select_turns(older, set(first) - {turn.id for turn in newer.turns})
    return concatenate(gone, replace(newer, turns=refreshed))


def select_turns(new: NewTurns, ids: Collection[str]) -> NewTurns:
    """Return those of the turns that have these ids."""
    pairs = [(turn, cursor) for turn, cursor in zip(new.turns, new.cursors, strict=True) if turn.id in ids]
    return replace(new, turns=tuple(turn for turn, _ in pairs), cursors=tuple(cursor for _, cursor in pairs))


def turns_of_sides(new: NewTurns, sides: Collection[Side]) -> NewTurns:
    """Return those of the turns that these sides of the chat said."""
    own = new.own | new.own_before
    ids = {turn.id for turn in (*new.before, *new.turns) if ("assistant" if turn.id in own else "user") in sides}
    return replace(select_turns(new, ids), before=tuple(turn for turn in new.before if turn.id in ids))


def turn_records(new: NewTurns) -> list[dict[str, Any]]:
    """Return turns as plain values, for a state or a file."""
    return [
        {"turn": turn_as_dict(turn), "cursor": cursor, "own": turn.id in new.own}
        for turn, cursor in zip(new.turns, new.cursors, strict=True)
    ]


def turns_from_records(records: Iterable[Mapping[str, Any]]) -> NewTurns:
    """Return the turns behind plain values: the inverse of `turn_records`."""
    records = list(records)
    turns = tuple(as_turn(record["turn"]) for record in records)
    own = frozenset(turn.id for turn, record in zip(turns, records, strict=True) if record["own"])
    return NewTurns(turns, tuple(record["cursor"] for record in records), own=own)


def with_ids(turns: Sequence[Turn]) -> list[Turn]:
    """Give an id to each turn that has none: a fingerprint of what was said, by whom and when.

    The same turns given again have the same ids, and are passed over. Give ids or times where somebody says the same
    twice and means something new.
    """
    seen: Counter[str] = Counter()
    named = []
    for turn in turns:
        if not turn.id:
            content = "\x1f".join([turn.session or "", turn.at.isoformat() if turn.at else "", turn.speaker, turn.text])
            fingerprint = f"turn-{blake2b(content.encode(), digest_size=8).hexdigest()}"
            seen[fingerprint] += 1
            times = seen[fingerprint]
            turn = replace(turn, id=fingerprint if times == 1 else f"{fingerprint}-{times}")
        named.append(turn)
    return named


def _delegated(messages: Sequence[BaseMessage], seen: int) -> set[int]:
    """Which human messages, by `id()`, an agent wrote to another one: none of them is a person's speech.

    They carry the name of one of several assistants in the chat, or they follow upon a call of a tool, with what that
    was called with as their text (a supervisor hands a task over). A person may bear an assistant's name, and speaks
    under it first; and may repeat what a tool was called with, but not before the run that called it is over.

    Args:
        messages: A chat.
        seen: So many of them earlier runs have dealt with.
    """
    several = len({message.name for message in messages if isinstance(message, AIMessage)}) > 1
    agents: set[str] = set()
    people: set[str] = set()
    delegated: set[int] = set()
    args: set[str] = set()
    for number, message in enumerate(messages):
        if number == seen:
            args = set()
        if isinstance(message, AIMessage):
            agents |= {message.name} if message.name else set()
            args = {
                text.strip() for call in message.tool_calls for text in call["args"].values() if isinstance(text, str)
            }
        elif isinstance(message, HumanMessage):
            people |= {message.name} - agents if message.name else set()
            named = several and message.name in agents - people
            if named or (args and text_of(message.content)[0] in args):
                delegated.add(id(message))
            args = set()
    return delegated


def _in_zone(turns: Sequence[Turn], zone: tzinfo | None) -> tuple[Turn, ...]:
    """Return turns with their times in a zone, if there is one; their ids stay, so that they are known in any zone."""
    if zone is None:
        return tuple(turns)
    return tuple(turn if turn.at is None else replace(turn, at=turn.at.astimezone(zone)) for turn in turns)


def _turn(message: BaseMessage, speakers: Speakers, now: datetime) -> tuple[Turn | None, list[str]]:
    """A message as a turn, or None, and the kinds of what in it is no text."""
    # What the memory itself put there must not be remembered: each round would make a memory of the one before.
    if is_recalled(message):
        return None, ["recalled"]
    if message.additional_kwargs.get(_WRITTEN_BY):
        return None, [str(message.additional_kwargs[_WRITTEN_BY])[:40]]
    if not isinstance(message, HumanMessage | AIMessage):
        return None, [message.type]
    text, skipped = text_of(message.content)
    if not text:
        return None, [*skipped, "empty"]
    default = speakers.human if isinstance(message, HumanMessage) else speakers.assistant
    turn_id = message.id or ""
    if turn_id and speakers.thread is not None and len(turn_id) < LONE_ID:
        # Ids from LangGraph and the providers are unique; short ones that an app counts up are so in their thread.
        turn_id = f"{speakers.thread}:{turn_id}"
    elif turn_id and speakers.waits and len(turn_id) < LONE_ID:
        turn_id = f"{turn_id}-{blake2b(text.encode(errors='surrogatepass'), digest_size=8).hexdigest()}"
    noted = message.additional_kwargs.get("at")
    at = now if noted is None else _time_of(message, speakers.zone)
    if at is None:
        skipped = [*skipped, "unreadable time"]
    return Turn(clean(message.name or "") or default, text, at, turn_id, speakers.thread), skipped


def _time_of(message: BaseMessage, zone: tzinfo | None) -> datetime | None:
    """The time that an app noted in `additional_kwargs["at"]`, ISO text or a number of seconds; None for another.

    A message of unknown time stays without one: dated today, an old one would pass for the newest word.
    """
    try:
        at = _MOMENT.validate_python(message.additional_kwargs["at"])
    except ValidationError:
        log.warning(
            'Message %r has no readable time in additional_kwargs["at"] and stays without a date; give ISO text.',
            message.id,
        )
        return None
    return at if at.tzinfo else at.replace(tzinfo=zone or UTC)
