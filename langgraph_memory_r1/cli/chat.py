"""`memory-r1 chat`: every line is remembered, every question answered; works in a pipe too."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from langgraph_memory_r1.cli.inputs import typed_lines
from langgraph_memory_r1.cli.models import RULES, load_graph_models, open_recorder
from langgraph_memory_r1.cli.options import DEFAULT_DB, Db, Debug, Embedder, Model, RecordingFolder, Trained, User
from langgraph_memory_r1.cli.output import COLOURS, FAINT, counted, entry, note, plain, say
from langgraph_memory_r1.cli.store import open_store, resolve_owner, search_memories
from langgraph_memory_r1.cli.views import (
    decided_by,
    memory_as_json,
    show_answer,
    show_change,
    show_history_entry,
    show_memories,
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


def chat(
    db: Db = DEFAULT_DB,
    user: User = None,
    model: Model = "rules",
    trained: Trained = None,
    embedder: Embedder = None,
    speaker: Annotated[str, typer.Option(help="What the memories call you.")] = "user",
    traces: RecordingFolder = None,
    debug: Debug = False,
) -> None:
    """Talk to the memory.

    It remembers every line, answers every question, and shows what it decides.
    """
    from langgraph_memory_r1.bank import MemoryBank

    models = load_graph_models(model, trained)
    with open_store(db, embedder) as store:
        owner = resolve_owner(store, user, db=db)
        bank, recorder = MemoryBank(store, owner), open_recorder(traces)
        graph = models.graph(bank, recorder, owner, on_error="degrade")
        if sys.stdin.isatty():
            size = counted(len(bank), "memory", "memories")
            note(f"{size} of {plain(owner)!r} in {db}; {decided_by(models.answerer)}. /help, /quit")
        elif RULES in (models.manager, models.answerer):
            note(f"{decided_by(RULES)} decides and answers; --model names a model.")
        session = _Session(bank, graph, speaker, models.answerer, recorder, embedder)
        for line in filter(None, typed_lines("> ")):
            if line in ("/quit", "/exit", "/q"):
                break
            session.take(line)
    if session.failed:
        raise typer.Exit(1)


class _Session:
    """One session of chat."""

    def __init__(
        self,
        bank: MemoryBank,
        graph: MemoryGraph,
        speaker: str,
        answerer: str,
        recorder: TraceRecorder | None,
        embedder: str | None,
    ) -> None:
        self.bank = bank
        self.graph = graph
        self.speaker = speaker
        self.answerer = answerer
        self.recorder = recorder
        self.embedder = embedder
        self.answer_run: str | None = None
        """The recorded run of the last answer."""
        self.failed = False

    def take(self, line: str) -> None:
        """Carry out a line that begins with a slash; remember any other, and answer it if it is a question."""
        from langgraph_memory_r1.rules.sentences import asks
        from langgraph_memory_r1.schemas import Turn

        try:
            if line.startswith("/"):
                name, _, argument = line.partition(" ")
                self._command(name, argument.strip())
                return
            question = line if asks(line) else None
            turn = Turn(self.speaker, line, datetime.now().astimezone())
            state = self.graph.invoke({"turns": [turn], "question": question})
            for change in state["memory_ops"]:
                if change["event"] == "ERROR":
                    self._show_failure(change["reason"])
                elif question is None or change["event"] != "NOOP":  # a question seldom holds a fact: not worth a line
                    show_change(change)
            if state.get("answer") is not None:
                show_answer(state["answer"], state["selected"], len(state["memories"]), self.answerer)
                self.answer_run = self.recorder.last_run if self.recorder else None
        except MemoryR1Error as error:
            self._show_failure(str(error))

    def _show_failure(self, reason: str) -> None:
        self.failed = True
        entry(("ERROR", COLOURS["ERROR"]), plain(reason))

    def _command(self, name: str, argument: str) -> None:
        """Carry out a command of the chat.

        Raises:
            InputError: There is no such command, or it needs something that is not there.
        """
        from langgraph_memory_r1.state import change_record

        match name:
            case "/memories":
                bank, embedder = self.bank, self.embedder
                memories = search_memories(bank, argument, _NEWEST, embedder) if argument else bank.all()
                show_memories(memory_as_json(memory) for memory in memories)
                say((counted(len(memories), "memory", "memories"), FAINT))
            case "/history":
                for change in self.bank.history()[-(int(argument) if argument.isdecimal() else _NEWEST) :]:
                    show_history_entry(change)
            case "/undo":
                show_change(change_record(self.bank.undo(argument or None)))
            case "/forget":
                if argument != "yes":
                    size = counted(len(self.bank), "memory", "memories")
                    raise InputError(
                        f"This removes {size} and their history for good; if that is meant, say: /forget yes"
                    )
                say(f"Forgotten: {counted(self.bank.forget(), 'memory', 'memories')}.")
            case "/gold":
                if self.recorder is None or self.answer_run is None:
                    raise InputError(
                        "There is no recorded answer yet; begin with `memory-r1 chat --traces DIR` and ask something."
                    )
                self.recorder.feedback(self.answer_run, gold=argument)
                say((f"Recorded: the right answer was {plain(argument)!r}.", FAINT))
            case "/help":
                for command, meaning in _HELP.items():
                    entry((command, "bold"), meaning, width=20)
            case _:
                raise InputError(f"There is no command {name}; /help lists them.")
