"""`memory-r1 import`: what people have already, from a backup of a bank to years of chats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from langgraph_memory_r1.cli.ingestion import EVENTS, Tally, ingest
from langgraph_memory_r1.cli.options import DEFAULT_DB, Db, Debug, Embedder, Json, Model, User
from langgraph_memory_r1.cli.output import COLOURS, FAINT, Part, as_json, counted, entry, note, plain, say
from langgraph_memory_r1.cli.progress import progress
from langgraph_memory_r1.cli.store import DEFAULT_USER, named, opened
from langgraph_memory_r1.cli.transfer import import_ as import_bank
from langgraph_memory_r1.cli.views import by
from langgraph_memory_r1.errors import InputError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from langgraph_memory_r1.importers import Export, ImportedMemory, OwnedConversation
    from langgraph_memory_r1.store import LanceDBStore

_INTERRUPTED = 130
_MOST_SHOWN = 5
_MOST_OWNERS = 10


class ExportFormat(StrEnum):
    """What a file to import is."""

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
    from langgraph_memory_r1.importers import detect, is_bank, read_export

    kind = detect(path) if file_format is ExportFormat.auto else file_format.value
    if kind == "jsonl" and (not path.is_file() or is_bank(path)):
        import_bank(path, db, user, embedder, strict, as_data, debug)
        return
    export = read_export(path, kind, strict=strict)
    job = _Job(export, _shares(export, user), db, model)
    with opened(db, embedder) as store:
        job.run(store, bar=not as_data)
    if as_data:
        as_json(job.as_json())
    else:
        job.report()
    if job.interrupted or job.tally.failures:
        raise typer.Exit(_INTERRUPTED if job.interrupted else 1)


@dataclass
class _Share:
    """What is one owner's."""

    memories: list[ImportedMemory] = field(default_factory=list)
    conversations: list[OwnedConversation] = field(default_factory=list)


class _Job:
    """An export on its way into the banks of its owners."""

    def __init__(self, export: Export, shares: dict[str, _Share], db: str, model: str) -> None:
        from langgraph_memory_r1.models import load_chat_model, model_name

        self.export = export
        self.shares = shares
        self.db = db
        self.model: BaseChatModel | None = load_chat_model(model) if export.conversations else None
        self.label = model_name(self.model) if self.model else export.format
        self.tally = Tally()
        self.adopted: Counter[str] = Counter()
        self.known = 0
        self.interrupted = False

    def run(self, store: LanceDBStore, *, bar: bool) -> None:
        """Import everything; Ctrl-C ends it, and harms nothing."""
        total = self.export.turn_count + len(self.export.memories)
        with progress(total, "turns" if self.export.conversations else "memories", shown=bar) as advance:
            try:
                for name, share in self.shares.items():
                    for done, now in self._steps(store, name, share):
                        advance(done, now)
            except KeyboardInterrupt:
                self.interrupted = True

    def _steps(self, store: LanceDBStore, name: str, share: _Share) -> Iterator[tuple[int, str]]:
        from langgraph_memory_r1.bank import MemoryBank
        from langgraph_memory_r1.graph import create_memory_graph
        from langgraph_memory_r1.importers import import_memories

        bank = MemoryBank(store, name)
        for some in import_memories(bank, share.memories, self.export.format):
            self.adopted.update(change.event for change in some.changes)
            self.known += some.known
            yield some.memories, name
        if self.model is None or not share.conversations:
            return
        graph = create_memory_graph(bank, model=self.model, on_error="degrade")
        for talk in share.conversations:
            for step in ingest(bank, graph, talk.conversation.turns, self.tally):
                yield len(step.turns), talk.conversation.id

    def as_json(self) -> dict[str, Any]:
        """The summary for scripts."""
        owners = {
            name: {
                "memories": len(share.memories),
                "turns": sum(len(talk.conversation.turns) for talk in share.conversations),
            }
            for name, share in self.shares.items()
        }
        head = {"db": self.db, "format": self.export.format, "model": self.label, "interrupted": self.interrupted}
        tally = self.tally.as_json()
        tally["known"] += self.known
        tally["operations"] = self._operations()
        rest = {"broken": self.export.broken, "skipped": dict(+self.export.skipped)}
        return head | {"owners": owners} | tally | rest

    def report(self) -> None:
        """The summary for people."""
        for line in self.export.broken[:_MOST_SHOWN]:
            note(f"Skipped: {plain(line)}")
        for reason in self.tally.failures[:_MOST_SHOWN]:
            entry(("ERROR", COLOURS["ERROR"]), plain(reason))
        say((self._headline(), "bold"))
        parts: list[Part] = []
        for event, number in self._operations().items():
            parts += [(event, COLOURS[event]), f" {number:,}  "]
        _line("operations", *parts)
        _line("skipped", self._skipped())
        _line("owner" if len(self.shares) == 1 else "owners", self._owners())
        _line("model" if self.model else "from", by(self.label))
        if self.interrupted or self.tally.failures:
            why = "Interrupted" if self.interrupted else "Not everything was remembered"
            note(f"{why}; what is remembered stays, and the same command goes on from there.")

    def _operations(self) -> dict[str, int]:
        return {event: self.tally.operations[event] + self.adopted[event] for event in EVENTS}

    def _headline(self) -> str:
        new, known = self.tally.turns + self.adopted.total(), self.tally.known + self.known
        passed = f"{known:,} from an earlier run passed over"
        if not new:
            return f"Nothing new: {passed}."
        took = (
            counted(self.tally.turns, "turn")
            if self.export.conversations
            else counted(self.adopted.total(), "operation")
        )
        return f"{took} of {self.export.format}{f'; {passed}' if known else ''}."

    def _skipped(self) -> str:
        kinds = [f"{number:,} {plain(kind)}" for kind, number in (+self.export.skipped).items()]
        return ", ".join([f"{len(self.export.broken):,} broken", *kinds])

    def _owners(self) -> str:
        shown = ", ".join(plain(name) for name in list(self.shares)[:_MOST_OWNERS])
        more = len(self.shares) - _MOST_OWNERS
        return f"{shown} and {more:,} more" if more > 0 else shown


def _line(label: str, *parts: Part) -> None:
    entry((label, FAINT), *parts, width=12)


def _shares(export: Export, user: str | None) -> dict[str, _Share]:
    """Whose is what: what an entry says, unless --user takes all."""
    shares: dict[str, _Share] = {}
    for kept in export.memories:
        if kept.owner is None and user is None and not export.personal:
            raise InputError("The export does not tell whose these memories are; say it with --user.")
        shares.setdefault(_owner(kept.owner, user), _Share()).memories.append(kept)
    for talk in export.conversations:
        told = talk.owner or _unnamed(export, talk, user)
        shares.setdefault(_owner(told, user), _Share()).conversations.append(talk)
    return shares


def _owner(told: str | None, user: str | None) -> str:
    return named(user) if user is not None else told or DEFAULT_USER


def _unnamed(export: Export, talk: OwnedConversation, user: str | None) -> str | None:
    """Conversations of different people do not end up in one bank unless somebody says so."""
    if user is not None or export.personal or len(export.conversations) == 1:
        return None
    if export.format == "jsonl":
        return named(talk.conversation.id)
    raise InputError(
        f"The export holds {len(export.conversations):,} conversations, and not all of them name their user_id; say "
        "with --user whose they are."
    )
