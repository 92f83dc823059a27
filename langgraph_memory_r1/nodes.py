"""The nodes of the memory graph: `ExtractNode`, `ManageNode`, `AnswerNode`, ready for `StateGraph.add_node`.

    messages ─► extract ─► pending facts ─► manage ─► memory_ops, memory_cursor
    question ─► answer ─► answer, selected, memories

A node finds out whose bank it works on, runs the steps of its role (`roles.py`), and returns what changes in the
state. The same node works under invoke and ainvoke; it closes over its own banks, because a store that is compiled
into a graph is ignored once that graph becomes a part of another one.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal, TypeAlias

from langchain_core.runnables import Runnable, RunnableConfig, ensure_config
from langgraph.errors import GraphBubbleUp
from langgraph.runtime import Runtime, get_runtime

from langgraph_memory_r1 import roles
from langgraph_memory_r1.bank import MemoryBank
from langgraph_memory_r1.batches import Batch, Limits, as_batch, batch_as_dict, batch_turns, new_turns
from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.owners import BankPool, Namespace, context_value, labels_of
from langgraph_memory_r1.prompts import clean
from langgraph_memory_r1.state import (
    MemoryState,
    Usage,
    change_record,
    failure,
    memory_as_dict,
)
from langgraph_memory_r1.steps import Agent, RunBlocking, RunMonitor, Steps, run_async, run_sync
from langgraph_memory_r1.turns import NewTurns, Speakers, concatenate, turns_from_input, turns_from_messages

log = logging.getLogger(__name__)

OnError: TypeAlias = Literal["raise", "degrade"]
StateUpdate: TypeAlias = dict[str, Any]


def utc_now() -> datetime:
    """The clock of the nodes."""
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class NodeOptions:
    """What all nodes of one graph share."""

    banks: BankPool
    namespace: Namespace | None = None
    on_error: OnError = "raise"
    """`degrade`: a failure is logged and stands in `memory_ops`; the graph goes on, its turns stay to be dealt with."""
    clock: Callable[[], datetime] = utc_now
    limits: Limits = field(default_factory=Limits)
    related_k: int = 10
    """Memories that are looked up for each fact."""
    k: int = 60
    """Memories that are looked up for a question."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one node."""

    options: NodeOptions
    runtime: Runtime[Any]
    config: RunnableConfig
    monitor: RunMonitor
    update: StateUpdate = field(default_factory=dict)
    """What changes in the state, filled in as it happens, so that a failure half-way keeps what is done."""

    def bank(self) -> MemoryBank:
        """The bank of the run's owner; may block."""
        bank = self.options.banks.of(labels_of(self.options.namespace, self.runtime, self.config))
        self.monitor.bank = bank.key
        return bank

    def open_bank(self) -> Steps[MemoryBank]:
        """The same as a step; a bank that is open already takes none."""
        opened = self.options.banks.opened(labels_of(self.options.namespace, self.runtime, self.config))
        bank: MemoryBank = (yield RunBlocking(self.bank)) if opened is None else opened
        self.monitor.bank = bank.key
        return bank

    def speakers(self) -> Speakers:
        """How the sides of the chat are called."""
        thread = self.config.get("configurable", {}).get("thread_id")
        name = context_value(self.runtime.context, "user_name")
        return Speakers(str(name or "user"), thread=None if thread is None else str(thread))


class MemoryNode(Runnable[MemoryState, StateUpdate]):
    """A role as a node: sync and async from the same steps, with one policy for failures."""

    def __init__(self, agent: Agent, options: NodeOptions) -> None:
        self.name = agent.role
        self.agent = agent
        self.options = options

    @abstractmethod
    def steps(self, state: MemoryState, run: Run) -> Steps[None]:
        """What the node does, as effects; what changes in the state goes into `run.update`."""

    def invoke(self, input: MemoryState, config: RunnableConfig | None = None, **kwargs: Any) -> StateUpdate:
        """Runs the node on this thread."""
        config = ensure_config(config)
        return run_sync(self._guarded(input, config), config)

    async def ainvoke(self, input: MemoryState, config: RunnableConfig | None = None, **kwargs: Any) -> StateUpdate:
        """Runs the node without blocking the event loop."""
        config = ensure_config(config)
        return await run_async(self._guarded(input, config), config)

    def _guarded(self, state: MemoryState, config: RunnableConfig) -> Steps[StateUpdate]:
        runtime = _runtime()
        monitor = RunMonitor(partial(_write, runtime, self.agent.role), self._costs(state))
        run = Run(self.options, runtime, config, monitor)
        with run.monitor.timing():
            try:
                yield from self.steps(state, run)
            except GraphBubbleUp:
                raise
            except Exception as error:
                if self.options.on_error == "raise":
                    raise
                self._degrade(run, error)
        return {**run.update, "usage": run.monitor.usage}

    def _degrade(self, run: Run, error: Exception) -> None:
        """An agent must not fail because of its memory: the failure is logged, streamed and kept."""
        log.warning("Memory node %r failed, the graph goes on: %r", self.agent.role, error, exc_info=error)
        failed = failure(self.agent.role, error)
        run.update["memory_ops"] = [*run.update.get("memory_ops", []), failed]
        run.monitor.emit("error", {"operation": failed})

    def _costs(self, state: MemoryState) -> Usage | None:
        return state.get("usage")


class ExtractNode(MemoryNode):
    """Finds facts in what was said since the last run."""

    def steps(self, state: MemoryState, run: Run) -> Steps[None]:
        """New turns to pending facts; the cursor moves at once where there is nothing for the manager to do."""
        pending: list[dict[str, Any]] = []
        run.update.update(pending=pending, turns=[], memory_ops=[], answer=None, selected=[], memories=[])
        turns = _turns(state, run)
        batches = (yield from self._batches(turns, run)) if turns.turns else []
        for batch in batches:
            batch = yield from roles.extract(self.agent, batch, run.monitor)
            pending.append(batch_as_dict(batch))
        if not batches:
            run.update["memory_cursor"] = turns.last

    def _batches(self, turns: NewTurns, run: Run) -> Steps[list[Batch]]:
        new: NewTurns = yield RunBlocking(partial(_new_turns, run, turns))
        run.monitor.emit("new_turns", {"turns": len(new.turns), "skipped": dict(new.skipped)})
        return batch_turns(new, self.options.limits)

    def _costs(self, state: MemoryState) -> Usage | None:
        return None  # a run begins here


class ManageNode(MemoryNode):
    """Decides what the facts mean for the bank, and applies it, batch by batch."""

    def steps(self, state: MemoryState, run: Run) -> Steps[None]:
        """Pending facts to operations on the bank; the cursor follows the batches that are done."""
        done = list(state.get("memory_ops", []))
        run.update.update(pending=[], memory_ops=done)
        bank = yield from run.open_bank()
        for batch in [as_batch(pending) for pending in state.get("pending", [])]:
            changes = yield from roles.manage(bank, self.agent, batch, self.options.related_k, run.monitor)
            done += [change_record(change) for change in changes]
            if batch.cursor is not None:
                run.update["memory_cursor"] = batch.cursor


class AnswerNode(MemoryNode):
    """Answers the question from the bank, as it is after this run's operations."""

    def steps(self, state: MemoryState, run: Run) -> Steps[None]:
        """A question to an answer; it is taken out of the state, so that the next run does not ask it again."""
        run.update.update(question=None, memory_ops=state.get("memory_ops", []))
        bank = yield from run.open_bank()
        at = self.options.clock()
        said = yield from roles.answer(bank, self.agent, question_of(state), self.options.k, at, run.monitor)
        run.update.update(
            answer=said.text,
            selected=[memory_as_dict(memory) for memory in said.selected],
            memories=[memory_as_dict(memory) for memory in said.retrieved],
        )
        run.monitor.emit("answer", {"answer": said.text, "selected": [memory.id for memory in said.selected]})


def question_of(state: MemoryState) -> str:
    """The question of a run, empty where there is none.

    Raises:
        InputError: If it is no text.
    """
    question = state.get("question")
    if question is not None and not isinstance(question, str):
        raise InputError(f"The question {question!r:.80} is no text; give a string.")
    return clean(question or "")


def _turns(state: MemoryState, run: Run) -> NewTurns:
    """What is new: turns that were given as such, then messages."""
    cursor = state.get("memory_cursor")
    given = turns_from_input(state.get("turns") or [], cursor)
    return concatenate(
        given, turns_from_messages(state.get("messages", []), cursor, run.speakers(), run.options.clock())
    )


def _new_turns(run: Run, turns: NewTurns) -> NewTurns:
    return new_turns(run.bank(), turns, run.options.limits)


def _write(runtime: Runtime[Any], node: str, event: str, data: Mapping[str, Any]) -> None:
    """An event on the custom stream; outside a graph it goes nowhere."""
    runtime.stream_writer({"memory": node, "event": event, **data})


def _runtime() -> Runtime[Any]:
    """The graph's runtime; an empty one where a node runs on its own."""
    try:
        return get_runtime() or Runtime()
    except RuntimeError:
        return Runtime()
