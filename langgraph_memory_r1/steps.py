"""Effects: what a role asks of the outside world, so that it is written once and runs sync, async and batched.

A role is a coroutine that awaits effects and nothing else; it does no I/O of its own. Whoever runs it decides how an
effect is performed: `run_sync` on this thread, `run_async` without blocking the event loop, `train/rollout.py` for many
conversations at once, with one batch of model calls a step.

    async def decide(bank: MemoryBank, agent: Agent) -> list[Change]:
        memories = await RunBlocking(lambda: bank.search("pets"))      # list[Hit]
        reply = await CallModel(agent, render(...))                    # BaseMessage
        return await RunBlocking(lambda: bank.apply(parse(reply)))     # list[Change]

A further runner needs two things: `next_call`, which runs a role up to its next call of a model, and the reply to give
to `next_call` then, or the error that the model raised. A role that is not run to its end has to be closed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Generator, Iterator, Mapping, Sequence
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar, overload

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.constants import TAG_NOSTREAM

from langgraph_memory_r1.errors import OutputError
from langgraph_memory_r1.prompts import (
    PROMPT_VERSION,
    AnswerInput,
    ExtractInput,
    FactsRead,
    ManageInput,
    OperationsRead,
    RoleInput,
    Style,
    parse,
    references,
    render,
    retry,
    salvage_facts,
    salvage_operations,
)
from langgraph_memory_r1.schemas import Fact, Operation
from langgraph_memory_r1.state import Usage, no_usage
from langgraph_memory_r1.turns import text_of

T = TypeVar("T")

log = logging.getLogger(__name__)

TRIES = 2
"""Calls of a model, the first included, before its reply counts as unreadable."""

_THREADS = ThreadPoolExecutor(64, thread_name_prefix="memory-r1")
# A pool of our own: conversations whose commits wait for each other would take all threads of the event loop's default
# executor, which has a handful (cores + 4) and serves the rest of the application too.


@dataclass(frozen=True, slots=True)
class Agent:
    """A language model in one of the roles."""

    role: str
    model: Runnable[Any, BaseMessage]
    label: str = "model"
    """Stands in the history as the one that decided."""
    style: Style = "full"


@dataclass(frozen=True, slots=True)
class CallModel:
    """One call of a chat model; awaiting it gives the reply."""

    agent: Agent
    messages: Sequence[BaseMessage]
    about: Mapping[str, Any] = field(default_factory=dict)
    """What the messages do not show, such as the ids behind their numbers; stands in the metadata of the call."""

    def __await__(self) -> Generator[CallModel, BaseMessage, BaseMessage]:
        return (yield self)

    def config(self, config: RunnableConfig | None) -> RunnableConfig:
        """Return the config of the call: traces learn the role, a chat's token stream does not get the role's JSON."""
        base, role = config or {}, self.agent.role
        metadata = {"memory_role": role, "prompt_version": PROMPT_VERSION, "prompt_style": self.agent.style}
        return {
            **base,
            "run_name": f"memory_{role}",
            "tags": [*(base.get("tags") or []), TAG_NOSTREAM],
            "metadata": {**(base.get("metadata") or {}), **metadata, **self.about},
        }


@dataclass(frozen=True, slots=True)
class RunBlocking(Generic[T]):
    """A call that may block (the bank: files, locks, object storage); awaiting it gives what the call returns."""

    action: Callable[[], T]

    def __await__(self) -> Generator[RunBlocking[T], T, T]:
        return (yield self)


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait until something of another thread or task is done, or some seconds have passed."""

    done: Future[None]
    seconds: float

    def __await__(self) -> Generator[Wait, None, None]:
        return (yield self)

    def bounds(self) -> tuple[list[Future[None]], float]:
        """Return what a thread that blocks waits for, and how long at most."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return [self.done], self.seconds
        # In a thread with an event loop what is waited for may be a task of that loop, which this would keep from
        # ever going on: a graph that is invoked without `await` there goes on at once.
        return [self.done], 0.0


def run_sync(role: Coroutine[Any, Any, T], config: RunnableConfig | None = None) -> T:
    """Run a role on this thread and return its result."""
    reply: BaseMessage | Exception | None = None
    try:
        while True:
            call = next_call(role, reply)
            try:
                reply = call.agent.model.invoke(list(call.messages), call.config(config))
            except Exception as error:  # the role decides what a failure means
                reply = error
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        role.close()  # Ctrl-C ends the role where it stands: its own `finally` must run now, not when it is collected


async def run_async(role: Coroutine[Any, Any, T], config: RunnableConfig | None = None) -> T:
    """Run a role without blocking the event loop and return its result."""
    try:
        effect = _checked(role, role.send(None))
        while True:
            result: Any
            try:
                if isinstance(effect, CallModel):
                    result = await effect.agent.model.ainvoke(list(effect.messages), effect.config(config))
                elif isinstance(effect, Wait):
                    # A task that is cancelled here leaves the future to whom it belongs.
                    result = await asyncio.wait([asyncio.wrap_future(effect.done)], timeout=effect.seconds)
                else:
                    result = await _in_thread(effect)
            except Exception as error:  # the role decides what a failure means
                effect = _checked(role, role.throw(error))
            else:
                effect = _checked(role, role.send(result))
    except StopIteration as stop:
        value: T = stop.value
        return value
    finally:
        role.close()  # a task that is cancelled while it waits leaves a role half-way


def next_call(role: Coroutine[Any, Any, Any], reply: BaseMessage | Exception | None = None) -> CallModel:
    """Run a role on this thread up to its next call of a model.

    Args:
        role: A role, new or waiting for a model.
        reply: What the model said to the call before, or the error that it raised; None at the beginning.

    Raises:
        StopIteration: The role is done; its `value` is the result.
    """
    effect = _checked(role, role.throw(reply) if isinstance(reply, Exception) else role.send(reply))
    while not isinstance(effect, CallModel):
        try:
            result = effect.action() if isinstance(effect, RunBlocking) else futures.wait(*effect.bounds())
        except Exception as error:  # the role decides what a failure means
            effect = _checked(role, role.throw(error))
        else:
            effect = _checked(role, role.send(result))
    return effect


async def _in_thread(effect: RunBlocking[T]) -> T:
    """Do what may block in a thread; a task that is cancelled meanwhile ends when that is done.

    Otherwise a commit would go on behind the back of whoever cancelled, and be neither there nor not there when the
    same turn is sent again.
    """
    # LangGraph keeps the run's config and stream in context variables, which threads do not inherit.
    job = _THREADS.submit(copy_context().run, effect.action)
    result = asyncio.wrap_future(job)
    try:
        return await asyncio.shield(result)
    except asyncio.CancelledError:
        if not job.cancel():
            await asyncio.wait([result])
            result.exception()  # nobody else asks for it, which asyncio would complain about
        raise


def _checked(role: Coroutine[Any, Any, Any], effect: object) -> CallModel | RunBlocking[Any] | Wait:
    """Return what a role awaits if it is an effect; anything else is an error where it is awaited."""
    while not isinstance(effect, (CallModel, RunBlocking, Wait)):
        # Thrown in, so that the traceback shows the line. To wait for it here would need an event loop, which two of
        # the three runners do not have: a role that sleeps or reads a socket would work in `ainvoke` alone.
        effect = role.throw(
            TypeError(f"A role awaited {effect!r:.80}; it may only await CallModel, RunBlocking, Wait and other roles.")
        )
    return effect


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What a model said last, and why it could not be read, after all tries."""

    text: str
    problem: str


Emit: TypeAlias = Callable[[str, dict[str, Any]], None]
"""Takes an event of a run: its kind, and what belongs to it."""


class RunMonitor:
    """Counts what a run costs, over its nodes, and emits what happens in it.

    Args:
        emit: Takes the events; without it they go nowhere.
        usage: What the nodes before have cost.
    """

    def __init__(self, emit: Emit | None = None, usage: Usage | None = None) -> None:
        self.emit: Emit = emit or (lambda event, data: None)
        self.bank_key: str | None = None
        """Which bank the run works on; see `MemoryBank.key`."""
        self.usage: Usage = {**no_usage(), **(usage or {})}  # type: ignore[typeddict-item]  # a checkpoint may lack one

    @contextmanager
    def timing(self) -> Iterator[None]:
        """Count the time of one step: a node of the graph, a hook of the middleware, or a job in the background."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.usage = {**self.usage, "ms": round(self.usage["ms"] + milliseconds_since(start), 3)}

    def count_call(self, reply: BaseMessage, start: float) -> None:
        """Count one call of a model that began at `start` (of `time.perf_counter`)."""
        tokens = reply.usage_metadata if isinstance(reply, AIMessage) else None
        self.usage = {
            **self.usage,
            "calls": self.usage["calls"] + 1,
            "input_tokens": self.usage["input_tokens"] + (tokens["input_tokens"] if tokens else 0),
            "output_tokens": self.usage["output_tokens"] + (tokens["output_tokens"] if tokens else 0),
            "model_ms": round(self.usage["model_ms"] + milliseconds_since(start), 3),
        }

    def count_unreadable(self, agent: Agent, problem: str) -> None:
        """Count a reply that cannot be read, log and emit it."""
        self.usage = {**self.usage, "unreadable": self.usage["unreadable"] + 1}
        log.warning("The %s model %r gave a reply that cannot be read: %s", agent.role, agent.label, problem)
        self.emit("unreadable", {"reason": problem})

    def count_undecided(self, facts: int) -> None:
        """Count facts that were added because no decision about them could be read."""
        self.usage = {**self.usage, "undecided": self.usage["undecided"] + facts}


@overload
async def call_role(agent: Agent, role_input: ExtractInput, monitor: RunMonitor) -> tuple[Fact, ...] | Unreadable: ...
@overload
async def call_role(
    agent: Agent, role_input: ManageInput, monitor: RunMonitor
) -> tuple[Operation, ...] | Unreadable: ...
@overload
async def call_role(
    agent: Agent, role_input: AnswerInput, monitor: RunMonitor
) -> tuple[str, tuple[int, ...]] | Unreadable: ...
async def call_role(agent: Agent, role_input: RoleInput, monitor: RunMonitor) -> Any:
    """Ask the model of a role and return what it decided; a reply that cannot be read is asked for once more.

    Returns:
        What `prompts.parse` returns for this input, or `Unreadable`; an `OutputError` never comes out.
    """
    prompt = messages = render(role_input, agent.style)
    unreadable = Unreadable("", "")
    for _ in range(TRIES):
        text = await _ask(agent, messages, role_input, monitor)
        try:
            return parse(text, role_input)
        except OutputError as error:
            unreadable = Unreadable(text, str(error))
        monitor.count_unreadable(agent, unreadable.problem)
        messages = retry(prompt, text, unreadable.problem)
    return unreadable


@overload
async def call_for_parts(agent: Agent, role_input: ExtractInput, monitor: RunMonitor) -> FactsRead: ...
@overload
async def call_for_parts(agent: Agent, role_input: ManageInput, monitor: RunMonitor) -> OperationsRead: ...
async def call_for_parts(agent: Agent, role_input: ExtractInput | ManageInput, monitor: RunMonitor) -> Any:
    """Ask the model of a role and keep what can be read of its reply; it is asked once more for the rest alone.

    Returns:
        What both replies gave together, and what they left open.
    """
    prompt = messages = render(role_input, agent.style)
    salvage: Callable[..., Any] = salvage_facts if isinstance(role_input, ExtractInput) else salvage_operations
    reading: FactsRead | OperationsRead | None = None
    for _ in range(TRIES):
        text = await _ask(agent, messages, role_input, monitor)
        reading = salvage(text, role_input, reading)
        if reading.problem:
            monitor.count_unreadable(agent, reading.problem)
        if reading.complaint is None:
            break
        messages = retry(prompt, text, reading.complaint)
    return reading


async def _ask(agent: Agent, messages: Sequence[BaseMessage], role_input: RoleInput, monitor: RunMonitor) -> str:
    """Call the model of a role once and return the text of its reply."""
    start = time.perf_counter()
    about = {"memory_bank": monitor.bank_key, "memory_refs": references(role_input)}
    reply = await CallModel(agent, messages, about)
    monitor.count_call(reply, start)
    return text_of(reply.content)[0]


def milliseconds_since(start: float) -> float:
    """Return the milliseconds since a moment of `time.perf_counter`."""
    return (time.perf_counter() - start) * 1000
