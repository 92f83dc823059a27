"""Runs and decisions of traces as the commands read and show them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from langgraph_memory_r1.cli.output import COLOURS, FAINT, Part, counted, entry, note, plain, say
from langgraph_memory_r1.cli.views import decided_by, minute, short_id, show_change
from langgraph_memory_r1.errors import InputError

if TYPE_CHECKING:
    from langgraph_memory_r1.traces.decision import Decision, Feedback
    from langgraph_memory_r1.traces.summary import RunSummary, TraceStats

LAST = "last"
_SUBJECT = 60
_MOST_NAMED = 5
_FEEDBACK = ("gold", "score", "thumbs", "comment")


@contextmanager
def reading(path: str, strict: bool) -> Iterator[Iterator[Decision]]:
    """Yield the decisions of a folder or file; name and count afterwards what had to be skipped."""
    from langgraph_memory_r1.traces import read_traces

    skipped: list[InputError] = []
    yield read_traces(path, strict, on_skip=skipped.append)
    for error in skipped[:_MOST_NAMED]:
        note(f"Skipped: {plain(str(error))}")
    if len(skipped) > _MOST_NAMED:
        note(f"Skipped: {len(skipped) - _MOST_NAMED:,} more.")


def read_run(path: str, run: str, strict: bool) -> tuple[str, list[Decision]]:
    """Read the run with this id, or whose id begins or ends like this, or the last: its whole id and its decisions.

    Raises:
        InputError: There is none, or several.
    """
    from langgraph_memory_r1.traces.summary import summarize_runs

    with reading(path, strict) as decisions:
        ids = [summary.id for summary in summarize_runs(decisions)]
    sought = run.strip()
    matching = [key for key in ids if sought and (key.startswith(sought) or key.endswith(sought))]
    if sought == LAST:
        matching = ids[-1:]
    elif sought in matching:  # a whole id, with which others may begin or end
        matching = [sought]
    if len(matching) != 1:
        count = "No run" if not matching else f"{len(matching):,} runs"
        raise InputError(f"{count} in {path} with the id {plain(run)!r}; `memory-r1 traces list` shows the ids.")
    with reading(path, strict=False) as decisions:
        return matching[0], [decision for decision in decisions if decision.run_id == matching[0]]


def run_cells(run: RunSummary) -> list[Part]:
    """Return a run as a row of the list."""
    return [
        (short_id(run.id), "bold"),
        (minute(run.at), FAINT),
        plain(run.thread or ""),
        first_words(run.subject),
        _counts(run.roles) + (f", {counted(run.errors, 'error')}" if run.errors else ""),
        ", ".join(f"{event} {count}" for event, count in run.operations.items()),
        (", ".join(dict.fromkeys(map(summarize_feedback, run.feedback))), "magenta"),
    ]


def run_as_json(run: RunSummary) -> dict[str, Any]:
    """Return a run for scripts."""
    return {
        "run_id": run.id,
        "at": run.at.isoformat() if run.at else None,
        "thread": run.thread,
        "question": run.question or None,
        "turn": run.first_turn or None,
        "answer": run.answer,
        "roles": dict(run.roles),
        "operations": dict(run.operations),
        "errors": run.errors,
        "feedback": [
            {name: getattr(feedback, name) for name in _FEEDBACK if getattr(feedback, name) is not None}
            for feedback in run.feedback
        ],
    }


def show_decision(decision: Decision, full: bool) -> None:
    """Print a decision: who was asked what, the reply, and what was done because of it."""
    say()
    tokens, model = decision.input_tokens, decision.model
    about = [
        decided_by(model) if model else "",
        f"adapter {decision.adapter}" if decision.adapter else "",
        f"prompt {decision.prompt_version}, {decision.prompt_style}" if decision.prompt_version else "",
        "" if tokens is None else f"{tokens:,} + {decision.output_tokens or 0:,} tokens",
        "" if decision.ms is None else f"{decision.ms:,.0f} ms",
    ]
    line = plain(" · ".join(part for part in about if part))
    say((decision.role or decision.node or "model", "bold"), (f"  {line}", FAINT))
    for message in decision.messages:
        content = message["content"]
        if not isinstance(content, str):
            content = " ".join(part.get("text", f"[{part['type']}]") for part in content)
        lines, style = content.splitlines() or [""], ""
        if message["role"] == "system" and not full:
            lines, style = [f"{len(content):,} characters of instructions (--full shows them)"], FAINT
        for number, text in enumerate(lines):
            entry((message["role"] if number == 0 else "", FAINT), (plain(text), style), width=11)
    if decision.error:
        entry(("error", COLOURS["ERROR"]), plain(decision.error), width=11)
        return
    entry(("reply", "cyan"), plain(decision.completion), width=11)
    for call in decision.tool_calls:
        entry(("tool call", "cyan"), plain(f"{call['name']}({call['args']})"), width=11)
    if decision.parse_error:
        entry(("unreadable", COLOURS["ERROR"]), plain(decision.parse_error), width=11)
    for operation in decision.operations:
        show_change(operation)
    if decision.answer is not None:
        entry(("answer", "bold"), plain(decision.answer), width=11)


def summarize_feedback(feedback: Feedback) -> str:
    """Return feedback in a few words."""
    parts = [
        f"gold {feedback.gold!r}" if feedback.gold is not None else "",
        f"score {feedback.score:g}" if feedback.score is not None else "",
        f"thumbs {feedback.thumbs}" if feedback.thumbs else "",
        feedback.comment or "",
    ]
    return plain(", ".join(part for part in parts if part))


def first_words(text: str) -> str:
    """Return the beginning of a text, on one line."""
    line = plain(text)
    return line if len(line) <= _SUBJECT else f"{line[: _SUBJECT - 1]}…"


def stats_as_json(stats: TraceStats, size: int) -> dict[str, Any]:
    """Return counts for scripts."""
    fields = {name: getattr(stats, name) for name in type(stats).__dataclass_fields__}
    for name, value in fields.items():
        if isinstance(value, Counter):
            fields[name] = dict(value)
        elif isinstance(value, datetime):
            fields[name] = value.isoformat()
    return {**fields, "bytes": size}


def stats_lines(stats: TraceStats, size: int) -> list[tuple[str, str]]:
    """Return counts for people: names and values, without those of nothing."""
    played, bad = sum(stats.prompts.values()), sum(stats.unreadable.values())
    runs, golds = counted(stats.runs, "run"), f"{stats.with_gold:,} with a gold answer"
    each = f", {size / stats.decisions / 1000:.1f} kB a decision" if stats.decisions else ""
    bad_by_role = f": {_counts(stats.unreadable)}" if bad else ""
    ids = f"; ids for {counted(stats.with_token_ids, 'reply', 'replies')}" if stats.with_token_ids else ""
    lines = [
        ("decisions", f"{stats.decisions:,} in {runs}, {minute(stats.first)} to {minute(stats.last)}"),
        ("on disk", f"{size / 1000:,.0f} kB{each}"),
        ("roles", _counts(stats.roles)),
        ("models", ", ".join(f"{decided_by(name)} {count:,}" for name, count in stats.models.most_common())),
        ("adapters", _counts(stats.adapters)),
        ("prompts", ", ".join(f"version {name}: {count:,}" for name, count in stats.prompts.most_common())),
        ("operations", _counts(stats.operations)),
        ("unreadable", f"{bad:,} of {played:,} replies in a role{bad_by_role}"),
        ("errors", f"{stats.errors:,}"),
        ("feedback", f"{stats.with_feedback:,} of {runs}, {golds}"),
        ("tokens", f"{stats.input_tokens:,} in, {stats.output_tokens:,} out{ids}"),
        ("time", f"{stats.ms / 1000:.1f} s in models"),
    ]
    return [(name, value) for name, value in lines if value]


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.most_common())
