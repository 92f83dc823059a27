"""`memory-r1 export`, `import` and `reembed`: a bank as a file, and its vectors made anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from langgraph_memory_r1.cli.options import DEFAULT_DB, Db, Debug, Embedder, Json, User
from langgraph_memory_r1.cli.output import as_json, counted, note, plain, say
from langgraph_memory_r1.cli.progress import progress
from langgraph_memory_r1.cli.store import DEFAULT_USER, bank_of, index_of, named, opened, require
from langgraph_memory_r1.errors import InputError

_MOST_SHOWN = 5
_PERCENT = 100


def export(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The file to write.")],
    db: Db = DEFAULT_DB,
    user: User = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    debug: Debug = False,
) -> None:
    """Write memories and history to a file.

    As JSONL, with nothing left out.
    """
    if path.exists() and not force:
        raise InputError(f"{path} is there already; name another file, or replace it with --force.")
    with bank_of(db, user) as (bank, name):
        count = bank.export_jsonl(path)
        changes = len(bank.history())
    what = f"{counted(count, 'memory', 'memories')} and {counted(changes, 'operation')}"
    say(f"{what} of {plain(name)!r} written to {plain(str(path))}.")


def import_(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A file that `memory-r1 export` wrote.")],
    db: Db = DEFAULT_DB,
    user: User = None,
    embedder: Embedder = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse a file with a broken line.")] = False,
    as_data: Json = False,
    debug: Debug = False,
) -> None:
    """Take over an export; what is here already stays as it is."""
    from langgraph_memory_r1.bank import MemoryBank

    name = DEFAULT_USER if user is None else named(user)
    with opened(db, embedder) as store:
        done = MemoryBank(store, name).import_jsonl(path, strict=strict)
    for line in done.broken[:_MOST_SHOWN]:
        note(f"Skipped: {plain(line)}")
    if as_data:
        numbers = {"memories": done.memories, "operations": done.changes, "known": done.existing}
        as_json({"user": name, **numbers, "broken": list(done.broken)})
        return
    say(
        f"{counted(done.memories, 'memory', 'memories')} and {counted(done.changes, 'operation')} taken over for "
        f"{plain(name)!r}; {done.existing:,} were known, {counted(len(done.broken), 'line')} skipped."
    )


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

    require(db)
    index = index_of(embedder)
    with progress(_PERCENT, "%") as advance:
        done = 0

        def tell(count: int, total: int) -> None:
            nonlocal done
            advance(_PERCENT * count // total - done, embedder)
            done = _PERCENT * count // total

        count = LanceDBStore.reembed(db, index, tell)
    say(f"{counted(count, 'item')} in {db} embedded by {embedder}." if index else f"{db} holds no vectors any more.")
