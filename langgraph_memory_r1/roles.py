"""What the three roles do: extract, manage, answer. Each is written once, as a coroutine of effects (see `steps.py`).

    turns ─► extract: facts ─► manage: related memories ─► operations ─► bank
    question ─► answer: memories in time order ─► the useful ones, a short answer

Nothing is lost silently. What cannot be read of a reply is asked for once more, with what is wrong with it. Then a fact
about which nothing can be read is added as it is, with a reason that begins with "undecided", and turns whose facts
cannot be read are recorded with a NOOP that gives the reason. Every turn leaves a record, be it "nothing to remember",
so that a turn that was dealt with is never dealt with again, and one that was not is taken up by the next run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import zip_longest
from typing import TypeAlias

from langgraph_memory_r1.bank.base import Memories
from langgraph_memory_r1.bank.history import in_order
from langgraph_memory_r1.batches import Batch
from langgraph_memory_r1.errors import ConflictError, UnknownMemoryError
from langgraph_memory_r1.prompts import AnswerInput, ExtractInput, ManageInput, clean
from langgraph_memory_r1.prompts.salvage import KNOWN
from langgraph_memory_r1.schemas import Add, Answer, Change, Fact, Memory, Noop, Operation, Update
from langgraph_memory_r1.state import change_record
from langgraph_memory_r1.steps import Agent, RunBlocking, RunMonitor, Unreadable, call_for_parts, call_role

log = logging.getLogger(__name__)

RedactOperation: TypeAlias = Callable[[Operation], Operation]

DONT_KNOW = "I don't know."
CONFLICTS = 3
"""Decisions about one batch, the first included, before it is given up: each conflict with another writer costs one."""
MOST_RELATED = 40
"""A decision looks at no more memories than this, however many facts there are."""
UNDECIDED = "undecided"
"""Begins the reason of an addition that no model decided."""
_LONGEST_RAW = 2_000
"""Characters that are kept of facts without a decision, in the reason of a NOOP, and of prose taken as an answer."""


async def extract(agent: Agent, batch: Batch, monitor: RunMonitor) -> Batch:
    """Find the facts that the turns of a batch hold.

    Returns:
        The batch with its facts, or with the reason why there are none.
    """
    if not any(turn.text for turn in batch.turns):
        return batch
    reading = await call_for_parts(agent, ExtractInput(batch.turns), monitor)
    if reading.complaint is not None:
        part = "a part of the extraction" if reading.facts else "the extraction"
        batch = replace(batch, reason=f"{part} could not be read: {reading.problem}")
    if reading.facts or reading.complaint is None:
        monitor.emit("facts", {"facts": [fact.text for fact in reading.facts], "source": list(batch.source)})
    return replace(batch, facts=reading.facts)


async def manage(
    bank: Memories,
    agent: Agent,
    batch: Batch,
    k: int,
    monitor: RunMonitor,
    redact: RedactOperation | None = None,
    *,
    salvage: bool = True,
) -> list[Change]:
    """Decide what the facts of a batch mean for a bank (Memory-R1, section 3), and apply it: one call, one commit.

    Args:
        bank: A bank, or a fork of one.
        agent: The Memory Manager.
        batch: Facts, or the reason why there are none.
        k: Memories that are looked up for each fact.
        monitor: Counts and emits.
        redact: Applied to each operation before it is written: a model may say what it was not told.
        salvage: Keep the good items of a reply, and add the facts that it leaves open. Training does not, or a reply
            that cannot be read would be rewarded for what was made of it.
    """
    ask = ask_manager if salvage else ask_manager_strictly

    async def apply(operations: Sequence[Operation], expect: dict[str, int] | None = None) -> list[Change]:
        redacted = [redact(operation) for operation in operations] if redact is not None else operations
        changes = await RunBlocking(lambda: bank.apply(redacted, expect=expect, model=agent.label))
        for change in changes:
            monitor.emit("operation", {"operation": change_record(change)})
        monitor.count_undecided(
            sum(change.event == "ADD" and change.reason.startswith(UNDECIDED) for change in changes)
        )
        return changes

    if not batch.facts:
        return await apply([Noop(batch.reason, batch.source)])
    facts_text = " | ".join(fact.text for fact in batch.facts)[:_LONGEST_RAW]
    conflict = ""
    for _ in range(CONFLICTS):
        memories = await RunBlocking(lambda: related(bank, batch.facts, k))
        operations = with_all_turns(await ask(agent, batch, memories, monitor), batch)
        try:
            # All memories that the model saw, not only those that it changes: what it left alone because of a memory
            # that has changed since is as stale as what it changed. None where it saw no memory: nothing can be stale.
            return await apply(operations, {memory.id: memory.rev for memory in memories} or None)
        except (ConflictError, UnknownMemoryError) as error:
            conflict = str(error)
            monitor.emit("conflict", {"reason": conflict})
    log.warning("Gave up on %d facts after %d conflicts; the last one: %s", len(batch.facts), CONFLICTS, conflict)
    return await apply([Noop(f"gave up after {CONFLICTS} conflicts with other writers: {facts_text}", batch.source)])


async def answer(
    bank: Memories, agent: Agent, question: str, k: int, at: datetime | None, monitor: RunMonitor
) -> Answer:
    """Answer a question from at most `k` memories; without any, it does not know, and no model is asked.

    The model selects the useful memories first, then answers from them (Memory-R1, section 3.3: memory distillation).
    """
    memories = await RunBlocking(lambda: retrieve(bank, question, k))
    monitor.emit("retrieved", {"memories": len(memories)})
    if not memories:
        return Answer(DONT_KNOW)
    output = await call_role(agent, AnswerInput(question, tuple(memories), at), monitor)
    if isinstance(output, Unreadable):
        # A model that answers in prose has answered; only which memories it used is not known.
        return Answer(clean(output.text[:_LONGEST_RAW]) or DONT_KNOW, (), tuple(memories))
    text, selected = output
    return Answer(text, tuple(memories[number] for number in selected), tuple(memories))


def related(bank: Memories, facts: Sequence[Fact], k: int) -> list[Memory]:
    """Return the memories that facts may be about, in time order: every fact's best ones first."""
    hits_of_facts = [bank.search(fact.text, k=k) for fact in facts]
    # Rank by rank and not fact by fact: the hits of the first facts would fill all places, and leave none to the last.
    memories = {hit.memory.id: hit.memory for rank in zip_longest(*hits_of_facts) for hit in rank if hit is not None}
    return in_order(list(memories.values())[:MOST_RELATED])


def retrieve(bank: Memories, question: str, k: int) -> list[Memory]:
    """Return the memories for a question in time order: the best, half from each speaker as far as there are so many.

    Memory-R1 reads 30 of each of two speakers; without that, the talkative one crowds out the other.
    """
    hits = bank.search(question, k=k, per_speaker=(k + 1) // 2, fill=True)
    return in_order([hit.memory for hit in hits])


async def ask_manager(agent: Agent, batch: Batch, memories: Sequence[Memory], monitor: RunMonitor) -> list[Operation]:
    """Ask the manager what the facts of a batch mean; what stays open about a fact becomes an ADD of it.

    An addition loses nothing and can be taken back; a NOOP would seal the turn, and the fact would be gone.
    """
    reading = await call_for_parts(agent, ManageInput(batch.facts, tuple(memories)), monitor)
    reason = f"{UNDECIDED}: {reading.problem or 'the model decided nothing about it.'}"
    facts = (batch.facts[number] for number in reading.undecided)
    return [
        *reading.operations,
        *(Add(fact.text, fact.speaker, fact.at, fact.source, fact.session, reason) for fact in facts),
    ]


async def ask_manager_strictly(
    agent: Agent, batch: Batch, memories: Sequence[Memory], monitor: RunMonitor
) -> list[Operation]:
    """Ask the manager what the facts of a batch mean; a reply that cannot be read as a whole changes nothing."""
    output = await call_role(agent, ManageInput(batch.facts, tuple(memories)), monitor)
    if isinstance(output, Unreadable):
        return [Noop(f"the decision could not be read: {output.problem}", batch.source)]
    texts = {memory.id: memory.text for memory in memories}
    return [
        Noop(KNOWN, operation.source)
        if isinstance(operation, Update) and operation.text == texts[operation.id]
        else operation
        for operation in output
    ]


def with_all_turns(operations: Sequence[Operation], batch: Batch) -> list[Operation]:
    """Return operations with a NOOP for the turns that none of them comes from: each has to leave a record."""
    covered = {turn for operation in operations for turn in operation.source}
    left_out = tuple(turn for turn in batch.source if turn not in covered)
    if operations and not left_out:
        return list(operations)
    with_facts = {turn for fact in batch.facts for turn in fact.source}
    return [*operations, Noop(KNOWN if with_facts & set(left_out) else batch.reason, left_out)]
