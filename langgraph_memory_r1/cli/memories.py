"""`memory-r1 memories`, `owners`, `history`, `undo`, `forget`, `purge`, `reembed`: a bank looked into, and changed."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from langgraph_memory_r1.cli.options import DEFAULT_DB, Db, Debug, Embedder, Json, User, Yes
from langgraph_memory_r1.cli.output import FAINT, columns, counted, is_terminal, note, plain, print_json, say
from langgraph_memory_r1.cli.progress import progress
from langgraph_memory_r1.cli.store import (
    index_config,
    list_owners,
    open_bank,
    open_store,
    require_folder,
    search_memories,
)
from langgraph_memory_r1.cli.views import day, memory_as_json, show_change, show_history_entry, sources
from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.identity import DEFAULT_USER

_PERCENT = 100

Limit = Annotated[int, typer.Option("--limit", min=0, help="At most so many, the newest; 0 shows all.")]


def memories(
    words: Annotated[list[str] | None, typer.Argument(metavar="[WORDS]...", help="Only what fits these words.")] = None,
    db: Db = DEFAULT_DB,
    user: User = None,
    embedder: Embedder = None,
    limit: Limit = 100,
    tag: Annotated[list[str] | None, typer.Option("--tag", help="Only memories with this tag; repeatable.")] = None,
    filter_json: Annotated[
        str | None,
        typer.Option(
            "--filter",
            metavar="JSON",
            help='Only memories with these fields or metadata: \'{"team": {"$ne": "red"}}\'.',
        ),
    ] = None,
    as_data: Json = False,
    debug: Debug = False,
) -> None:
    """List the memories, or search them.

    In the order in which they were said; a search shows the best first.
    """
    from langgraph_memory_r1.bank.attributes import memory_filter

    try:
        conditions = json.loads(filter_json or "{}")
    except ValueError as error:
        raise InputError(f'--filter is no JSON: {error}. Write it as \'{{"speaker": "Ann"}}\'.') from error
    if tag:
        conditions = {"$and": [conditions, {"tags": {"$contains": tag}}]}
    accept = memory_filter(conditions)
    with open_bank(db, user, embedder) as (bank, owner):
        total = len(bank)
        if words:
            shown = search_memories(bank, " ".join(words), limit, embedder, conditions)
        else:
            matching = [memory for memory in bank.all() if accept is None or accept(memory)]
            shown, total = matching[-limit:], len(matching) or total
    if as_data:
        print_json([memory_as_json(memory) for memory in shown])
    else:
        rows = [
            ((memory.id, FAINT), (day(memory.at), FAINT), plain(memory.text), sources((*memory.tags, *memory.source)))
            for memory in shown
        ]
        columns(rows, titles=("id", "said", "memory", "from"))
    if not shown:
        note(f"Nothing is remembered of {plain(owner)!r}{' that fits' if total else ''}.")
    elif not words and len(shown) < total:
        note(f"The newest {len(shown):,} of {total:,}; --limit 0 shows all.")


def owners(db: Db = DEFAULT_DB, as_data: Json = False, debug: Debug = False) -> None:
    """List who has memories in a folder, and how many."""
    from langgraph_memory_r1.bank import MemoryBank

    with open_store(db, existing=True) as store:
        sizes = {owner: len(MemoryBank(store, owner)) for owner in list_owners(store)}
    if as_data:
        print_json([{"owner": owner, "memories": size} for owner, size in sizes.items()])
    else:
        columns([(plain(owner), f"{size:,}") for owner, size in sizes.items()], titles=("owner", "memories"))
    if not sizes:
        note(f"Nobody has memories in {db} yet.")


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

    with open_bank(db, user) as (bank, owner):
        changes = bank.history(memory_id)
    if memory_id is not None and not changes:
        raise InputError(f"There is no memory {plain(memory_id)!r}; `memory-r1 memories` lists their ids.")
    shown = changes[-limit:]
    if as_data:
        print_json([change_record(change) for change in shown])
        return
    for change in shown:
        show_history_entry(change)
    if not changes:
        note(f"There is no history of {plain(owner)!r} yet.")
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

    with open_bank(db, user, embedder) as (bank, _):
        change = bank.undo(op_id)
    if as_data:
        print_json(change_record(change))
        return
    say(("undone", "bold"), f"  {plain(change.undoes or '')}")
    show_change(change_record(change))


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
    with open_bank(db, user) as (bank, owner):
        if yes and user is None and owner != DEFAULT_USER:
            raise InputError(f"With --yes the owner has to be named: --user {plain(owner)!r}.")
        what = f"{counted(len(bank), 'memory', 'memories')} and {counted(len(bank.history()), 'operation')}"
        if not yes and not is_terminal():
            raise InputError(f"This removes {what} of {plain(owner)!r} from {db} for good; say so with --yes.")
        if not yes and not typer.confirm(f"Remove {what} of {plain(owner)!r} from {db} for good?", err=True):
            raise typer.Exit(1)
        count = bank.forget()
    say(f"Forgotten: {counted(count, 'memory', 'memories')} of {plain(owner)!r}, and their history.")


def purge(
    memory_id: Annotated[str, typer.Argument(metavar="MEMORY_ID", help="As `memory-r1 memories` shows it.")],
    db: Db = DEFAULT_DB,
    user: User = None,
    yes: Yes = False,
    debug: Debug = False,
) -> None:
    """Erase one memory with its history, for good.

    From old versions and files too; nothing takes it back. Its turns stay known, so that it does not come back.
    """
    with open_bank(db, user) as (bank, owner):
        memory, changes = bank.get(memory_id), bank.history(memory_id)
        if memory is None and not changes:
            raise InputError(f"There is no memory {plain(memory_id)!r}; `memory-r1 memories` lists their ids.")
        if not yes and not is_terminal():
            raise InputError(
                f"This erases {plain(memory_id)} of {plain(owner)!r} from {db} for good; say so with --yes."
            )
        words = plain(memory.text) if memory is not None else "a memory that is not recalled any more"
        if not yes and not typer.confirm(f"Erase {words!r} and its history from {db} for good?", err=True):
            raise typer.Exit(1)
        count = bank.purge(memory_id)
    say(f"Purged: {plain(memory_id)} of {plain(owner)!r}, with {counted(count, 'operation')}.")


def reembed(
    db: Db = DEFAULT_DB,
    embedder: Annotated[
        str, typer.Option("--embedder", metavar="SPEC", help="none, hash, minilm or provider:model.")
    ] = "none",
    debug: Debug = False,
) -> None:
    """Change the embedding model of a folder.

    Embeds everything anew, for all owners. Nothing else should write to the folder meanwhile.
    """
    from langgraph_memory_r1.store import LanceDBStore

    require_folder(db)
    index = index_config(embedder)
    with progress(_PERCENT, "%") as advance:
        reached = 0

        def on_progress(count: int, total: int) -> None:
            nonlocal reached
            advance(_PERCENT * count // total - reached, embedder)
            reached = _PERCENT * count // total

        count = LanceDBStore.reembed(db, index, on_progress)
    say(f"{counted(count, 'item')} in {db} embedded by {embedder}." if index else f"{db} holds no vectors any more.")
