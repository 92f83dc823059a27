"""Changes, memories and answers as the commands show them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from langgraph_memory_r1.cli.output import BASELINE, COLOURS, FAINT, Part, entry, plain, say, word_diff

if TYPE_CHECKING:
    from langgraph_memory_r1.schemas import Change, Memory

_SHORT = 8


def show_change(change: Mapping[str, Any]) -> None:
    """Print a `ChangeRecord`, or an operation of a trace: what it did to which words, and why."""
    event, before, after = change["event"], change.get("before"), change.get("after")
    reason = plain(change.get("reason") or "")
    if event == "UPDATE" and not reason:  # what its words show
        reason = "keeps what was known and adds to it" if (before or "") in (after or "") else "corrects what was known"
    label = (event, COLOURS.get(event, ""))
    if before and after:
        removed, added = word_diff(before, after)
        entry(label, ("- ", "red"), removed)
        entry("", ("+ ", "green"), added)
    elif before:
        entry(label, ("- ", "red"), plain(before))
    elif after:
        entry(label, ("+ ", "green"), plain(after), ("" if reason else "  new", FAINT))
    else:
        entry(label, (reason, FAINT))
    if reason and (after or before):
        entry("", (f"  {reason}", FAINT))


def show_history_entry(change: Change) -> None:
    """Print a change of the history: its id, when, by whom, from where, and what it did."""
    from langgraph_memory_r1.state import change_record

    undone = f"  takes back {change.undoes}" if change.undoes else ""
    head = f"  {minute(change.at)}  {decided_by(change.model)}"
    say((plain(change.id), "bold"), (head, FAINT), (undone, FAINT), "  ", sources(change.source))
    show_change(change_record(change))


def memory_as_json(memory: Memory) -> dict[str, Any]:
    """Return a memory with all its fields, for scripts."""
    from langgraph_memory_r1.bank.records import memory_to_record

    return {"id": memory.id, **memory_to_record(memory)}


def show_memories(memories: Iterable[Mapping[str, Any]]) -> None:
    """Print memories as a list: when it was said, what, and where."""
    for memory in memories:
        entry((day(memory.get("at")), FAINT), plain(memory["text"]), "  ", sources(memory["source"]), width=12)


def show_answer(answer: str, selected: Sequence[Mapping[str, Any]], looked_at: int, model: str) -> None:
    """Print an answer and the memories that it rests on."""
    say((plain(answer), "bold"))
    used = f"{len(selected)} of {looked_at} memories used" if looked_at else "nothing is remembered yet"
    say((f"  {used}, {decided_by(model)}", FAINT))
    show_memories(selected)


def sources(ids: Sequence[str]) -> Part:
    """Return the turns that something came from, in brackets."""
    return (f"[{plain(', '.join(ids))}]" if ids else "", "cyan")


def decided_by(model: str | None) -> str:
    """Return which model decided, and whether that is only the baseline."""
    return f"{model} ({BASELINE})" if model == "rules" else plain(model or "by hand")


def short_id(run: str) -> str:
    """Return the end of a run's id, by which `memory-r1 traces` finds it."""
    return run[-_SHORT:]


def day(moment: datetime | str | None) -> str:
    """Return the date of a time: 2024-05-20."""
    return "" if moment is None else _datetime(moment).date().isoformat()


def minute(moment: datetime | str | None) -> str:
    """Return a time to the minute, in UTC."""
    return "" if moment is None else _datetime(moment).astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def _datetime(moment: datetime | str) -> datetime:
    return datetime.fromisoformat(moment) if isinstance(moment, str) else moment
