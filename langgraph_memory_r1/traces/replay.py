"""Banks as they were before each decision, from the operations that were recorded.

A trace holds what was done, not whole banks: those follow from the operations, beginning with an empty bank. Where
recording began later, or something was changed by hand, what a prompt shows of a memory puts it right; memories that no
prompt has shown stay unknown.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from langgraph_memory_r1.bank.history import in_order
from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.prompts import AnswerInput, ManageInput, RoleInput
from langgraph_memory_r1.schemas import Fact, Memory
from langgraph_memory_r1.state import ChangeRecord
from langgraph_memory_r1.traces.decision import Decision


class Replay:
    """The memories of every bank, followed through its decisions in the order of their times."""

    def __init__(self) -> None:
        self._banks: dict[str, dict[str, Memory]] = {}

    def memories(self, bank: str) -> tuple[Memory, ...]:
        """What the bank holds now, in time order."""
        return tuple(in_order(self._banks.get(bank, {}).values()))

    def get(self, bank: str, ids: Iterable[str]) -> tuple[Memory, ...]:
        """Those of these memories that are known."""
        held = self._banks.get(bank, {})
        return tuple(held[key] for key in ids if key in held)

    def observe(self, bank: str, given: RoleInput) -> RoleInput:
        """Learns what a prompt shows; returns it with all that is known about its memories."""
        if not isinstance(given, ManageInput | AnswerInput):
            return given
        held = self._banks.setdefault(bank, {})
        for shown in given.memories:
            old = held.get(shown.id, shown)
            held[shown.id] = old if old.text == shown.text else replace(old, text=shown.text, at=shown.at)
        return replace(given, memories=tuple(held[shown.id] for shown in given.memories))

    def apply(self, bank: str, decision: Decision) -> None:
        """Does what was done because of the decision."""
        held = self._banks.setdefault(bank, {})
        for operation in decision.operations:
            _apply(held, operation, _facts(decision))


class BankResolver:
    """Which bank a decision belongs to; an agent's own calls name none, and belong to that of their run or thread."""

    def __init__(self, decisions: Iterable[Decision]) -> None:
        self._of: dict[tuple[str, str], set[str]] = {}
        for decision in decisions:
            for place in _places(decision) if decision.bank else ():
                self._of.setdefault(place, set()).add(str(decision.bank))

    def bank_of(self, decision: Decision) -> str:
        """The bank's key, or else the conversation's or the run's id."""
        if decision.bank:
            return decision.bank
        found = next((banks for place in _places(decision) if len(banks := self._of.get(place, set())) == 1), set())
        return next(iter(found), decision.thread or decision.run_id)


def _places(decision: Decision) -> list[tuple[str, str]]:
    return [("run", decision.run_id), *([("thread", decision.thread)] if decision.thread else [])]


def _facts(decision: Decision) -> tuple[Fact, ...]:
    try:
        given = decision.input()
    except InputError:
        return ()
    return given.facts if isinstance(given, ManageInput) else ()


def _apply(held: dict[str, Memory], operation: ChangeRecord, facts: tuple[Fact, ...]) -> None:
    key, text, source = operation["memory_id"], operation["after"], tuple(operation["source"])
    if key is None:
        return
    if operation["event"] == "DELETE" or text is None:
        held.pop(key, None)
        return
    origin = next((fact for fact in reversed(facts) if set(fact.source) & set(source)), Fact(""))
    at = datetime.fromisoformat(operation["at"]) if operation["at"] else None
    old = held.get(key)
    if old is None:
        new = Memory(key, text, origin.speaker, origin.at, source, origin.session, created_at=at, updated_at=at)
    else:
        sources = tuple(dict.fromkeys([*old.source, *source]))
        new = replace(old, text=text, source=sources, at=origin.at or old.at, rev=old.rev + 1, updated_at=at)
    held[key] = new
