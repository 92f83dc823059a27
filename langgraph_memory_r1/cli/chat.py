"""`memory-r1 chat`: every line is remembered, every question answered; works in a pipe too."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from langgraph_memory_r1.cli.memories import show_change
from langgraph_memory_r1.cli.models import cast
from langgraph_memory_r1.cli.options import DEFAULT_DB, Db, Debug, Embedder, Model, Record, Trained, User
from langgraph_memory_r1.cli.output import COLOURS, FAINT, counted, entry, note, plain, say
from langgraph_memory_r1.cli.recording import recorded, recorder_for
from langgraph_memory_r1.cli.store import opened, owner
from langgraph_memory_r1.cli.views import (
    by,
    memory_as_json,
    show_answer,
    show_memories,
    show_operation,
)
from langgraph_memory_r1.errors import InputError, MemoryR1Error

if TYPE_CHECKING:
    from langgraph_memory_r1.bank import MemoryBank
    from langgraph_memory_r1.graph import MemoryGraph
    from langgraph_memory_r1.traces import TraceRecorder

_HELP = {
    "/memories [WORDS]": "what is remembered, or what of it fits",
    "/history [N]": "the newest operations",
    "/undo [OP_ID]": "take an operation back, the newest without an id",
    "/gold ANSWER": "with --traces: what the last answer should have been",
    "/forget yes": "remove all memories and their history for good",
    "/quit": "leave (or Ctrl-D)",
}
_NEWEST = 10
_ASKS = re.compile(
    r"(?:who|whose|what|when|where|why|which|how|do|does|did|is|are|am|was|were|can|could|will|would|should)\b"
    r"(?!.*[.!]$)|.*[?\uff1f]\W*$",
    re.IGNORECASE,
)


def chat(
    db: Db = DEFAULT_DB,
    user: User = None,
    model: Model = "rules",
    trained: Trained = None,
    embedder: Embedder = None,
    speaker: Annotated[str, typer.Option(help="What the memories call you.")] = "user",
    traces: Record = None,
    debug: Debug = False,
) -> None:
    """Talk to the memory.

    It remembers every line, answers every question, and shows what it decides.
    """
    from langgraph_memory_r1.bank import MemoryBank
    from langgraph_memory_r1.graph import create_memory_graph

    playing = cast(model, trained)
    with opened(db, embedder) as store:
        name = owner(store, user, db=db)
        bank = MemoryBank(store, name)
        recorder = recorder_for(traces)
        graph = recorded(create_memory_graph(bank, on_error="degrade", **playing.settings), recorder, name)
        label = playing.answerer
        if sys.stdin.isatty():
            note(f"{counted(len(bank), 'memory', 'memories')} of {plain(name)!r} in {db}; {by(label)}. /help, /quit")
        failed = _Talk(bank, graph, speaker, label, recorder).run(_lines())
    if failed:
        raise typer.Exit(1)


class _Talk:
    """One session of chat."""

    def __init__(
        self, bank: MemoryBank, graph: MemoryGraph, speaker: str, label: str, recorder: TraceRecorder | None
    ) -> None:
        self.bank = bank
        self.graph = graph
        self.speaker = speaker
        self.label = label
        self.recorder = recorder
        self.asked: str | None = None
        """The run of the last answer."""
        self.failed = False

    def run(self, lines: Iterator[str]) -> bool:
        """Deal with every line; whether one failed."""
        for line in lines:
            if line in ("/quit", "/exit", "/q"):
                break
            try:
                if line.startswith("/"):
                    self._command(line)
                else:
                    self._said(line)
            except MemoryR1Error as error:
                self._failure(str(error))
        return self.failed

    def _said(self, line: str) -> None:
        from langgraph_memory_r1.schemas import Turn

        question = line if _ASKS.match(line) else None
        out = self.graph.invoke({"turns": [Turn(self.speaker, line, datetime.now(UTC))], "question": question})
        for operation in out["memory_ops"]:
            if operation["event"] == "ERROR":
                self._failure(operation["reason"])
            elif question is None or operation["event"] != "NOOP":
                show_operation(operation)
        if out.get("answer") is not None:
            show_answer(out["answer"], out["selected"], len(out["memories"]), self.label)
            self.asked = self.recorder.last_run if self.recorder else None

    def _failure(self, reason: str) -> None:
        self.failed = True
        entry(("ERROR", COLOURS["ERROR"]), plain(reason))

    def _command(self, line: str) -> None:
        from langgraph_memory_r1.state import change_record

        name, _, rest = line.partition(" ")
        rest = rest.strip()
        match name:
            case "/memories":
                found = [hit.memory for hit in self.bank.search(rest, k=_NEWEST)] if rest else self.bank.all()
                show_memories(memory_as_json(memory) for memory in found)
                say((counted(len(found), "memory", "memories"), FAINT))
            case "/history":
                for change in self.bank.history()[-(int(rest) if rest.isdecimal() else _NEWEST) :]:
                    show_change(change)
            case "/undo":
                show_operation(change_record(self.bank.undo(rest or None)))
            case "/forget":
                self._forget(rest)
            case "/gold":
                self._gold(rest)
            case "/help":
                for command, meaning in _HELP.items():
                    entry((command, "bold"), meaning, width=20)
            case _:
                raise InputError(f"There is no command {name}; /help lists them.")

    def _gold(self, answer: str) -> None:
        if self.recorder is None or self.asked is None:
            raise InputError(
                "There is no recorded answer yet; begin with `memory-r1 chat --traces DIR` and ask something."
            )
        self.recorder.feedback(self.asked, gold=answer)
        say((f"Recorded: the right answer was {plain(answer)!r}.", FAINT))

    def _forget(self, rest: str) -> None:
        if rest != "yes":
            what = f"{counted(len(self.bank), 'memory', 'memories')} and their history"
            raise InputError(f"This removes {what} for good; if that is meant, say: /forget yes")
        say(f"Forgotten: {counted(self.bank.forget(), 'memory', 'memories')}.")


def _lines() -> Iterator[str]:
    """What is typed, with editing, until Ctrl-D; or the lines that are piped in."""
    if not sys.stdin.isatty():
        yield from (line.strip() for line in sys.stdin if line.strip())
        return
    with suppress(ImportError):  # some Pythons have none, and read lines just the same
        importlib.import_module("readline")  # gives input() its editing
    while True:
        try:
            line = input("> ").strip()
        except (EOFError, KeyboardInterrupt):
            print()
            return
        if line:
            yield line
