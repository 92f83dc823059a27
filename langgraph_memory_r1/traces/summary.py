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
    """The question."""
    first_turn: str = ""
    """The first turn."""
    answer: str | None = None
    roles: Counter[str] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    errors: int = 0
    feedback: tuple[Feedback, ...] = ()

    @property
    def subject(self) -> str:
        """What the run was about."""
        return self.question or self.first_turn


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


def summarize_runs(decisions: Iterable[Decision]) -> list[RunSummary]:
    """The runs, oldest first."""
    runs: dict[str, RunSummary] = {}
    for decision in decisions:
        _add(runs.setdefault(decision.run_id, RunSummary(decision.run_id)), decision)
    return sorted(runs.values(), key=lambda run: run.at.timestamp() if run.at else 0.0)


def count_decisions(decisions: Iterable[Decision]) -> TraceStats:
    """The counts."""
    stats = TraceStats()
    golds: dict[str, bool] = {}
    told: dict[str, bool] = {}
    for decision in decisions:
        _count(stats, decision)
        run = decision.run_id
        golds[run] = golds.get(run, False) or decision.gold is not None
        told[run] = told.get(run, False) or bool(decision.feedback)
    stats.runs, stats.with_gold, stats.with_feedback = len(told), sum(golds.values()), sum(told.values())
    return stats


def _add(run: RunSummary, decision: Decision) -> None:
    run.at = min(filter(None, (run.at, decision.at)), default=None)
    run.thread = run.thread or decision.thread
    run.roles[decision.role or NO_ROLE] += 1
    run.operations.update(operation["event"] for operation in decision.operations)
    run.errors += decision.error is not None
    run.answer = decision.answer if decision.answer is not None else run.answer
    run.feedback = tuple(dict.fromkeys([*run.feedback, *decision.feedback]))
    if decision.role in (None, "extract", "answer"):
        asked, heard = _words(decision)
        run.question, run.first_turn = run.question or asked, run.first_turn or heard


def _words(decision: Decision) -> tuple[str, str]:
    """The question that was asked, and the first thing that was said."""
    try:
        given = decision.input()
    except InputError:
        said = [message["content"] for message in decision.messages if message["role"] == "user"]
        return "", said[-1] if said and isinstance(said[-1], str) else ""
    if isinstance(given, AnswerInput):
        return given.question, ""
    return "", given.turns[0].text if isinstance(given, ExtractInput) and given.turns else ""


def _count(stats: TraceStats, decision: Decision) -> None:
    role = decision.role or NO_ROLE
    stats.decisions += 1
    stats.roles[role] += 1
    stats.models[decision.model or "unknown"] += 1
    stats.adapters.update([decision.adapter] if decision.adapter else [])
    stats.prompts.update([f"{decision.prompt_version} {decision.prompt_style or ''}".strip()] if decision.role else [])
    stats.operations.update(operation["event"] for operation in decision.operations)
    stats.unreadable.update([role] if decision.parse_error is not None else [])
    stats.errors += decision.error is not None
    stats.with_token_ids += bool(decision.token_ids)
    stats.input_tokens += decision.input_tokens or 0
    stats.output_tokens += decision.output_tokens or 0
    stats.ms += decision.ms or 0.0
    stats.first = min(filter(None, (stats.first, decision.at)), default=None)
    stats.last = max(filter(None, (stats.last, decision.at)), default=None)
