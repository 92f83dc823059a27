"""Effects: what a node asks of the outside world, so that it is written once and driven both sync and async.

A node's logic is a generator that yields effects and is sent their results; it does no I/O of its own. The async driver
awaits models and moves everything else that may block (the bank: files, locks, object storage) off the event loop.

    reply = yield Ask(model, messages, "manage")
    changes = yield Do(partial(bank.apply, operations))
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.constants import TAG_NOSTREAM

from langgraph_memory_r1.prompts import PROMPT_VERSION, Style

T = TypeVar("T")

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
class Ask:
    """One call of a chat model."""

    agent: Agent
    messages: Sequence[BaseMessage]
    about: Mapping[str, Any] = field(default_factory=dict)
    """What the messages do not show, such as the ids behind their numbers; stands in the metadata of the call."""


@dataclass(frozen=True, slots=True)
class Do:
    """A call that may block."""

    action: Callable[[], Any]


Steps: TypeAlias = Generator[Ask | Do, Any, T]
"""A node's logic: yields effects, returns its result."""


def drive(steps: Steps[T], config: RunnableConfig | None = None) -> T:
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


async def adrive(steps: Steps[T], config: RunnableConfig | None = None) -> T:
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


def _perform(effect: Ask | Do, config: RunnableConfig | None) -> Any:
    if isinstance(effect, Do):
        return effect.action()
    return effect.agent.model.invoke(list(effect.messages), _config(effect, config))


async def _aperform(effect: Ask | Do, config: RunnableConfig | None) -> Any:
    if isinstance(effect, Do):
        return await asyncio.get_running_loop().run_in_executor(_THREADS, copy_context().run, effect.action)
    return await effect.agent.model.ainvoke(list(effect.messages), _config(effect, config))


def _config(ask: Ask, config: RunnableConfig | None) -> RunnableConfig:
    """Says in traces which role spoke, and keeps the JSON of the roles out of a chat's token stream."""
    known, role = config or {}, ask.agent.role
    metadata = {"memory_role": role, "prompt_version": PROMPT_VERSION, "prompt_style": ask.agent.style, **ask.about}
    return {
        **known,
        "run_name": f"memory_{role}",
        "tags": [*(known.get("tags") or []), TAG_NOSTREAM],
        "metadata": {**(known.get("metadata") or {}), **metadata},
    }
