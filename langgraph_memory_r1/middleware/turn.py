"""One turn of an agent with memory: what the hooks of one run share, and what its thread keeps of it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, NotRequired

from langchain.agents.middleware.types import AgentState, OmitFromInput, PrivateStateAttr
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig, ensure_config
from langgraph.runtime import Runtime

from langgraph_memory_r1.errors import IdentityError
from langgraph_memory_r1.flow import MemoryOptions, Outcome, Run
from langgraph_memory_r1.owners import end_run
from langgraph_memory_r1.state import ChangeRecord, OwnerRecord, Usage, add_usage, change_record
from langgraph_memory_r1.turns import NewTurns, merge_turns, select_turns, turn_records, turns_from_records

_RUNS = 4_096
"""Runs that have not ended yet; one may never end (an interrupt that nobody answers), so the oldest make room."""
_MOST_WAITING = 200
"""So many turns outlive their messages while the memory is down."""

_TOOLS = "tools"
"""The node that calls an agent's tools."""

WaitingTurns = dict[str, list[dict[str, Any]]]
"""For each middleware of this kind turns that it has yet to remember, each with the namespace that it was said to."""


def replace_by_name(before: WaitingTurns | None, after: WaitingTurns | None) -> WaitingTurns:
    """Reducer of `memory_waiting`: each middleware writes its own turns, even where two write at once."""
    return {**(before or {}), **(after or {})}


class MemoryAgentState(AgentState[Any]):
    """What the middleware adds to an agent's state."""

    memory_ops: NotRequired[Annotated[list[ChangeRecord], OmitFromInput]]
    """What this run did to the bank; in the background, what was done since the thread's last run."""
    memory_usage: NotRequired[Annotated[Usage, OmitFromInput]]
    """What remembering and recalling cost in this run."""
    memory_cursor: NotRequired[Annotated[dict[str, str | None], PrivateStateAttr]]
    """For each middleware of this kind the last message that it dealt with."""
    memory_waiting: NotRequired[Annotated[WaitingTurns, PrivateStateAttr, replace_by_name]]
    """What was heard and is not remembered yet: its messages may be summarised away, or the run may fail."""
    memory_run: NotRequired[Annotated[str, PrivateStateAttr]]
    memory_owner: NotRequired[Annotated[dict[str, OwnerRecord], PrivateStateAttr]]
    """For each middleware for whom the run began: a run that is resumed is often given no context."""


@dataclass(slots=True)
class ModelCalls:
    """What the model calls of a run leave for its end."""

    model: BaseChatModel | None = None
    """The agent's model, which also remembers where no other was given."""
    failures: list[ChangeRecord] = field(default_factory=list)
    reply: Sequence[BaseMessage] = ()
    """The newest reply: whoever runs before the next hook may remove it from the messages."""
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
    waiting: list[dict[str, Any]] | None = None
    """What stands under the middleware's name in `memory_waiting` until the new turns are remembered."""
    failures: list[ChangeRecord] = field(default_factory=list)
    earlier: list[ChangeRecord] = field(default_factory=list)
    """What was done in the background since the last run."""

    def take(self, owner: Sequence[str], *heard: NewTurns) -> None:
        """Take in what was heard: what the state kept of it first, then what is in the messages now.

        A thread may change hands: what was said to another owner's bank waits until that owner is back.
        """
        records = (self.state.get("memory_waiting") or {}).get(self.name, [])
        of_others = [record for record in records if record.get("owner", list(owner)) != list(owner)]
        ids = {record["turn"]["id"] for record in of_others}
        new = turns_from_records(record for record in records if record not in of_others)
        for turns in heard:
            new = merge_turns(new, select_turns(turns, {turn.id for turn in turns.turns} - ids))
        self.new = new
        self.waiting = [*of_others, *({**record, "owner": list(owner)} for record in turn_records(new))]

    def update(self) -> dict[str, Any]:
        """Return what changes in the state; another middleware of this kind may have been there before."""
        done = [change_record(change) for change in self.outcome.changes]
        failures = [*self.outcome.failures, *self.failures]
        memory_ops = [*(self.state.get("memory_ops") or []), *self.earlier, *self.calls.failures, *done, *failures]
        cursors = {**(self.state.get("memory_cursor") or {}), self.name: self.outcome.cursor}
        usage = add_usage(self.run.monitor.usage, self.state.get("memory_usage"))
        usage["ms"] = round(usage["ms"] + self.calls.ms, 3)
        update = {"memory_ops": memory_ops, "memory_cursor": cursors, "memory_usage": usage}
        if self.waiting is None:  # Nobody could tell whose turns these are.
            return update
        others = len(self.waiting) - len(self.new.turns)
        waiting = self.waiting[-_MOST_WAITING:] if failures else self.waiting[:others]
        return {**update, "memory_waiting": {self.name: waiting}}


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


def is_delegated(config: RunnableConfig) -> bool:
    """Return whether a run lies below a tool of another agent, which wrote what stands there as the person's words."""
    # The nodes that a run lies in, from the outermost graph's to its own, each with the id of its task.
    path = str(config.get("configurable", {}).get("checkpoint_ns") or "").split("|")
    return any(node.startswith(f"{_TOOLS}:") for node in path[:-1])
