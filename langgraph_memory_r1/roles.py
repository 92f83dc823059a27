"""What the three roles do: extract, manage, answer. Each is written once, as steps (see `effects.py`).

    turns ─► extract: facts ─► manage: related memories ─► operations ─► bank
    question ─► answer: memories in time order ─► the useful ones, a short answer

Nothing is lost silently. A reply that cannot be read is asked for once more with what is wrong with it; then the
turns are recorded with a NOOP that gives the reason. Every turn leaves a record, be it "nothing to remember", so that
a turn that was dealt with is never dealt with again, and one that was not is taken up by the next run.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import zip_longest
from typing import Any, Protocol

from langgraph_memory_r1.bank.history import in_order
from langgraph_memory_r1.batches import NOTHING, Batch
from langgraph_memory_r1.errors import ConflictError, UnknownMemoryError
from langgraph_memory_r1.prompts import AnswerInput, ExtractInput, ManageInput, clean
from langgraph_memory_r1.retrieval import Hit
from langgraph_memory_r1.schemas import Answer, Change, Fact, Memory, Noop, Operation, Update
from langgraph_memory_r1.state import change_record
from langgraph_memory_r1.steps import Agent, RunBlocking, RunMonitor, Steps, Unreadable, call_role

log = logging.getLogger(__name__)

DONT_KNOW = "I don't know."
CONFLICTS = 3
"""So many times a decision is made anew because somebody else changed what it was based on."""
MOST_RELATED = 40
"""A decision looks at no more memories than this, however many facts there are."""
_LONGEST_RAW = 2_000


class Target(Protocol):
    """What is decided about: a bank, or a fork of one."""

    def search(self, query: str, *, k: int = ...) -> list[Hit]:
        """`MemoryBank.search`."""

    def apply(
        self, operations: Sequence[Operation], *, expect: Mapping[str, int] | None = ..., model: str | None = ...
    ) -> list[Change]:
        """`MemoryBank.apply`."""


class Searched(Protocol):
    """What a question is answered from: a bank, a fork of one, or anything else that ranks memories."""

    def search(self, query: str, *, k: int = ..., per_speaker: int | None = ..., fill: bool = ...) -> list[Hit]:
        """`MemoryBank.search`."""


def extract(agent: Agent, batch: Batch, monitor: RunMonitor) -> Steps[Batch]:
    """The batch with the facts that its turns hold, or with the reason why there are none."""
    if not any(turn.text for turn in batch.turns):
        return batch
    output = yield from call_role(agent, ExtractInput(batch.turns), monitor)
    if isinstance(output, Unreadable):
        return replace(batch, reason=f"the extraction could not be read: {output.complaint}")
    monitor.emit("facts", {"facts": [fact.text for fact in output], "source": list(batch.source)})
    return replace(batch, facts=output)


def manage(bank: Target, agent: Agent, batch: Batch, k: int, monitor: RunMonitor) -> Steps[list[Change]]:
    """Decides what the facts of a batch mean for the bank, and applies it: one model call, one commit.

    The operations are refused when a memory that the decision looked at has changed since; then it is made anew.
    """
    if not batch.facts:
        return (yield from _apply(bank, agent, [Noop(batch.reason, batch.source)], {}, monitor))
    conflict = ""
    for _ in range(CONFLICTS):
        memories: list[Memory] = yield RunBlocking(partial(related, bank, batch.facts, k))
        output = yield from call_role(agent, ManageInput(batch.facts, tuple(memories)), monitor)
        operations = _operations(output, memories, batch)
        try:
            return (yield from _apply(bank, agent, operations, {m.id: m.rev for m in memories}, monitor))
        except (ConflictError, UnknownMemoryError) as error:
            conflict = str(error)
            monitor.emit("conflict", {"reason": conflict})
    log.warning("Gave up on %d facts after %d conflicts; the last one: %s", len(batch.facts), CONFLICTS, conflict)
    noop = Noop(f"gave up after {CONFLICTS} conflicts with other writers: {_told(batch.facts)}", batch.source)
    return (yield from _apply(bank, agent, [noop], {}, monitor))


def answer(
    bank: Searched, agent: Agent, question: str, k: int, at: datetime | None, monitor: RunMonitor
) -> Steps[Answer]:
    """Answers from at most `k` memories; without any, it does not know, and asks no model."""
    retrieved: list[Memory] = yield RunBlocking(partial(retrieve, bank, question, k))
    monitor.emit("retrieved", {"memories": len(retrieved)})
    if not retrieved:
        return Answer(DONT_KNOW)
    output = yield from call_role(agent, AnswerInput(question, tuple(retrieved), at), monitor)
    if isinstance(output, Unreadable):
        return Answer(clean(output.text[:_LONGEST_RAW]) or DONT_KNOW, (), tuple(retrieved))
    text, selected = output
    return Answer(text, tuple(retrieved[number] for number in selected), tuple(retrieved))


def related(bank: Target, facts: Sequence[Fact], k: int) -> list[Memory]:
    """The memories that the facts may be about, in time order: every fact's best ones first."""
    found = [bank.search(fact.text, k=k) for fact in facts]
    ranks = zip_longest(*found)
    memories = {hit.memory.id: hit.memory for rank in ranks for hit in rank if hit is not None}
    return in_order(list(memories.values())[:MOST_RELATED])


def retrieve(bank: Searched, question: str, k: int) -> list[Memory]:
    """The memories for a question in time order: the best, half of them from each speaker as far as there are so many.

    Memory-R1 reads 30 of each of two speakers; without that, the talkative one crowds out the other.
    """
    hits = bank.search(question, k=k, per_speaker=(k + 1) // 2, fill=True)
    return in_order([hit.memory for hit in hits])


def _operations(output: Any, memories: Sequence[Memory], batch: Batch) -> list[Operation]:
    """What to apply: the decision, without updates that change nothing, and a record of every turn that it left out."""
    if isinstance(output, Unreadable):
        reason = f"the decision could not be read: {output.complaint} Facts: {_told(batch.facts)}"
        return [Noop(reason, batch.source)]
    texts = {memory.id: memory.text for memory in memories}
    operations = [_without_effect(operation, texts) for operation in output]
    covered = {turn for operation in operations for turn in operation.source}
    left = tuple(turn for turn in batch.source if turn not in covered)
    told = {turn for fact in batch.facts for turn in fact.source}
    reason = "known already" if told & set(left) else NOTHING
    return [*operations, Noop(reason, left)] if left or not operations else operations


def _without_effect(operation: Operation, texts: dict[str, str]) -> Operation:
    if isinstance(operation, Update) and operation.text == texts[operation.id]:
        return Noop("known already", operation.source)
    return operation


def _apply(
    bank: Target, agent: Agent, operations: Sequence[Operation], expect: dict[str, int], monitor: RunMonitor
) -> Steps[list[Change]]:
    changes: list[Change] = yield RunBlocking(partial(bank.apply, operations, expect=expect or None, model=agent.label))
    for change in changes:
        monitor.emit("operation", {"operation": change_record(change)})
    return changes


def _told(facts: Sequence[Fact]) -> str:
    return " | ".join(fact.text for fact in facts)[:_LONGEST_RAW]
