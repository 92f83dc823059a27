"""Rewards: what the Answer Agent makes of a decision (Memory-R1, section 3), as TRL reward functions.

    AnswerReward    the reply's own answer against the gold answer
    ManagerReward   the frozen answerer's score after the sampled operations are applied to a fork of the bank
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

from langgraph_memory_r1 import roles, scoring
from langgraph_memory_r1.bank.base import MemoryFork
from langgraph_memory_r1.errors import InputError, OutputError
from langgraph_memory_r1.prompts import AnswerInput, clean, parse, render
from langgraph_memory_r1.retrieval import Index
from langgraph_memory_r1.schemas import Operation
from langgraph_memory_r1.train.rollout import RolePolicy, final_replies
from langgraph_memory_r1.train.rows import AnswerRow, ManagerRow, Probe, Row

Metric: TypeAlias = Callable[[str, str], float | None]
"""Of an answer and the gold answer, between 0 and 1."""

Completions: TypeAlias = Sequence[Any]
"""As TRL gives them: texts, or lists of one assistant message."""

FREE_GROWTH = 0.7
"""A bank may grow by this share of what was said before its size counts (Memory-R2, section 3.2)."""

_LONGEST_RAW = 2_000
"""Characters of a reply that cannot be read and is its own answer, as in `roles.answer`."""


class FrozenAnswerer:
    """The Answer Agent that does not learn while managers are judged by it, and remembers what it has answered.

    Its replies are greedy, so the same question over the same memories has one answer, however many operations led
    there: most of the group of a decision do. By estimate its replies are most of what a manager's step takes.

    Args:
        answerer: Answers; at temperature 0.
        metric: Of an answer and the gold answer.

    Raises:
        InputError: The answerer samples.
    """

    def __init__(self, answerer: RolePolicy, metric: Metric = scoring.em) -> None:
        if answerer.temperature:
            raise InputError("A frozen Answer Agent is greedy; set its temperature to 0.")
        self.answerer, self.metric = answerer, metric
        self.asked = self.answered_before = 0
        """How many questions were asked, and how many of them needed no reply."""
        self.memo: dict[str, str] = {}
        """Answers by a hash of the answerer and the rendered prompt; may be kept and set again."""
        self._answers: dict[Hashable, str] = {}

    def scores(self, states: Sequence[tuple[MemoryFork, Sequence[Probe]]]) -> list[float | None]:
        """Return for every bank the mean score of its probes; None where there is no probe that can be scored."""
        inputs = [
            [AnswerInput(probe.question, tuple(roles.retrieve(bank, probe.question, self.answerer.k)), probe.at)
             for probe in probes]
            for bank, probes in states
        ]  # fmt: skip
        self._answer([answer_input for bank_inputs in inputs for answer_input in bank_inputs])
        return [
            mean_of(
                self.metric(self._answers[_shown(answer_input)], probe.gold)
                for answer_input, probe in zip(bank_inputs, probes, strict=True)
            )
            for bank_inputs, (_, probes) in zip(inputs, states, strict=True)
        ]

    def _answer(self, inputs: Sequence[AnswerInput]) -> None:
        """Have every input an answer; all that have none yet are asked in one batch."""
        keys = [_shown(answer_input) for answer_input in inputs]
        new = {key: answer for key, answer in zip(keys, inputs, strict=True) if key not in self._answers}
        self.asked += len(keys)
        self.answered_before += len(keys) - len(new)
        # As in the graph, where nothing is asked about an empty bank.
        self._answers |= {key: roles.DONT_KNOW for key, answer_input in new.items() if not answer_input.memories}
        # A name is the same in the next process, unlike `_shown`, and small enough to be saved for all prompts.
        names: dict[Hashable, str] = {}
        for key, answer_input in new.items():
            if answer_input.memories:
                prompt = render(answer_input, self.answerer.style)
                text = "\0".join([self.answerer.policy.label, *(f"{one.type}:{one.content}" for one in prompt)])
                names[key] = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        unanswered = {name: key for key, name in names.items() if name not in self.memo}
        replies = final_replies("answer", [new[key] for key in unanswered.values()], self.answerer)
        for reply, (name, key) in zip(replies, unanswered.items(), strict=True):
            self.memo[name] = answer_of(reply, new[key])
        self._answers |= {key: self.memo[name] for key, name in names.items()}


class RowReward(ABC):
    """A TRL reward function over rows: finds each completion's row by the column `row_id`."""

    # No coroutine: TRL awaits those of several rewards side by side, on the event loop of a thread of its own, where
    # a frozen answerer would generate with the trainer's model. Nothing would be won: the other rewards are instant,
    # and TRL treats what they return alike.

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows: Mapping[str, Row] = {row.id: row for row in rows}
        self.__name__ = type(self).__name__  # TRL names its columns by it
        self.last: list[float | None] = []
        """What the last call returned; PPO needs rewards as they are, not relative to a group."""

    def __call__(self, completions: Completions, row_id: Sequence[str], **columns: Any) -> list[float | None]:
        """Return one reward per completion."""
        sampled = [(self.rows[key], text_of(completion)) for key, completion in zip(row_id, completions, strict=True)]
        self.last = [finite(reward) for reward in self.rewards(sampled)]
        return self.last

    @abstractmethod
    def rewards(self, sampled: Sequence[tuple[Row, str]]) -> list[float | None]:
        """Return one reward per row and completion."""


class ManagerReward(RowReward):
    """The frozen answerer's score on a row's probes, once the operations are applied to a fork of its bank.

    A completion that cannot be read leaves the bank as it is, as in the graph.
    """

    def __init__(self, rows: Iterable[ManagerRow], frozen_answerer: FrozenAnswerer) -> None:
        super().__init__(rows)
        self.frozen_answerer = frozen_answerer
        self._banks = {row.id: MemoryFork(Index(row.bank)) for row in self.rows.values() if isinstance(row, ManagerRow)}

    def rewards(self, sampled: Sequence[tuple[Row, str]]) -> list[float | None]:
        """Return the frozen answerer's scores; equal decisions on a row are judged once."""
        decided = [(row, operations_of(row, text)) for row, text in sampled if isinstance(row, ManagerRow)]
        distinct = {(row.id, operations): row for row, operations in decided}
        states: list[tuple[MemoryFork, Sequence[Probe]]] = []
        for (row_id, operations), row in distinct.items():
            bank = self._banks[row_id].fork()
            if operations:
                bank.apply(operations)
            states.append((bank, row.probes))
        scores = dict(zip(distinct, self.frozen_answerer.scores(states), strict=True))
        return [scores[row.id, operations] for row, operations in decided]


class AnswerReward(RowReward):
    """The score of the reply's own answer."""

    def __init__(self, rows: Iterable[AnswerRow], metric: Metric = scoring.em) -> None:
        super().__init__(rows)
        self.metric = metric

    def rewards(self, sampled: Sequence[tuple[Row, str]]) -> list[float | None]:
        """Return the metric of the answers."""
        return [
            self.metric(answer_of(text, row.role_input), row.gold)
            for row, text in sampled
            if isinstance(row, AnswerRow)
        ]


class FormatReward(RowReward):
    """1 where the reply can be read without repair by a second try, else 0."""

    def rewards(self, sampled: Sequence[tuple[Row, str]]) -> list[float | None]:
        """Return 0 or 1."""

        def reward(row: Row, text: str) -> float:
            try:
                parse(text, row.role_input)
            except OutputError:
                return 0.0
            return 1.0

        return [reward(row, text) for row, text in sampled]


class SizeReward(RowReward):
    """Minus the growth of the bank beyond `FREE_GROWTH` of what was said, both in words; 0 is best."""

    def rewards(self, sampled: Sequence[tuple[Row, str]]) -> list[float | None]:
        """Return at most 0."""
        return [-growth(row, operations_of(row, text)) for row, text in sampled if isinstance(row, ManagerRow)]


@dataclass(frozen=True, slots=True)
class WeightedReward:
    """A reward function and its weight in the sum that is learned from."""

    reward: RowReward
    weight: float = 1.0


def operations_of(row: ManagerRow, text: str) -> tuple[Operation, ...] | None:
    """Return what a completion decides; None where it cannot be read."""
    try:
        return parse(text, row.role_input)
    except OutputError:
        return None


def answer_of(text: str, answer_input: AnswerInput) -> str:
    """Return the answer in a reply; one that cannot be read is its own answer, as in the graph."""
    try:
        answer, _ = parse(text, answer_input)
    except OutputError:
        return clean(text[:_LONGEST_RAW]) or roles.DONT_KNOW
    return answer


def growth(row: ManagerRow, operations: tuple[Operation, ...] | None) -> float:
    """Return by how much more than `FREE_GROWTH` of the facts' words the bank grows, as a share of them."""

    def words(text: str) -> int:
        return len(text.split())

    facts = max(1, sum(words(fact.text) for fact in row.facts))
    texts = {memory.id: memory.text for memory in row.bank}
    grown = 0
    for operation in operations or ():
        if operation.event in ("ADD", "UPDATE"):
            grown += words(operation.text)
        if operation.event in ("UPDATE", "DELETE"):
            grown -= words(texts.get(operation.id, ""))
    return max(0.0, grown - FREE_GROWTH * facts) / facts


def text_of(completion: Any) -> str:
    """Return the text of a completion as TRL gives it."""
    return completion if isinstance(completion, str) else str(completion[-1]["content"])


def finite(reward: float | None) -> float | None:
    """Return the same number: NaN would poison its group's mean without a word.

    Raises:
        InputError: The reward is not a number.
    """
    if reward is not None and not math.isfinite(reward):
        raise InputError(f"A metric gave {reward}; a reward that cannot be computed is None.")
    return reward


def mean_of(scores: Iterable[float | None]) -> float | None:
    """Return the mean of the scores that are known; None where none is.

    Raises:
        InputError: A score is not a number.
    """
    numbers = [score for score in map(finite, scores) if score is not None]
    return sum(numbers) / len(numbers) if numbers else None


def _shown(answer_input: AnswerInput) -> Hashable:
    """All that the prompt shows, which is cheaper than the prompt."""
    return (
        answer_input.question, answer_input.at,
        tuple((memory.text, memory.speaker, memory.at) for memory in answer_input.memories),
    )  # fmt: skip
