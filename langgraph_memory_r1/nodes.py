"""The nodes of the memory graph: `ExtractNode`, `ManageNode`, `AnswerNode`, ready for `StateGraph.add_node`.

    messages ─► extract ─► pending facts ─► manage ─► memory_ops, memory_cursor
    question ─► answer ─► answer, selected, memories

A node finds out whose bank it works on, runs its role (`roles.py`, `flow.py`), and returns what changes in the state.
The same node works under invoke and ainvoke; it closes over its own banks, because a store that is compiled into a
graph is ignored once that graph becomes a part of another one.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeAlias, cast

from langchain_core.runnables import Runnable, RunnableConfig, ensure_config

from langgraph_memory_r1 import roles
from langgraph_memory_r1.batches import as_batch, batch_as_dict
from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.flow import MemoryOptions, Outcome, Run, manage_batch, new_batches
from langgraph_memory_r1.owners import current_runtime, end_run
from langgraph_memory_r1.prompts import clean
from langgraph_memory_r1.state import ChangeRecord, MemoryState, change_record, memory_as_dict, no_usage
from langgraph_memory_r1.steps import Agent, RunMonitor, run_async, run_sync
from langgraph_memory_r1.turns import concatenate, turns_from_input, turns_from_messages

StateUpdate: TypeAlias = dict[str, Any]


class MemoryNode(Runnable[MemoryState, StateUpdate]):
    """A role as a node: sync and async from the same coroutine, with one policy for failures."""

    def __init__(self, agent: Agent, options: MemoryOptions) -> None:
        self.name = agent.role
        self.agent = agent
        self.options = options

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.agent.label!r}, style={self.agent.style!r})"

    @abstractmethod
    async def update(self, state: MemoryState, run: Run, update: StateUpdate) -> None:
        """Do the node's work; what changes in the state goes into `update` as it happens.

        A coroutine of effects (see `steps.py`). A failure half-way keeps what stands in `update` until then.
        """

    def invoke(self, input: MemoryState, config: RunnableConfig | None = None, **kwargs: Any) -> StateUpdate:
        """Run the node on this thread."""
        config = ensure_config(config)
        return run_sync(self._run(input, config), config)

    async def ainvoke(self, input: MemoryState, config: RunnableConfig | None = None, **kwargs: Any) -> StateUpdate:
        """Run the node without blocking the event loop."""
        config = ensure_config(config)
        return await run_async(self._run(input, config), config)

    async def _run(self, input: MemoryState, config: RunnableConfig) -> StateUpdate:
        state, runtime = state_values(input), current_runtime()

        def emit(event: str, data: dict[str, Any]) -> None:
            # On the custom stream of the graph; outside a graph it goes nowhere.
            runtime.stream_writer({"memory": self.agent.role, "event": event, **data})

        begun = (state.get("memory_owner") or {}).get(self.options.name)
        run = Run(self.options, runtime, config, RunMonitor(emit, state.get("usage")), begun)
        update: StateUpdate = {}
        failures: list[ChangeRecord] = []
        with run.guarded(self.agent.role, failures):
            await self.update(state, run, update)
        if failures:
            update["memory_ops"] = [*update.get("memory_ops", []), *failures]
        after = {**state, **update}
        if not (after.get("pending") or after.get("question")):
            update["memory_owner"] = end_run(after.get("memory_owner"), self.options.name)
        return {**update, "usage": run.monitor.usage}


class ExtractNode(MemoryNode):
    """Finds facts in what was said since the last run."""

    async def update(self, state: MemoryState, run: Run, update: StateUpdate) -> None:
        """Turn what is new into pending facts; the cursor moves at once where the manager has nothing to do."""
        run.monitor.usage = no_usage()  # a run begins; what a checkpointer kept is the one before
        # Put into the update while it is empty, and filled below: what is done before a failure is kept.
        pending: list[dict[str, Any]] = []
        update.update(pending=pending, turns=[], memory_ops=[], answer=None, selected=[], memories=[])
        # What another run kept must not serve this one, not even where it cannot begin and the graph goes on.
        banks, name, records = self.options.banks, self.options.name, state.get("memory_owner")
        update["memory_owner"] = end_run(records, name)
        run = replace(run, begun=banks.owner(run.runtime, run.config, earlier=run.begun).record())
        update["memory_owner"] = {**(records or {}), name: run.begun}
        cursor = state.get("memory_cursor")
        await run.load_zone()
        messages = turns_from_messages(state.get("messages", []), cursor, run.speakers(), self.options.clock())
        turns = concatenate(turns_from_input(state.get("turns") or [], cursor, run.zone()), messages)
        looks = turns.turns or turns.before
        batches = await new_batches(await run.bank(), turns, self.options, run.monitor) if looks else []
        for batch in batches:
            pending.append(batch_as_dict(await roles.extract(self.agent, batch, run.monitor)))
        if not batches:
            update["memory_cursor"] = turns.last


class ManageNode(MemoryNode):
    """Decides what the facts mean for the bank, and applies it, batch by batch."""

    async def update(self, state: MemoryState, run: Run, update: StateUpdate) -> None:
        """Apply pending facts to the bank; the cursor follows the batches that are done."""
        # Put into the update at once, and appended to below: what is done before a failure is kept.
        memory_ops = list(state.get("memory_ops", []))
        update.update(pending=[], memory_ops=memory_ops)
        bank = await run.bank()
        unread = False
        for pending in state.get("pending", []):
            outcome = Outcome(unread=unread)
            await manage_batch(bank, self.agent, as_batch(pending), self.options, run.monitor, outcome)
            memory_ops += [*(change_record(change) for change in outcome.changes), *outcome.failures]
            if outcome.cursor is not None:
                update["memory_cursor"] = outcome.cursor
            unread = outcome.unread
            if outcome.failures:
                break


class AnswerNode(MemoryNode):
    """Answers the question from the bank, as it is after this run's operations."""

    async def update(self, state: MemoryState, run: Run, update: StateUpdate) -> None:
        """Answer the question; it is taken out of the state, so that the next run does not ask it again."""
        update.update(question=None, memory_ops=state.get("memory_ops", []))
        bank = await run.bank()
        await run.load_zone()
        question, k, conditions = question_of(state), self.options.k, self.options.filter_of(run.runtime)
        answer = await roles.answer(bank, self.agent, question, k, run.now(), run.monitor, conditions)
        update.update(
            answer=answer.text,
            selected=[memory_as_dict(memory) for memory in answer.selected],
            memories=[memory_as_dict(memory) for memory in answer.retrieved],
        )
        run.monitor.emit("answer", {"answer": answer.text, "selected": [memory.id for memory in answer.selected]})


def state_values(state: MemoryState | object) -> MemoryState:
    """Return the state as a mapping: an app's own graph may hold it in a Pydantic model or a dataclass."""
    if isinstance(state, Mapping):
        return cast(MemoryState, state)
    values = {name: getattr(state, name, None) for name in MemoryState.__annotations__}
    return cast(MemoryState, {name: value for name, value in values.items() if value is not None})


def question_of(state: MemoryState) -> str:
    """Return the question of a run, empty where there is none.

    Raises:
        InputError: If it is no text.
    """
    question = state_values(state).get("question")
    if question is not None and not isinstance(question, str):
        raise InputError(f"The question {question!r:.80} is no text; give a string.")
    return clean(question or "")
