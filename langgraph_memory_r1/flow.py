"""From turns to changes of a bank: the flow that the graph's nodes and the middleware share, with one failure policy.

    NewTurns ─► new_batches ─► extract ─► manage_batch ─► Outcome: changes, cursor

The graph runs the two halves as two nodes; the middleware runs `remember`, at once, in the background, or on a fork of
the bank that a person looks at first.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Literal, NamedTuple, TypeAlias, get_args
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphBubbleUp
from langgraph.runtime import Runtime

from langgraph_memory_r1.bank import MemoryBank
from langgraph_memory_r1.bank.attributes import Filter, checked_metadata, checked_tags, memory_filter
from langgraph_memory_r1.bank.base import Memories
from langgraph_memory_r1.bank.history import is_unread
from langgraph_memory_r1.batches import Batch, Limits, batch_turns, new_turns
from langgraph_memory_r1.errors import ConflictError, IdentityError, InputError, MemoryR1Error
from langgraph_memory_r1.identity import context_value
from langgraph_memory_r1.owners import BankPool
from langgraph_memory_r1.roles import extract, manage
from langgraph_memory_r1.schemas import Add, Change, Operation, Update
from langgraph_memory_r1.state import ChangeRecord, OwnerRecord, failure
from langgraph_memory_r1.steps import Agent, RunBlocking, RunMonitor
from langgraph_memory_r1.turns import NewTurns, Speakers

log = logging.getLogger(__name__)

_GREGORIAN = datetime(1582, 10, 15, tzinfo=UTC)
_RUNS = 4_096

OnError: TypeAlias = Literal["raise", "degrade"]

RunFilter: TypeAlias = Filter | Callable[[Runtime[Any]], Filter | None]
"""Which memories a run may see: a filter, or a function that tells it from the run."""

Redact: TypeAlias = Callable[[str], str]
"""Takes out of a text what must not be kept."""


def utc_now() -> datetime:
    """Return the present: the clock of runs that were given no other."""
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class MemoryOptions:
    """What all parts of one memory share, be they nodes of a graph or hooks of a middleware.

    Raises:
        InputError: One of them makes no sense; refused at once, not by a memory that fails in every run.
    """

    banks: BankPool
    on_error: OnError = "raise"
    """`degrade`: a failure is logged and stands in `memory_ops`; the run goes on, its turns stay to be dealt with."""
    clock: Callable[[], datetime] = utc_now
    limits: Limits = field(default_factory=Limits)
    related_k: int = 10
    """Memories that are looked up for each fact."""
    k: int = 60
    """Memories that are looked up for a question."""
    redact: Redact | None = None
    """Applied to all that was said, and to all that is written."""
    filter: RunFilter | None = None
    """Only memories that it lets through are recalled and answered from; a function tells it from the run. New facts
    are compared with all memories."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Kept with every memory that is added."""
    tags: Sequence[str] = ()
    """Likewise."""
    name: str = "memory"
    """Tells several memories apart in the log."""

    @property
    def identity(self) -> str | None:
        """Tells this memory apart from another one in the same thread, in every process; None where nothing does."""
        kind = self.banks.kind
        return None if kind is None else f"{self.name}\0{kind}"

    def __post_init__(self) -> None:
        for name in ("k", "related_k"):
            if (count := getattr(self, name)) < 1:
                raise InputError(f"{name}={count} counts memories; give a number of at least 1.")
        if self.on_error not in get_args(OnError):
            raise InputError(f"There is no on_error {self.on_error!r}; give one of {', '.join(get_args(OnError))}.")
        if self.redact is not None and not callable(self.redact):
            raise InputError(f"redact={self.redact!r} cannot be called; give a function from a text to a text.")
        checked_metadata(self.metadata)
        checked_tags(self.tags)
        if not callable(self.filter):
            memory_filter(self.filter)

    def filter_of(self, runtime: Runtime[Any]) -> Filter | None:
        """Return the filter of a run."""
        return filter_of(self.filter, runtime)

    def prepared(self, operation: Operation) -> Operation:
        """Return an operation as it may be written: redacted, with what the application keeps with new memories."""
        if self.redact is not None:
            operation = redact_operation(operation, self.redact)
        if isinstance(operation, Add) and (self.metadata or self.tags):
            metadata, tags = {**self.metadata, **operation.metadata}, (*operation.tags, *self.tags)
            operation = replace(operation, metadata=metadata, tags=tags)
        return operation


def filter_of(conditions: RunFilter | None, runtime: Runtime[Any]) -> Filter | None:
    """Return the filter of a run; None where it may see everything."""
    return conditions(runtime) if callable(conditions) else conditions


class MemoryAgents(NamedTuple):
    """The two agents that turn what was said into memories."""

    extract: Agent
    manage: Agent


@dataclass(slots=True)
class Outcome:
    """What was done so far, filled in as it happens, so that a failure half-way keeps what is done."""

    cursor: str | None = None
    """The last message that was dealt with."""
    changes: list[Change] = field(default_factory=list)
    failures: list[ChangeRecord] = field(default_factory=list)
    """What was given up on: those turns stay to be dealt with, and the cursor stays before them."""
    unread: bool = False
    """The facts of a turn could not be read: the cursor stays before it, so that later runs see it again."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one part of a memory: whose it is, and what it costs."""

    options: MemoryOptions
    runtime: Runtime[Any]
    config: RunnableConfig
    monitor: RunMonitor
    begun: OwnerRecord | None = None
    """What the first step of the run kept of its owner."""

    async def bank(self) -> MemoryBank:
        """Return the bank of the run's owner."""
        # A bank that is open already needs no thread; in `ainvoke` that is one hop less in every step of every turn.
        bank = self.options.banks.opened(self.runtime, self.config, self.begun)
        if bank is None:
            bank = await RunBlocking(lambda: self.options.banks.bank(self.runtime, self.config, self.begun))
        self.monitor.bank_key = bank.key
        return bank

    def speakers(self, *, waits: bool = False) -> Speakers:
        """Return what the two sides of the chat are called."""
        configurable = self.config.get("configurable", {})
        thread = configurable.get("thread_id")
        name = context_value(self.runtime.context, "user_name")
        return Speakers(
            str(name or "user"),
            thread=None if thread is None else str(thread),
            zone=self.zone(),
            replayed_since=replayed_since(self.config),
            nested="|" in str(configurable.get("checkpoint_ns") or ""),
            run=run_of(self.runtime),
            waits=waits,
        )

    @property
    def _timezone(self) -> object:
        return context_value(self.runtime.context, "timezone") or self.config.get("configurable", {}).get("timezone")

    def zone(self) -> tzinfo | None:
        """Return where the user is, as `timezone` of the run's context says it, or of its config; None where it is not.

        In an event loop `load_zone` comes first: the hours of a zone lie on the disk.
        """
        name = self._timezone
        return name if name is None or isinstance(name, tzinfo) else zone_named(str(name))

    async def load_zone(self) -> None:
        """Make `zone` answer at once; a coroutine of effects."""
        name = self._timezone
        if isinstance(name, str) and name not in _zones:
            await RunBlocking(lambda: zone_named(name))

    def now(self) -> datetime:
        """Return the present in the user's zone, if it is known, by the memory's clock."""
        now, zone = self.options.clock(), self.zone()
        return now if zone is None else now.astimezone(zone)

    @contextmanager
    def guarded(self, step: str, failures: list[ChangeRecord]) -> Iterator[None]:
        """Time a step of the run, and with `on_error="degrade"` let the run go on where the step fails.

        Args:
            step: What is done, as a verb: a node's role, or what a hook of the middleware does.
            failures: Takes the failure, which is logged and emitted too.
        """
        with self.monitor.timing():
            try:
                yield
            except GraphBubbleUp:  # an interrupt or a command to a parent graph: control flow, no failure
                raise
            except IdentityError:  # who asks for another's memories is refused, not served without them
                raise
            except Exception as error:  # a model's, a disk's, anybody's: who chats must not lose the answer by it
                if self.options.on_error == "raise":
                    raise
                unexpected = None if isinstance(error, MemoryR1Error) else error  # ours say in a sentence what is wrong
                name = self.options.name
                log.warning("Memory %r failed to %s, the run goes on: %r", name, step, error, exc_info=unexpected)
                failures.append(failure(step, error))
                self.monitor.emit("error", {"operation": failures[-1]})


_zones: dict[str, tzinfo | None] = {}
_runs: OrderedDict[object, str] = OrderedDict()
"""Runs of this process → what tells them apart in any process; the oldest make room."""


def zone_named(name: str) -> tzinfo | None:
    """Return the zone of an IANA name such as "America/New_York"; None, with one warning, where there is none."""
    if name not in _zones:
        try:
            _zones[name] = ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            _zones[name] = None
            log.warning(
                "There is no time zone %r, so that times stay as they are; give a name such as 'America/New_York'.",
                name,
            )
    return _zones[name]


async def new_batches(bank: MemoryBank, turns: NewTurns, options: MemoryOptions, monitor: RunMonitor) -> list[Batch]:
    """Batch the turns that a bank does not know yet, redacted."""
    if not turns.turns and not turns.before:
        return []
    new = await RunBlocking(lambda: new_turns(bank, turns, options.limits, options.identity))
    if turns.turns or new.turns:
        monitor.emit("new_turns", {"turns": len(new.turns), "skipped": dict(new.skipped)})
    return batch_turns(redact_turns(new, options.redact), options.limits)


async def manage_batch(
    bank: Memories, agent: Agent, batch: Batch, options: MemoryOptions, monitor: RunMonitor, outcome: Outcome
) -> None:
    """Apply to a bank what the facts of a batch mean; then the batch is done, and the cursor moves behind it.

    A batch on which others were quicker for too long stays as it is, and so do those after it.
    """
    if outcome.failures:
        return
    try:
        changes = await manage(bank, agent, batch, options.related_k, monitor, options.prepared)
    except ConflictError as error:  # no failure of the app's: it must not lose a run by it, whatever `on_error` says
        log.warning("Memory %r gave up on %d facts for now: %s", options.name, len(batch.facts), error)
        outcome.failures.append(failure("manage", error, batch.source))
        monitor.emit("error", {"operation": outcome.failures[-1]})
        return
    outcome.changes += changes
    outcome.unread |= any(map(is_unread, changes))
    if batch.cursor is not None and not outcome.unread:
        outcome.cursor = batch.cursor


async def remember(
    bank: MemoryBank,
    target: Memories,
    turns: NewTurns,
    agents: MemoryAgents,
    options: MemoryOptions,
    monitor: RunMonitor,
    outcome: Outcome,
) -> None:
    """Find facts in what a bank does not know yet, and apply what they mean to a target, batch by batch.

    Args:
        bank: Says which turns are new, also for a fork of it, whose history begins with the fork.
        target: The bank itself, or a fork of it.
        turns: What was said.
        agents: Find facts and decide about them.
        options: Limits, redaction.
        monitor: Counts and emits.
        outcome: Filled in as it happens.
    """
    monitor.bank_key = bank.key
    for batch in await new_batches(bank, turns, options, monitor):
        batch = await extract(agents.extract, batch, monitor)
        await manage_batch(target, agents.manage, batch, options, monitor, outcome)
        if outcome.failures:
            return
    if not outcome.unread:
        outcome.cursor = turns.last


def replayed_since(config: RunnableConfig) -> datetime | None:
    """Return the time of the checkpoint that a run goes on from, where it names one: a replay, or a fork of a thread.

    A run that names the newest checkpoint, as clients of a server do, is an ordinary one: nothing was said since then.
    """
    named = {**config.get("configurable", {}), **config.get("metadata", {})}.get("checkpoint_id")
    if not named:
        return None
    try:
        # LangGraph's ids of checkpoints are UUIDs of version 6: their first bits count 100 ns since 1582.
        digits = UUID(str(named)).hex
        return _GREGORIAN + timedelta(microseconds=(int(digits[:12] + digits[13:16], 16)) // 10)
    except (ValueError, OverflowError):
        return _GREGORIAN  # another saver's id, without a time: whatever was said in the thread counts


def run_of(runtime: Runtime[Any]) -> str | None:
    """Return what all parts of a run have in common, however deep, and no other run; None outside of a graph."""
    # One for each run, which subgraphs share; a run that is resumed has another. Not every LangGraph 1.2 has it.
    control = getattr(runtime, "control", None)
    if control is None:
        return None
    run = _runs.setdefault(control, uuid4().hex)
    if len(_runs) > _RUNS:
        _runs.popitem(last=False)
    return run


def redact_turns(new: NewTurns, redact: Redact | None) -> NewTurns:
    """Take out of turns what must not be kept; their ids stay."""
    if redact is None:
        return new
    turns = (replace(turn, text=redact(turn.text), speaker=redact(turn.speaker)) for turn in new.turns)
    return replace(new, turns=tuple(turns))


def redact_operation(operation: Operation, redact: Redact) -> Operation:
    """Take out of the texts of an operation what must not be kept."""
    if isinstance(operation, Add):
        speaker = None if operation.speaker is None else redact(operation.speaker)
        return replace(operation, text=redact(operation.text), speaker=speaker, reason=redact(operation.reason))
    if isinstance(operation, Update):
        return replace(operation, text=redact(operation.text))
    return replace(operation, reason=redact(operation.reason))
