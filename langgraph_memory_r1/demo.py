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
class Said:
    """A turn, and what the memory made of it."""

    turn: Turn
    operations: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Remembered:
    """The bank at this point."""

    memories: tuple[Memory, ...]


@dataclass(frozen=True, slots=True)
class Answered:
    """A question, and what the memory answered to it."""

    question: Question
    text: str
    selected: tuple[dict[str, Any], ...]
    looked_at: int


@dataclass(frozen=True, slots=True)
class Undone:
    """An operation, and the one that took it back."""

    operation: Change
    change: Change


Scene = Said | Remembered | Answered | Undone


def conversation() -> Conversation:
    """The bundled conversation with its questions."""
    with as_file(files("langgraph_memory_r1") / "demo.jsonl") as path:
        return next(read_conversations(path, strict=True))


def play(bank: MemoryBank, model: Model = "rules") -> Iterator[Scene]:
    """Everything that the demo shows, as it happens."""
    script = conversation()
    graph = create_memory_graph(bank, model=model)
    for turn in script.turns:
        yield Said(turn, tuple(graph.invoke({"turns": [turn]})["memory_ops"]))
    yield Remembered(tuple(bank.all()))
    for question in script.questions:
        said = graph.invoke({"question": question.text})
        yield Answered(question, said["answer"], tuple(said["selected"]), len(said["memories"]))
    undone = _to_undo(bank)
    if undone is not None:
        yield Undone(undone, bank.undo(undone.id))
        yield Remembered(tuple(bank.all()))


def _to_undo(bank: MemoryBank) -> Change | None:
    """The newest operation that lost something: there it matters most that it can be taken back."""
    lost = [change for change in bank.history() if change.before is not None]
    return lost[-1] if lost else None
