"""`memory-r1 remember`: words, notes and conversations into memories."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from langgraph_memory_r1.cli.ingestion import EVENTS, Step, Tally, ingest
from langgraph_memory_r1.cli.inputs import conversations, find
from langgraph_memory_r1.cli.models import Cast, cast
from langgraph_memory_r1.cli.options import (
    DEFAULT_DB,
    Conversations,
    Db,
    Debug,
    Embedder,
    FileFormat,
    Format,
    Json,
    Model,
    Record,
    Trained,
    User,
)
from langgraph_memory_r1.cli.output import COLOURS, FAINT, Part, as_json, counted, entry, note, plain, say
from langgraph_memory_r1.cli.progress import progress
from langgraph_memory_r1.cli.recording import recorded, recorder_for
from langgraph_memory_r1.cli.store import DEFAULT_USER, named, opened
from langgraph_memory_r1.cli.views import by, show_operation

if TYPE_CHECKING:
    from langgraph_memory_r1.flow import OnError
    from langgraph_memory_r1.schemas import Conversation
    from langgraph_memory_r1.store import LanceDBStore

_INTERRUPTED = 130
_MOST_SHOWN = 5


def remember(
    source: Annotated[
        str | None, typer.Argument(metavar="TEXT|FILE|-", help="A sentence, a file, or - for standard input.")
    ] = None,
    db: Db = DEFAULT_DB,
    user: User = None,
    model: Model = "rules",
    trained: Trained = None,
    embedder: Embedder = None,
    file_format: FileFormat = Format.auto,
    conversation: Conversations = None,
    speaker: Annotated[str, typer.Option(help="Who says it, where the text itself does not tell.")] = "user",
    at: Annotated[datetime | None, typer.Option(help="When it was said. [default: now]", show_default=False)] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse a file with a broken line.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show every operation.")] = False,
    traces: Record = None,
    as_data: Json = False,
    debug: Debug = False,
) -> None:
    """Turn words, notes or conversations into memories.

    A file of text is one turn a line ("Ann: I moved to Denver" on all lines names the speakers). One conversation is
    remembered for --user; several, without --user, each for an owner of its own name. Run it again to go on where it
    stopped: turns that were dealt with are passed over.
    """
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(prefix="memory-r1-") as scratch:
        given = find(source, file_format, scratch)
        read = conversations(given, conversation or (), strict=strict, speaker=speaker, at=_aware(at))
    words, show = given.path is None, (verbose or given.path is None) and not as_data
    # A file goes on where a turn fails; of a sentence the failure itself is what there is to say.
    plan = [(_owner(found, read, user), found) for found in read]
    job = _Job(plan, db, cast(model, trained), "raise" if words else "degrade", traces)
    with opened(db, embedder) as store:
        job.run(store, show=show, bar=not show and not words)
    if as_data:
        as_json(job.as_json())
    elif not words:
        job.report()
    if job.interrupted or job.tally.failures:
        raise typer.Exit(_INTERRUPTED if job.interrupted else 1)


class _Job:
    """Conversations on their way into the banks of their owners."""

    def __init__(
        self, plan: Sequence[tuple[str, Conversation]], db: str, playing: Cast, on_error: OnError, traces: str | None
    ) -> None:
        self.plan = plan
        self.db = db
        self.settings, self.label = playing.settings, playing.manager
        self.on_error = on_error
        self.recorder = recorder_for(traces)
        self.tally = Tally()
        self.interrupted = False

    def run(self, store: LanceDBStore, *, show: bool, bar: bool) -> None:
        """Remember everything; Ctrl-C ends it, and harms nothing."""
        total = sum(len(conversation.turns) for _, conversation in self.plan)
        with progress(total, "turns", shown=bar) as advance:
            try:
                for name, conversation in self.plan:
                    for step in self._steps(store, name, conversation):
                        advance(len(step.turns), conversation.id)
                        for operation in step.operations if show else ():
                            show_operation(operation)
            except KeyboardInterrupt:
                self.interrupted = True

    def _steps(self, store: LanceDBStore, name: str, conversation: Conversation) -> Iterator[Step]:
        from langgraph_memory_r1.bank import MemoryBank
        from langgraph_memory_r1.graph import create_memory_graph

        bank = MemoryBank(store, name)
        graph = create_memory_graph(bank, on_error=self.on_error, **self.settings)
        return ingest(bank, recorded(graph, self.recorder, conversation.id), conversation.turns, self.tally)

    def as_json(self) -> dict[str, Any]:
        """The summary for scripts."""
        owners = {conversation.id: name for name, conversation in self.plan}
        head = {"db": self.db, "model": self.label, "interrupted": self.interrupted, "owners": owners}
        return head | self.tally.as_json()

    def report(self) -> None:
        """The summary for people."""
        tally = self.tally
        for reason in tally.failures[:_MOST_SHOWN]:
            entry(("ERROR", COLOURS["ERROR"]), plain(reason))
        say((self._headline(), "bold"))
        if not (tally.turns or tally.failures):
            return
        _line("facts", f"{tally.facts:,}")
        _line("operations", *_operations(tally))
        _line("failures", f"{len(tally.failures):,}")
        _line("owner", self._owners())
        _line("model", by(self.label))
        if self.interrupted or tally.failures:
            why = "Interrupted" if self.interrupted else "Not everything was remembered"
            note(f"{why}; what is remembered stays, and the same command goes on from there.")

    def _headline(self) -> str:
        tally = self.tally
        known = f"{counted(tally.known, 'turn')} from an earlier run passed over"
        if not tally.turns:
            nothing = (
                "Nothing was remembered." if tally.failures or self.interrupted else "There is nothing to remember."
            )
            return f"Nothing new: {known}." if tally.known else nothing
        took = f"{counted(tally.turns, 'turn')}{self._sessions()} in {tally.seconds:.1f} s, {tally.rate:.0f} a second"
        return f"{took}; {known}." if tally.known else f"{took}."

    def _sessions(self) -> str:
        if self.interrupted or self.tally.failures:
            return ""  # some were not reached
        sessions = sum(len({turn.session for turn in found.turns} - {None}) for _, found in self.plan)
        return f" of {counted(sessions, 'session')}" if sessions else ""

    def _owners(self) -> str:
        names = list(dict.fromkeys(name for name, _ in self.plan))
        if len(names) == 1:
            return plain(names[0])
        return f"{len(names):,} owners, one for each conversation: {plain(', '.join(names))}"


def _operations(tally: Tally) -> list[Part]:
    parts: list[Part] = []
    for event in EVENTS:
        parts += [(event, COLOURS[event]), f" {tally.operations[event]:,}  "]
    return parts


def _line(label: str, *parts: Part) -> None:
    entry((label, FAINT), *parts, width=12)


def _owner(conversation: Conversation, read: Sequence[Conversation], user: str | None) -> str:
    """Several conversations of different people do not end up in one bank unless somebody says so."""
    if user is not None:
        return named(user)
    return DEFAULT_USER if len(read) == 1 else named(conversation.id)


def _aware(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment
