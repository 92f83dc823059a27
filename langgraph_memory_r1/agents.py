"""Asking a model that plays a role: what it costs is counted, a reply that cannot be read is asked for once more."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from langchain_core.messages import AIMessage, BaseMessage

from langgraph_memory_r1.errors import OutputError
from langgraph_memory_r1.prompts import RoleInput, parse, references, render, retry
from langgraph_memory_r1.state import Usage
from langgraph_memory_r1.steps import Agent, Ask, Steps
from langgraph_memory_r1.turns import text_of

log = logging.getLogger(__name__)

TRIES = 2


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What a model said last, and why it could not be read, after all tries."""

    text: str
    complaint: str


Tell: TypeAlias = Callable[[str, dict[str, Any]], None]
"""Tells the world outside what happens: the kind of event, and what belongs to it."""


class Progress:
    """Counts what a run costs, over its nodes, and tells what happens in it."""

    def __init__(self, tell: Tell | None = None, so_far: Usage | None = None) -> None:
        """Goes on from the counts of the nodes before."""
        self.tell: Tell = tell or (lambda event, data: None)
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

    def complain(self, agent: Agent, complaint: str) -> None:
        """Counts a reply that could not be read, and says so."""
        self.usage = {**self.usage, "unreadable": self.usage["unreadable"] + 1}
        log.warning("The %s model %r gave a reply that cannot be read: %s", agent.role, agent.label, complaint)
        self.tell("unreadable", {"complaint": complaint})


def consult(agent: Agent, given: RoleInput, progress: Progress) -> Steps[Any]:
    """What the model decides for this input, or `Unreadable`; never an `OutputError`."""
    prompt = messages = render(given, agent.style)
    about = {"memory_bank": progress.bank, "memory_refs": references(given)}
    unreadable = Unreadable("", "")
    for _ in range(TRIES):
        start = time.perf_counter()
        reply: BaseMessage = yield Ask(agent, messages, about)
        progress.count(reply, start)
        text, _skipped = text_of(reply.content)
        try:
            return parse(text, given)
        except OutputError as error:
            unreadable = Unreadable(text, str(error))
        progress.complain(agent, unreadable.complaint)
        messages = retry(prompt, text, unreadable.complaint)
    return unreadable


def _since(start: float) -> float:
    return (time.perf_counter() - start) * 1000
