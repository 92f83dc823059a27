"""Banks as they were before each decision, from the operations that were recorded.

A trace holds the operations and not whole banks: these follow from the operations, beginning with an empty bank. Where
recording began later, or something was changed by hand, the memories in a prompt put it right; memories that no prompt
has shown stay unknown.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from langgraph_memory_r1.bank.history import in_order
from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.prompts import AnswerInput, ManageInput, RoleInput
from langgraph_memory_r1.schemas import Fact, Memory
from langgraph_memory_r1.traces.decision import Decision


class Replay:
    """The memories of every bank, followed through its decisions in the order of their times."""

    def __init__(self) -> None:
        self._banks: dict[str, dict[str, Memory]] = {}

    def memories(self, bank: str) -> tuple[Memory, ...]:
        """Return what the bank holds now, in time order."""
        return tuple(in_order(self._banks.get(bank, {}).values()))

    def get(self, bank: str, ids: Iterable[str]) -> tuple[Memory, ...]:
        """Return the memories with these ids, as far as they are known."""
        memories = self._banks.get(bank, {})
        return tuple(memories[key] for key in ids if key in memories)

    def observe(self, bank: str, role_input: RoleInput) -> RoleInput:
        """Take over the memories in a prompt; return the prompt's input with all that is known about them."""
        if not isinstance(role_input, ManageInput | AnswerInput):
            return role_input
        memories = self._banks.setdefault(bank, {})
        for shown in role_input.memories:
            old = memories.get(shown.id, shown)
            memories[shown.id] = old if old.text == shown.text else replace(old, text=shown.text, at=shown.at)
        return replace(role_input, memories=tuple(memories[shown.id] for shown in role_input.memories))

    def apply(self, bank: str, decision: Decision) -> None:
        """Apply the operations of a decision to its bank."""
        memories = self._banks.setdefault(bank, {})
        try:
            role_input = decision.input()
        except InputError:
            role_input = None
        facts = role_input.facts if isinstance(role_input, ManageInput) else ()
        for operation in decision.operations:
            key, text, source = operation["memory_id"], operation["after"], tuple(operation["source"])
            if key is None:
                continue
            if operation["event"] == "DELETE" or text is None:
                memories.pop(key, None)
                continue
            # A record has the turns of its fact, and not its speaker, date and session: these stand in the prompt.
            fact = next((fact for fact in reversed(facts) if set(fact.source) & set(source)), Fact(""))
            at = datetime.fromisoformat(operation["at"]) if operation["at"] else None
            old = memories.get(key)
            if old is None:
                new = Memory(key, text, fact.speaker, fact.at, source, fact.session, created_at=at, updated_at=at)
            else:
                sources = tuple(dict.fromkeys([*old.source, *source]))
                new = replace(old, text=text, source=sources, at=fact.at or old.at, rev=old.rev + 1, updated_at=at)
            memories[key] = new


class BankResolver:
    """Which bank a decision belongs to; an agent's own calls name none, and belong to that of their run or thread."""

    def __init__(self, decisions: Iterable[Decision]) -> None:
        self._banks: dict[tuple[str, str], set[str]] = {}
        for decision in decisions:
            if decision.bank:
                for episode in _episodes(decision):
                    self._banks.setdefault(episode, set()).add(decision.bank)

    def bank_of(self, decision: Decision) -> str:
        """Return the bank's key, or else the conversation's or the run's id."""
        if decision.bank:
            return decision.bank
        for episode in _episodes(decision):
            banks = self._banks.get(episode, set())
            if len(banks) == 1:
                return next(iter(banks))
        return decision.thread or decision.run_id


def _episodes(decision: Decision) -> list[tuple[str, str]]:
    return [("run", decision.run_id), *([("thread", decision.thread)] if decision.thread else [])]
