"""Many conversations at once through the very steps that the graph's nodes run, with one batch of model calls a step.

A role asks its model by yielding an effect (`effects.py`); `drive_all` drives many roles side by side, collects what
they ask, and has it answered in one batch. So a rollout and an evaluation do exactly what the deployed graph does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from langchain_core.messages import AIMessage, BaseMessage

from langgraph_memory_r1 import roles
from langgraph_memory_r1.agents import Progress
from langgraph_memory_r1.effects import Agent, Ask, Do, Steps
from langgraph_memory_r1.memories import MemoryFork
from langgraph_memory_r1.prompts import Style
from langgraph_memory_r1.retrieval import Index
from langgraph_memory_r1.roles import Batch
from langgraph_memory_r1.schemas import Answer, Question
from langgraph_memory_r1.train.policy import Policy

T = TypeVar("T")

Ready = Callable[[Sequence[Sequence[BaseMessage]]], Sequence[str]]
"""Replies to prompts, all at once."""


@dataclass(frozen=True, slots=True)
class Episode:
    """A conversation as the Memory Manager meets it: one batch of facts a step; then the questions."""

    id: str
    steps: tuple[Batch, ...]
    questions: tuple[Question, ...] = ()
    sessions: tuple[str, ...] = ()
    """The session of every step."""


@dataclass(frozen=True, slots=True)
class Deciding:
    """How a role decides: by which model, with which prompts, over how many memories."""

    policy: Policy
    style: Style = "compact"
    k: int = 10
    temperature: float = 0.0

    def ready(self, prompts: Sequence[Sequence[BaseMessage]]) -> list[str]:
        """The replies, as texts."""
        return [reply.text for reply in self.policy.reply(prompts, temperature=self.temperature)]


def drive_all(runs: Sequence[Steps[T]], ready: Ready) -> list[T]:
    """The results of all runs, in their order; what they ask at the same time is asked in one batch."""
    results: dict[int, T] = {}
    waiting = {place: effect for place, run in enumerate(runs) if (effect := _advance(run, None, place, results))}
    while waiting:
        replies = ready([effect.messages for effect in waiting.values()])
        answered = zip(list(waiting), replies, strict=True)
        moved = {place: _advance(runs[place], AIMessage(reply), place, results) for place, reply in answered}
        waiting = {place: effect for place, effect in moved.items() if effect is not None}
    return [results[place] for place in range(len(runs))]


def remember(episodes: Sequence[Episode], manager: Deciding) -> list[MemoryFork]:
    """The banks at the end of the episodes: empty at first, then step by step what the manager decides."""
    banks = [MemoryFork(Index()) for _ in episodes]
    agent = Agent("manage", _NOBODY, manager.policy.label, manager.style)
    for step in range(max((len(episode.steps) for episode in episodes), default=0)):
        there = [place for place, episode in enumerate(episodes) if step < len(episode.steps)]
        runs = [
            roles.manage(banks[place], agent, episodes[place].steps[step], manager.k, Progress()) for place in there
        ]
        drive_all(runs, manager.ready)
    return banks


def ask(asked: Sequence[tuple[MemoryFork, Question]], answerer: Deciding) -> list[Answer]:
    """The Answer Agent's answers from banks."""
    agent = Agent("answer", _NOBODY, answerer.policy.label, answerer.style)
    runs = [
        roles.answer(bank, agent, question.text, answerer.k, question.at, Progress()) for bank, question in asked
    ]
    return drive_all(runs, answerer.ready)


def _advance(run: Steps[T], value: Any, place: int, results: dict[int, T]) -> Ask | None:
    """Runs on to the next question to a model; None at the end."""
    try:
        effect = run.send(value)
        while isinstance(effect, Do):
            try:
                done = effect.action()
            except Exception as error:  # the steps decide what a failure means
                effect = run.throw(error)
            else:
                effect = run.send(done)
    except StopIteration as stop:
        results[place] = stop.value
        return None
    return effect


_NOBODY: Any = partial(RuntimeError, "the model of a role that is driven in a batch is never asked itself")
