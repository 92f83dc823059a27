"""Rewards: what the Answer Agent makes of a decision (Memory-R1, section 3), as TRL reward functions.

    AnswerReward    the reply's own answer against the gold answer
    ManagerReward   the frozen Answer Agent's score after the sampled operations are applied to a fork of the bank
    FormatReward    1 where the reply can be read
    SizeReward      minus what the bank grows by beyond what was said (Memory-R2, section 3.2)

Each is a column of its own in the logs. A reward that cannot be computed is None, which takes the sample out of its
group; it is never 0.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from langchain_core.messages import BaseMessage

from langgraph_memory_r1 import roles, scoring
from langgraph_memory_r1.bank.base import MemoryFork
from langgraph_memory_r1.errors import InputError, OutputError
from langgraph_memory_r1.prompts import AnswerInput, RoleInput, clean, parse, render
from langgraph_memory_r1.retrieval import Index
from langgraph_memory_r1.schemas import Operation
from langgraph_memory_r1.train.rollout import Deciding, final_replies
from langgraph_memory_r1.train.rows import AnswerRow, ManagerRow, Probe, Row

Metric: TypeAlias = Callable[[str, str], float | None]
"""Of an answer and the gold answer, between 0 and 1."""

Completions: TypeAlias = Sequence[Any]
"""As TRL gives them: texts, or lists of one assistant message."""

FREE_GROWTH = 0.7
"""A bank may grow by this share of what was said before its size counts (Memory-R2, section 3.2)."""


class Judge:
    """The frozen Answer Agent, which remembers what it has answered.

    Its replies are greedy, so the same question over the same memories has one answer, however many operations led
    there: most of the group of a decision do.
    """

    def __init__(self, answerer: Deciding, metric: Metric = scoring.em) -> None:
        if answerer.temperature:
            raise InputError("A frozen Answer Agent is greedy; set its temperature to 0.")
        self.answerer, self.metric = answerer, metric
        self.asked = self.found = 0
        self.memo: dict[str, str] = {}
        """Answers by a hash of the answerer and the rendered prompt; may be kept and set again."""
        self._answers: dict[Hashable, str] = {}

    def scores(self, states: Sequence[tuple[MemoryFork, Sequence[Probe]]]) -> list[float | None]:
        """For every bank the mean score of its probes; None where there is no probe that can be scored."""
        inputs = [[self._given(bank, probe) for probe in probes] for bank, probes in states]
        self._answer([given for row in inputs for given in row])
        return [
            _mean(self.metric(self._answers[_key(given)], probe.gold) for given, probe in zip(row, probes, strict=True))
            for row, (_, probes) in zip(inputs, states, strict=True)
        ]

    def _given(self, bank: MemoryFork, probe: Probe) -> AnswerInput:
        memories = roles.retrieve(bank, probe.question, self.answerer.k)
        return AnswerInput(probe.question, tuple(memories), probe.at)

    def _answer(self, asked: Iterable[AnswerInput]) -> None:
        every = [(_key(given), given) for given in asked]
        new = {key: given for key, given in every if key not in self._answers}
        self.asked, self.found = self.asked + len(every), self.found + len(every) - len(new)
        self._answers |= {key: roles.DONT_KNOW for key, given in new.items() if not given.memories}
        prompts = {key: render(given, self.answerer.style) for key, given in new.items() if given.memories}
        names = {key: self._name(prompt) for key, prompt in prompts.items()}
        unknown = {name: key for key, name in names.items() if name not in self.memo}
        replies = final_replies("answer", [new[key] for key in unknown.values()], self.answerer)
        for reply, (name, key) in zip(replies, unknown.items(), strict=True):
            self.memo[name] = answer_of(reply, new[key])
        self._answers |= {key: self.memo[name] for key, name in names.items()}

    def _name(self, prompt: Sequence[BaseMessage]) -> str:
        shown = "\0".join([self.answerer.policy.label, *(f"{message.type}:{message.content}" for message in prompt)])
        return hashlib.sha256(shown.encode("utf-8", "surrogatepass")).hexdigest()


class RowReward(ABC):
    """A TRL reward function over rows: finds each completion's row by the column `row_id`."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows: Mapping[str, Row] = {row.id: row for row in rows}
        self.__name__ = type(self).__name__
        self.last: list[float | None] = []
        """What the last call returned; PPO needs rewards as they are, not relative to a group."""

    async def __call__(self, completions: Completions, row_id: Sequence[str], **columns: Any) -> list[float | None]:
        """One reward per completion."""
        sampled = [(self.rows[key], text_of(completion)) for key, completion in zip(row_id, completions, strict=True)]
        self.last = [finite(reward) for reward in self.rewards(sampled)]
        return self.last

    @abstractmethod
    def rewards(self, sampled: Sequence[tuple[Row, str]]) -> list[float | None]:
        """One reward per row and completion."""


class ManagerReward(RowReward):
    """The frozen Answer Agent's score on a row's probes, once the operations are applied to a fork of its bank.

    A completion that cannot be read leaves the bank as it is, as in the graph.
    """

    def __init__(self, rows: Iterable[ManagerRow], judge: Judge) -> None:
        super().__init__(rows)
        self.judge = judge
        self._banks = {row.id: MemoryFork(Index(row.bank)) for row in self.rows.values() if isinstance(row, ManagerRow)}

    def rewards(self, sampled: Sequence[tuple[Row, str]]) -> list[float | None]:
        """The Judge's scores; equal decisions on a row are judged once."""
        decided = [(row, operations_of(row, text)) for row, text in sampled if isinstance(row, ManagerRow)]
        distinct = {(row.id, operations): row for row, operations in decided}
        states = [(after(self._banks[row.id], key[1]), row.probes) for key, row in distinct.items()]
        scores = dict(zip(distinct, self.judge.scores(states), strict=True))
        return [scores[row.id, operations] for row, operations in decided]


class AnswerReward(RowReward):
    """The score of the reply's own answer."""

    def __init__(self, rows: Iterable[AnswerRow], metric: Metric = scoring.em) -> None:
        super().__init__(rows)
        self.metric = metric

    def rewards(self, sampled: Sequence[tuple[Row, str]]) -> list[float | None]:
        """The metric of the answers."""
        return [
            self.metric(answer_of(text, row.given), row.gold) for row, text in sampled if isinstance(row, AnswerRow)
        ]


class FormatReward(RowReward):
    """1 where the reply can be read without repair by a second try, else 0."""

    def rewards(self, sampled: Sequence[tuple[Row, str]]) -> list[float | None]:
        """0 or 1."""
        return [float(_is_readable(text, row.given)) for row, text in sampled]


class SizeReward(RowReward):
    """Minus the growth of the bank beyond `FREE_GROWTH` of what was said, both in words; 0 is best."""

    def rewards(self, sampled: Sequence[tuple[Row, str]]) -> list[float | None]:
        """At most 0."""
        return [-growth(row, operations_of(row, text)) for row, text in sampled if isinstance(row, ManagerRow)]


@dataclass(frozen=True, slots=True)
class Weighted:
    """A reward function and its weight in the sum that is learned from."""

    reward: RowReward
    weight: float = 1.0


def operations_of(row: ManagerRow, text: str) -> tuple[Operation, ...] | None:
    """What a completion decides; None where it cannot be read."""
    try:
        return parse(text, row.given)
    except OutputError:
        return None


def after(bank: MemoryFork, operations: tuple[Operation, ...] | None) -> MemoryFork:
    """The bank once the operations are applied; the given one stays as it is."""
    fork = bank.fork()
    if operations:
        fork.apply(operations)
    return fork


def answer_of(text: str, given: AnswerInput) -> str:
    """The answer in a reply; one that cannot be read is its own answer, as in the graph."""
    try:
        return parse(text, given)[0]
    except OutputError:
        return clean(text[:2000]) or roles.DONT_KNOW


def growth(row: ManagerRow, operations: tuple[Operation, ...] | None) -> float:
    """By how much more than `FREE_GROWTH` of the facts' words the bank grows, as a share of them."""
    said = max(1, sum(_words(fact.text) for fact in row.facts))
    texts = {memory.id: memory.text for memory in row.bank}
    grown = sum(_growth(operation, texts) for operation in operations or ())
    return max(0.0, grown - FREE_GROWTH * said) / said


def text_of(completion: Any) -> str:
    """The text of a completion as TRL gives it."""
    return completion if isinstance(completion, str) else str(completion[-1]["content"])


def _growth(operation: Operation, texts: Mapping[str, str]) -> int:
    if operation.event == "NOOP":
        return 0
    before = 0 if operation.event == "ADD" else _words(texts.get(operation.id, ""))
    return (0 if operation.event == "DELETE" else _words(operation.text)) - before


def _is_readable(text: str, given: RoleInput) -> bool:
    try:
        parse(text, given)
    except OutputError:
        return False
    return True


def _key(given: AnswerInput) -> Hashable:
    """All that the prompt shows, which is cheaper than the prompt."""
    return given.question, given.at, tuple((m.text, m.speaker, m.at) for m in given.memories)


def _mean(scores: Iterable[float | None]) -> float | None:
    known = [score for score in map(finite, scores) if score is not None]
    return sum(known) / len(known) if known else None


def finite(reward: float | None) -> float | None:
    """The same number: NaN would poison its group's mean without a word.

    Raises:
        InputError: The reward is not a number.
    """
    if reward is not None and not math.isfinite(reward):
        raise InputError(f"A metric gave {reward}; a reward that cannot be computed is None.")
    return reward


def _words(text: str) -> int:
    return len(text.split())
