"""`MemoryMiddleware`: an agent of `create_agent` that remembers.

    agent = create_agent("openai:gpt-5-mini", middleware=[MemoryMiddleware("./memory")])
    agent.invoke({"messages": "I adopted a dog, Buddy."}, context={"user_id": "ann@example.com"})

Before a model call the memories that fit what was said last are put into the system message, for that call only: they
are never in the state's messages, so they cannot be remembered again. After the agent has answered, what is new in the
conversation is dealt with as the memory graph does (`roles.py`).
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any, TypeAlias

from langchain.agents.middleware.types import (
    AgentMiddleware,
    ModelRequest,
    ModelResponse,
)
from langchain_core.embeddings import Embeddings
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig, ensure_config
from langgraph.errors import GraphBubbleUp
from langgraph.func import task
from langgraph.runtime import Runtime

from langgraph_memory_r1.bank import MemoryBank
from langgraph_memory_r1.batches import Limits
from langgraph_memory_r1.errors import MemoryR1Error
from langgraph_memory_r1.graph import Model, agent_for, create_memory_nodes
from langgraph_memory_r1.middleware.later import Job, Later, told_after
from langgraph_memory_r1.middleware.options import Write, check_options, wanted_tools
from langgraph_memory_r1.middleware.proposal import Saved, apply_approved, propose
from langgraph_memory_r1.middleware.recall import best, query_of, with_memories
from langgraph_memory_r1.middleware.remember import Crew, Outcome, Redact, decide, redacted_operation
from langgraph_memory_r1.middleware.review import Review, approved, asks_of
from langgraph_memory_r1.middleware.turn import AgentTurn, MemoryAgentState, Notes, NotesOfRuns, joined, waiting_in
from langgraph_memory_r1.nodes import OnError, Run, utc_now
from langgraph_memory_r1.owners import Namespace, StoreLike, labels_of
from langgraph_memory_r1.prompts import Style
from langgraph_memory_r1.schemas import Change, Operation
from langgraph_memory_r1.state import ChangeRecord, failure
from langgraph_memory_r1.steps import RunBlocking, RunMonitor, Steps, run_async, run_sync
from langgraph_memory_r1.tools import ToolName, apply_one, tools_of
from langgraph_memory_r1.turns import turns_from_messages

log = logging.getLogger(__name__)

Called: TypeAlias = ModelResponse[Any] | AIMessage


class MemoryMiddleware(AgentMiddleware[MemoryAgentState, Any, Any]):
    """Recalls before the model is called, remembers after the agent has answered.

    Whose memories: a `namespace` function, else `user_id` in the run's context, else the server's login, else
    `configurable["user_id"]`, else the user "default".

    Args:
        store: A folder or URI (LanceDB), a LangGraph store, or one owner's `MemoryBank`, which then serves every run.
        model: Finds facts and decides about them: a chat model, `"provider:model"` or `"rules"`. Without one it is
            the agent's model; `"rules"` where that is not known (no model was called in the run).
        extractor: Another model for finding facts.
        manager: Another model for deciding what they mean for the bank.
        embedder: Adds semantic search to a folder's or URI's lexical one.
        namespace: Where a user's memories stand; "{user_id}" in a label, or a function of the run's `Runtime`.
        recall_k: At most so many memories are put into the system message; 0 recalls nothing.
        related_k: Memories that are compared with each new fact.
        style: Prompts with explanations, or `"compact"` ones for models that were tuned with them.
        write: `"inline"` remembers before the run returns. `"background"` returns at once and remembers after
            `delay` seconds of silence, at `flush()`, or when the process ends.
        delay: See `write`.
        on_error: `"degrade"` lets the agent answer when its memory fails: the failure stands in `memory_ops` and in
            the log, and the next run of the thread takes the turns up again. In the background `"raise"` means that
            `flush` raises.
        review: Interrupts the run before a memory is deleted (`"delete"`), before one is changed or deleted
            (`"update"`), or where a function of the operation says so. Needs a checkpointer.
        redact: Applied to all that was said, and to all that is written.
        tools: Tools for the agent: `"search_memory"`, `"manage_memory"`; True for both.
        limits: How many turns and characters one model call looks at.
        clock: The present, for messages without a time.
        name: Tells several of this kind on one agent apart; their tools end in it.

    Example:
        ```python
        memory = MemoryMiddleware("./memory")
        agent = create_agent("openai:gpt-5-mini", middleware=[memory])
        agent.invoke({"messages": "I adopted a dog, Buddy."}, context={"user_id": "ann@example.com"})
        memory.bank("ann@example.com").all()
        ```
    """

    state_schema = MemoryAgentState

    def __init__(
        self,
        store: StoreLike,
        *,
        model: Model | None = None,
        extractor: Model | None = None,
        manager: Model | None = None,
        embedder: str | Embeddings | None = None,
        namespace: Namespace | None = None,
        recall_k: int = 20,
        related_k: int = 10,
        style: Style = "full",
        write: Write = "inline",
        delay: float = 5.0,
        on_error: OnError = "degrade",
        review: Review | None = None,
        redact: Redact | None = None,
        tools: bool | ToolName | Sequence[ToolName] = False,
        limits: Limits | None = None,
        clock: Callable[[], datetime] = utc_now,
        name: str = "memory",
    ) -> None:
        check_options(write, delay, review, redact, namespace, name, recall_k)
        nodes = create_memory_nodes(
            store, model="rules" if model is None else model, extractor=extractor, manager=manager, embedder=embedder,
            namespace=namespace, related_k=related_k, style=style, on_error=on_error,
            limits=limits, clock=clock,
        )  # fmt: skip
        self._name = name
        self._options = nodes.extract.options
        self._recall_k = recall_k
        self._style = style
        self._given = {"extract": extractor or model, "manage": manager or model}
        self._loaded = {"extract": nodes.extract.agent, "manage": nodes.manage.agent}
        self._redact = redact
        self._asks = asks_of(review)
        self._notes = NotesOfRuns()
        self._later = Later(delay, on_error) if write == "background" else None
        ending = "" if name == "memory" else f"_{name}"
        self.tools = tools_of(wanted_tools(tools), self._bank_of_run, self._apply_one, ending)

    @property
    def name(self) -> str:
        """Tells this middleware apart from others."""
        return self._name

    def bank(self, user_id: str) -> MemoryBank:
        """The bank of one user."""
        labels = labels_of(self._options.namespace, Runtime(context={"user_id": user_id}), {})
        return self._options.banks.of(labels)

    def flush(self, timeout: float | None = None) -> None:
        """Remembers now what waits in the background, and what failed before; inline there is nothing to do.

        Raises:
            TimeoutError: It is not done yet.
            Exception: With `on_error="raise"`, what went wrong in the background.
        """
        if self._later is not None:
            self._later.flush(timeout)

    async def aflush(self, timeout: float | None = None) -> None:
        """`flush` without blocking the event loop."""
        await run_async(_done(partial(self.flush, timeout)))

    # Recall

    def before_agent(self, state: MemoryAgentState, runtime: Runtime[Any]) -> dict[str, Any]:
        """A run begins: nothing is done yet."""
        return {"memory_ops": [], "memory_usage": RunMonitor().usage, "memory_run": secrets.token_hex(8)}

    async def abefore_agent(self, state: MemoryAgentState, runtime: Runtime[Any]) -> dict[str, Any]:
        """`before_agent`."""
        return self.before_agent(state, runtime)

    def wrap_model_call(self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Called]) -> Called:
        """Calls the model with what is recalled."""
        return handler(run_sync(self._recalling(request)))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[Called]]
    ) -> Called:
        """Calls the model with what is recalled."""
        return await handler(await run_async(self._recalling(request)))

    def _recalling(self, request: ModelRequest[Any]) -> Steps[ModelRequest[Any]]:
        notes = self._notes.of(request.state)
        notes.model = request.model
        if not self._recall_k:
            return request
        start = time.perf_counter()
        run = self._run(request.runtime, ensure_config(), "recall")
        try:
            memories = yield RunBlocking(partial(best, run.bank, query_of(request.messages), self._recall_k))
        except GraphBubbleUp:
            raise
        except Exception as error:
            if self._options.on_error == "raise":
                raise
            self._failed(notes.failures, "recall", error, run.monitor)
            return request
        spent = (time.perf_counter() - start) * 1000
        notes.ms += spent
        run.monitor.emit("recalled", {"memories": [memory.id for memory in memories], "ms": round(spent, 3)})
        return request.override(system_message=with_memories(request.system_message, memories)) if memories else request

    # Remember

    def after_agent(  # type: ignore[override]  # LangGraph hands a node its config by name
        self, state: MemoryAgentState, runtime: Runtime[Any], config: RunnableConfig
    ) -> dict[str, Any]:
        """Remembers what is new in the conversation."""
        turn = self._turn(state, runtime, config)
        with self._guarded(turn):
            self._listen(turn)
            saved = task(self._deciding)(turn).result() if self._asks else None
            run_sync(self._remembering(turn, saved), config)
        self._notes.drop(state)
        return turn.update()

    async def aafter_agent(  # type: ignore[override]
        self, state: MemoryAgentState, runtime: Runtime[Any], config: RunnableConfig
    ) -> dict[str, Any]:
        """Remembers what is new in the conversation."""
        turn = self._turn(state, runtime, config)
        with self._guarded(turn):
            self._listen(turn)
            saved = await task(self._adeciding)(turn) if self._asks else None
            await run_async(self._remembering(turn, saved), config)
        self._notes.drop(state)
        return turn.update()

    def _remembering(self, turn: AgentTurn, saved: Saved | None) -> Steps[None]:
        if self._later is not None:
            yield RunBlocking(partial(self._queue, turn, self._later))
        elif saved is not None and self._asks is not None:
            yield from apply_approved(turn, saved, self._asks, self._redact)
        else:
            bank: MemoryBank = yield RunBlocking(turn.run.bank)
            yield from decide(bank, bank, turn.new, self._crew(turn.notes), turn.run.monitor, turn.outcome)

    def _queue(self, turn: AgentTurn, later: Later) -> None:
        config = told_after(turn.run.config)
        job = Job(turn.run.bank(), turn.new, self._crew(turn.notes), turn.run.speakers().thread, config)
        later.collect(job, turn)
        if turn.new.turns:
            later.submit(job)

    # Review: what was decided is kept by the checkpointer, so that the resumed run applies what was shown

    def _deciding(self, turn: AgentTurn) -> Saved:
        return run_sync(propose(turn, self._crew(turn.notes)), turn.run.config)

    async def _adeciding(self, turn: AgentTurn) -> Saved:
        return await run_async(propose(turn, self._crew(turn.notes)), turn.run.config)

    # One run

    def _turn(self, state: MemoryAgentState, runtime: Runtime[Any], config: RunnableConfig) -> AgentTurn:
        cursor = (state.get("memory_cursor") or {}).get(self.name)
        run = self._run(runtime, config, "remember")
        return AgentTurn(self.name, state, run, self._notes.of(state), Outcome(cursor))

    def _listen(self, turn: AgentTurn) -> None:
        now = self._options.clock()
        new = turns_from_messages(turn.state["messages"], turn.outcome.cursor, turn.run.speakers(), now)
        turn.new = joined(waiting_in(turn.state, self.name), new)

    def _run(self, runtime: Runtime[Any], config: RunnableConfig, step: str) -> Run:
        def tell(event: str, data: Mapping[str, Any]) -> None:
            runtime.stream_writer({"memory": step, "name": self.name, "event": event, **data})

        return Run(self._options, runtime, config, RunMonitor(tell))

    def _bank_of_run(self, runtime: Runtime[Any], config: RunnableConfig) -> MemoryBank:
        return self._options.banks.of(labels_of(self._options.namespace, runtime, config))

    def _apply_one(self, bank: MemoryBank, operation: Operation) -> Change:
        """What the agent does with its tool is redacted and reviewed like what it says."""
        safe = operation if self._redact is None else redacted_operation(operation, self._redact)
        if self._asks is None:
            return apply_one(bank, safe)
        allowed = approved(bank.fork().apply([safe]), self._asks, self.name)
        return bank.apply(allowed.operations, expect=allowed.expect or None, reason="tool")[0]

    def _crew(self, notes: Notes) -> Crew:
        agents = {
            role: agent_for(role, notes.model, self._style)
            if self._given[role] is None and notes.model is not None
            else self._loaded[role]
            for role in ("extract", "manage")
        }
        options = self._options
        return Crew(agents["extract"], agents["manage"], options.limits, options.related_k, self._redact)

    @contextmanager
    def _guarded(self, turn: AgentTurn) -> Iterator[None]:
        """An agent must not fail because of its memory."""
        with turn.run.monitor.timing():
            try:
                yield
            except GraphBubbleUp:
                raise
            except Exception as error:
                if self._options.on_error == "raise":
                    raise
                self._failed(turn.failures, "remember", error, turn.run.monitor)

    def _failed(self, failures: list[ChangeRecord], step: str, error: Exception, monitor: RunMonitor) -> None:
        unexpected = None if isinstance(error, MemoryR1Error) else error  # ours say in one sentence what is wrong
        log.warning("Memory %r failed to %s, the agent goes on: %r", self.name, step, error, exc_info=unexpected)
        failures.append(failure(step, error))
        monitor.emit("error", {"operation": failures[-1]})


def _done(action: Callable[[], None]) -> Steps[None]:
    yield RunBlocking(action)
