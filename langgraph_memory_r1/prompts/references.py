"""What the numbers in a prompt stand for: small enough to travel with a model call, for traces.

A model sees numbers in place of ids. `references` keeps the ids in the order of the numbers; `restore` puts them back
into what `read` gets out of the messages alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from langgraph_memory_r1.prompts.answer import AnswerInput
from langgraph_memory_r1.prompts.extract import ExtractInput
from langgraph_memory_r1.prompts.manage import ManageInput
from langgraph_memory_r1.schemas import Fact, Memory

References: TypeAlias = Mapping[str, Sequence[Any]]
"""`memories`: their ids; `turns`: for each turn or fact the ids of its turns; `sessions`: where there are any."""

Given: TypeAlias = ExtractInput | ManageInput | AnswerInput


def references(given: Given) -> dict[str, list[Any]]:
    """The ids behind the numbers, as plain lists."""
    if isinstance(given, ExtractInput):
        return _told([[turn.id] for turn in given.turns], [turn.session for turn in given.turns])
    memories = [memory.id for memory in given.memories]
    if isinstance(given, AnswerInput):
        return {"memories": memories}
    told = _told([list(fact.source) for fact in given.facts], [fact.session for fact in given.facts])
    return {"memories": memories, **told}


def restore(given: Given, told: References) -> Given:
    """The input with its ids and sessions; where references are missing or of another length, it stays as it was."""
    if isinstance(given, ExtractInput):
        turns = [replace(turn, id=ids[0], session=session) for turn, ids, session in _pairs(given.turns, told)]
        return replace(given, turns=tuple(turns) or given.turns)
    given = replace(given, memories=_memories(given.memories, told))
    if isinstance(given, ManageInput):
        facts = [replace(fact, source=tuple(ids), session=session) for fact, ids, session in _pairs(given.facts, told)]
        return replace(given, facts=tuple(facts) or tuple(_nowhere(fact) for fact in given.facts))
    return given


def _told(turns: list[list[str]], sessions: list[str | None]) -> dict[str, list[Any]]:
    return {"turns": turns, **({"sessions": sessions} if any(sessions) else {})}


def _memories(memories: tuple[Memory, ...], told: References) -> tuple[Memory, ...]:
    ids = told.get("memories", ())
    if len(ids) != len(memories):
        return memories
    return tuple(replace(memory, id=str(key)) for memory, key in zip(memories, ids, strict=True))


def _pairs(items: Sequence[Any], told: References) -> list[tuple[Any, Sequence[str], str | None]]:
    """Every item with its turns and its session; nothing where the references do not fit."""
    turns = told.get("turns", ())
    if len(turns) != len(items) or not all(turns):
        return []
    sessions = told.get("sessions") or [None] * len(items)
    return list(zip(items, turns, sessions, strict=True)) if len(sessions) == len(items) else []


def _nowhere(fact: Fact) -> Fact:
    """A fact whose sources are not known; `read` puts its number there, which is the id of no turn."""
    return replace(fact, source=())
