"""One turn of an agent with memory: what the hooks of one run share."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, NotRequired

from langchain.agents.middleware.types import AgentState, OmitFromInput, PrivateStateAttr
from langchain_core.language_models import BaseChatModel

from langgraph_memory_r1.middleware.remember import Outcome
from langgraph_memory_r1.nodes import Run
from langgraph_memory_r1.state import ChangeRecord, Usage, as_turn, change_record
from langgraph_memory_r1.turns import NewTurns, concatenate

_RUNS = 4_096
_MOST_WAITING = 200
"""So many turns outlive their messages while the memory is down."""


class MemoryAgentState(AgentState[Any]):
    """What the middleware adds to an agent's state."""

    memory_ops: NotRequired[Annotated[list[ChangeRecord], OmitFromInput]]
    """What this run did to the bank; in the background, what was done since the thread's last run."""
    memory_usage: NotRequired[Annotated[Usage, OmitFromInput]]
    """What remembering and recalling cost in this run."""
    memory_cursor: NotRequired[Annotated[dict[str, str | None], PrivateStateAttr]]
    """For each middleware of this kind the last message that it dealt with."""
    memory_waiting: NotRequired[Annotated[dict[str, list[dict[str, Any]]], PrivateStateAttr]]
    """For each middleware the turns that it failed to remember; their messages may be summarised away meanwhile."""
    memory_run: NotRequired[Annotated[str, PrivateStateAttr]]


@dataclass(slots=True)
class Notes:
    """What the model calls of a run leave for its end."""

    model: BaseChatModel | None = None
    failures: list[ChangeRecord] = field(default_factory=list)
    ms: float = 0.0


class NotesOfRuns:
    """The notes of the runs in this process; models cannot stand in a checkpointed state."""

    def __init__(self) -> None:
        self._runs: OrderedDict[str, Notes] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, state: Mapping[str, Any]) -> Notes:
        """The notes of the run with this state; new ones where it went on in another process."""
        with self._lock:
            notes = self._runs.setdefault(str(state.get("memory_run")), Notes())
            if len(self._runs) > _RUNS:
                self._runs.popitem(last=False)
            return notes

    def drop(self, state: Mapping[str, Any]) -> None:
        """A run is over."""
        with self._lock:
            self._runs.pop(str(state.get("memory_run")), None)


@dataclass(slots=True)
class AgentTurn:
    """What is remembered at the end of a run, filled in as it happens."""

    name: str
    state: Mapping[str, Any]
    run: Run
    notes: Notes
    outcome: Outcome
    new: NewTurns = field(default_factory=NewTurns)
    failures: list[ChangeRecord] = field(default_factory=list)
    earlier: list[ChangeRecord] = field(default_factory=list)
    """What was done in the background since the last run."""

    def update(self) -> dict[str, Any]:
        """What changes in the state; another middleware of this kind may have been there before."""
        mine = [change_record(change) for change in self.outcome.changes]
        ops = [*(self.state.get("memory_ops") or []), *self.earlier, *self.notes.failures, *mine, *self.failures]
        cursors = {**(self.state.get("memory_cursor") or {}), self.name: self.outcome.cursor}
        spent = total(self.run.monitor.usage, self.state.get("memory_usage"))
        usage = {**spent, "ms": round(spent["ms"] + self.notes.ms, 3)}
        waiting = {**(self.state.get("memory_waiting") or {}), self.name: kept(self.new) if self.failures else []}
        return {"memory_ops": ops, "memory_cursor": cursors, "memory_usage": usage, "memory_waiting": waiting}


def kept(new: NewTurns) -> list[dict[str, Any]]:
    """Turns as a checkpointer keeps them."""
    pairs = list(zip(new.turns, new.cursors, strict=True))[-_MOST_WAITING:]
    return [{"turn": asdict(turn), "cursor": cursor, "own": turn.id in new.own} for turn, cursor in pairs]


def waiting_in(state: Mapping[str, Any], name: str) -> NewTurns:
    """The turns that a middleware failed to remember in earlier runs of the thread."""
    entries = (state.get("memory_waiting") or {}).get(name, [])
    turns = tuple(as_turn(entry["turn"]) for entry in entries)
    own = frozenset(turn.id for turn, entry in zip(turns, entries, strict=True) if entry["own"])
    return NewTurns(turns, tuple(entry["cursor"] for entry in entries), own=own)


def joined(older: NewTurns, newer: NewTurns) -> NewTurns:
    """Both, without saying anything twice."""
    known = {turn.id for turn in older.turns}
    fresh = [place for place, turn in enumerate(newer.turns) if turn.id not in known]
    turns = tuple(newer.turns[place] for place in fresh)
    return concatenate(older, replace(newer, turns=turns, cursors=tuple(newer.cursors[place] for place in fresh)))


def total(one: Usage, other: Usage | None) -> Usage:
    """What both cost."""
    if other is None:
        return one
    return Usage(
        calls=one["calls"] + other["calls"],
        input_tokens=one["input_tokens"] + other["input_tokens"],
        output_tokens=one["output_tokens"] + other["output_tokens"],
        unreadable=one["unreadable"] + other["unreadable"],
        model_ms=round(one["model_ms"] + other["model_ms"], 3),
        ms=round(one["ms"] + other["ms"], 3),
    )
