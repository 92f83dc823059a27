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
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.prompts import PROMPT_VERSION, AnswerInput, ManageInput, RoleInput
from langgraph_memory_r1.scoring.evidence import token_coverage
from langgraph_memory_r1.traces import Decision, read_traces
from langgraph_memory_r1.traces.conversations import is_right
from langgraph_memory_r1.traces.reader import read_feedback
from langgraph_memory_r1.traces.replay import BankResolver, Replay
from langgraph_memory_r1.train.recipe import TrainedRole
from langgraph_memory_r1.train.rows import AnswerRow, ManagerRow, Probe, Row, TrainingData

_UNDATED = datetime.min.replace(tzinfo=UTC)


def rows_from_traces(path: str | os.PathLike[str], role: TrainedRole) -> TrainingData:
    """Return the rows of a role, and what gave none, counted by reason.

    Args:
        path: A folder or file of traces, see `read_traces`.
        role: Whose rows.

    Raises:
        InputError: There is nothing to read.
    """
    broken: list[InputError] = []
    decisions = sorted(read_traces(path, on_skip=broken.append), key=lambda decision: decision.at or _UNDATED)
    recorded = _RecordedRows(decisions)
    if broken:
        recorded.skipped["broken lines"] = len(broken)
    ids = {key for decision in decisions for key in (decision.id, decision.run_id)}
    if orphans := sum(feedback.target not in ids for feedback in read_feedback(path)):
        recorded.skipped["feedback on what is not recorded here"] = orphans
    for number, decision in enumerate(decisions):
        recorded.follow(number, decision)
    rows: list[Row] = [*recorded.manager_rows()] if role == "manage" else [*recorded.answers.values()]
    return TrainingData(rows, skipped=recorded.skipped)


class _RecordedRows:
    """What the decisions give, filled in as they are followed in the order of their time."""

    def __init__(self, decisions: Sequence[Decision]) -> None:
        self.banks, self.replay = BankResolver(decisions), Replay()
        self.decided: dict[tuple[str, ...], tuple[int, ManagerRow]] = {}
        """Manager rows without probes yet, each with the number of its decision among all."""
        self.answers: dict[str, AnswerRow] = {}
        self.probes: dict[str, tuple[int, str, Probe]] = {}
        """By run: the number of the decision, its bank, and the question with its gold answer."""
        self.steps = Counter[str]()
        self.skipped = Counter[str]()

    def follow(self, number: int, decision: Decision) -> None:
        """Take in the next decision: the bank changes as it did then, and rows come of it."""
        role_input = self._input_of(decision)
        bank = self.banks.bank_of(decision)
        if role_input is not None and decision.retrieved:  # without ids nobody knows which memories were shown
            role_input = self.replay.observe(bank, role_input)
        if isinstance(role_input, ManageInput):
            # Of several tries at the same facts the last one counts: the others could not be read, or met a conflict.
            key = (decision.run_id, *decision.turns) if decision.turns else (decision.id,)
            earlier_try = self.decided[key][1] if key in self.decided else None
            if earlier_try is None:
                self.steps[bank] += 1
            step = self.steps[bank] - 1 if earlier_try is None else earlier_try.step
            kind = "+".join(sorted({operation["event"] for operation in decision.operations}))
            memories = self.replay.memories(bank)
            row = ManagerRow(
                decision.id, role_input.facts, memories, role_input.memories, (), bank, step, kind=kind
            )  # fmt: skip
            self.decided[key] = number, row
            self.replay.apply(bank, decision)
        elif isinstance(role_input, AnswerInput) or decision.role is None:
            answered = role_input if isinstance(role_input, AnswerInput) else None
            self._follow_answer(number, decision, answered, bank)

    def _input_of(self, decision: Decision) -> RoleInput | None:
        """What the model of a role was shown; None for others, and for what cannot be used."""
        if decision.role is None:
            return None
        if decision.prompt_version != PROMPT_VERSION:
            self.skipped[f"recorded under prompt version {decision.prompt_version}"] += 1
            return None
        try:
            return decision.input()
        except InputError:
            self.skipped["a prompt that cannot be read"] += 1
            return None

    def _follow_answer(self, number: int, decision: Decision, role_input: AnswerInput | None, bank: str) -> None:
        """Make a probe of an answer whose gold is known, and a row where it was the Answer Agent's."""
        gold = decision.gold
        if gold is None or not gold.strip():
            self.skipped.update(["questions without a gold answer"] if decision.role == "answer" else [])
            return
        question, at = (role_input.question, role_input.at) if role_input else ("", decision.at)
        if role_input is None:  # an app's own call: it was asked what the user said last
            contents = [message["content"] for message in decision.messages if message["role"] == "user"]
            question = contents[-1] if contents and isinstance(contents[-1], str) else ""
        used = self.replay.get(bank, decision.selected) if is_right(decision) else ()
        evidence = tuple(dict.fromkeys(turn for memory in used for turn in memory.source))
        if question:
            self.probes[decision.run_id] = number, bank, Probe(question, gold, at, None, evidence)
        if role_input is not None:
            selected = None
            if is_right(decision):
                ids = decision.selected
                selected = tuple(number for number, memory in enumerate(role_input.memories) if memory.id in ids)
            self.answers[decision.run_id] = AnswerRow(
                decision.id, role_input.question, gold, role_input.memories, role_input.at, bank, selected
            )

    def manager_rows(self) -> list[ManagerRow]:
        """Return the manager's rows that a question rests on."""
        probes: dict[str, list[Probe]] = {}
        for number, bank, probe in self.probes.values():
            earlier = [row for before, row in self.decided.values() if row.episode == bank and before < number]
            row, evidence = _rests_on(probe, earlier)
            if row is None:
                self.skipped["questions whose evidence is in no recorded turn"] += 1
            else:
                probes.setdefault(row.id, []).append(replace(probe, evidence=evidence))
        rows = [row for _, row in self.decided.values()]
        # Not `+= count`: with a count of 0 the reason would be listed all the same.
        self.skipped.update("decisions that no later question rests on" for row in rows if row.id not in probes)
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
