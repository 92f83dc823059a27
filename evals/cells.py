"""One system and one conversation of an evaluation: remember, retrieve and answer, each done once and kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import astuple, dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import TypeAdapter

from langgraph_memory_r1.evals.answerer import Answerer, MeteredAnswer
from langgraph_memory_r1.evals.benchmark import Dataset
from langgraph_memory_r1.evals.call_cache import Cost, key_of, metered
from langgraph_memory_r1.evals.failures import Failures, ends_the_run, one_line
from langgraph_memory_r1.evals.stages import Stage, StageLog
from langgraph_memory_r1.evals.stops import Stop, stops
from langgraph_memory_r1.evals.systems.system import BankSnapshot, ConversationMemory, Retrieved, Retriever, System
from langgraph_memory_r1.jsonl import write_file
from langgraph_memory_r1.schemas import Conversation, Question

__all__ = ["QuestionOutcome", "Cell", "Failure", "EvaluationJob", "FilledBank", "Todo"]

Advance: TypeAlias = Callable[[str, int, str], None]
"""Called with what is done: "turns" or "questions", how many more, and where."""

Todo: TypeAlias = Literal["all", "failed", "nothing"]
"""What may be asked of models: what is not done yet, only what failed, or nothing (scoring anew)."""

_BANK = TypeAdapter(BankSnapshot)
_NAME = 24
"""So much of a key names a file."""


@dataclass(frozen=True, kw_only=True)
class EvaluationJob:
    """What an evaluation has to do, and with what."""

    dataset: Dataset
    systems: tuple[System, ...]
    answerers: Mapping[str, Answerer]
    """Who answers, by the name of the system."""
    stages: StageLog
    banks: Path
    """Where what is remembered is kept."""
    code: str
    """A hash of the code; what another one did is not reused."""
    k: int = 60
    concurrency: int = 8
    every: int | None = None
    todo: Todo = "all"
    failures: Failures = field(default_factory=lambda: Failures(10))
    advance: Advance = lambda noun, done, now: None

    @cached_property
    def slots(self) -> asyncio.Semaphore:
        """As many things at the same time; each makes one model call after the other."""
        return asyncio.Semaphore(self.concurrency)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why something could not be done."""

    error: str


@dataclass(frozen=True, slots=True)
class FilledBank:
    """A bank that questions can be asked of."""

    stop: int
    bank: BankSnapshot | Failure | None
    """None: it has not been filled yet, and nothing new is to be done."""
    retried: bool = False
    """Whether an earlier try to fill it failed."""


@dataclass(frozen=True, slots=True)
class QuestionOutcome:
    """A question and what came of it."""

    question: Question
    stop: int
    retrieved: Retrieved | None = None
    answer: MeteredAnswer | None = None
    error: str | None = None
    cached: bool = False
    """Whether the answer was there before."""
    verdict: float | None = None
    """What a judge says: 1 is right."""

    @property
    def missing(self) -> bool:
        """Whether it has not been asked, because nothing new was to be done."""
        return self.answer is None and self.error is None


@dataclass(eq=False)
class Cell:
    """One system's memory of one conversation."""

    job: EvaluationJob
    system: System
    conversation: Conversation
    cost: Cost = field(default_factory=Cost, init=False)
    seconds: float = field(default=0.0, init=False)
    """What filling the memory has taken in this run, beside its calls."""
    _memory: ConversationMemory | None = field(default=None, init=False)
    _stops_added: int = field(default=0, init=False)
    """At how many stops the memory has been filled."""
    _failure: Failure | None = field(default=None, init=False)
    _retrievers: dict[int, Retriever] = field(default_factory=dict, init=False)
    _building: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack, init=False)

    @property
    def answerer(self) -> Answerer:
        """Who answers from this memory."""
        return self.job.answerers[self.system.name]

    @property
    def where(self) -> str:
        """What is being worked on, for people."""
        return f"{self.system.name} {self.conversation.id}"

    @cached_property
    def stops(self) -> tuple[Stop, ...]:
        """When questions are asked."""
        return stops(self.conversation, self.job.every)

    @property
    def file(self) -> Path:
        """Where the bank is kept as it is at the end."""
        return self._file(key_of("ingest", self._key, self.stops[-1].turns_so_far))

    @cached_property
    def _key(self) -> str:
        """What is remembered is determined by this."""
        job, system = self.job, self.system
        # As plain values: a repr, which key_of would fall back on, may one day leave out a part of a turn.
        turns = [astuple(turn) for turn in self.conversation.turns]
        return key_of(job.code, job.dataset.sha256, turns, system.name, system.settings)

    async def __aenter__(self) -> Cell:
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._stack.aclose()

    async def remember(self, stop: Stop) -> FilledBank:
        """Return the bank after the turns of this stop and of those before it; it is filled where it is not yet."""
        key = key_of("ingest", self._key, stop.turns_so_far)
        error = (self.job.stages.get(key) or {}).get("error")
        file = self._file(key)
        bank: BankSnapshot | Failure | None = None
        if self.system.learns and file.exists():
            bank = _BANK.validate_json(file.read_bytes())
        elif not self.system.learns or self._to_do(error, failed=error is not None):
            bank = self._failure or await self._fill(stop, key)
        elif error is not None:
            bank = Failure(error)
        if self.system.learns:
            self.job.advance("turns", sum(map(len, stop.sessions)), self.where)
        return FilledBank(stop.number, bank, retried=error is not None)

    async def retrieve(self, question: Question, filled: FilledBank) -> Retrieved | Failure | None:
        """Return the memories for a question; None where there is no bank yet."""
        if not isinstance(filled.bank, BankSnapshot):
            return filled.bank
        key = self._question_key("retrieve", question, filled.bank)
        value = self.job.stages.get(key)
        if value is not None:
            return Retrieved(tuple(value["places"]), value["ranked"])
        try:
            # One at a time builds the index of a bank; all questions of a stop come at once and share it.
            async with self._building:
                if filled.stop not in self._retrievers:
                    make = self.system.retriever
                    self._retrievers[filled.stop] = await asyncio.to_thread(make, self.conversation, filled.bank)
            retrieved = await self._retrievers[filled.stop].retrieve(question, self.job.k)
        except Exception as error:  # of an embedding model: noted, unless it would meet every question
            return self._fail("retrieve", key, error)
        self.job.stages.put(key, "retrieve", {"places": retrieved.positions, "ranked": retrieved.ranked})
        return retrieved

    async def ask(
        self, question: Question, filled: FilledBank, retrieved: Retrieved | Failure | None
    ) -> QuestionOutcome:
        """Return the answer to a question from what was retrieved for it."""
        if isinstance(retrieved, Retrieved) and isinstance(filled.bank, BankSnapshot):
            outcome = await self._answer(question, filled, filled.bank, retrieved)
        else:
            error = retrieved.error if isinstance(retrieved, Failure) else None
            outcome = QuestionOutcome(question, filled.stop, error=error)
        self.job.advance("questions", 1, self.where)
        return outcome

    async def _answer(
        self, question: Question, filled: FilledBank, bank: BankSnapshot, retrieved: Retrieved
    ) -> QuestionOutcome:
        key = self._question_key("answer", question, bank, retrieved.positions, self.answerer.identity)
        value = self.job.stages.get(key) or {}
        if not self._to_do(value or None, failed="error" in value or filled.retried):
            answer = MeteredAnswer.from_dict(value) if value and "error" not in value else None
            return QuestionOutcome(question, filled.stop, retrieved, answer, value.get("error"), cached=True)
        positions = sorted(retrieved.positions)  # the bank's order is that of time, which the prompt's is too
        try:
            async with self.job.slots:
                answer = await self.answerer.answer(question, [bank.memories[position] for position in positions])
        except Exception as error:  # a model may fail in any way; what must end the run does
            return QuestionOutcome(question, filled.stop, retrieved, error=self._fail("answer", key, error).error)
        self.job.failures.success()
        answer = replace(answer, selected=tuple(positions[number] for number in answer.selected))
        self.job.stages.put(key, "answer", answer.as_dict())
        return QuestionOutcome(question, filled.stop, retrieved, answer)

    async def _fill(self, stop: Stop, key: str) -> BankSnapshot | Failure:
        """Add the turns up to a stop to the memory, from the beginning where an earlier run broke off."""
        start = time.perf_counter()
        try:
            with metered() as meter:
                async with self.job.slots:
                    if self._memory is None:
                        memory = self.system.memory(self.conversation, self.job.banks / self._key[:_NAME])
                        self._memory = await self._stack.enter_async_context(memory)
                    for each in self.stops[self._stops_added : stop.number + 1]:
                        for session in each.sessions:
                            await self._memory.add(session)
                    self._stops_added = stop.number + 1
                    bank = await self._memory.snapshot()
        except Exception as error:  # a memory that missed a session is worth nothing: its later stops fail too
            await self._stack.aclose()
            self._failure = self._fail("ingest", key, error)
            return self._failure
        finally:
            self.cost += meter.cost
            self.seconds += time.perf_counter() - start
        self.job.failures.success()
        bank = replace(bank, cost=self.cost, seconds=round(self.seconds, 6))
        if self.system.learns:
            write_file(self._file(key), [_BANK.dump_json(bank)])
        return bank

    def _file(self, key: str) -> Path:
        return self.job.banks / f"{key[:_NAME]}.json"

    def _to_do(self, value: object, *, failed: bool) -> bool:
        """Return whether something is to be done: it is not done yet, or it failed and is to be tried again."""
        return value is None if self.job.todo == "all" else self.job.todo == "failed" and failed

    def _fail(self, stage: Stage, key: str, error: Exception) -> Failure:
        """Count a failure, which is noted under its key later.

        Raises:
            Exception: The error itself, where trying the next question cannot help; or too many failed in a row.
        """
        if ends_the_run(error):
            raise error
        failure = Failure(f"{stage}: {one_line(error)}")
        self.job.failures.failure(error, partial(self.job.stages.put, key, stage, {"error": failure.error}))
        return failure

    def _question_key(self, stage: Stage, question: Question, bank: BankSnapshot, *more: Any) -> str:
        return key_of(stage, self._key, bank.digest, question.id, question.text, self.job.k, *more)
