"""Traces at a glance: one line a run, and counts over all decisions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.prompts import AnswerInput, ExtractInput
from langgraph_memory_r1.traces.decision import Decision, Feedback

NO_ROLE = "other"
"""Calls that the memory did not make, such as those of the agent itself."""


@dataclass(slots=True)
class RunSummary:
    """One run of a graph or agent."""

    id: str
    at: datetime | None = None
    thread: str | None = None
    question: str = ""
    first_turn: str = ""
    answer: str | None = None
    roles: Counter[str] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    errors: int = 0
    feedback: tuple[Feedback, ...] = ()

    @property
    def subject(self) -> str:
        """What the run was about: its question, or else its first turn."""
        return self.question or self.first_turn

    def add(self, decision: Decision) -> None:
        """Add a decision of the run."""
        self.at = min(filter(None, (self.at, decision.at)), default=None)
        self.thread = self.thread or decision.thread
        self.roles[decision.role or NO_ROLE] += 1
        self.operations.update(operation["event"] for operation in decision.operations)
        self.errors += decision.error is not None
        self.answer = decision.answer if decision.answer is not None else self.answer
        self.feedback = tuple(dict.fromkeys([*self.feedback, *decision.feedback]))
        if decision.role in (None, "extract", "answer"):
            question, first_turn = _question_and_turn(decision)
            self.question, self.first_turn = self.question or question, self.first_turn or first_turn


def _question_and_turn(decision: Decision) -> tuple[str, str]:
    """Return the question of a decision, and its first turn; "" for what it has not."""
    try:
        role_input = decision.input()
    except InputError:
        contents = [message["content"] for message in decision.messages if message["role"] == "user"]
        return "", contents[-1] if contents and isinstance(contents[-1], str) else ""
    if isinstance(role_input, AnswerInput):
        return role_input.question, ""
    return "", role_input.turns[0].text if isinstance(role_input, ExtractInput) and role_input.turns else ""


def summarize_runs(decisions: Iterable[Decision]) -> list[RunSummary]:
    """Return a summary of each run, oldest first."""
    runs: dict[str, RunSummary] = {}
    for decision in decisions:
        runs.setdefault(decision.run_id, RunSummary(decision.run_id)).add(decision)
    return sorted(runs.values(), key=lambda run: run.at.timestamp() if run.at else 0.0)


@dataclass(slots=True)
class TraceStats:
    """Counts over decisions."""

    decisions: int = 0
    runs: int = 0
    roles: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    adapters: Counter[str] = field(default_factory=Counter)
    prompts: Counter[str] = field(default_factory=Counter)
    """Versions of the prompts of the roles."""
    operations: Counter[str] = field(default_factory=Counter)
    unreadable: Counter[str] = field(default_factory=Counter)
    """Replies that could not be read, by role."""
    errors: int = 0
    with_gold: int = 0
    """Runs for which the right answer is known."""
    with_feedback: int = 0
    with_token_ids: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    ms: float = 0.0
    first: datetime | None = None
    last: datetime | None = None


def count_decisions(decisions: Iterable[Decision]) -> TraceStats:
    """Return counts over the decisions and over their runs."""
    stats = TraceStats()
    has_gold: dict[str, bool] = {}
    has_feedback: dict[str, bool] = {}
    for decision in decisions:
        role, run = decision.role or NO_ROLE, decision.run_id
        has_gold[run] = has_gold.get(run, False) or decision.gold is not None
        has_feedback[run] = has_feedback.get(run, False) or bool(decision.feedback)
        stats.decisions += 1
        stats.roles[role] += 1
        stats.models[decision.model or "unknown"] += 1
        if decision.adapter:
            stats.adapters[decision.adapter] += 1
        if decision.role:
            stats.prompts[f"{decision.prompt_version} {decision.prompt_style or ''}".strip()] += 1
        stats.operations.update(operation["event"] for operation in decision.operations)
        if decision.parse_error is not None:
            stats.unreadable[role] += 1
        stats.errors += decision.error is not None
        stats.with_token_ids += bool(decision.token_ids)
        stats.input_tokens += decision.input_tokens or 0
        stats.output_tokens += decision.output_tokens or 0
        stats.ms += decision.ms or 0.0
        stats.first = min(filter(None, (stats.first, decision.at)), default=None)
        stats.last = max(filter(None, (stats.last, decision.at)), default=None)
    stats.runs = len(has_gold)
    stats.with_gold, stats.with_feedback = sum(has_gold.values()), sum(has_feedback.values())
    return stats
