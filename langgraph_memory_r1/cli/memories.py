"""`memory-r1 memories`, `history`, `undo` and `forget`: looking into a bank, and taking things back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from langgraph_memory_r1.cli.options import DEFAULT_DB, Db, Debug, Embedder, Json, User, Yes
from langgraph_memory_r1.cli.output import FAINT, as_json, columns, counted, is_terminal, note, plain, say
from langgraph_memory_r1.cli.store import bank_of
from langgraph_memory_r1.cli.views import (
    by,
    day,
    memory_as_json,
    minute,
    show_operation,
    source_of,
)
from langgraph_memory_r1.errors import InputError

if TYPE_CHECKING:
    from langgraph_memory_r1.bank import MemoryBank
    from langgraph_memory_r1.schemas import Change, Memory

Limit = Annotated[int, typer.Option("--limit", min=0, help="At most so many, the newest; 0 shows all.")]


def memories(
    query: Annotated[str | None, typer.Argument(metavar="[QUERY]", help="Only what fits these words.")] = None,
    db: Db = DEFAULT_DB,
    user: User = None,
    embedder: Embedder = None,
    limit: Limit = 100,
    as_data: Json = False,
    debug: Debug = False,
) -> None:
    """List the memories, or search them.

    In the order in which they were said; a search shows the best first.
    """
    with bank_of(db, user, embedder) as (bank, name):
        total = len(bank)
        if query is not None:
            found = [hit.memory for hit in bank.search(query, k=limit or max(total, 1))]
        else:
            found = bank.all()[-limit:]
    if as_data:
        as_json([memory_as_json(memory) for memory in found])
    else:
        _show_memories(found)
    if not found:
        note(f"Nothing is remembered of {plain(name)!r}{' that fits' if total else ''}.")
    elif query is None and len(found) < total:
        note(f"The newest {len(found):,} of {total:,}; --limit 0 shows all.")


def history(
    memory_id: Annotated[
        str | None, typer.Argument(metavar="[MEMORY_ID]", help="Only the operations on this memory.")
    ] = None,
    db: Db = DEFAULT_DB,
    user: User = None,
    limit: Limit = 20,
    as_data: Json = False,
    debug: Debug = False,
) -> None:
    """Show what was decided, and why.

    Before and after, the model, the reason, and the turns that it came from; the oldest first. The id
    of an operation is what `memory-r1 undo` takes.
    """
    from langgraph_memory_r1.state import change_record

    with bank_of(db, user) as (bank, name):
        changes = bank.history(memory_id)
    if memory_id is not None and not changes:
        raise InputError(f"There is no memory {plain(memory_id)!r}; `memory-r1 memories` lists their ids.")
    shown = changes[-limit:]
    if as_data:
        as_json([change_record(change) for change in shown])
        return
    for change in shown:
        show_change(change)
    if not changes:
        note(f"There is no history of {plain(name)!r} yet.")
    elif len(shown) < len(changes):
        note(f"The newest {len(shown):,} of {counted(len(changes), 'operation')}; --limit 0 shows all.")


def undo(
    op_id: Annotated[
        str | None, typer.Argument(metavar="[OP_ID]", help="As `memory-r1 history` shows it; without it the newest.")
    ] = None,
    db: Db = DEFAULT_DB,
    user: User = None,
    embedder: Embedder = None,
    as_data: Json = False,
    debug: Debug = False,
) -> None:
    """Take an operation back.

    Without an id, the newest that still stands: repeating `undo` goes further back. An undo has an id of its own in the
    history; taking that back does the operation again.
    """
    from langgraph_memory_r1.state import change_record

    with bank_of(db, user, embedder) as (bank, _):
        change = bank.undo(op_id)
    if as_data:
        as_json(change_record(change))
        return
    say(("undone", "bold"), f"  {plain(change.undoes or '')}")
    show_operation(change_record(change))


def forget(
    db: Db = DEFAULT_DB,
    user: User = None,
    yes: Yes = False,
    debug: Debug = False,
) -> None:
    """Remove everything of one owner, for good.

    Memories, history, old versions and files. To take back a single operation use `undo`; to forget one thing,
    say so: memory-r1 remember "Forget that ..."
    """
    with bank_of(db, user) as (bank, name):
        if yes and user is None and name != "default":
            raise InputError(f"With --yes the owner has to be named: --user {plain(name)!r}.")
        if not yes:
            _confirm(bank, name, db)
        count = bank.forget()
    say(f"Forgotten: {counted(count, 'memory', 'memories')} of {plain(name)!r}, and their history.")


def _confirm(bank: MemoryBank, name: str, db: str) -> None:
    what = f"{counted(len(bank), 'memory', 'memories')} and {counted(len(bank.history()), 'operation')}"
    if not is_terminal():
        raise InputError(f"This removes {what} of {plain(name)!r} from {db} for good; say so with --yes.")
    if not typer.confirm(f"Remove {what} of {plain(name)!r} from {db} for good?", err=True):
        raise typer.Exit(1)


def _show_memories(found: list[Memory]) -> None:
    rows = [
        ((memory.id, FAINT), (day(memory.at), FAINT), plain(memory.text), source_of(memory.source)) for memory in found
    ]
    columns(rows, titles=("id", "said", "memory", "from"))


def show_change(change: Change) -> None:
    """One line of the history: which operation, when, by whom, from where, and what it did."""
    from langgraph_memory_r1.state import change_record

    head = [(plain(change.id), "bold"), (f"  {minute(change.at)}  {by(change.model)}", FAINT)]
    taken_back = f"  takes back {change.undoes}" if change.undoes else ""
    say(*head, (taken_back, FAINT), "  ", source_of(change.source))
    show_operation(change_record(change))
