"""`MemoryMiddleware`: an agent of `create_agent` that remembers.

    agent = create_agent("openai:gpt-5-mini", middleware=[MemoryMiddleware("./memory")])
    agent.invoke({"messages": "I adopted a dog, Buddy."}, context={"user_id": "ann@example.com"})

Before a model call the memories that fit what was said last are put into the system message, for that call only, and
stay there where other middleware writes a prompt of its own; they are never in the state's messages, so they cannot be
remembered again. What is said is noted before each model call, since a summary, a trim or a failure may take it out of
the messages; after the agent has answered, it is dealt with as the memory graph does (`flow.py`).
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias

from langchain.agents.middleware.types import AgentMiddleware, ModelRequest, ModelResponse
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig, ensure_config
from langgraph.func import task
from langgraph.runtime import Runtime

from langgraph_memory_r1.bank import MemoryBank
from langgraph_memory_r1.bank.history import in_order
from langgraph_memory_r1.batches import Limits
from langgraph_memory_r1.errors import IdentityError
from langgraph_memory_r1.flow import (
    MemoryAgents,
    MemoryOptions,
    OnError,
    Outcome,
    Redact,
    Run,
    RunFilter,
    remember,
    utc_now,
)
from langgraph_memory_r1.graph import Model, agent_for, create_role_agents
from langgraph_memory_r1.identity import DEFAULT_USER
from langgraph_memory_r1.middleware.background import BackgroundMemory, PendingTurns, detached_config
from langgraph_memory_r1.middleware.options import Write, require_sense
from langgraph_memory_r1.middleware.recall import query_of, recalling
from langgraph_memory_r1.middleware.review import Proposal, Review, apply_approved, approve, propose, review_rule
from langgraph_memory_r1.middleware.turn import (
    AgentTurn,
    MemoryAgentState,
    ModelCallsByRun,
    begun_owner,
    is_delegated,
)
from langgraph_memory_r1.models import load_embeddings
from langgraph_memory_r1.owners import BankPool, Namespace, StoreLike
from langgraph_memory_r1.prompts import Style
from langgraph_memory_r1.schemas import Change, Operation
from langgraph_memory_r1.state import no_usage
from langgraph_memory_r1.steps import RunBlocking, RunMonitor, milliseconds_since, run_async, run_sync
from langgraph_memory_r1.tools import MANAGE, SEARCH, ToolName, apply_one, tools_of
from langgraph_memory_r1.turns import Side, turns_from_messages, turns_of_sides

log = logging.getLogger(__name__)

Called: TypeAlias = ModelResponse[Any] | AIMessage


class MemoryMiddleware(AgentMiddleware[MemoryAgentState, Any, Any]):
    """Recalls before the model is called, remembers after the agent has answered.

    Whose memories: a `namespace` function, else the server's login, else `user_id` in the run's context, else
    `configurable["user_id"]`, else the user "default", if `require_user` allows that.

    Args:
        store: A folder or URI (LanceDB), a LangGraph store, or one owner's `MemoryBank`, which then serves every run;
            without it the store of the graph that runs: `create_agent(..., store=...)`.
        model: Finds facts and decides about them: a chat model, `"provider:model"` or `"rules"`. Without one it is
            the agent's model; `"rules"` where that is not known (no model was called in the run).
        extractor: Another model for finding facts.
        manager: Another model for deciding what they mean for the bank.
        embedder: Adds semantic search to a folder's or URI's lexical one.
        namespace: Labels of a bank; "{user_id}", or another value of the run's context; or a function of its `Runtime`.
        require_user: Refuse runs that name no user: by default on stores and object storage. A folder takes them for
            the user "default" and warns once; False means that.
        trust_client_user: The app acts for its users: `user_id` counts before the server's login.
        recall_k: At most so many memories are put into the system message; 0 recalls nothing.
        related_k: Memories that are compared with each new fact.
        style: Prompts with explanations, or `"compact"` ones for models that were tuned with them.
        on_error: `"degrade"` lets the agent answer when its memory fails: the failure stands in `memory_ops` and in
            the log, and the next run of the thread takes the turns up again. In the background `"raise"` means that
            `flush` raises.
        limits: How many turns and characters one model call looks at.
        clock: The present, for messages without a time.
        remember_from: Whose words become memories: `"user"`, `"assistant"` or both; `()` only recalls. An agent's words
            repeat what its tools and its memory told it, so by default they do not. A task that an agent hands to
            another one through a tool is nobody's words.
        filter: Only memories that it lets through are recalled: as in `MemoryBank.search`, or told by the run.
        metadata: Kept with every memory that is added.
        tags: Likewise.
        write: `"inline"` remembers before the run returns. `"background"` returns at once and remembers after
            `delay` seconds of silence, at `flush()`, or when the process ends by itself. What was heard and is not
            remembered yet, because a run failed or the process was killed (SIGTERM, SIGKILL), stands in the bank's
            folder, and the next process remembers it: after its first run, or at `flush()`. A bank without a local
            folder (another store, an object store) has no such place: there a kill loses what waits, but for what the
            agent's checkpointer keeps. With `review`, what waits lies in the checkpointer alone.
        delay: See `write`.
        review: Interrupts the run before a memory is deleted (`"delete"`), before one is changed or deleted
            (`"update"`), or where a function of the operation says so. The request has the shape of LangChain's
            `HumanInTheLoopMiddleware`, and is answered like it. Needs a checkpointer: what waits, or was heard by a run
            that failed, lies there alone, and neither `flush()` nor another process decides about it.
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
        store: StoreLike | None = None,
        *,
        model: Model | None = None,
        extractor: Model | None = None,
        manager: Model | None = None,
        embedder: str | Embeddings | None = None,
        namespace: Namespace | None = None,
        require_user: bool | None = None,
        trust_client_user: bool = False,
        recall_k: int = 20,
        related_k: int = 10,
        style: Style = "full",
        on_error: OnError = "degrade",
        limits: Limits | None = None,
        clock: Callable[[], datetime] = utc_now,
        remember_from: Side | Sequence[Side] = ("user",),
        filter: RunFilter | None = None,
        metadata: Mapping[str, Any] | None = None,
        tags: Sequence[str] = (),
        write: Write = "inline",
        delay: float = 5.0,
        review: Review | None = None,
        redact: Redact | None = None,
        tools: bool | ToolName | Sequence[ToolName] = False,
        name: str = "memory",
    ) -> None:
        sides = frozenset((remember_from,) if isinstance(remember_from, str) else remember_from)
        require_sense(write, review, sides, recall_k, delay, name)
        self._name = name
        banks = BankPool(
            store, namespace, load_embeddings(embedder), of_graph=True, require_user=require_user,
            trust_client_user=trust_client_user,
        )  # fmt: skip
        self._options = MemoryOptions(
            banks=banks, on_error=on_error, clock=clock, limits=limits or Limits(), related_k=related_k, redact=redact,
            name=name, filter=filter, metadata=metadata or {}, tags=tags,
        )  # fmt: skip
        self._recall_k = recall_k
        self._sides = sides
        self._style: Style = style
        agents = create_role_agents(
            {"extract": extractor, "manage": manager}, "rules" if model is None else model, style
        )
        self._agents = MemoryAgents(agents["extract"], agents["manage"])
        self._extract_with_agents_model = model is None and extractor is None
        self._manage_with_agents_model = model is None and manager is None
        self._needs_review = review_rule(review)
        self._calls = ModelCallsByRun()
        self._inline = write == "inline"
        self._background = BackgroundMemory(self._options, delay, reviewed=review is not None)
        self._model: BaseChatModel | None = None
        """The agent's model, as it was called last: also for what is remembered outside of a run."""
        names = (SEARCH, MANAGE) if tools is True else (tools,) if isinstance(tools, str) else tuple(tools or ())
        self.tools = tools_of(names, banks, name, self._apply_one, filter)

    def __repr__(self) -> str:
        labels = {
            "extractor": "the agent's" if self._extract_with_agents_model else self._agents.extract.label,
            "manager": "the agent's" if self._manage_with_agents_model else self._agents.manage.label,
            "write": "inline" if self._inline else "background",
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
        """Remember now what waits in the background, and, without a review, what failed runs and processes have left.

        Raises:
            TimeoutError: It is not done yet.
            Exception: With `on_error="raise"`, what went wrong in the background.
        """
        self._background.flush(self._options.banks, self._lasting_agents(), timeout)

    async def aflush(self, timeout: float | None = None) -> None:
        """`flush` without blocking the event loop."""
        await asyncio.to_thread(self.flush, timeout)

    # Listen. Both halves of each hook: LangChain runs a hook that is sync only on the event loop, or refuses it.

    def before_agent(  # type: ignore[override]  # LangGraph hands a node its config by name
        self, state: MemoryAgentState, runtime: Runtime[Any], config: RunnableConfig
    ) -> dict[str, Any]:
        """Begin a run: nothing is done yet, whose memories it is about stays, and what was said is noted."""
        begun = self._begun(state, runtime)
        return {**begun, **run_sync(self._listen({**state, **begun}, runtime, config), config)}

    async def abefore_agent(  # type: ignore[override]
        self, state: MemoryAgentState, runtime: Runtime[Any], config: RunnableConfig
    ) -> dict[str, Any]:
        """`before_agent`."""
        begun = self._begun(state, runtime)
        return {**begun, **await run_async(self._listen({**state, **begun}, runtime, config), config)}

    def before_model(  # type: ignore[override]
        self, state: MemoryAgentState, runtime: Runtime[Any], config: RunnableConfig
    ) -> dict[str, Any] | None:
        """Note what was said since."""
        return run_sync(self._listen(state, runtime, config), config) or None

    async def abefore_model(  # type: ignore[override]
        self, state: MemoryAgentState, runtime: Runtime[Any], config: RunnableConfig
    ) -> dict[str, Any] | None:
        """`before_model`."""
        return await run_async(self._listen(state, runtime, config), config) or None

    def _begun(self, state: MemoryAgentState, runtime: Runtime[Any]) -> dict[str, Any]:
        owner = begun_owner(state, runtime, self._options)
        return {
            "memory_ops": [], "memory_usage": no_usage(), "memory_run": secrets.token_hex(8), "memory_owner": owner,
        }  # fmt: skip

    async def _listen(self, state: Mapping[str, Any], runtime: Runtime[Any], config: RunnableConfig) -> dict[str, Any]:
        turn = self._turn(state, runtime, config)
        try:
            await self._hear(turn)
        except IdentityError:  # who speaks for another is refused, before anything is said for him
            raise
        except Exception as error:  # what it is will be said, and handled, when this is to be remembered
            if self._options.on_error == "raise":
                raise
            log.debug("Memory %r could not listen: %r", self.name, error)
            return {}
        return {} if turn.waiting == self._waiting(state) else {"memory_waiting": {self.name: turn.waiting}}

    async def _hear(self, turn: AgentTurn, at_end: bool = False) -> None:
        """Take in what is new in the conversation, and note it where it outlives this run and this process."""
        await turn.run.load_zone()
        sides, speakers, now = self._sides, turn.run.speakers(waits=not self._inline), self._options.clock()
        if is_delegated(turn.run.config):
            sides = sides - {"user"}
        bank, journal = await turn.run.bank(), self._background.journal
        heard = [
            turns_from_messages(turn.calls.reply, None, speakers, now),
            turns_from_messages(turn.state["messages"], turn.outcome.cursor, speakers, now),
        ]
        if at_end:  # without a checkpointer the state knows nothing of the runs before
            heard.insert(0, journal.left_over(bank, speakers.thread))
        turn.take(bank.namespace, *(turns_of_sides(each, sides) for each in heard))
        # At the end in any case: a run that was resumed may have been heard by another process.
        if turn.new.turns and (at_end or turn.waiting != self._waiting(turn.state)):
            await RunBlocking(lambda: journal.note(bank, speakers.thread, turn.new))

    def _waiting(self, state: Mapping[str, Any]) -> list[dict[str, Any]]:
        waiting: list[dict[str, Any]] = (state.get("memory_waiting") or {}).get(self.name, [])
        return waiting

    # Recall

    def wrap_model_call(self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Called]) -> Called:
        """Call the model with what is recalled."""
        return self._replied(request, handler(run_sync(self._recall(request))))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[Called]]
    ) -> Called:
        """Call the model with what is recalled."""
        return self._replied(request, await handler(await run_async(self._recall(request))))

    def _replied(self, request: ModelRequest[Any], response: Called) -> Called:
        messages = response.result if isinstance(response, ModelResponse) else [response]
        # Without an id of its own a message cannot be told from the one in the state, and would be heard twice.
        self._calls.of(request.state).reply = [each for each in messages if each.id]
        return response

    async def _recall(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        calls = self._calls.of(request.state)
        calls.model = self._model = request.model
        if not self._recall_k:
            return request
        run = self._run(request.state, request.runtime, ensure_config(), "recall")
        with run.guarded("recall", calls.failures):
            start = time.perf_counter()
            bank = await run.bank()
            query, conditions = query_of(request.messages), self._options.filter_of(request.runtime)
            hits = await RunBlocking(lambda: bank.search(query, k=self._recall_k, filter=conditions))
            # In time order, so that the model sees what came last; an empty query gives the newest.
            memories = in_order(hit.memory for hit in hits)
            ms = round(milliseconds_since(start), 3)
            run.monitor.emit("recalled", {"memories": [memory.id for memory in memories], "ms": ms})
            if memories:
                request = recalling(request, memories)
        calls.ms += run.monitor.usage["ms"]
        return request

    # Remember

    def after_agent(  # type: ignore[override]  # LangGraph hands a node its config by name
        self, state: MemoryAgentState, runtime: Runtime[Any], config: RunnableConfig
    ) -> dict[str, Any]:
        """Remember what is new in the conversation."""
        turn = self._turn(state, runtime, config)
        with turn.run.guarded("remember", turn.failures):
            run_sync(self._hear(turn, at_end=True), config)
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
            await run_async(self._hear(turn, at_end=True), config)
            proposal = await task(self._apropose)(turn) if self._needs_review else None
            await run_async(self._remember(turn, proposal), config)
        self._calls.drop(state)
        return turn.update()

    async def _remember(self, turn: AgentTurn, proposal: Proposal | None) -> None:
        bank, agents = await turn.run.bank(), self._agents_of(turn.calls.model)
        config, background = detached_config(turn.run.config), self._background
        pending = PendingTurns(bank, turn.new, agents, turn.run.speakers().thread, config)
        background.collect(pending.key, turn)
        if proposal is not None and self._needs_review is not None:
            await apply_approved(turn, proposal, self._needs_review)
        elif self._inline:
            await remember(bank, bank, turn.new, agents, self._options, turn.run.monitor, turn.outcome)
        elif turn.new.turns or turn.new.before:
            await RunBlocking(lambda: background.submit(pending))  # it may have to start a thread
        if self._inline and turn.new.turns and not turn.outcome.failures:
            await RunBlocking(lambda: background.journal.done(bank, turn.new))
        lasting = self._lasting_agents()
        if lasting is not None and background.is_due():
            await RunBlocking(lambda: background.take_over(bank.store, lasting))

    # A task's result is kept by the checkpointer: the resumed run applies what was shown, and asks no model again

    def _propose(self, turn: AgentTurn) -> Proposal:
        return run_sync(propose(turn, self._agents_of(turn.calls.model)), turn.run.config)

    async def _apropose(self, turn: AgentTurn) -> Proposal:
        return await run_async(propose(turn, self._agents_of(turn.calls.model)), turn.run.config)

    # One run

    def _turn(self, state: Mapping[str, Any], runtime: Runtime[Any], config: RunnableConfig) -> AgentTurn:
        cursor = (state.get("memory_cursor") or {}).get(self.name)
        run = self._run(state, runtime, config, "remember")
        return AgentTurn(self.name, state, run, self._calls.of(state), Outcome(cursor))

    def _run(self, state: Mapping[str, Any], runtime: Runtime[Any], config: RunnableConfig, step: str) -> Run:
        def emit(event: str, data: dict[str, Any]) -> None:
            runtime.stream_writer({"memory": step, "name": self.name, "event": event, **data})

        return Run(self._options, runtime, config, RunMonitor(emit), (state.get("memory_owner") or {}).get(self.name))

    def _apply_one(self, bank: MemoryBank, operation: Operation) -> Change:
        """What the agent does with its tool is redacted and reviewed like what it says."""
        prepared = self._options.prepared
        if self._needs_review is None:
            return apply_one(bank, prepared(operation))
        allowed = approve(bank.fork().apply([prepared(operation)]), self._needs_review, self.name)
        return bank.apply([*map(prepared, allowed.operations)], expect=allowed.expect or None, reason="tool")[0]

    def _agents_of(self, model: BaseChatModel | None) -> MemoryAgents:
        """Return the agents of a run: where no model was given, the one that answered in it."""
        extract, manage = self._agents
        if model is not None and self._extract_with_agents_model:
            extract = agent_for("extract", model, self._style)
        if model is not None and self._manage_with_agents_model:
            manage = agent_for("manage", model, self._style)
        return MemoryAgents(extract, manage)

    def _lasting_agents(self) -> MemoryAgents | None:
        """Return the agents for what earlier runs left; None while that takes the agent's model, and none was seen.

        The baseline must not decide about it meanwhile: it can wait.
        """
        unknown = self._model is None and (self._extract_with_agents_model or self._manage_with_agents_model)
        return None if unknown else self._agents_of(self._model)
