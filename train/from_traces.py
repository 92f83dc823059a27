"""Rows from what was recorded and what people said about it.

    an answer that somebody gave the gold for     ─► an answer row, and a probe
    a decision of the manager, and the probes     ─► a manager row
    that rest on its turns

A question is asked of the last decision that it rests on: of the turns behind the memories that a right answer used,
else of the newest fact that holds the gold answer.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.prompts import PROMPT_VERSION, AnswerInput, ManageInput, RoleInput
from langgraph_memory_r1.schemas import Memory
from langgraph_memory_r1.scoring.evidence import token_coverage
from langgraph_memory_r1.traces import Decision, read_traces
from langgraph_memory_r1.traces.conversations import is_right
from langgraph_memory_r1.traces.reader import read_feedback
from langgraph_memory_r1.traces.replay import BankResolver, Replay
from langgraph_memory_r1.train.recipe import TrainedRole
from langgraph_memory_r1.train.rows import AnswerRow, ManagerRow, Probe, Row
from langgraph_memory_r1.train.sources import Material

_FIRST = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question with its gold answer."""

    bank: str
    probe: Probe
    number: int
    """Its place among all decisions."""


@dataclass(slots=True)
class _Found:
    """What the decisions give, filled in as they are followed."""

    owners: BankResolver
    replay: Replay = field(default_factory=Replay)
    managed: dict[tuple[str, ...], tuple[int, ManagerRow]] = field(default_factory=dict)
    answered: dict[str, AnswerRow] = field(default_factory=dict)
    asked: dict[str, _Asked] = field(default_factory=dict)
    steps: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)


def rows_from_traces(path: str | os.PathLike[str], role: TrainedRole) -> Material:
    """The rows of a role, and what gave none, counted by reason.

    Args:
        path: A folder or file of traces, see `read_traces`.
        role: Whose rows.

    Raises:
        InputError: There is nothing to read.
    """
    broken: list[InputError] = []
    decisions = sorted(read_traces(path, on_skip=broken.append), key=lambda decision: decision.at or _FIRST)
    found = _Found(BankResolver(decisions), skipped=Counter({"broken lines": len(broken)} if broken else {}))
    known = {key for decision in decisions for key in (decision.id, decision.run_id)}
    if lost := sum(told.target not in known for told in read_feedback(path)):
        found.skipped["feedback on what is not recorded here"] = lost
    for number, decision in enumerate(decisions):
        _follow(decision, number, found)
    rows: list[Row] = _managed(found) if role == "manage" else list(found.answered.values())
    return Material(rows, skipped=found.skipped)


def _follow(decision: Decision, number: int, found: _Found) -> None:
    given = _given(decision, found.skipped)
    bank = found.owners.bank_of(decision)
    if given is not None and decision.retrieved:  # without ids nobody knows which memories were shown
        given = found.replay.observe(bank, given)
    if isinstance(given, ManageInput):
        _manage(decision, number, given, found)
    elif isinstance(given, AnswerInput) or decision.role is None:
        _ask(decision, number, given, found)


def _given(decision: Decision, skipped: Counter[str]) -> RoleInput | None:
    """What the model of a role was shown; None for others, and for what cannot be used."""
    if decision.role is None:
        return None
    if decision.prompt_version != PROMPT_VERSION:
        skipped[f"recorded under prompt version {decision.prompt_version}"] += 1
        return None
    try:
        return decision.input()
    except InputError:
        skipped["a prompt that cannot be read"] += 1
        return None


def _manage(decision: Decision, number: int, given: ManageInput, found: _Found) -> None:
    """A row without probes yet; of several tries at the same facts the last one counts."""
    bank = found.owners.bank_of(decision)
    key = (decision.run_id, *decision.turns) if decision.turns else (decision.id,)
    before = found.managed[key][1] if key in found.managed else None
    if before is None:
        found.steps[bank] += 1
    row = ManagerRow(
        decision.id, given.facts, found.replay.memories(bank), given.memories, (), bank,
        found.steps[bank] - 1 if before is None else before.step,
        kind="+".join(sorted({operation["event"] for operation in decision.operations})),
    )  # fmt: skip
    found.managed[key] = number, row
    found.replay.apply(bank, decision)


def _ask(decision: Decision, number: int, given: RoleInput | None, found: _Found) -> None:
    gold, bank = decision.gold, found.owners.bank_of(decision)
    if gold is None or not gold.strip():
        found.skipped.update(["questions without a gold answer"] if decision.role == "answer" else [])
        return
    question = given.question if isinstance(given, AnswerInput) else _last_words(decision)
    used = found.replay.get(bank, decision.selected) if is_right(decision) else ()
    evidence = tuple(dict.fromkeys(turn for memory in used for turn in memory.source))
    if question:
        at = given.at if isinstance(given, AnswerInput) else decision.at
        found.asked[decision.run_id] = _Asked(bank, Probe(question, gold, at, None, evidence), number)
    if isinstance(given, AnswerInput):
        selected = _places(given.memories, decision.selected) if is_right(decision) else None
        found.answered[decision.run_id] = AnswerRow(
            decision.id, given.question, gold, given.memories, given.at, bank, selected
        )


def _last_words(decision: Decision) -> str:
    """What an agent was asked: an app's own calls play no role."""
    said = [message["content"] for message in decision.messages if message["role"] == "user"]
    return said[-1] if said and isinstance(said[-1], str) else ""


def _places(memories: Iterable[Memory], ids: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(place for place, memory in enumerate(memories) if memory.id in ids)


def _managed(found: _Found) -> list[Row]:
    """The manager's rows that a question rests on."""
    probes: dict[str, list[Probe]] = {}
    for asked in found.asked.values():
        earlier = [row for number, row in found.managed.values() if row.episode == asked.bank and number < asked.number]
        row, evidence = _rests_on(asked.probe, earlier)
        if row is None:
            found.skipped["questions whose evidence is in no recorded turn"] += 1
        else:
            probes.setdefault(row.id, []).append(replace(asked.probe, evidence=evidence))
    rows = [row for _, row in found.managed.values()]
    left = [row for row in rows if row.id not in probes]
    found.skipped.update("decisions that no later question rests on" for _ in left)
    return [replace(row, probes=tuple(probes[row.id])) for row in rows if row.id in probes]


def _rests_on(probe: Probe, earlier: list[ManagerRow]) -> tuple[ManagerRow | None, tuple[str, ...]]:
    """The last decision that the answer rests on, and the turns that hold it."""
    for row in reversed(earlier):
        turns = {turn for fact in row.facts for turn in fact.source}
        if turns & set(probe.evidence):
            return row, probe.evidence
    for row in reversed(earlier):
        holding = [fact for fact in row.facts if token_coverage(probe.gold, [fact.text]) == 1.0]
        if holding:
            return row, tuple(dict.fromkeys(turn for fact in holding for turn in fact.source))
    return None, ()
