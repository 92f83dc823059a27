"""What the three roles do: extract, manage, answer. Each is written once, as a coroutine of effects (see `steps.py`).

    turns ─► extract: facts ─► manage: related memories ─► operations ─► bank
    question ─► answer: memories in time order ─► the useful ones, a short answer

Nothing is done twice: turns of one bank queue, and what another process has changed meanwhile is looked at again.

Nothing is lost silently. What cannot be read of a reply is asked for once more, with what is wrong with it. Then a fact
about which nothing can be read is added as it is, with a reason that begins with "undecided", and turns whose facts
cannot be read are recorded with a NOOP that gives the reason. Every turn leaves a record, be it "nothing to remember",
so that a turn that was dealt with is never dealt with again, and one that was not is taken up by the next run.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import zip_longest
from typing import TypeAlias

from langgraph_memory_r1.bank.attributes import Filter
from langgraph_memory_r1.bank.base import Memories
from langgraph_memory_r1.bank.history import UNREAD, in_order
from langgraph_memory_r1.bank.ledger import TurnMark, keys_of
from langgraph_memory_r1.batches import NOTHING, Batch
from langgraph_memory_r1.errors import ConflictError, UnknownMemoryError
from langgraph_memory_r1.prompts import AnswerInput, ExtractInput, ManageInput, clean
from langgraph_memory_r1.prompts.salvage import KNOWN
from langgraph_memory_r1.schemas import Add, Answer, Change, Delete, Fact, Memory, Noop, Operation, Update
from langgraph_memory_r1.state import change_record
from langgraph_memory_r1.steps import Agent, RunBlocking, RunMonitor, Unreadable, Wait, call_for_parts, call_role
from langgraph_memory_r1.tokenizer import terms

log = logging.getLogger(__name__)

RedactOperation: TypeAlias = Callable[[Operation], Operation]
Ask: TypeAlias = Callable[[Agent, Batch, Sequence[Memory], RunMonitor], Awaitable[list[Operation]]]
Apply: TypeAlias = Callable[[Sequence[Operation], dict[str, int], tuple[TurnMark, ...]], Awaitable[list[Change]]]

DONT_KNOW = "I don't know."
PATIENCE, TRIES = 20.0, 12
"""A decision is made anew because others changed what it was based on for so many seconds, and at least so many times:
every conflict means that somebody got on, but a run must end."""
QUEUE_PATIENCE = 300.0
"""Seconds after which a turn goes on though others of its process are before it: one that hangs must not stop all."""
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
"""Seconds of the longest pause before a decision is made anew: after the first conflict, and after many."""
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
        part = " in part" if reading.facts else ""
        batch = replace(batch, reason=f"{UNREAD}{part}: {reading.problem}")
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

    Returns:
        What was changed; nothing where another run dealt with the same turns meanwhile.

    Raises:
        ConflictError: Others were quicker for longer than `PATIENCE`; nothing was applied, and the turns stay new.
    """
    ask = ask_manager if salvage else ask_manager_strictly

    async def apply(
        operations: Sequence[Operation], expect: dict[str, int], turns: tuple[TurnMark, ...]
    ) -> list[Change]:
        redacted = [redact(operation) for operation in operations] if redact is not None else operations
        changes = await RunBlocking(lambda: bank.apply(redacted, expect=expect or None, model=agent.label, turns=turns))
        for change in changes:
            monitor.emit("operation", {"operation": change_record(change)})
        monitor.count_undecided(
            sum(change.event == "ADD" and change.reason.startswith(UNDECIDED) for change in changes)
        )
        return changes

    queue, ticket = bank.queue, None
    try:
        if queue is not None and batch.facts:
            ticket = queue.join()
            if not ticket.done():
                await Wait(ticket, QUEUE_PATIENCE)
                # One that was before it may have been the same turn: that spares the model a decision.
                batch = batch.without(await RunBlocking(partial(bank.heard, batch.marks)))
                if not batch.turns:
                    return []
        return await _decide(bank, agent, batch, k, monitor, ask, apply)
    finally:
        if queue is not None and ticket is not None:
            queue.leave(ticket)


async def _decide(
    bank: Memories, agent: Agent, batch: Batch, k: int, monitor: RunMonitor, ask: Ask, apply: Apply
) -> list[Change]:
    """Decide and apply, anew for as long as others are quicker.

    In one process the bank's queue lets nobody be quicker; what is left are other processes, tools and people.
    """
    start, longest, tries = time.monotonic(), FIRST_PAUSE, 0
    while True:
        memories: list[Memory] = []
        made_before: list[Memory] = []
        if batch.facts or batch.edited:
            memories, made_before = await RunBlocking(partial(to_decide_from, bank, batch, k))
        decided = await ask(agent, batch, memories, monitor) if batch.facts else []
        operations = with_all_turns(correct(decided, batch, made_before), batch)
        # Only what is changed: a memory that was shown and left alone may change meanwhile, or conversations that have
        # nothing to do with each other would refuse each other's facts.
        touched = {operation.id for operation in operations if isinstance(operation, Update | Delete)}
        # Turns of which nobody knows what they say stay new: later runs try again (see `MemoryBank.unread`).
        noops = (operation for operation in operations if isinstance(operation, Noop))
        unread = {turn for noop in noops if noop.reason.startswith(UNREAD) for turn in noop.source}
        marks = tuple(mark for turn, mark in zip(batch.turns, batch.marks, strict=False) if turn.id not in unread)
        try:
            return await apply(
                operations, {memory.id: memory.rev for memory in memories if memory.id in touched}, marks
            )
        except (ConflictError, UnknownMemoryError) as error:
            monitor.emit("conflict", {"reason": str(error)})
            if isinstance(error, ConflictError) and (heard := keys_of(batch.marks, error.keys)):
                batch = batch.without(heard)  # the same turn in another run, which was quicker
                if not batch.turns:
                    return []
                continue
            tries += 1
            if tries >= TRIES and (spent := time.monotonic() - start) > PATIENCE:
                raise ConflictError(
                    f"Others changed the same memories {tries} times in {spent:.0f} s; the next run takes the turns up."
                ) from error
        # Each of several processes gets its turn: they would collide again if all came back at once.
        await Wait(Future(), random.uniform(0, longest))
        longest = min(2 * longest, LONGEST_PAUSE)


async def answer(
    bank: Memories,
    agent: Agent,
    question: str,
    k: int,
    at: datetime | None,
    monitor: RunMonitor,
    filter: Filter | None = None,
) -> Answer:
    """Answer a question from at most `k` memories; without any, it does not know, and no model is asked.

    The model selects the useful memories first, then answers from them (Memory-R1, section 3.3: memory distillation).
    """
    memories = await RunBlocking(lambda: retrieve(bank, question, k, filter))
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


def to_decide_from(bank: Memories, batch: Batch, k: int) -> tuple[list[Memory], list[Memory]]:
    """Return the memories that a decision about a batch looks at, and those of them that its edited turns had made.

    The second come first: what a turn says now is about what it said before.
    """
    edited = set(batch.edited)
    made_before = [memory for memory in bank.all() if edited & set(memory.source)] if edited else []
    others = [memory for memory in related(bank, batch.facts, k) if memory not in made_before]
    return [*made_before, *others], made_before


def correct(decided: Sequence[Operation], batch: Batch, made_before: Sequence[Memory]) -> list[Operation]:
    """Let what an edited turn says now take the place of what it alone had said before.

    A model that sees "lives in Boston" and "lives in Denver" may well add the one to the other; but nobody says the
    first any more. A memory that other turns had a part in is the model's to decide about. Where an edited turn says
    nothing any more, what it had said is taken back.
    """
    edited = set(batch.edited)
    touched = {operation.id for operation in decided if isinstance(operation, Update | Delete)}
    stated = {fact.text.casefold() for fact in batch.facts}
    orphans = [
        memory
        for memory in made_before
        if set(memory.source) <= edited and memory.id not in touched and memory.text.casefold() not in stated
    ]
    operations: list[Operation] = []
    for operation in decided:
        if isinstance(operation, Add) and operation.source and set(operation.source) <= edited:
            same_turn = [memory for memory in orphans if set(memory.source) & set(operation.source)]
            if same_turn:
                words = set(terms(operation.text))
                orphan = max(same_turn, key=lambda memory: len(words & set(terms(memory.text))))
                orphans.remove(orphan)
                operation = Update(orphan.id, operation.text, operation.source, operation.at)
        operations.append(operation)
    silent = edited - {turn for fact in batch.facts for turn in fact.source} if batch.reason == NOTHING else set()
    return operations + [
        Delete(memory.id, memory.source, "the message that said it was edited")
        for memory in orphans
        if set(memory.source) <= silent
    ]


def retrieve(bank: Memories, question: str, k: int, filter: Filter | None = None) -> list[Memory]:
    """Return the memories for a question in time order: the best, half from each speaker as far as there are so many.

    Memory-R1 reads 30 of each of two speakers; without that, the talkative one crowds out the other.
    """
    hits = bank.search(question, k=k, per_speaker=(k + 1) // 2, fill=True, filter=filter)
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
    reason = KNOWN if batch.reason == NOTHING and with_facts & set(left_out) else batch.reason
    return [*operations, Noop(reason, left_out)]
