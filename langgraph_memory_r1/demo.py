"""The bundled conversation, played through the memory graph: what `memory-r1 demo` shows.

    demo.jsonl ─► turn by turn: operations ─► the bank ─► questions: answers ─► one operation undone ─► the bank

Maya adopts a dog, later another one, moves, and stops playing the guitar; Leo takes something back; both chat.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import as_file, files
from typing import Any

from langgraph_memory_r1.bank import MemoryBank
from langgraph_memory_r1.conversations import read_conversations
from langgraph_memory_r1.graph import Model, create_memory_graph
from langgraph_memory_r1.schemas import Change, Conversation, Memory, Question, Turn


@dataclass(frozen=True, slots=True)
class TurnScene:
    """A turn, and what the memory made of it."""

    turn: Turn
    operations: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class BankScene:
    """The memories of the bank at this point."""

    memories: tuple[Memory, ...]


@dataclass(frozen=True, slots=True)
class AnswerScene:
    """A question, and what the memory answered to it."""

    question: Question
    text: str
    selected: tuple[dict[str, Any], ...]
    retrieved: int
    """How many memories the answer was chosen from."""


@dataclass(frozen=True, slots=True)
class UndoScene:
    """An operation, and the one that took it back."""

    operation: Change
    change: Change


Scene = TurnScene | BankScene | AnswerScene | UndoScene


def conversation() -> Conversation:
    """Read the bundled conversation with its questions."""
    with as_file(files("langgraph_memory_r1") / "demo.jsonl") as path:
        return next(read_conversations(path, strict=True))


def play(bank: MemoryBank, model: Model = "rules") -> Iterator[Scene]:
    """Play the conversation into a bank, and yield everything that the demo shows, as it happens."""
    script = conversation()
    graph = create_memory_graph(bank, model=model)
    for turn in script.turns:
        yield TurnScene(turn, tuple(graph.invoke({"turns": [turn]})["memory_ops"]))
    yield BankScene(tuple(bank.all()))
    for question in script.questions:
        state = graph.invoke({"question": question.text})
        yield AnswerScene(question, state["answer"], tuple(state["selected"]), len(state["memories"]))
    # The newest operation that lost something: there it matters most that it can be taken back.
    lossy = [change for change in bank.history() if change.before is not None]
    if lossy:
        yield UndoScene(lossy[-1], bank.undo(lossy[-1].id))
        yield BankScene(tuple(bank.all()))
