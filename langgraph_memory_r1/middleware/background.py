"""Remembering in the background: turns wait until a conversation falls silent, then they are dealt with together.

    submit ─► wait for `delay` seconds of silence ─► remember ─► the conversation's next run collects what was done

The threads are no daemons: a process that ends normally ends only after they are done. While they wait they watch the
main thread, so that nobody waits for a delay that has no purpose any more. What a process that was killed has left
stands in the journal, and is remembered here by another one.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langgraph.store.base import BaseStore

from langgraph_memory_r1.bank import MemoryBank
from langgraph_memory_r1.batches import said_to
from langgraph_memory_r1.flow import MemoryAgents, MemoryOptions, Outcome, remember
from langgraph_memory_r1.middleware.journal import NotedTurns, TurnJournal
from langgraph_memory_r1.middleware.turn import AgentTurn
from langgraph_memory_r1.owners import BankPool
from langgraph_memory_r1.state import ChangeRecord, Usage, add_usage, change_record, failure, no_usage
from langgraph_memory_r1.steps import RunMonitor, run_sync
from langgraph_memory_r1.turns import NewTurns, merge_turns

log = logging.getLogger(__name__)

J = TypeVar("J")

_THREADS = 8
"""Conversations that are dealt with at the same time, at most."""
_LOOK = 60.0
"""Seconds between two looks for what dead processes have left: one may die while this one goes on."""
_POLL = 0.1
"""Seconds between two looks at whether the process is ending: nothing notifies a waiting thread of that."""
_CONVERSATIONS = 4_096
"""Conversations whose reports wait for their next run, which may never come; the oldest make room."""


@dataclass(frozen=True, slots=True)
class PendingTurns:
    """What one conversation has said since it was last dealt with."""

    bank: MemoryBank
    turns: NewTurns
    agents: MemoryAgents
    thread: str | None
    config: RunnableConfig
    """Whose handlers see the work: those of the conversation's newest run; empty where no run is known."""

    @property
    def key(self) -> Hashable:
        """One conversation of one owner."""
        return self.bank.namespace, self.thread


@dataclass(slots=True)
class Report:
    """What was done for a conversation since it was last collected."""

    cursor: str | None = None
    memory_ops: list[ChangeRecord] = field(default_factory=list)
    usage: Usage = field(default_factory=no_usage)


class BackgroundMemory:
    """Remembers off the conversations; the next run of a conversation collects what was done.

    Args:
        options: Of the memory; with `on_error="raise"` it is `flush` that raises.
        delay: Seconds of silence before a conversation's turns are dealt with.
        reviewed: Leave what runs and processes have left to their threads' next runs: out of a run nobody can be asked.
    """

    def __init__(self, options: MemoryOptions, delay: float, reviewed: bool = False) -> None:
        self._options = options
        self._reviewed = reviewed
        self.journal = TurnJournal(options.name, options.redact, reviewed)
        self._next_look = 0.0
        self._jobs = DelayedJobs(self._remember, merge_pending, delay)
        self._reports: OrderedDict[Hashable, Report] = OrderedDict()
        self._error: Exception | None = None
        self._lock = threading.Lock()

    def submit(self, pending: PendingTurns) -> None:
        """Remember these turns when their conversation falls silent."""
        own = said_to(pending.bank, pending.turns, pending.thread, self._options.identity)
        # Now: by the time that they are dealt with, the thread may be somebody else's.
        if len(own) < len(pending.turns.turns):
            pairs = zip(pending.turns.turns, pending.turns.cursors, strict=True)
            cursors = tuple(cursor for turn, cursor in pairs if turn in own)
            pending = replace(pending, turns=replace(pending.turns, turns=tuple(own), cursors=cursors))
        self._jobs.submit(pending.key, pending)

    def collect(self, key: Hashable, turn: AgentTurn) -> None:
        """Hand what was done for a conversation since it was last asked to its present run."""
        with self._lock:
            report = self._reports.pop(key, None)
        if report is not None:
            turn.earlier += report.memory_ops
            turn.run.monitor.usage = add_usage(turn.run.monitor.usage, report.usage)
            turn.outcome.cursor = report.cursor or turn.outcome.cursor

    def is_due(self) -> bool:
        """Return whether it is time to look what other processes have left."""
        return not self._reviewed and time.monotonic() >= self._next_look

    def take_over(self, store: BaseStore, agents: MemoryAgents) -> None:
        """Begin to remember what dead processes have left in a store."""
        self._next_look = time.monotonic() + _LOOK
        self._resume(self.journal.take_over(store), agents)

    def flush(self, banks: BankPool, agents: MemoryAgents | None, timeout: float | None = None) -> None:
        """Remember now all that waits and what failed before.

        Args:
            banks: Where dead processes may have left something.
            agents: Remember that, and what failed runs left; without them that waits.
            timeout: At most so many seconds.

        Raises:
            TimeoutError: It is not done yet.
            Exception: The first failure since the last flush, with `on_error="raise"`.
        """
        if agents is not None and not self._reviewed:
            if banks.store is not None:
                self.take_over(banks.open(), agents)
            self._resume(self.journal.pending(), agents)
        if not self._jobs.flush(timeout):
            raise TimeoutError(
                f"After {timeout} s the memory still has turns to remember; flush again to wait for them."
            )
        with self._lock:
            error, self._error = self._error, None
        if error is not None:
            raise error

    def _resume(self, noted: Iterable[NotedTurns], agents: MemoryAgents) -> None:
        for entry in noted:
            pending = PendingTurns(entry.bank, entry.turns, agents, entry.thread, RunnableConfig())
            self._jobs.submit(pending.key, pending, at_once=True)

    def _remember(self, pending: PendingTurns) -> PendingTurns | None:
        monitor, outcome, failed = RunMonitor(), Outcome(), None
        pending = replace(pending, turns=self.journal.standing(pending.bank, pending.turns))
        if not (pending.turns.turns or pending.turns.before):
            return None

        def work(_: object, config: RunnableConfig) -> dict[str, Any]:
            bank, turns = pending.bank, pending.turns
            run_sync(remember(bank, bank, turns, pending.agents, self._options, monitor, outcome), config)
            return {"memory_ops": [change_record(change) for change in outcome.changes]}

        with monitor.timing():
            try:
                # A run of its own: the agent's run is over, and traces refuse children of a run that has ended.
                RunnableLambda(work, name="memory_background").invoke(
                    {"turns": len(pending.turns.turns)}, pending.config
                )
            except Exception as error:  # nobody stands above this thread; what it remembers must not be lost by it
                failed = error
                log.warning("Memory failed in the background, %d turns wait: %r", len(pending.turns.turns), error)
        memory_ops = [change_record(change) for change in outcome.changes]
        with self._lock:
            report = self._reports.setdefault(pending.key, Report())
            if len(self._reports) > _CONVERSATIONS:
                self._reports.popitem(last=False)
            report.cursor = outcome.cursor or report.cursor
            report.memory_ops += [*memory_ops, *outcome.failures]
            report.memory_ops += [] if failed is None else [failure("remember", failed)]
            report.usage = add_usage(report.usage, monitor.usage)
            if self._options.on_error == "raise":
                self._error = self._error or failed
        if failed is not None or outcome.failures:
            return pending
        self.journal.done(pending.bank, pending.turns)
        return None


def merge_pending(older: PendingTurns, newer: PendingTurns) -> PendingTurns:
    """Merge what a conversation has said at two times."""
    return replace(newer, turns=merge_turns(older.turns, newer.turns), config=newer.config or older.config)


def detached_config(config: RunnableConfig) -> RunnableConfig:
    """Return a config with the handlers of a run, for work that goes on when that run has ended."""
    callbacks = config.get("callbacks")
    # The manager itself would hang the work below the run that is over.
    handlers = callbacks.inheritable_handlers if isinstance(callbacks, BaseCallbackManager) else callbacks
    thread = config.get("metadata", {}).get("thread_id")
    return RunnableConfig(callbacks=list(handlers or []), metadata={} if thread is None else {"thread_id": thread})


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[J]):
    job: J
    due: float


class DelayedJobs(Generic[J]):
    """Does jobs after a delay, one at a time for each key; what comes in meanwhile is merged.

    Args:
        work: Does a job; returns what has to be done again later, or None. Must not raise.
        merge: Makes one job of two with the same key, the older first.
        delay: Seconds of silence before a job is done.
    """

    def __init__(self, work: Callable[[J], J | None], merge: Callable[[J, J], J], delay: float) -> None:
        self._work = work
        self._merge = merge
        self._delay = delay
        self._state = threading.Condition()
        self._waiting: dict[Hashable, _Waiting[J]] = {}
        self._failed: dict[Hashable, J] = {}
        self._running: set[Hashable] = set()
        self._threads = 0
        reference = weakref.ref(self)  # atexit would keep every middleware that was ever made

        def drain_at_exit() -> None:
            if (jobs := reference()) is not None:
                jobs.drain()

        atexit.register(drain_at_exit)

    def submit(self, key: Hashable, job: J, at_once: bool = False) -> None:
        """Do the job after the delay, or at once, together with what waits under the same key or failed before."""
        with self._state:
            self._put(key, job, 0.0 if at_once else time.monotonic() + self._delay)
            self._start_threads()

    def flush(self, timeout: float | None = None) -> bool:
        """Do now all that waits, and try again what failed; return False if that takes longer than the timeout."""
        with self._state:
            for key in [*self._waiting, *self._failed]:
                self._put(key, None, 0.0)
            self._start_threads()
            self._state.notify_all()
            return self._state.wait_for(lambda: not self._waiting and not self._running, timeout)

    def drain(self) -> None:
        """Try once more what failed, on this thread: at the end of a process no thread can be started."""
        with self._state:
            jobs = [*self._failed.values(), *(waiting.job for waiting in self._waiting.values())]
            self._failed.clear()
            self._waiting.clear()
        for job in jobs:
            self._work(job)

    def _put(self, key: Hashable, job: J | None, due: float) -> None:
        failed = self._failed.pop(key, None)
        waiting = self._waiting.get(key)
        # Oldest first: turns must reach the bank in the order in which they were said.
        parts = [part for part in (failed, waiting.job if waiting else None, job) if part is not None]
        merged = parts[0]
        for part in parts[1:]:
            merged = self._merge(merged, part)
        self._waiting[key] = _Waiting(merged, due)

    def _start_threads(self) -> None:
        while self._threads < min(_THREADS, len(self._waiting) + len(self._running)):
            self._threads += 1
            threading.Thread(target=self._run, name="memory-r1", daemon=False).start()

    def _run(self) -> None:
        with self._state:
            while self._waiting:
                # The threads outlive the main thread; once that is over, nobody says anything any more: all is due.
                now = time.monotonic() if threading.main_thread().is_alive() else float("inf")
                # Two jobs of one conversation at once would find the same turns new, and remember them twice.
                free = ((waiting.due, key) for key, waiting in self._waiting.items() if key not in self._running)
                due, key = min(free, key=lambda pair: pair[0], default=(float("inf"), None))
                if due > now or key is None:
                    self._state.wait(_POLL)
                    continue
                job = self._waiting.pop(key).job
                self._running.add(key)
                # A job asks models for seconds; agents that submit in the meantime must not wait for it.
                self._state.release()
                try:
                    failed = self._work(job)
                finally:
                    self._state.acquire()
                    self._running.discard(key)
                if failed is not None and key in self._waiting:
                    newer = self._waiting[key]
                    self._waiting[key] = _Waiting(self._merge(failed, newer.job), newer.due)
                elif failed is not None:
                    # Not tried again at once: a server that is down would be asked in a loop. The conversation's next
                    # turns, a flush or the end of the process try it again.
                    self._failed[key] = failed
                self._state.notify_all()
            self._threads -= 1
            self._state.notify_all()
