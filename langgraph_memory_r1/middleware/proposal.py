"""A turn that is decided on a fork of the bank, kept by the checkpointer, and applied once it was approved.

What was decided is kept as plain values, so that the run that goes on after the interrupt, maybe in another process,
applies what was shown and asks no model again.
"""

from __future__ import annotations

from functools import partial
from typing import Any, TypeAlias

from langgraph_memory_r1.bank import MemoryBank
from langgraph_memory_r1.bank.records import change_from_record, change_to_record
from langgraph_memory_r1.middleware.remember import Crew, Outcome, Redact, Redacting, decide
from langgraph_memory_r1.middleware.review import Asks, approved
from langgraph_memory_r1.middleware.turn import AgentTurn
from langgraph_memory_r1.state import change_record
from langgraph_memory_r1.steps import RunBlocking, RunMonitor, Steps

Saved: TypeAlias = dict[str, Any]
"""A decision as the checkpointer keeps it."""


def propose(turn: AgentTurn, crew: Crew) -> Steps[Saved]:
    """Decides what the turn means for the bank, and changes nothing."""
    bank: MemoryBank = yield RunBlocking(turn.run.bank)
    fork = yield RunBlocking(bank.fork)
    outcome, monitor = Outcome(), RunMonitor(partial(_tell, turn.run.monitor))
    monitor.bank = bank.key
    yield from decide(bank, fork, turn.new, crew, monitor, outcome)
    changes = [{"id": change.id, **change_to_record(change)} for change in outcome.changes]
    return {"changes": changes, "cursor": outcome.cursor, "usage": monitor.usage}


def apply_approved(turn: AgentTurn, saved: Saved, asks: Asks, redact: Redact | None) -> Steps[None]:
    """Asks where somebody has to be asked, and applies what may be applied, in one commit."""
    turn.run.monitor.usage = saved["usage"]
    changes = [change_from_record(record["id"], record) for record in saved["changes"]]
    if changes:
        allowed = approved(changes, asks, turn.name)
        bank: MemoryBank = yield RunBlocking(turn.run.bank)
        target = bank if redact is None else Redacting(bank, redact)
        apply = partial(target.apply, allowed.operations, expect=allowed.expect or None, model=changes[0].model)
        turn.outcome.changes = yield RunBlocking(apply)
        for change in turn.outcome.changes:
            turn.run.monitor.emit("operation", {"operation": change_record(change)})
    turn.outcome.cursor = saved["cursor"]


def _tell(monitor: RunMonitor, event: str, data: dict[str, Any]) -> None:
    monitor.emit("proposal" if event == "operation" else event, data)
