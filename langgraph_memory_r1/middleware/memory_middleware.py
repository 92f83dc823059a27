"""`MemoryMiddleware`: an agent of `create_agent` that remembers.

    agent = create_agent("openai:gpt-5-mini", middleware=[MemoryMiddleware("./memory")])
    agent.invoke({"messages": "I adopted a dog, Buddy."}, context={"user_id": "ann@example.com"})

Before a model call the memories that fit what was said last are put into the system message, for that call only: they
are never in the state's messages, so they cannot be remembered again. After the agent has answered, what is new in the
conversation is dealt with as the memory graph does (`flow.py`).
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, Literal, TypeAlias, get_args

from langchain.agents.middleware.types import AgentMiddleware, ModelRequest, ModelResponse
from langchain_core.embeddings import Embeddings
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig, ensure_config
from langgraph.func import task
from langgraph.runtime import Runtime

from langgraph_memory_r1.bank import MemoryBank
from langgraph_memory_r1.bank.history import in_order
from langgraph_memory_r1.batches import Limits
from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.flow import (
    MemoryAgents,
    MemoryOptions,
    OnError,
    Outcome,
    Redact,
    Run,
    redact_operation,
    remember,
    utc_now,
)
from langgraph_memory_r1.graph import Model, agent_for, create_role_agents
from langgraph_memory_r1.middleware.background import BackgroundMemory, PendingTurns, detached_config
from langgraph_memory_r1.middleware.recall import query_of, with_memories
from langgraph_memory_r1.middleware.review import Proposal, Review, apply_approved, approve, propose, review_rule
from langgraph_memory_r1.middleware.turn import (
    AgentTurn,
    MemoryAgentState,
    ModelCalls,
    ModelCallsByRun,
    append_unseen,
    waiting_turns,
)
from langgraph_memory_r1.models import load_embeddings
from langgraph_memory_r1.owners import DEFAULT_USER, BankPool, Namespace, StoreLike
from langgraph_memory_r1.prompts import Style
from langgraph_memory_r1.schemas import Change, Operation
from langgraph_memory_r1.state import no_usage
from langgraph_memory_r1.steps import RunBlocking, RunMonitor, milliseconds_since, run_async, run_sync
from langgraph_memory_r1.tools import MANAGE, SEARCH, ToolName, apply_one, tools_of
from langgraph_memory_r1.turns import turns_from_messages

Write: TypeAlias = Literal["inline", "background"]
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
        namespace: Labels of a bank; "{user_id}", or another value of the run's context; or a function of its `Runtime`.
        recall_k: At most so many memories are put into the system message; 0 recalls nothing.
        related_k: Memories that are compared with each new fact.
        style: Prompts with explanations, or `"compact"` ones for models that were tuned with them.
        on_error: `"degrade"` lets the agent answer when its memory fails: the failure stands in `memory_ops` and in
            the log, and the next run of the thread takes the turns up again. In the background `"raise"` means that
            `flush` raises.
        limits: How many turns and characters one model call looks at.
        clock: The present, for messages without a time.
        write: `"inline"` remembers before the run returns. `"background"` returns at once and remembers after
            `delay` seconds of silence, at `flush()`, or when the process ends.
        delay: See `write`.
        review: Interrupts the run before a memory is deleted (`"delete"`), before one is changed or deleted
            (`"update"`), or where a function of the operation says so. Needs a checkpointer.
        redact: Applied to all that was said, and to all that is written.
        tools: Tools for the agent: `"search_memory"`, `"manage_memory"`; True for both.
        name: Tells several of this kind on one agent apart; their tools end in it.

    Raises:
        InputError: An option makes no sense.

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
        on_error: OnError = "degrade",
        limits: Limits | None = None,
        clock: Callable[[], datetime] = utc_now,
        write: Write = "inline",
        delay: float = 5.0,
        review: Review | None = None,
        redact: Redact | None = None,
        tools: bool | ToolName | Sequence[ToolName] = False,
        name: str = "memory",
    ) -> None:
        if write not in get_args(Write):
            raise InputError(f"There is no write {write!r}; give one of {', '.join(get_args(Write))}.")
        if write == "background" and review is not None:
            raise InputError('A review interrupts the run, which is over in the background; give write="inline".')
        if recall_k < 0:
            raise InputError(f"recall_k={recall_k} counts memories; give 0 to recall none, or more.")
        if delay < 0:
            raise InputError(f"delay={delay} lies in the past; give seconds, 0 or more.")
        if not name or not name.replace("_", "").replace("-", "").isalnum():
            raise InputError(f"The name {name!r} cannot be a part of a tool's name; give letters, digits, - and _.")
        self._name = name
        self._options = MemoryOptions(
            banks=BankPool(store, namespace, load_embeddings(embedder)), on_error=on_error, clock=clock,
            limits=limits or Limits(), related_k=related_k, redact=redact, name=name,
        )  # fmt: skip
        self._recall_k = recall_k
        self._style: Style = style
        agents = create_role_agents(
            {"extract": extractor, "manage": manager}, "rules" if model is None else model, style
        )
        self._agents = MemoryAgents(agents["extract"], agents["manage"])
        self._extract_with_agents_model = model is None and extractor is None
        self._manage_with_agents_model = model is None and manager is None
        self._needs_review = review_rule(review)
        self._calls = ModelCallsByRun()
        self._background = BackgroundMemory(self._options, delay) if write == "background" else None
        if isinstance(tools, bool):
            tools = (SEARCH, MANAGE) if tools else ()
        ending = "" if name == "memory" else f"_{name}"
        names = (tools,) if isinstance(tools, str) else tuple(tools or ())
        self.tools = tools_of(names, self._options.banks.bank, self._apply_one, ending)

    def __repr__(self) -> str:
        labels = {
            "extractor": "the agent's" if self._extract_with_agents_model else self._agents.extract.label,
            "manager": "the agent's" if self._manage_with_agents_model else self._agents.manage.label,
            "write": "inline" if self._background is None else "background",
        }
        options = ", ".join(f"{name}={label!r}" for name, label in labels.items())
        return f"{type(self).__name__}({self._options.banks.store!r}, {options})"

    @property
    def name(self) -> str:
        """Tells this middleware apart from others."""
        return self._name

    def bank(self, user_id: str = DEFAULT_USER, **context: object) -> MemoryBank:
        """Return the bank of one user.

        Args:
            user_id: The user.
            context: What else the namespace names.
        """
        return self._options.banks.bank(Runtime(context={**context, "user_id": user_id}), {})

    def flush(self, timeout: float | None = None) -> None:
        """Remember now what waits in the background, and what failed before; inline there is nothing to do.

        Raises:
            TimeoutError: It is not done yet.
            Exception: With `on_error="raise"`, what went wrong in the background.
        """
        if self._background is not None:
            self._background.flush(timeout)

    async def aflush(self, timeout: float | None = None) -> None:
        """`flush` without blocking the event loop."""
        await asyncio.to_thread(self.flush, timeout)

    # Recall. Both halves of each hook: LangChain runs a hook that is sync only on the event loop, or refuses it.

    def before_agent(self, state: MemoryAgentState, runtime: Runtime[Any]) -> dict[str, Any]:
        """Begin a run: nothing is done yet."""
        return {"memory_ops": [], "memory_usage": no_usage(), "memory_run": secrets.token_hex(8)}

    async def abefore_agent(self, state: MemoryAgentState, runtime: Runtime[Any]) -> dict[str, Any]:
        """`before_agent`."""
        return self.before_agent(state, runtime)

    def wrap_model_call(self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Called]) -> Called:
        """Call the model with what is recalled."""
        return handler(run_sync(self._recall(request)))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[Called]]
    ) -> Called:
        """Call the model with what is recalled."""
        return await handler(await run_async(self._recall(request)))

    async def _recall(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        calls = self._calls.of(request.state)
        calls.model = request.model
        if not self._recall_k:
            return request
        run = self._run(request.runtime, ensure_config(), "recall")
        with run.guarded("recall", calls.failures):
            start = time.perf_counter()
            bank = await run.bank()
            hits = await RunBlocking(lambda: bank.search(query_of(request.messages), k=self._recall_k))
            # In time order, so that the model sees what came last; an empty query gives the newest.
            memories = in_order(hit.memory for hit in hits)
            ms = round(milliseconds_since(start), 3)
            run.monitor.emit("recalled", {"memories": [memory.id for memory in memories], "ms": ms})
            if memories:
                request = request.override(system_message=with_memories(request.system_message, memories))
        calls.ms += run.monitor.usage["ms"]
        return request

    # Remember

    def after_agent(  # type: ignore[override]  # LangGraph hands a node its config by name
        self, state: MemoryAgentState, runtime: Runtime[Any], config: RunnableConfig
    ) -> dict[str, Any]:
        """Remember what is new in the conversation."""
        turn = self._turn(state, runtime, config)
        with turn.run.guarded("remember", turn.failures):
            self._take_turns(turn)
            proposal = task(self._propose)(turn).result() if self._needs_review else None
            run_sync(self._remember(turn, proposal), config)
        self._calls.drop(state)
        return turn.update()

    async def aafter_agent(  # type: ignore[override]
        self, state: MemoryAgentState, runtime: Runtime[Any], config: RunnableConfig
    ) -> dict[str, Any]:
        """Remember what is new in the conversation."""
        turn = self._turn(state, runtime, config)
        with turn.run.guarded("remember", turn.failures):
            self._take_turns(turn)
            proposal = await task(self._apropose)(turn) if self._needs_review else None
            await run_async(self._remember(turn, proposal), config)
        self._calls.drop(state)
        return turn.update()

    async def _remember(self, turn: AgentTurn, proposal: Proposal | None) -> None:
        if proposal is not None and self._needs_review is not None:
            return await apply_approved(turn, proposal, self._needs_review)
        bank, agents = await turn.run.bank(), self._agents_of(turn.calls)
        if self._background is None:
            return await remember(bank, bank, turn.new, agents, self._options, turn.run.monitor, turn.outcome)
        config, background = detached_config(turn.run.config), self._background
        pending = PendingTurns(bank, turn.new, agents, turn.run.speakers().thread, config)
        background.collect(pending.key, turn)
        if turn.new.turns:
            await RunBlocking(lambda: background.submit(pending))  # it may have to start a thread

    # A task's result is kept by the checkpointer: the resumed run applies what was shown, and asks no model again

    def _propose(self, turn: AgentTurn) -> Proposal:
        return run_sync(propose(turn, self._agents_of(turn.calls)), turn.run.config)

    async def _apropose(self, turn: AgentTurn) -> Proposal:
        return await run_async(propose(turn, self._agents_of(turn.calls)), turn.run.config)

    # One run

    def _turn(self, state: MemoryAgentState, runtime: Runtime[Any], config: RunnableConfig) -> AgentTurn:
        cursor = (state.get("memory_cursor") or {}).get(self.name)
        run = self._run(runtime, config, "remember")
        return AgentTurn(self.name, state, run, self._calls.of(state), Outcome(cursor))

    def _take_turns(self, turn: AgentTurn) -> None:
        messages, now = turn.state["messages"], self._options.clock()
        new = turns_from_messages(messages, turn.outcome.cursor, turn.run.speakers(), now)
        turn.new = append_unseen(waiting_turns(turn.state, self.name), new)

    def _run(self, runtime: Runtime[Any], config: RunnableConfig, step: str) -> Run:
        def emit(event: str, data: dict[str, Any]) -> None:
            runtime.stream_writer({"memory": step, "name": self.name, "event": event, **data})

        return Run(self._options, runtime, config, RunMonitor(emit))

    def _apply_one(self, bank: MemoryBank, operation: Operation) -> Change:
        """What the agent does with its tool is redacted and reviewed like what it says."""
        redact = self._options.redact
        redacted = operation if redact is None else redact_operation(operation, redact)
        if self._needs_review is None:
            return apply_one(bank, redacted)
        allowed = approve(bank.fork().apply([redacted]), self._needs_review, self.name)
        return bank.apply(allowed.operations, expect=allowed.expect or None, reason="tool")[0]

    def _agents_of(self, calls: ModelCalls) -> MemoryAgents:
        """Return the agents of a run: where no model was given, the one that answered in it."""
        extract, manage = self._agents
        if calls.model is not None and self._extract_with_agents_model:
            extract = agent_for("extract", calls.model, self._style)
        if calls.model is not None and self._manage_with_agents_model:
            manage = agent_for("manage", calls.model, self._style)
        return MemoryAgents(extract, manage)
