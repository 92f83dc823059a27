"""Operations, memories and answers as the commands show them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from langgraph_memory_r1.cli.output import BASELINE, COLOURS, FAINT, Part, changes_of, entry, plain, say

if TYPE_CHECKING:
    from langgraph_memory_r1.schemas import Memory


def show_operation(operation: Mapping[str, Any]) -> None:
    """One operation: what it did to which words, and why."""
    event, after, before = operation["event"], operation.get("after"), operation.get("before")
    reason = plain(_reason(operation))
    label = (event, COLOURS.get(event, ""))
    if before and after:
        gone, fresh = changes_of(before, after)
        entry(label, ("- ", "red"), gone)
        entry("", ("+ ", "green"), fresh)
    elif before:
        entry(label, ("- ", "red"), plain(before))
    elif after:
        entry(label, ("+ ", "green"), plain(after), ("" if reason else "  new", FAINT))
    else:
        entry(label, (reason, FAINT))
    if reason and (after or before):
        entry("", (f"  {reason}", FAINT))


def _reason(operation: Mapping[str, Any]) -> str:
    """The reason that was given; of an update without one, what its words show."""
    before, after = operation.get("before") or "", operation.get("after") or ""
    if operation.get("reason") or operation["event"] != "UPDATE":
        return str(operation.get("reason") or "")
    return "keeps what was known and adds to it" if before in after else "corrects what was known"


def memory_as_json(memory: Memory) -> dict[str, Any]:
    """A memory with all its fields."""
    from langgraph_memory_r1.bank.records import memory_to_record

    return {"id": memory.id, **memory_to_record(memory)}


def show_memories(memories: Iterable[Mapping[str, Any]]) -> None:
    """Memories as a list: when it was said, where, and what."""
    for memory in memories:
        entry((day(memory.get("at")), FAINT), plain(memory["text"]), "  ", source_of(memory["source"]), width=12)


def source_of(ids: Sequence[str]) -> Part:
    """The turns that something came from."""
    return (f"[{plain(', '.join(ids))}]" if ids else "", "cyan")


def day(moment: datetime | str | None) -> str:
    """The date of a time: 2024-05-20."""
    return "" if moment is None else _datetime(moment).date().isoformat()


def minute(moment: datetime | str | None) -> str:
    """A time to the minute, in UTC."""
    return "" if moment is None else _datetime(moment).astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def by(model: str | None) -> str:
    """Who decided, and whether that is only the baseline."""
    return f"{model} ({BASELINE})" if model == "rules" else plain(model or "by hand")


def show_answer(answer: str, selected: Sequence[Mapping[str, Any]], looked_at: int, model: str) -> None:
    """An answer and the memories that it rests on."""
    say((plain(answer), "bold"))
    used = f"{len(selected)} of {looked_at} memories used" if looked_at else "nothing is remembered yet"
    say((f"  {used}, {by(model)}", FAINT))
    show_memories(selected)


def _datetime(moment: datetime | str) -> datetime:
    return datetime.fromisoformat(moment) if isinstance(moment, str) else moment
