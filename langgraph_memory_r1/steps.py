"""Effects: what a node asks of the outside world, so that it is written once and driven both sync and async.

A node's logic is a generator that yields effects and is sent their results; it does no I/O of its own. The async driver
awaits models and moves everything else that may block (the bank: files, locks, object storage) off the event loop.

    reply = yield CallModel(model, messages, "manage")
    changes = yield RunBlocking(partial(bank.apply, operations))
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.constants import TAG_NOSTREAM

from langgraph_memory_r1.errors import OutputError
from langgraph_memory_r1.prompts import PROMPT_VERSION, RoleInput, Style, parse, references, render, retry
from langgraph_memory_r1.state import Usage
from langgraph_memory_r1.turns import text_of

T = TypeVar("T")

log = logging.getLogger(__name__)

TRIES = 2

_THREADS = ThreadPoolExecutor(64, thread_name_prefix="memory-r1")
"""Conversations that wait for a commit share it; the loop's own threads are few, and for others too."""


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
    """One call of a chat model."""

    agent: Agent
    messages: Sequence[BaseMessage]
    about: Mapping[str, Any] = field(default_factory=dict)
    """What the messages do not show, such as the ids behind their numbers; stands in the metadata of the call."""


@dataclass(frozen=True, slots=True)
class RunBlocking:
    """A call that may block."""

    action: Callable[[], Any]


Steps: TypeAlias = Generator[CallModel | RunBlocking, Any, T]
"""A node's logic: yields effects, returns its result."""


def run_sync(steps: Steps[T], config: RunnableConfig | None = None) -> T:
    """Runs the steps, on this thread."""
    try:
        effect = next(steps)
        while True:
            try:
                result = _perform(effect, config)
            except Exception as error:  # the steps decide what a failure means
                effect = steps.throw(error)
            else:
                effect = steps.send(result)
    except StopIteration as stop:
        value: T = stop.value
        return value


async def run_async(steps: Steps[T], config: RunnableConfig | None = None) -> T:
    """Runs the steps without blocking the event loop."""
    try:
        effect = next(steps)
        while True:
            try:
                result = await _aperform(effect, config)
            except Exception as error:  # the steps decide what a failure means
                effect = steps.throw(error)
            else:
                effect = steps.send(result)
    except StopIteration as stop:
        value: T = stop.value
        return value


def _perform(effect: CallModel | RunBlocking, config: RunnableConfig | None) -> Any:
    if isinstance(effect, RunBlocking):
        return effect.action()
    return effect.agent.model.invoke(list(effect.messages), _config(effect, config))


async def _aperform(effect: CallModel | RunBlocking, config: RunnableConfig | None) -> Any:
    if isinstance(effect, RunBlocking):
        return await asyncio.get_running_loop().run_in_executor(_THREADS, copy_context().run, effect.action)
    return await effect.agent.model.ainvoke(list(effect.messages), _config(effect, config))


def _config(ask: CallModel, config: RunnableConfig | None) -> RunnableConfig:
    """Says in traces which role spoke, and keeps the JSON of the roles out of a chat's token stream."""
    known, role = config or {}, ask.agent.role
    metadata = {"memory_role": role, "prompt_version": PROMPT_VERSION, "prompt_style": ask.agent.style, **ask.about}
    return {
        **known,
        "run_name": f"memory_{role}",
        "tags": [*(known.get("tags") or []), TAG_NOSTREAM],
        "metadata": {**(known.get("metadata") or {}), **metadata},
    }


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What a model said last, and why it could not be read, after all tries."""

    text: str
    complaint: str


Emit: TypeAlias = Callable[[str, dict[str, Any]], None]
"""Tells the world outside what happens: the kind of event, and what belongs to it."""


class RunMonitor:
    """Counts what a run costs, over its nodes, and tells what happens in it."""

    def __init__(self, emit: Emit | None = None, so_far: Usage | None = None) -> None:
        """Goes on from the counts of the nodes before."""
        self.emit: Emit = emit or (lambda event, data: None)
        self.bank: str | None = None
        """Which bank the run works on; see `MemoryBank.key`."""
        self.usage: Usage = so_far or Usage(
            calls=0, input_tokens=0, output_tokens=0, unreadable=0, model_ms=0.0, ms=0.0
        )

    @contextmanager
    def timing(self) -> Iterator[None]:
        """Counts the time of one node."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.usage = {**self.usage, "ms": round(self.usage["ms"] + _since(start), 3)}

    def count(self, reply: BaseMessage, start: float) -> None:
        """Counts one call of a model."""
        tokens = reply.usage_metadata if isinstance(reply, AIMessage) else None
        self.usage = {
            **self.usage,
            "calls": self.usage["calls"] + 1,
            "input_tokens": self.usage["input_tokens"] + (tokens["input_tokens"] if tokens else 0),
            "output_tokens": self.usage["output_tokens"] + (tokens["output_tokens"] if tokens else 0),
            "model_ms": round(self.usage["model_ms"] + _since(start), 3),
        }

    def report_unreadable(self, agent: Agent, complaint: str) -> None:
        """Counts a reply that could not be read, and says so."""
        self.usage = {**self.usage, "unreadable": self.usage["unreadable"] + 1}
        log.warning("The %s model %r gave a reply that cannot be read: %s", agent.role, agent.label, complaint)
        self.emit("unreadable", {"complaint": complaint})


def call_role(agent: Agent, given: RoleInput, monitor: RunMonitor) -> Steps[Any]:
    """What the model decides for this input, or `Unreadable`; never an `OutputError`."""
    prompt = messages = render(given, agent.style)
    about = {"memory_bank": monitor.bank, "memory_refs": references(given)}
    unreadable = Unreadable("", "")
    for _ in range(TRIES):
        start = time.perf_counter()
        reply: BaseMessage = yield CallModel(agent, messages, about)
        monitor.count(reply, start)
        text, _skipped = text_of(reply.content)
        try:
            return parse(text, given)
        except OutputError as error:
            unreadable = Unreadable(text, str(error))
        monitor.report_unreadable(agent, unreadable.complaint)
        messages = retry(prompt, text, unreadable.complaint)
    return unreadable


def _since(start: float) -> float:
    return (time.perf_counter() - start) * 1000
