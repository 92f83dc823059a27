"""What a trace holds: decisions, one for each call of a model, and the feedback that people gave on them later.

    {"kind": "decision", "id": "...", "run_id": "...", "role": "manage", "messages": [...], "completion": "...", ...}
    {"kind": "feedback", "target": "...", "gold": "Buddy", ...}
    {"kind": "applied", "thread": "...", "operations": [...]}

A decision is recorded once and never changed; feedback points to it by its own id or by that of its run.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, Literal, TypeAlias

from langchain_core.messages import HumanMessage
from pydantic import AfterValidator, TypeAdapter

from langgraph_memory_r1.errors import InputError, OutputError
from langgraph_memory_r1.prompts import (
    PROMPT_VERSION,
    RoleInput,
    RoleOutput,
    parse,
    read,
    restore,
)
from langgraph_memory_r1.state import ChangeRecord

Message: TypeAlias = dict[str, Any]
"""`role`, `content`, and `tool_calls`, `tool_call_id`, `name` where there are any."""

Thumbs: TypeAlias = Literal["up", "down"]


def _checked_message(message: Message) -> Message:
    content = message.get("content")
    blocks = isinstance(content, list) and all(isinstance(part, dict) and "type" in part for part in content)
    if not isinstance(message.get("role"), str) or not (blocks or isinstance(content, str)):
        raise ValueError("a message has a role, and text or typed blocks as its content")
    return message


def _checked_references(references: dict[str, list[Any]]) -> dict[str, list[Any]]:
    sessions = [session for session in references.get("sessions", ()) if session is not None]
    ids = [*references.get("memories", ()), *sessions]
    for turns in references.get("turns", ()):
        ids += turns if isinstance(turns, list) else [None]
    if not all(isinstance(key, str) for key in ids):
        raise ValueError("references are ids of memories, lists of ids of turns, and sessions")
    return references


# Lines are checked as they are read, because a file may have been edited, or cut and mended by hand: what is broken is
# named by its line, and not found by whoever uses the decision.
_Time: TypeAlias = Annotated[datetime, AfterValidator(lambda at: at if at.tzinfo else at.replace(tzinfo=UTC))]
_Message: TypeAlias = Annotated[Message, AfterValidator(_checked_message)]
_References: TypeAlias = Annotated[dict[str, list[Any]], AfterValidator(_checked_references)]


@dataclass(frozen=True, slots=True)
class Feedback:
    """What somebody knows about a run, or about one decision of it."""

    target: str
    """Id of the run or of the decision."""
    gold: str | None = None
    """The right answer."""
    score: float | None = None
    thumbs: Thumbs | None = None
    comment: str | None = None
    at: _Time | None = None


@dataclass(frozen=True, slots=True)
class Applied:
    """Operations that were applied in a later run than they were decided in: somebody had to approve them."""

    thread: str | None = None
    operations: tuple[ChangeRecord, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One call of a model: its prompt, its reply, and what became of it."""

    id: str
    run_id: str
    """The run of the graph or agent that it is a part of: what feedback is given to."""
    messages: tuple[_Message, ...] = ()
    completion: str = ""
    tool_calls: tuple[dict[str, Any], ...] = ()
    node: str | None = None
    node_run_id: str | None = None
    role: str | None = None
    """`extract`, `manage`, `answer`; None for a call that the memory did not make."""
    thread: str | None = None
    """The episode: the conversation's thread."""
    bank: str | None = None
    """Which bank it was about; see `MemoryBank.key`."""
    references: _References = field(default_factory=dict)
    """The ids behind the numbers in the prompt; see `prompts.references`."""
    operations: tuple[ChangeRecord, ...] = ()
    """What was done to the bank because of it."""
    answer: str | None = None
    selected: tuple[str, ...] = ()
    """Ids of the memories that the answer rests on."""
    model: str | None = None
    adapter: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    """Settings of the sampling: temperature, top_p, seed ..."""
    prompt_version: str | None = None
    prompt_style: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    prompt_token_ids: tuple[int, ...] = ()
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    """One for each of the `token_ids`, where the provider returns them."""
    at: _Time | None = None
    """When the model was called."""
    ms: float | None = None
    error: str | None = None
    feedback: tuple[Feedback, ...] = ()
    """Feedback on it or its run so far; put there by `read_traces`."""

    @property
    def retrieved(self) -> tuple[str, ...]:
        """Ids of the memories in the prompt, in the order of their numbers."""
        return tuple(self.references.get("memories", ()))

    @property
    def turns(self) -> tuple[str, ...]:
        """Ids of the turns that it was about."""
        return tuple(dict.fromkeys(turn for ids in self.references.get("turns", ()) for turn in ids))

    def input(self) -> RoleInput:
        """Return what the prompt shows, with real ids, sources and sessions as far as they were recorded.

        Raises:
            InputError: The call had no role, or its prompt is of another version.
        """
        if self.role is None or self.prompt_version != PROMPT_VERSION:
            raise InputError(
                f"Decision {self.id} was made under prompt version {self.prompt_version or 'none'}, this is version "
                f"{PROMPT_VERSION}; record it anew."
            )
        prompts = [HumanMessage(str(message["content"])) for message in self.messages if message["role"] == "user"]
        return restore(read(prompts), self.references)

    def output(self) -> RoleOutput:
        """Return what the model decided.

        Raises:
            InputError: As `input`.
            OutputError: The reply cannot be read.
        """
        output: RoleOutput = parse(self.completion, self.input())
        return output

    @property
    def parse_error(self) -> str | None:
        """Why the reply cannot be read; None where it can, or where no role has to read it."""
        if self.error is not None or self.role is None or self.prompt_version != PROMPT_VERSION:
            return None
        try:
            self.output()
        except (OutputError, InputError) as error:
            return str(error)
        return None

    @property
    def gold(self) -> str | None:
        """The right answer, from the newest feedback that has one."""
        return next((each.gold for each in reversed(self.feedback) if each.gold is not None), None)


TraceRecord: TypeAlias = Decision | Feedback | Applied

_KINDS: dict[str, type[TraceRecord]] = {"decision": Decision, "feedback": Feedback, "applied": Applied}
_OPERATION_KEYS = {
    "event": "event", "id": "memory_id", "text": "after", "before": "before", "source": "source", "reason": "reason",
    "op": "op_id", "model": "model", "at": "at", "undoes": "undoes",
}  # fmt: skip
"""Keys of an operation in a line, in their order there → fields of a `ChangeRecord`."""


def to_line(record: TraceRecord) -> bytes:
    """Return a record as a line of JSON, without its empty fields."""
    # Field by field, on the time of the agent: `asdict` copies every message and operation (86 µs in place of 1).
    fields = {name: getattr(record, name) for name in type(record).__dataclass_fields__}
    if not isinstance(record, Feedback):
        fields["operations"] = [_operation_fields(operation) for operation in record.operations]
    if isinstance(record, Decision):
        fields["feedback"] = [asdict(feedback) for feedback in record.feedback]
    line = {"kind": type(record).__name__.lower()}
    line |= {key: value for key, value in fields.items() if value is not None and value not in ((), [], {}, "")}
    text = json.dumps(
        line,
        ensure_ascii=False,
        separators=(",", ":"),
        default=lambda value: value.isoformat() if isinstance(value, datetime) else str(value),
    )
    # A model may reply with half a character (a lone surrogate), which UTF-8 cannot hold: it becomes "?".
    return text.encode(errors="replace") + b"\n"


def _operation_fields(operation: Mapping[str, Any]) -> dict[str, Any]:
    """Return an operation as it stands in a line, where `undoes` is left out of all that take nothing back."""
    fields = {key: operation[name] for key, name in _OPERATION_KEYS.items() if name in operation}
    if fields.get("undoes") is None:
        fields.pop("undoes", None)
    return fields


def from_line(line: bytes) -> TraceRecord:
    """Return the record of a line that `to_line` made; fields that are not known here are passed over.

    Raises:
        ValueError: It is no record of a trace.
    """
    try:
        fields = json.loads(line)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    kind = fields.get("kind") if isinstance(fields, dict) else None
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ValueError(f"{str(kind)[:40]!r} is no kind of record of a trace")
    if isinstance(fields.get("operations"), list):
        fields["operations"] = [
            {"undoes": None} | {_OPERATION_KEYS.get(key, key): value for key, value in operation.items()}
            if isinstance(operation, dict)
            else operation
            for operation in fields["operations"]
        ]
    record: TraceRecord = _adapter(kind).validate_python(fields)
    # Python's json reads NaN and Infinity, which nobody may give as feedback: no comparison with them means anything.
    if isinstance(record, Feedback) and record.score is not None and not math.isfinite(record.score):
        raise ValueError(f"a score of {record.score} is no number")
    return record


@cache  # when the first line is read: pydantic takes 3 ms to build one, which a recorder never needs
def _adapter(kind: str) -> TypeAdapter[Any]:
    return TypeAdapter(_KINDS[kind])


def with_feedback(decision: Decision, feedback: Mapping[str, list[Feedback]]) -> Decision:
    """Return the decision with the feedback on its run and on itself, each in the order in which it was given.

    Args:
        decision: The decision, which may have feedback already.
        feedback: Feedback by the id of its target.
    """
    added = [*decision.feedback, *feedback.get(decision.run_id, ()), *feedback.get(decision.id, ())]
    return replace(decision, feedback=tuple(dict.fromkeys(added))) if added else decision
