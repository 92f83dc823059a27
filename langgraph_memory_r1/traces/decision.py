"""What a trace holds: decisions, one for each call of a model, and what people said about them later.

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
from datetime import datetime
from functools import cache
from typing import Any, Literal, TypeAlias

from langchain_core.messages import HumanMessage
from pydantic import TypeAdapter

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
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Applied:
    """Operations that were applied in a later run than they were decided in: somebody had to approve them."""

    thread: str | None
    operations: tuple[ChangeRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One call of a model: what it saw, what it said, and what became of it."""

    id: str
    run_id: str
    """The run of the graph or agent that it is a part of: what feedback is given to."""
    messages: tuple[Message, ...] = ()
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
    references: dict[str, list[Any]] = field(default_factory=dict)
    """The ids behind the numbers in the prompt; see `prompts.references`."""
    operations: tuple[ChangeRecord, ...] = ()
    """What was done to the bank because of it."""
    answer: str | None = None
    selected: tuple[str, ...] = ()
    """Ids of the memories that the answer rests on."""
    model: str | None = None
    adapter: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    """How was sampled: temperature, top_p, seed ..."""
    prompt_version: str | None = None
    prompt_style: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    prompt_token_ids: tuple[int, ...] = ()
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    """One for each of the `token_ids`, where the provider returns them."""
    at: datetime | None = None
    """When the model was asked."""
    ms: float | None = None
    error: str | None = None
    feedback: tuple[Feedback, ...] = ()
    """What was said about it or its run so far; put there by `read_traces`."""

    @property
    def retrieved(self) -> tuple[str, ...]:
        """Ids of the memories that the model was shown, in the order of their numbers."""
        return tuple(self.references.get("memories", ()))

    @property
    def turns(self) -> tuple[str, ...]:
        """Ids of the turns that it was about."""
        return tuple(dict.fromkeys(turn for ids in self.references.get("turns", ()) for turn in ids))

    def input(self) -> RoleInput:
        """What the model was shown, with real ids, sources and sessions as far as they were recorded.

        Raises:
            InputError: It played no role, or its prompt is of another version.
        """
        if self.role is None or self.prompt_version != PROMPT_VERSION:
            raise InputError(
                f"Decision {self.id} was made under prompt version {self.prompt_version or 'none'}, this is version "
                f"{PROMPT_VERSION}; record it anew."
            )
        said = [HumanMessage(str(message["content"])) for message in self.messages if message["role"] == "user"]
        return restore(read(said), self.references)

    def output(self) -> RoleOutput:
        """What the model decided.

        Raises:
            InputError: As `given`.
            OutputError: The reply cannot be read.
        """
        given = self.input()
        decided: RoleOutput = parse(self.completion, given)
        return decided

    @property
    def parse_error(self) -> str | None:
        """What is wrong with a reply that cannot be read; None where it can, or where nobody has to read it."""
        if self.error is not None or self.role is None or self.prompt_version != PROMPT_VERSION:
            return None
        try:
            self.output()
        except (OutputError, InputError) as error:
            return str(error)
        return None

    @property
    def gold(self) -> str | None:
        """The right answer, as it was told last."""
        return next((told.gold for told in reversed(self.feedback) if told.gold is not None), None)


TraceRecord: TypeAlias = Decision | Feedback | Applied

_WRITTEN = {"op_id": "op", "memory_id": "id", "after": "text"}
"""What the fields of a `ChangeRecord` are called in the lines of a trace."""

_KINDS: dict[str, type[TraceRecord]] = {"decision": Decision, "feedback": Feedback, "applied": Applied}


def to_line(record: TraceRecord) -> bytes:
    """A record as a line of JSON, without what is empty."""
    fields = {
        key: value for key, value in _fields(record).items() if value is not None and value not in ((), [], {}, "")
    }
    line = {"kind": type(record).__name__.lower(), **fields}
    text = json.dumps(line, ensure_ascii=False, separators=(",", ":"), default=_plain)
    return text.encode(errors="replace") + b"\n"


def from_line(line: bytes) -> TraceRecord:
    """The inverse of `to_line`.

    Raises:
        ValueError: It is no record of a trace.
    """
    found = json.loads(line)
    kind = found.get("kind") if isinstance(found, dict) else None
    if kind not in _KINDS:
        raise ValueError(f"{str(kind)[:40]!r} is no kind of record of a trace")
    for operation in found.get("operations") or ():
        if isinstance(operation, dict):
            operation.setdefault("undoes", None)
            operation |= {name: operation.pop(written) for name, written in _WRITTEN.items() if written in operation}
    record: TraceRecord = _adapter(kind).validate_python(found)
    if isinstance(record, Feedback) and record.score is not None and not math.isfinite(record.score):
        raise ValueError(f"a score of {record.score} is no number")
    return record


def with_feedback(decision: Decision, told: Mapping[str, list[Feedback]]) -> Decision:
    """The decision with what was said about it and its run, in the order in which it was said."""
    mine = [*decision.feedback, *told.get(decision.run_id, ()), *told.get(decision.id, ())]
    return replace(decision, feedback=tuple(dict.fromkeys(mine))) if mine else decision


def _fields(record: TraceRecord) -> dict[str, Any]:
    if isinstance(record, Feedback):
        return asdict(record)
    fields = {name: getattr(record, name) for name in type(record).__dataclass_fields__}
    fields["operations"] = [
        {_WRITTEN.get(key, key): value for key, value in operation.items() if key != "undoes" or value is not None}
        for operation in record.operations
    ]
    return fields | ({"feedback": [asdict(told) for told in record.feedback]} if isinstance(record, Decision) else {})


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else str(value)


@cache
def _adapter(kind: str) -> TypeAdapter[Any]:
    return TypeAdapter(_KINDS[kind])
