"""What flows through the memory graph, and what a run is given from outside.

All values are plain: strings, numbers, lists and dictionaries. A checkpointer keeps the dataclasses of `schemas.py`
only with a warning (and turns their tuples into lists), and the server sends state as JSON; so `Turn`, `Change` and
`Memory` enter the state as dictionaries, with times in ISO format. `Turn` objects may be given; they are taken apart
on the way in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC
from typing import Annotated, Any

from langchain_core.messages import AnyMessage
from langgraph.graph.message import add_messages
from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic makes no schema of typing's own before Python 3.12

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.prompts import clean
from langgraph_memory_r1.schemas import Change, Memory, Turn

_TURN = TypeAdapter(Turn)
_MEMORY = TypeAdapter(Memory)
_NAMELESS = "somebody"
_ONLY_WHERE_SET = ("metadata", "tags", "expires_at")


class ChangeRecord(TypedDict):
    """A change of a bank as plain values: an entry of `memory_ops`, of MCP's replies and of what the commands print."""

    op_id: str | None
    """Names the operation, for `MemoryBank.undo`; None where a step failed."""
    memory_id: str | None
    """The memory; None for a NOOP."""
    event: str
    """ADD, UPDATE, DELETE, NOOP, or ERROR where a step failed and the run went on."""
    before: str | None
    """What the memory said before."""
    after: str | None
    """What it says now."""
    undoes: str | None
    """The operation that this one took back."""
    source: list[str]
    """Ids of the turns that it comes from."""
    reason: str
    model: str | None
    """Which model decided; None for a change made by hand."""
    at: str | None
    """When it was applied, in ISO format."""


class Usage(TypedDict):
    """What a run cost."""

    calls: int
    """Calls of a language model."""
    input_tokens: int
    output_tokens: int
    unreadable: int
    """Replies that could not be read in full, whether or not a second try could."""
    undecided: int
    """Facts that were added as they are, because no decision about them could be read."""
    model_ms: float
    ms: float
    """Time in the memory nodes, models and bank included."""


class OwnerRecord(TypedDict):
    """For whom a run began, as its later steps find it: a run that is resumed is often not told again."""

    values: dict[str, str]
    """What the placeholders of the namespace stand for, such as the user's id."""
    labels: str | list[str]
    """The namespace, filled in."""
    over: bool
    """The memory's work for the run is done, or could not begin: what comes next is another run."""


def no_usage() -> Usage:
    """Return what a run has cost before it begins."""
    return Usage(calls=0, input_tokens=0, output_tokens=0, unreadable=0, undecided=0, model_ms=0.0, ms=0.0)


def add_usage(first: Usage, second: Usage | None) -> Usage:
    """Return what two runs cost."""
    other = second or no_usage()
    return Usage(
        calls=first["calls"] + other["calls"],
        input_tokens=first["input_tokens"] + other["input_tokens"],
        output_tokens=first["output_tokens"] + other["output_tokens"],
        unreadable=first["unreadable"] + other["unreadable"],
        undecided=first["undecided"] + other["undecided"],
        model_ms=round(first["model_ms"] + other["model_ms"], 3),
        ms=round(first["ms"] + other["ms"], 3),
    )


def turns_as_dicts(_: object, new: Iterable[Turn | Mapping[str, Any]] | None) -> list[dict[str, Any]]:
    """Reducer of `turns`: the last input counts, and `Turn` objects are taken apart."""
    return [turn_as_dict(turn) for turn in new or ()]


class MemoryInput(TypedDict, total=False):
    """What the graph takes: messages or turns to remember, a question to answer, or both."""

    messages: Annotated[list[AnyMessage], add_messages]
    turns: Annotated[list[dict[str, Any]], turns_as_dicts]
    """Turns in place of messages, for conversations between any speakers."""
    question: str | None
    memory_cursor: str | None
    """Id of the last message that was dealt with. Kept by a checkpointer; a parent graph may keep it too."""


class MemoryOutput(TypedDict, total=False):
    """What the graph gives."""

    memory_ops: list[ChangeRecord]
    """What this run did to the bank."""
    answer: str | None
    selected: list[dict[str, Any]]
    """The memories that the answer rests on."""
    memories: list[dict[str, Any]]
    """All memories that were retrieved for the question, in time order."""
    usage: Usage
    memory_cursor: str | None


class MemoryState(MemoryInput, MemoryOutput, total=False):
    """The state of the memory graph."""

    pending: list[dict[str, Any]]
    """Facts on their way from extract to manage, in batches; empty between runs."""
    memory_owner: dict[str, OwnerRecord]
    """For each memory, for whom the run began; a login counts before what a client may put here."""


@dataclass(frozen=True, init=False)
class MemoryContext:
    """What a run is given from outside: `graph.invoke(..., context=MemoryContext(user_id="ana@example.com"))`.

    Takes other names too, for a namespace with placeholders: `context={"org": "acme", "user_id": "ana"}`.
    """

    user_id: str | None = None
    """Whose memories these are; any characters. The login of a LangGraph server counts before it."""
    user_name: str | None = None
    """How the memories call the person behind human messages that carry no name of their own."""
    timezone: str | None = None
    """Where the user is, as an IANA name ("America/New_York"): whose day "today" is."""

    def __init__(self, *, user_id: str | None = None, user_name: str | None = None, **more: object) -> None:
        # LangGraph makes one of a run's context; what it did not take would be a TypeError instead of a placeholder.
        for name, value in {**more, "user_id": user_id, "user_name": user_name}.items():
            object.__setattr__(self, name, value)


def turn_as_dict(turn: Turn | Mapping[str, Any]) -> dict[str, Any]:
    """Return a turn as it stands in the state.

    Raises:
        InputError: If it is no turn.
    """
    return {**_TURN.dump_python(as_turn(turn), mode="json")}


def as_turn(turn: Turn | Mapping[str, Any]) -> Turn:
    """Return the turn behind a dictionary, cleaned of what cannot be stored; a time without a zone is UTC.

    Raises:
        InputError: If it is no turn.
    """
    if isinstance(turn, Turn):
        values = {"speaker": turn.speaker, "text": turn.text, "at": turn.at, "id": turn.id, "session": turn.session}
    elif isinstance(turn, Mapping):
        values = dict(turn)
    else:
        raise InputError(f"{turn!r:.80} is no turn; give a Turn or a dictionary with speaker and text.")
    fields = {name: clean(value) if isinstance(value, str) else value for name, value in values.items()}
    try:
        valid = _TURN.validate_python({"speaker": _NAMELESS, **fields})
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise InputError(f"A turn's {where!r} cannot be used: {problem['msg']}.") from error
    naive = valid.at is not None and valid.at.tzinfo is None
    return replace(valid, at=valid.at.replace(tzinfo=UTC)) if naive and valid.at else valid


def memory_as_dict(memory: Memory) -> dict[str, Any]:
    """Return a memory as it stands in the state; `metadata`, `tags` and `expires_at` only where it has them."""
    fields: dict[str, Any] = _MEMORY.dump_python(memory, mode="json")
    return {name: value for name, value in fields.items() if value or name not in _ONLY_WHERE_SET}


def change_record(change: Change) -> ChangeRecord:
    """Return a change as it stands in `memory_ops`."""
    return ChangeRecord(
        op_id=change.id,
        memory_id=change.memory_id,
        event=change.event,
        before=change.before.text if change.before else None,
        after=change.after.text if change.after else None,
        undoes=change.undoes,
        source=list(change.source),
        reason=change.reason,
        model=change.model,
        at=change.at.isoformat() if change.at else None,
    )


def failure(node: str, error: BaseException, source: Sequence[str] = ()) -> ChangeRecord:
    """Return the entry of `memory_ops` that says that a step failed and the run went on without it."""
    reason = f"{node}: {type(error).__name__}: {error}"
    return ChangeRecord(
        op_id=None, memory_id=None, event="ERROR", before=None, after=None, undoes=None, source=list(source),
        reason=reason, model=None, at=None,
    )  # fmt: skip
