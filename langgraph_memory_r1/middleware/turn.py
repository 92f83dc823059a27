"""One turn of an agent with memory: what the hooks of one run share."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, NotRequired

from langchain.agents.middleware.types import AgentState, OmitFromInput, PrivateStateAttr
from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import ensure_config
from langgraph.runtime import Runtime

from langgraph_memory_r1.errors import IdentityError
from langgraph_memory_r1.flow import MemoryOptions, Outcome, Run
from langgraph_memory_r1.owners import end_run
from langgraph_memory_r1.state import ChangeRecord, OwnerRecord, Usage, add_usage, as_turn, change_record
from langgraph_memory_r1.turns import NewTurns, concatenate

_RUNS = 4_096
"""Runs that have not ended yet; one may never end (an interrupt that nobody answers), so the oldest make room."""
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
    memory_owner: NotRequired[Annotated[dict[str, OwnerRecord], PrivateStateAttr]]
    """For each middleware for whom the run began: a run that is resumed is often given no context."""


@dataclass(slots=True)
class ModelCalls:
    """What the model calls of a run leave for its end."""

    model: BaseChatModel | None = None
    """The agent's model, which also remembers where no other was given."""
    failures: list[ChangeRecord] = field(default_factory=list)
    ms: float = 0.0
    """Time spent on recalling."""


class ModelCallsByRun:
    """The model calls of the runs in this process; a model cannot stand in a checkpointed state."""

    def __init__(self) -> None:
        self._runs: OrderedDict[str, ModelCalls] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, state: Mapping[str, Any]) -> ModelCalls:
        """Return those of the run with this state; new ones where it went on in another process."""
        with self._lock:
            calls = self._runs.setdefault(str(state.get("memory_run")), ModelCalls())
            if len(self._runs) > _RUNS:
                self._runs.popitem(last=False)
            return calls

    def drop(self, state: Mapping[str, Any]) -> None:
        """Forget those of a run that is over."""
        with self._lock:
            self._runs.pop(str(state.get("memory_run")), None)


@dataclass(slots=True)
class AgentTurn:
    """What is remembered at the end of a run, filled in as it happens."""

    name: str
    state: Mapping[str, Any]
    run: Run
    calls: ModelCalls
    outcome: Outcome
    new: NewTurns = field(default_factory=NewTurns)
    failures: list[ChangeRecord] = field(default_factory=list)
    earlier: list[ChangeRecord] = field(default_factory=list)
    """What was done in the background since the last run."""

    def update(self) -> dict[str, Any]:
        """Return what changes in the state; another middleware of this kind may have been there before."""
        done = [change_record(change) for change in self.outcome.changes]
        memory_ops = [*(self.state.get("memory_ops") or []), *self.earlier, *self.calls.failures, *done, *self.failures]
        cursors = {**(self.state.get("memory_cursor") or {}), self.name: self.outcome.cursor}
        usage = add_usage(self.run.monitor.usage, self.state.get("memory_usage"))
        usage["ms"] = round(usage["ms"] + self.calls.ms, 3)
        pairs = list(zip(self.new.turns, self.new.cursors, strict=True))[-_MOST_WAITING:] if self.failures else []
        entries = [{"turn": asdict(turn), "cursor": cursor, "own": turn.id in self.new.own} for turn, cursor in pairs]
        waiting = {**(self.state.get("memory_waiting") or {}), self.name: entries}
        return {
            "memory_ops": memory_ops, "memory_cursor": cursors, "memory_usage": usage, "memory_waiting": waiting,
        }  # fmt: skip


def begun_owner(state: Mapping[str, Any], runtime: Runtime[Any], options: MemoryOptions) -> dict[str, OwnerRecord]:
    """Return for whom a run begins, beside those of the other middlewares.

    Raises:
        IdentityError: For somebody whom the client may not ask for.
        InputError: For nobody, with `on_error="raise"`.
    """
    records = end_run(state.get("memory_owner"), options.name)
    try:
        owner = options.banks.owner(runtime, ensure_config(), earlier=records.get(options.name))
    except IdentityError:
        raise
    except Exception:  # a namespace function may raise anything; the steps that need the bank say it again, and go on
        if options.on_error == "raise":
            raise
        return records
    return {**records, options.name: owner.record()}


def waiting_turns(state: Mapping[str, Any], name: str) -> NewTurns:
    """Return the turns that a middleware failed to remember in earlier runs of the thread; see `AgentTurn.update`."""
    entries = (state.get("memory_waiting") or {}).get(name, [])
    turns = tuple(as_turn(entry["turn"]) for entry in entries)
    own = frozenset(turn.id for turn, entry in zip(turns, entries, strict=True) if entry["own"])
    return NewTurns(turns, tuple(entry["cursor"] for entry in entries), own=own)


def append_unseen(older: NewTurns, newer: NewTurns) -> NewTurns:
    """Append to older turns the newer ones that are not among them."""
    ids = {turn.id for turn in older.turns}
    unseen = [(turn, cursor) for turn, cursor in zip(newer.turns, newer.cursors, strict=True) if turn.id not in ids]
    turns, cursors = tuple(turn for turn, _ in unseen), tuple(cursor for _, cursor in unseen)
    return concatenate(older, replace(newer, turns=turns, cursors=cursors))
