"""`memory-r1 export` and `import`: a bank to a file, and what people have already, from backups to years of chats."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from langgraph_memory_r1.cli.ingestion import MOST_SHOWN, Tally, ingest, summary_line
from langgraph_memory_r1.cli.options import DEFAULT_DB, Db, Debug, Embedder, Json, Model, User
from langgraph_memory_r1.cli.output import counted, note, plain, print_json, say
from langgraph_memory_r1.cli.progress import progress
from langgraph_memory_r1.cli.store import checked_user, open_bank, open_store
from langgraph_memory_r1.cli.views import decided_by
from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.identity import DEFAULT_USER

if TYPE_CHECKING:
    from langgraph_memory_r1.importers import Export

_MOST_OWNERS = 10


def export(
    path: Annotated[Path, typer.Argument(metavar="PATH|-", help="The file to write, or - for standard output.")],
    db: Db = DEFAULT_DB,
    user: User = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    debug: Debug = False,
) -> None:
    """Write memories and history to a file.

    As JSONL, with nothing left out.
    """
    from shutil import copyfileobj
    from tempfile import TemporaryDirectory

    to_stdout = str(path) == "-"
    if path.exists() and not (force or to_stdout):
        raise InputError(f"{path} is there already; name another file, or replace it with --force.")
    with open_bank(db, user) as (bank, owner), TemporaryDirectory(prefix="memory-r1-") as scratch:
        file = Path(scratch) / "export.jsonl" if to_stdout else path
        count = bank.export_jsonl(file)
        changes = len(bank.history())
        if to_stdout:  # bytes: the file is UTF-8, whatever the terminal prints
            sys.stdout.flush()
            with file.open("rb") as written:
                copyfileobj(written, sys.stdout.buffer)
    what = f"{counted(count, 'memory', 'memories')} and {counted(changes, 'operation')} of {plain(owner)!r}"
    if to_stdout:
        note(f"{what} written.")
    else:
        say(f"{what} written to {plain(str(path))}.")


class ExportFormat(StrEnum):
    """What a file to import is: "auto", or one of `importers.FORMATS`."""

    # Written out, and held equal by a test: to ask the importers would load them at the start of every command.

    auto = "auto"
    jsonl = "jsonl"
    messages = "messages"
    mem0 = "mem0"
    langmem = "langmem"
    whatsapp = "whatsapp"
    telegram = "telegram"
    slack = "slack"
    imessage = "imessage"
    facebook = "facebook"


def import_(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A file, a folder or a zip, as it was exported.")],
    file_format: Annotated[
        ExportFormat, typer.Option("--format", help="Where it comes from; auto looks at what is in it.")
    ] = ExportFormat.auto,
    db: Db = DEFAULT_DB,
    user: User = None,
    model: Model = "rules",
    embedder: Embedder = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse a file with a broken entry.")] = False,
    as_data: Json = False,
    debug: Debug = False,
) -> None:
    """Take over what you have: a backup, memories of mem0 or langmem, chats.

    Memories keep their times and their owners. Conversations are remembered turn by turn, as `remember` does. A second
    run changes nothing, and one that was cut short goes on; --user gives everything to one owner.
    """
    from langgraph_memory_r1.bank import MemoryBank
    from langgraph_memory_r1.graph import create_memory_graph
    from langgraph_memory_r1.importers import detect, import_memories, is_bank, read_export
    from langgraph_memory_r1.models import load_chat_model, model_name

    kind = detect(path) if file_format is ExportFormat.auto else file_format.value
    if kind == "jsonl" and (not path.is_file() or is_bank(path)):
        _import_backup(path, db, user, embedder, strict, as_data)
        return
    contents = read_export(path, kind, strict=strict)
    owners = _by_owner(contents, user)
    chat_model = load_chat_model(model) if contents.conversations else None
    tally, imported, expired = Tally(), 0, 0
    total, noun = contents.turn_count + len(contents.memories), "turns" if contents.conversations else "memories"
    with open_store(db, embedder) as store, progress(total, noun, shown=not as_data) as advance:
        try:
            for owner, share in owners.items():
                bank = MemoryBank(store, owner)
                for batch in import_memories(bank, share.memories, contents.format):
                    imported += len(batch.changes)
                    tally.operations.update(change.event for change in batch.changes)
                    tally.existing += batch.existing
                    expired += batch.expired
                    advance(batch.memories, owner)
                if chat_model is None or not share.conversations:
                    continue
                graph = create_memory_graph(bank, model=chat_model, on_error="degrade")
                for owned in share.conversations:
                    for step in ingest(bank, graph, owned.conversation.turns, tally):
                        advance(len(step.turns), owned.conversation.id)
        except KeyboardInterrupt:
            tally.interrupted = True
    decider = model_name(chat_model) if chat_model else contents.format
    if as_data:
        head = {"db": db, "format": contents.format, "model": decider, "interrupted": tally.interrupted}
        counts = {name: {"memories": len(own.memories), "turns": own.turn_count} for name, own in owners.items()}
        unread = {"expired": expired, "broken": contents.broken, "skipped": dict(+contents.skipped)}
        print_json({**head, "owners": counts, **tally.as_json(), **unread})
    else:
        _report(contents, list(owners), tally, (imported, expired), decider)
    if tally.exit_code:
        raise typer.Exit(tally.exit_code)


def _import_backup(path: Path, db: str, user: str | None, embedder: str | None, strict: bool, as_data: bool) -> None:
    """Take over what `memory-r1 export` wrote; what is here already stays as it is."""
    from langgraph_memory_r1.bank import MemoryBank

    owner = checked_user(user)
    with open_store(db, embedder) as store:
        done = MemoryBank(store, owner).import_jsonl(path, strict=strict)
    for line in done.broken[:MOST_SHOWN]:
        note(f"Skipped: {plain(line)}")
    if as_data:
        counts = {"memories": done.memories, "operations": done.changes, "known": done.existing}
        print_json({"user": owner, **counts, "broken": list(done.broken)})
        return
    say(
        f"{counted(done.memories, 'memory', 'memories')} and {counted(done.changes, 'operation')} taken over for "
        f"{plain(owner)!r}; {done.existing:,} were known, {counted(len(done.broken), 'line')} skipped."
    )


def _by_owner(contents: Export, user: str | None) -> dict[str, Export]:
    """Split an export by its owners: those that its entries name, unless --user takes all.

    Raises:
        InputError: An entry does not say whose it is, and it could be several people's.
    """
    from langgraph_memory_r1.importers import Export

    shares: dict[str, Export] = {}

    def share_of(owner: str | None) -> Export:
        name = owner or DEFAULT_USER if user is None else checked_user(user)
        return shares.setdefault(name, Export(contents.format))

    for memory in contents.memories:
        if memory.owner is None and user is None and not contents.personal:
            raise InputError("The export does not tell whose these memories are; say it with --user.")
        share_of(memory.owner).memories.append(memory)
    # Conversations of different people do not end up in one bank unless somebody says so.
    one_bank = user is not None or contents.personal or len(contents.conversations) == 1
    for owned in contents.conversations:
        owner = owned.owner
        if not owner and not one_bank:
            if contents.format != "jsonl":
                raise InputError(
                    f"The export holds {len(contents.conversations):,} conversations, and not all of them name their "
                    "user_id; say with --user whose they are."
                )
            owner = checked_user(owned.conversation.id)  # as `remember` does with the same file
        share_of(owner).conversations.append(owned)
    return shares


def _report(contents: Export, owners: list[str], tally: Tally, memories: tuple[int, int], decider: str) -> None:
    """Print what came of an export; of its memories, how many operations they made and how many had expired."""
    imported, expired = memories
    for line in contents.broken[:MOST_SHOWN]:
        note(f"Skipped: {plain(line)}")
    tally.show_failures()
    passed_over = f"{tally.existing:,} from an earlier run passed over"
    if tally.turns + imported:
        new = counted(tally.turns, "turn") if contents.conversations else counted(imported, "operation")
        headline = f"{new} of {contents.format}{f'; {passed_over}' if tally.existing else ''}."
    else:
        headline = f"Nothing new: {passed_over}."
    say((headline, "bold"))
    tally.show_operations()
    if expired:
        summary_line("expired", f"{expired:,}, in the history alone")
    kinds = [f"{number:,} {plain(kind)}" for kind, number in (+contents.skipped).items()]
    summary_line("skipped", ", ".join([f"{len(contents.broken):,} broken", *kinds]))
    more = f" and {len(owners) - _MOST_OWNERS:,} more" if len(owners) > _MOST_OWNERS else ""
    names = ", ".join(plain(owner) for owner in owners[:_MOST_OWNERS])
    summary_line("owner" if len(owners) == 1 else "owners", names + more)
    summary_line("model" if contents.conversations else "from", decided_by(decider))
    tally.note_unfinished()
