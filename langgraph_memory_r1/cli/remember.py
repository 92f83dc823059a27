"""`memory-r1 remember`: words, notes and conversations into memories."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from langgraph_memory_r1.cli.ingestion import Tally, ingest, summary_line
from langgraph_memory_r1.cli.inputs import find_input, read_conversations
from langgraph_memory_r1.cli.models import load_graph_models, open_recorder
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
    RecordingFolder,
    Retry,
    Trained,
    User,
)
from langgraph_memory_r1.cli.output import counted, plain, print_json, say
from langgraph_memory_r1.cli.progress import progress
from langgraph_memory_r1.cli.store import checked_user, open_store
from langgraph_memory_r1.cli.views import decided_by, show_change

if TYPE_CHECKING:
    from langgraph_memory_r1.schemas import Conversation


def remember(
    source: Annotated[
        str | None, typer.Argument(metavar="TEXT|FILE|FOLDER|-", help="Words, a file, a folder of notes, - for stdin.")
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
    retry: Retry = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show every operation.")] = False,
    traces: RecordingFolder = None,
    as_data: Json = False,
    debug: Debug = False,
) -> None:
    """Turn words, notes or conversations into memories.

    A file of text is one turn a line ("Ann: I moved to Denver" on all lines names the speakers), a folder all its notes
    (.md, .txt). One conversation is remembered for --user; several, without --user, each for an owner of its own name.
    Run it again to go on where it stopped: turns that were dealt with are passed over.
    """
    from tempfile import TemporaryDirectory

    from langgraph_memory_r1.bank import MemoryBank

    with TemporaryDirectory(prefix="memory-r1-") as scratch:
        source_input = find_input(source, file_format, scratch, folders=True)
        conversations = read_conversations(source_input, conversation or (), strict=strict, speaker=speaker, at=at)
    # Several conversations of different people do not end up in one bank unless somebody says so.
    by_name = user is None and len(conversations) > 1
    owners = [checked_user(each.id if by_name else user) for each in conversations]
    words = source_input.path is None
    show, changes = (verbose or words) and not as_data, list[dict[str, Any]]()
    models, recorder, tally = load_graph_models(model, trained), open_recorder(traces), Tally()
    turns = sum(len(each.turns) for each in conversations)
    with open_store(db, embedder) as store, progress(turns, "turns", shown=not show and not words) as advance:
        try:
            for owner, each in zip(owners, conversations, strict=True):
                bank = MemoryBank(store, owner)
                # A file goes on where a turn fails; of a sentence the failure itself is what there is to say.
                graph = models.graph(bank, recorder, each.id, on_error="raise" if words else "degrade")
                for step in ingest(bank, graph, each.turns, tally, retry=retry):
                    advance(len(step.turns), each.id)
                    changes += ({"owner": owner} | change for change in step.operations if as_data)
                    for change in step.operations if show else ():
                        show_change(change)
        except KeyboardInterrupt:
            tally.interrupted = True
    if as_data:
        head = {"db": db, "model": models.manager, "interrupted": tally.interrupted}
        by_id = dict(zip((each.id for each in conversations), owners, strict=True))
        print_json({**head, "owners": by_id, **tally.as_json(), "changes": changes})
    elif not words:
        _report(tally, conversations, owners, models.manager)
    raise typer.Exit(tally.exit_code)


def _report(tally: Tally, conversations: Sequence[Conversation], owners: Sequence[str], manager: str) -> None:
    """Print what came of a file."""
    tally.show_failures()
    passed_over = f"{counted(tally.existing, 'turn')} from an earlier run passed over"
    if tally.turns:
        sessions = sum(len({turn.session for turn in each.turns} - {None}) for each in conversations)
        reached_all = not (tally.interrupted or tally.failures)
        of_sessions = f" of {counted(sessions, 'session')}" if sessions and reached_all else ""
        took = f"{counted(tally.turns, 'turn')}{of_sessions} in {tally.seconds:.1f} s, {tally.rate:.0f} a second"
        headline = f"{took}; {passed_over}." if tally.existing else f"{took}."
    elif tally.existing:
        headline = f"Nothing new: {passed_over}."
    elif tally.failures or tally.interrupted:
        headline = "Nothing was remembered."
    else:
        headline = "There is nothing to remember."
    say((headline, "bold"))
    if not (tally.turns or tally.failures):
        return
    names = list(dict.fromkeys(owners))
    several = f"{len(names):,} owners, one for each conversation: {plain(', '.join(names))}"
    summary_line("facts", f"{tally.facts:,}")
    tally.show_operations()
    if tally.undecided:
        summary_line("undecided", f"{counted(tally.undecided, 'fact')} added as found, no decision could be read")
    summary_line("failures", f"{len(tally.failures):,}")
    summary_line("owner", plain(names[0]) if len(names) == 1 else several)
    summary_line("model", decided_by(manager))
    tally.note_unfinished()
