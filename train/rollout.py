"""Many conversations at once through the very steps that the graph's nodes run, with one batch of model calls a step.

A role asks its model by awaiting an effect (`steps.py`); `run_batched` drives many roles side by side, collects what
they ask, and has it answered in one batch. So a rollout and an evaluation do exactly what the deployed graph does.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeAlias, TypeVar

from langchain_core.messages import AIMessage, BaseMessage

from langgraph_memory_r1 import roles
from langgraph_memory_r1.bank.base import MemoryFork
from langgraph_memory_r1.batches import Batch, Limits, batch_turns
from langgraph_memory_r1.models import RulesChatModel
from langgraph_memory_r1.prompts import Role, RoleInput, Style
from langgraph_memory_r1.retrieval import Index
from langgraph_memory_r1.schemas import Answer, Conversation, Question
from langgraph_memory_r1.steps import Agent, RunMonitor, call_role, next_call
from langgraph_memory_r1.train.models import ChatPolicy, Policy, Reply
from langgraph_memory_r1.turns import turns_from_input

T = TypeVar("T")

Prompt: TypeAlias = Sequence[BaseMessage]
Ready: TypeAlias = Callable[[Mapping[int, Prompt]], Mapping[int, str]]
"""Replies to the prompts of some runs, all at once."""


@dataclass(frozen=True, slots=True)
class Episode:
    """A conversation as the Memory Manager meets it: one batch of facts a step; then the questions."""

    id: str
    steps: tuple[Batch, ...]
    questions: tuple[Question, ...] = ()

    @property
    def sessions(self) -> tuple[str, ...]:
        """The session of every step."""
        return tuple(step.turns[0].session or "" for step in self.steps)

    def part(self, start: int, stop: int) -> Episode:
        """The episode's steps from one to before another."""
        return replace(self, steps=self.steps[max(0, start) : stop])

    def within(self, session: str) -> Episode:
        """The episode's steps of one session."""
        steps = zip(self.steps, self.sessions, strict=True)
        return replace(self, steps=tuple(step for step, at in steps if at == session))


@dataclass(frozen=True, slots=True)
class Deciding:
    """How a role decides: by which model, with which prompts, over how many memories."""

    policy: Policy
    style: Style = "compact"
    k: int = 10
    temperature: float = 0.0

    def ready(self, prompts: Mapping[int, Prompt]) -> dict[int, str]:
        """The replies, as texts."""
        return {place: reply.text for place, reply in self.replies(prompts).items()}

    def replies(self, prompts: Mapping[int, Prompt]) -> dict[int, Reply]:
        """The replies to the prompts of some runs."""
        said = self.policy.reply(list(prompts.values()), temperature=self.temperature)
        return dict(zip(prompts, said, strict=True))


@dataclass(slots=True)
class Rollout:
    """An episode as it went: where the bank stands, and what was said on the way."""

    episode: Episode
    bank: MemoryFork
    moves: list[tuple[str, Reply]] = field(default_factory=list)
    """The session and the reply of every model call."""
    before: list[MemoryFork] = field(default_factory=list)
    """The bank as it was before every step."""


def episodes_of(
    conversations: Sequence[Conversation], extractor: Deciding | None = None, limits: Limits | None = None
) -> list[Episode]:
    """Conversations as episodes: their facts are extracted once, by `rules` or by a model.

    Args:
        conversations: With questions.
        extractor: A model that finds the facts.
        limits: How many turns are one step; as in the graph that will be deployed.
    """
    limits = limits or Limits(batch_turns=1)
    extractor = extractor or Deciding(ChatPolicy(RulesChatModel()), style="full")
    agent = Agent("extract", _NOBODY, extractor.policy.label, extractor.style)
    groups = [
        (place, group)
        for place, conversation in enumerate(conversations)
        for group in batch_turns(turns_from_input(conversation.turns, None), limits)
    ]
    found = run_batched([roles.extract(agent, group, RunMonitor()) for _, group in groups], extractor.ready)
    steps: dict[int, list[Batch]] = {}
    for (place, _), batch in zip(groups, found, strict=True):
        steps.setdefault(place, []).append(batch)
    return [
        Episode(conversation.id, tuple(steps.get(place, ())), conversation.questions)
        for place, conversation in enumerate(conversations)
    ]


def run_batched(runs: Sequence[Coroutine[Any, Any, T]], ready: Ready) -> list[T]:
    """Run roles side by side and return their results, in their order; their model calls are made in batches.

    Args:
        runs: Roles, as `run_sync` and `run_async` take them.
        ready: Replies to the prompts of all that wait, by their numbers.
    """
    results: dict[int, T] = {}
    waiting: dict[int, Prompt] = {}

    def go_on(number: int, reply: AIMessage | None) -> None:
        try:
            waiting[number] = next_call(runs[number], reply).messages
        except StopIteration as stop:
            results[number] = stop.value

    try:
        for number in range(len(runs)):
            go_on(number, None)
        while waiting:
            replies = ready(waiting)
            asked, waiting = list(waiting), {}
            for number in asked:
                go_on(number, AIMessage(replies[number]))
    finally:
        for run in runs:  # where one fails the others are left half-way
            run.close()
    return [results[number] for number in range(len(runs))]


def final_replies(role: Role, given: Sequence[RoleInput], deciding: Deciding) -> list[str]:
    """What a role says to each input in the end: as in the graph, what cannot be read is asked for once more."""
    agent = Agent(role, _NOBODY, deciding.policy.label, deciding.style)
    last: dict[int, str] = {}

    def ready(prompts: Mapping[int, Prompt]) -> dict[int, str]:
        replies = deciding.ready(prompts)
        last.update(replies)
        return replies

    run_batched([call_role(agent, each, RunMonitor()) for each in given], ready)
    return [last[place] for place in range(len(given))]


def roll(episodes: Sequence[Episode], manager: Deciding, starts: Sequence[MemoryFork] | None = None) -> list[Rollout]:
    """Run episodes side by side, each from an empty bank or from a fork of the one that is given for it."""
    banks = [start.fork() for start in starts] if starts else [MemoryFork(Index()) for _ in episodes]
    rollouts = [Rollout(episode, bank) for episode, bank in zip(episodes, banks, strict=True)]
    for step in range(max((len(episode.steps) for episode in episodes), default=0)):
        _decide([rollout for rollout in rollouts if step < len(rollout.episode.steps)], step, manager)
    return rollouts


def remember(episodes: Sequence[Episode], manager: Deciding) -> list[MemoryFork]:
    """The banks at the end of the episodes."""
    return [rollout.bank for rollout in roll(episodes, manager)]


def ask(asked: Sequence[tuple[MemoryFork, Question]], answerer: Deciding) -> list[Answer]:
    """The Answer Agent's answers from banks."""
    agent = Agent("answer", _NOBODY, answerer.policy.label, answerer.style)
    runs = [roles.answer(bank, agent, question.text, answerer.k, question.at, RunMonitor()) for bank, question in asked]
    return run_batched(runs, answerer.ready)


def _decide(rollouts: Sequence[Rollout], step: int, manager: Deciding) -> None:
    """One step of every rollout."""
    agent = Agent("manage", _NOBODY, manager.policy.label, manager.style)
    sessions = [rollout.episode.sessions[step] for rollout in rollouts]
    for rollout in rollouts:
        rollout.before.append(rollout.bank.fork())

    def ready(prompts: Mapping[int, Prompt]) -> dict[int, str]:
        replies = manager.replies(prompts)
        for place, reply in replies.items():
            rollouts[place].moves.append((sessions[place], reply))
        return {place: reply.text for place, reply in replies.items()}

    run_batched([roles.manage(r.bank, agent, r.episode.steps[step], manager.k, RunMonitor()) for r in rollouts], ready)


_NOBODY: Any = partial(RuntimeError, "the model of a role that is driven in a batch is never asked itself")
