"""Runs and decisions of traces as the commands read and show them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from langgraph_memory_r1.cli.output import BASELINE, COLOURS, FAINT, Part, counted, entry, note, plain, say
from langgraph_memory_r1.cli.recording import short
from langgraph_memory_r1.cli.views import minute, show_operation
from langgraph_memory_r1.errors import InputError

if TYPE_CHECKING:
    from langgraph_memory_r1.traces.decision import Decision, Feedback
    from langgraph_memory_r1.traces.summary import RunSummary, TraceStats

LAST = "last"
_SUBJECT = 60
_MOST_NAMED = 5


@contextmanager
def reading(path: str, strict: bool) -> Iterator[Iterator[Decision]]:
    """The decisions of a folder or file; what had to be skipped is named and counted afterwards."""
    from langgraph_memory_r1.traces import read_traces

    skipped: list[InputError] = []
    yield read_traces(path, strict, on_skip=skipped.append)
    for error in skipped[:_MOST_NAMED]:
        note(f"Skipped: {plain(str(error))}")
    if len(skipped) > _MOST_NAMED:
        note(f"Skipped: {len(skipped) - _MOST_NAMED:,} more.")


def decisions_of(path: str, run: str, strict: bool) -> tuple[str, list[Decision]]:
    """The run with this id, or whose id begins or ends like this, and its decisions.

    Raises:
        InputError: There is none, or several.
    """
    from langgraph_memory_r1.traces.summary import summarize_runs

    with reading(path, strict) as decisions:
        ids = [found.id for found in summarize_runs(decisions)]
    fits = _fitting(ids, run.strip())
    if len(fits) != 1:
        count = "No run" if not fits else f"{len(fits):,} runs"
        raise InputError(f"{count} in {path} with the id {plain(run)!r}; `memory-r1 traces list` shows the ids.")
    with reading(path, strict=False) as decisions:
        return fits[0], [decision for decision in decisions if decision.run_id == fits[0]]


def _fitting(ids: list[str], sought: str) -> list[str]:
    if sought == LAST:
        return ids[-1:]
    fits = [key for key in ids if sought and (key.startswith(sought) or key.endswith(sought))]
    return [key for key in fits if key == sought] or fits


def row_of(run: RunSummary) -> list[Part]:
    """A run as a row of the list."""
    return [
        (short(run.id), "bold"),
        (minute(run.at), FAINT),
        plain(run.thread or ""),
        cut(run.subject),
        _counts(run.roles) + (f", {counted(run.errors, 'error')}" if run.errors else ""),
        ", ".join(f"{event} {count}" for event, count in run.operations.items()),
        (", ".join(dict.fromkeys(said(told) for told in run.feedback)), "magenta"),
    ]


def run_as_json(run: RunSummary) -> dict[str, Any]:
    """A run for scripts."""
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
        "feedback": [feedback_as_json(told) for told in run.feedback],
    }


def feedback_as_json(told: Feedback) -> dict[str, Any]:
    """Feedback for scripts."""
    fields = {"gold": told.gold, "score": told.score, "thumbs": told.thumbs, "comment": told.comment}
    return {key: value for key, value in fields.items() if value is not None}


def show_decision(decision: Decision, full: bool) -> None:
    """A decision: who was asked what, the reply, and what was done because of it."""
    say()
    say((decision.role or decision.node or "model", "bold"), (f"  {_about(decision)}", FAINT))
    for message in decision.messages:
        _show_message(message, full)
    if decision.error:
        entry(("error", COLOURS["ERROR"]), plain(decision.error), width=11)
        return
    entry(("reply", "cyan"), plain(decision.completion), width=11)
    for call in decision.tool_calls:
        entry(("tool call", "cyan"), plain(f"{call['name']}({call['args']})"), width=11)
    if decision.parse_error:
        entry(("unreadable", COLOURS["ERROR"]), plain(decision.parse_error), width=11)
    for operation in decision.operations:
        show_operation(operation)
    if decision.answer is not None:
        entry(("answer", "bold"), plain(decision.answer), width=11)


def said(told: Feedback) -> str:
    """Feedback in a few words."""
    parts = [
        f"gold {told.gold!r}" if told.gold is not None else "",
        f"score {told.score:g}" if told.score is not None else "",
        f"thumbs {told.thumbs}" if told.thumbs else "",
        told.comment or "",
    ]
    return plain(", ".join(part for part in parts if part))


def cut(text: str) -> str:
    """The beginning of a text, on one line."""
    line = plain(text)
    return line if len(line) <= _SUBJECT else f"{line[: _SUBJECT - 1]}…"


def stats_as_json(stats: TraceStats, size: int) -> dict[str, Any]:
    """Counts for scripts."""
    values = {name: getattr(stats, name) for name in type(stats).__dataclass_fields__}
    told = {name: dict(value) if isinstance(value, Counter) else value for name, value in values.items()}
    times = {"first": stats.first, "last": stats.last}
    return {**told, **{name: at.isoformat() if at else None for name, at in times.items()}, "bytes": size}


def stats_lines(stats: TraceStats, size: int) -> list[tuple[str, str]]:
    """Counts for people."""
    played, bad = sum(stats.prompts.values()), sum(stats.unreadable.values())
    runs, golds = counted(stats.runs, "run"), f"{stats.with_gold:,} with a gold answer"
    each = f", {size / stats.decisions / 1000:.1f} kB a decision" if stats.decisions else ""
    bad_by_role = f": {_counts(stats.unreadable)}" if bad else ""
    ids = f"; ids for {counted(stats.with_token_ids, 'reply', 'replies')}" if stats.with_token_ids else ""
    lines = [
        ("decisions", f"{stats.decisions:,} in {runs}, {minute(stats.first)} to {minute(stats.last)}"),
        ("on disk", f"{size / 1000:,.0f} kB{each}"),
        ("roles", _counts(stats.roles)),
        ("models", ", ".join(f"{_model(name)} {count:,}" for name, count in stats.models.most_common())),
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


def _model(name: str) -> str:
    return f"{name} ({BASELINE})" if name == "rules" else name


def _about(decision: Decision) -> str:
    sent, received = decision.input_tokens, decision.output_tokens or 0
    parts = [
        _model(decision.model or ""),
        f"adapter {decision.adapter}" if decision.adapter else "",
        f"prompt {decision.prompt_version}, {decision.prompt_style}" if decision.prompt_version else "",
        "" if sent is None else f"{sent:,} + {received:,} tokens",
        "" if decision.ms is None else f"{decision.ms:,.0f} ms",
    ]
    return plain(" · ".join(part for part in parts if part))


def _show_message(message: Mapping[str, Any], full: bool) -> None:
    content = message["content"]
    text = content if isinstance(content, str) else " ".join(part.get("text", f"[{part['type']}]") for part in content)
    name, lines = message["role"], text.splitlines() or [""]
    if name == "system" and not full:
        entry((name, FAINT), (f"{len(text):,} characters of instructions (--full shows them)", FAINT), width=11)
        return
    for number, line in enumerate(lines):
        entry((name if number == 0 else "", FAINT), plain(line), width=11)


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.most_common())
