"""One system and one conversation of an evaluation: remembering, finding and answering, each done once and kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from itertools import chain
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
from langgraph_memory_r1.schemas import Conversation, Question

__all__ = ["QuestionOutcome", "Cell", "Failure", "Job", "FilledBank", "Todo"]

Advance: TypeAlias = Callable[[str, int, str], None]
"""Told what is done: "turns" or "questions", how many more, and where."""

Todo: TypeAlias = Literal["all", "failed", "nothing"]
"""What may be asked of models: what is not done yet, only what failed, or nothing (scoring anew)."""

_BANK = TypeAdapter(BankSnapshot)
_NAME = 24
"""So much of a key names a file."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What an evaluation has to do, and with what."""

    dataset: Dataset
    systems: tuple[System, ...]
    answerers: Mapping[str, Answerer]
    """Who answers, by the name of the system."""
    records: StageLog
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

    step: int
    bank: BankSnapshot | Failure | None
    """None: it has not been filled yet, and nothing new is to be done."""
    anew: bool = False
    """Whether an earlier try to fill it failed."""


@dataclass(frozen=True, slots=True)
class QuestionOutcome:
    """A question and what came of it."""

    question: Question
    step: int
    found: Retrieved | None = None
    said: MeteredAnswer | None = None
    error: str | None = None
    cached: bool = False
    """Whether the answer was there before."""
    right: float | None = None
    """What a judge says."""

    @property
    def missing(self) -> bool:
        """Whether it has not been asked, because nothing new was to be done."""
        return self.said is None and self.error is None


@dataclass(eq=False)
class Cell:
    """One system's memory of one conversation."""

    job: Job
    system: System
    conversation: Conversation
    cost: Cost = field(default_factory=Cost, init=False)
    seconds: float = field(default=0.0, init=False)
    """What filling the memory has taken in this run, beside its calls."""
    _listener: ConversationMemory | None = field(default=None, init=False)
    _heard: int = field(default=0, init=False)
    """How many steps the listener has heard."""
    _failed: Failure | None = field(default=None, init=False)
    _finders: dict[int, Retriever] = field(default_factory=dict, init=False)
    _building: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack, init=False)

    @property
    def answerer(self) -> Answerer:
        """Who answers from this memory."""
        return self.job.answerers[self.system.name]

    @cached_property
    def stops(self) -> tuple[Stop, ...]:
        """When questions are asked."""
        return stops(self.conversation, self.job.every)

    @cached_property
    def _key(self) -> str:
        """What is remembered is determined by this."""
        job, system = self.job, self.system
        return key_of(job.code, job.dataset.sha256, self.conversation.turns, system.name, system.settings)

    async def __aenter__(self) -> Cell:
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._stack.aclose()

    async def remember(self, step: Stop) -> FilledBank:
        """The bank after the turns of this step and of those before it."""
        key = key_of("ingest", self._key, step.turns)
        known = (self.job.records.get(key) or {}).get("error")
        bank: BankSnapshot | Failure | None = self._kept(key)
        if bank is None and (not self.system.learns or self._may(known, failed=known is not None)):
            bank = self._failed or await self._filled(step, key)
        elif bank is None and known is not None:
            bank = Failure(known)
        if self.system.learns:
            self.job.advance("turns", sum(map(len, step.sessions)), self.where)
        return FilledBank(step.number, bank, anew=known is not None)

    async def find(self, question: Question, remembered: FilledBank) -> Retrieved | Failure | None:
        """The memories for a question, None where there is no bank yet."""
        if not isinstance(remembered.bank, BankSnapshot):
            return remembered.bank
        key = self._question_key("retrieve", question, remembered.bank)
        kept = self.job.records.get(key)
        if kept is not None:
            return Retrieved(tuple(kept["places"]), kept["ranked"])
        try:
            finder = await self._finder(remembered.step, remembered.bank)
            found = await finder.find(question, self.job.k)
        except Exception as error:
            return self._failure("retrieve", key, error)
        self.job.records.put(key, "retrieve", asdict(found))
        return found

    async def ask(
        self, question: Question, remembered: FilledBank, found: Retrieved | Failure | None
    ) -> QuestionOutcome:
        """The answer to a question from what was found for it."""
        asked = await self._asked(question, remembered, found)
        self.job.advance("questions", 1, self.where)
        return asked

    @property
    def where(self) -> str:
        """What is being worked on, for people."""
        return f"{self.system.name} {self.conversation.id}"

    async def _asked(
        self, question: Question, remembered: FilledBank, found: Retrieved | Failure | None
    ) -> QuestionOutcome:
        if not isinstance(found, Retrieved) or not isinstance(remembered.bank, BankSnapshot):
            return QuestionOutcome(question, remembered.step, error=found.error if isinstance(found, Failure) else None)
        key = self._question_key("answer", question, remembered.bank, found.places, self.answerer.identity)
        kept = self.job.records.get(key) or {}
        if self._may(kept or None, failed="error" in kept or remembered.anew):
            new = await self._answered(question, remembered.bank, found, key)
            if isinstance(new, Failure):
                return QuestionOutcome(question, remembered.step, found, error=new.error)
            return QuestionOutcome(question, remembered.step, found, new)
        said = MeteredAnswer.from_dict(kept) if kept and "error" not in kept else None
        return QuestionOutcome(question, remembered.step, found, said, kept.get("error"), cached=True)

    async def _answered(
        self, question: Question, bank: BankSnapshot, found: Retrieved, key: str
    ) -> MeteredAnswer | Failure:
        places = sorted(found.places)
        try:
            async with self.job.slots:
                said = await self.answerer.answer(question, [bank.memories[place] for place in places])
        except Exception as error:
            return self._failure("answer", key, error)
        self.job.failures.success()
        said = replace(said, selected=tuple(places[number] for number in said.selected))
        self.job.records.put(key, "answer", said.as_dict())
        return said

    async def _filled(self, step: Stop, key: str) -> BankSnapshot | Failure:
        start = time.perf_counter()
        try:
            with metered() as meter:
                bank = await self._learned(step)
        except Exception as error:
            await self._stack.aclose()
            self._failed = self._failure("ingest", key, error)
            return self._failed
        finally:
            self.cost += meter.cost
            self.seconds += time.perf_counter() - start
        self.job.failures.success()
        bank = replace(bank, cost=self.cost, seconds=round(self.seconds, 6))
        self._keep(key, bank)
        return bank

    async def _learned(self, step: Stop) -> BankSnapshot:
        """Lets the system hear what it has not heard yet, from the beginning where an earlier run broke off."""
        async with self.job.slots:
            if self._listener is None:
                memory = self.system.memory(self.conversation, self.job.banks / self._key[:_NAME])
                self._listener = await self._stack.enter_async_context(memory)
            for session in chain.from_iterable(each.sessions for each in self.stops[self._heard : step.number + 1]):
                await self._listener.hear(session)
            self._heard = step.number + 1
            return await self._listener.bank()

    @property
    def file(self) -> Path:
        """Where the bank is kept as it is at the end."""
        return self._place(key_of("ingest", self._key, self.stops[-1].turns))

    def _place(self, key: str) -> Path:
        return self.job.banks / f"{key[:_NAME]}.json"

    def _kept(self, key: str) -> BankSnapshot | None:
        place = self._place(key)
        return _BANK.validate_json(place.read_bytes()) if self.system.learns and place.exists() else None

    def _keep(self, key: str, bank: BankSnapshot) -> None:
        if self.system.learns:
            place = self._place(key)
            fresh = place.with_suffix(".new")
            fresh.write_bytes(_BANK.dump_json(bank))
            fresh.replace(place)

    def _may(self, kept: object, *, failed: bool) -> bool:
        """Whether something is to be done: it is not done yet, or it failed and is to be tried again."""
        return kept is None if self.job.todo == "all" else self.job.todo == "failed" and failed

    def _failure(self, stage: Stage, key: str, error: Exception) -> Failure:
        if ends_the_run(error):
            raise error
        failed = Failure(f"{stage}: {one_line(error)}")
        self.job.failures.failure(error, partial(self.job.records.put, key, stage, {"error": failed.error}))
        return failed

    async def _finder(self, step: int, bank: BankSnapshot) -> Retriever:
        async with self._building:
            if step not in self._finders:
                self._finders[step] = await asyncio.to_thread(self.system.finder, self.conversation, bank)
        return self._finders[step]

    def _question_key(self, stage: Stage, question: Question, bank: BankSnapshot, *more: Any) -> str:
        return key_of(stage, self._key, bank.digest, question.id, question.text, self.job.k, *more)
