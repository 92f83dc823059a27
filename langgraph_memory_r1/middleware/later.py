"""Remembering in the background: turns wait until a conversation falls silent, then they are dealt with together."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.runnables import RunnableConfig, RunnableLambda

from langgraph_memory_r1.bank import MemoryBank
from langgraph_memory_r1.middleware.background import Background
from langgraph_memory_r1.middleware.remember import Crew, Outcome, decide
from langgraph_memory_r1.middleware.turn import AgentTurn, joined, total
from langgraph_memory_r1.nodes import OnError
from langgraph_memory_r1.state import ChangeRecord, Usage, change_record, failure
from langgraph_memory_r1.steps import RunMonitor, run_sync
from langgraph_memory_r1.turns import NewTurns

log = logging.getLogger(__name__)

_CONVERSATIONS = 4_096
"""So many conversations are told at their next run what was done."""


@dataclass(frozen=True, slots=True)
class Job:
    """What one conversation has said since it was last dealt with."""

    bank: MemoryBank
    new: NewTurns
    crew: Crew
    thread: str | None
    config: RunnableConfig = field(default_factory=RunnableConfig)
    """Who is told about the work: the handlers of the conversation's newest run."""

    @property
    def key(self) -> Hashable:
        """One conversation of one owner."""
        return self.bank.namespace, self.thread


@dataclass(slots=True)
class _Done:
    cursor: str | None = None
    ops: list[ChangeRecord] = field(default_factory=list)
    usage: Usage = field(default_factory=lambda: RunMonitor().usage)


class Later:
    """Remembers off the conversation; the next run of a conversation is told what was done."""

    def __init__(self, delay: float, on_error: OnError) -> None:
        self._on_error = on_error
        self._background = Background(self._work, merged, delay)
        self._done: OrderedDict[Hashable, _Done] = OrderedDict()
        self._errors: list[Exception] = []
        self._lock = threading.Lock()

    def submit(self, job: Job) -> None:
        """Remembers it when its conversation falls silent."""
        self._background.submit(job.key, job)

    def collect(self, job: Job, turn: AgentTurn) -> None:
        """Hands over what was done for a conversation since it was last asked."""
        with self._lock:
            done = self._done.pop(job.key, None)
        if done is None:
            return
        turn.earlier += done.ops
        turn.run.monitor.usage = total(turn.run.monitor.usage, done.usage)
        turn.outcome.cursor = done.cursor or turn.outcome.cursor

    def flush(self, timeout: float | None = None) -> None:
        """Remembers now all that waits.

        Raises:
            TimeoutError: It is not done yet.
            Exception: What went wrong, if errors are to be raised.
        """
        if not self._background.flush(timeout):
            raise TimeoutError(
                f"After {timeout} s the memory still has turns to remember; flush again to wait for them."
            )
        with self._lock:
            errors, self._errors = self._errors, []
        if errors and self._on_error == "raise":
            raise errors[0]

    def _work(self, job: Job) -> Job | None:
        monitor, outcome, failed = RunMonitor(), Outcome(), None
        remember = RunnableLambda(partial(_remember, job, monitor, outcome), name="memory_background")
        with monitor.timing():
            try:
                remember.invoke({"turns": len(job.new.turns)}, job.config)
            except Exception as error:
                failed = error
                log.warning("Memory failed in the background, %d turns wait: %r", len(job.new.turns), error)
        ops = [change_record(change) for change in outcome.changes]
        with self._lock:
            done = self._done.setdefault(job.key, _Done())
            if len(self._done) > _CONVERSATIONS:
                self._done.popitem(last=False)
            done.cursor = outcome.cursor or done.cursor
            done.ops += ops if failed is None else [*ops, failure("remember", failed)]
            done.usage = total(done.usage, monitor.usage)
            self._errors += [failed] if failed is not None else []
        return None if failed is None else job


def told_after(config: RunnableConfig) -> RunnableConfig:
    """The handlers of a run, for work that goes on when it has ended: a run of its own in traces."""
    given = config.get("callbacks")
    handlers = given.inheritable_handlers if isinstance(given, BaseCallbackManager) else given
    thread = config.get("metadata", {}).get("thread_id")
    return RunnableConfig(callbacks=list(handlers or []), metadata={} if thread is None else {"thread_id": thread})


def _remember(job: Job, monitor: RunMonitor, outcome: Outcome, _: object, config: RunnableConfig) -> dict[str, Any]:
    monitor.bank = job.bank.key
    run_sync(decide(job.bank, job.bank, job.new, job.crew, monitor, outcome), config)
    return {"memory_ops": [change_record(change) for change in outcome.changes]}


def merged(older: Job, newer: Job) -> Job:
    """Both, without saying anything twice."""
    return replace(newer, new=joined(older.new, newer.new))
