"""Many conversations at once through the very steps that the graph's nodes run, with one batch of model calls a step.

A role asks its model by awaiting an effect (`steps.py`); `run_batched` runs many roles side by side, collects what they
ask, and has it answered in one batch. So a rollout and an evaluation do exactly what the deployed graph does, but for
one thing: a reply of the manager that cannot be read decides nothing, where the graph keeps what it can of it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
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
from langgraph_memory_r1.train.models import ChatPolicy, Completion, Policy
from langgraph_memory_r1.train.rows import Episode
from langgraph_memory_r1.turns import turns_from_input

T = TypeVar("T")

Prompts: TypeAlias = Mapping[int, Sequence[BaseMessage]]
"""What some runs ask their models, by the number of the run."""

_NO_MODEL: Any = partial(RuntimeError, "the model of a role that is run in a batch is never asked itself")


@dataclass(frozen=True, slots=True)
class RolePolicy:
    """How a role decides: by which model, with which prompts, over how many memories."""

    policy: Policy
    style: Style = "compact"
    k: int = 10
    temperature: float = 0.0

    def agent(self, role: Role) -> Agent:
        """Return the role's agent, whose model is asked in batches and never by itself."""
        return Agent(role, _NO_MODEL, self.policy.label, self.style)

    def completions(self, prompts: Prompts) -> dict[int, Completion]:
        """Complete the prompts of some runs in one batch."""
        replies = self.policy.reply(list(prompts.values()), temperature=self.temperature)
        return dict(zip(prompts, replies, strict=True))

    def texts(self, prompts: Prompts) -> dict[int, str]:
        """Complete the prompts of some runs; only the texts."""
        return {number: completion.text for number, completion in self.completions(prompts).items()}


@dataclass(slots=True)
class Rollout:
    """An episode as it went: where the bank stands, and what was decided on the way."""

    episode: Episode
    bank: MemoryFork
    completions: list[tuple[str, Completion]] = field(default_factory=list)
    """The session and the completion of every model call."""
    before: list[MemoryFork] = field(default_factory=list)
    """The bank as it was before every step."""


def run_batched(runs: Sequence[Coroutine[Any, Any, T]], reply: Callable[[Prompts], Mapping[int, str]]) -> list[T]:
    """Run roles side by side and return their results, in order; their model calls are made in batches.

    A round ends when every run waits for its model or is done; then one batch asks for all that wait.

    Args:
        runs: Roles, as `run_sync` and `run_async` take them; of one kind, or of several whose models are the same.
        reply: Replies to the prompts of all that wait.
    """
    results: dict[int, T] = {}
    waiting: dict[int, Sequence[BaseMessage]] = {}

    def go_on(number: int, message: AIMessage | None) -> None:
        try:
            waiting[number] = next_call(runs[number], message).messages
        except StopIteration as stop:
            results[number] = stop.value

    try:
        for number in range(len(runs)):
            go_on(number, None)
        while waiting:
            prompts, waiting = waiting, {}
            texts = reply(prompts)
            for number in prompts:
                go_on(number, AIMessage(texts[number]))
    finally:
        for run in runs:  # where one fails the others are left half-way
            run.close()
    return [results[number] for number in range(len(runs))]


def episodes_of(
    conversations: Sequence[Conversation], extractor: RolePolicy | None = None, limits: Limits | None = None
) -> list[Episode]:
    """Make episodes of conversations: their facts are extracted once, by `rules` or by a model.

    Args:
        conversations: With questions.
        extractor: A model that finds the facts.
        limits: How many turns are one step; as in the graph that will be deployed.
    """
    limits = limits or Limits(batch_turns=1)
    extractor = extractor or RolePolicy(ChatPolicy(RulesChatModel()), style="full")
    agent = extractor.agent("extract")
    batches = [
        (number, batch)
        for number, conversation in enumerate(conversations)
        for batch in batch_turns(turns_from_input(conversation.turns, None), limits)
    ]
    extracted = run_batched([roles.extract(agent, batch, RunMonitor()) for _, batch in batches], extractor.texts)
    steps: list[list[Batch]] = [[] for _ in conversations]
    for (number, _), batch in zip(batches, extracted, strict=True):
        steps[number].append(batch)
    return [
        Episode(conversation.id, tuple(own_steps), conversation.questions)
        for conversation, own_steps in zip(conversations, steps, strict=True)
    ]


def final_replies(role: Role, inputs: Sequence[RoleInput], role_policy: RolePolicy) -> list[str]:
    """Return a role's last reply to each input: as in the graph, what cannot be read is asked for once more."""
    agent = role_policy.agent(role)
    last: dict[int, str] = {}

    def reply(prompts: Prompts) -> dict[int, str]:
        texts = role_policy.texts(prompts)
        last.update(texts)
        return texts

    run_batched([call_role(agent, role_input, RunMonitor()) for role_input in inputs], reply)
    return [last[number] for number in range(len(inputs))]


def roll_out(
    episodes: Sequence[Episode],
    manager: RolePolicy,
    starts: Sequence[MemoryFork] | None = None,
    *,
    salvage: bool = False,
) -> list[Rollout]:
    """Take a manager through episodes side by side, one step of all of them at a time.

    Args:
        episodes: The same one may stand in it several times.
        manager: Decides.
        starts: A bank for each episode, of which a fork is changed; none begins with empty banks.
        salvage: Make of a reply what the graph makes of it, which keeps the good items of one that cannot be read as a
            whole, and adds the facts that it leaves open. Else such a reply changes nothing, so that it earns nothing.
    """
    banks = [start.fork() for start in starts] if starts else [MemoryFork(Index()) for _ in episodes]
    rollouts = [Rollout(episode, bank) for episode, bank in zip(episodes, banks, strict=True)]
    for step in range(max((len(episode.steps) for episode in episodes), default=0)):
        _take_step([rollout for rollout in rollouts if step < len(rollout.episode.steps)], step, manager, salvage)
    return rollouts


def _take_step(rollouts: Sequence[Rollout], step: int, manager: RolePolicy, salvage: bool) -> None:
    """One decision of every rollout, with the completions and the banks before it noted in the rollouts."""
    agent = manager.agent("manage")
    sessions = [rollout.episode.sessions[step] for rollout in rollouts]
    for rollout in rollouts:
        # Rows and re-rolls begin with it; a fork shares what does not change.
        rollout.before.append(rollout.bank.fork())

    def reply(prompts: Prompts) -> dict[int, str]:
        completions = manager.completions(prompts)
        for number, completion in completions.items():
            rollouts[number].completions.append((sessions[number], completion))
        return {number: completion.text for number, completion in completions.items()}

    decisions = [
        roles.manage(each.bank, agent, each.episode.steps[step], manager.k, RunMonitor(), salvage=salvage)
        for each in rollouts
    ]
    run_batched(decisions, reply)


def final_banks(episodes: Sequence[Episode], manager: RolePolicy) -> list[MemoryFork]:
    """Return the banks at the end of episodes that a manager went through from empty ones."""
    return [rollout.bank for rollout in roll_out(episodes, manager)]


def answer_questions(asked: Sequence[tuple[MemoryFork, Question]], answerer: RolePolicy) -> list[Answer]:
    """Return the Answer Agent's answers to questions, each asked of its bank."""
    agent = answerer.agent("answer")
    runs = [roles.answer(bank, agent, question.text, answerer.k, question.at, RunMonitor()) for bank, question in asked]
    return run_batched(runs, answerer.texts)
