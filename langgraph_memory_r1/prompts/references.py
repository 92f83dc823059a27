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
from langgraph_memory_r1.prompts.roles import RoleInput

References: TypeAlias = Mapping[str, Sequence[Any]]
"""`memories`: their ids; `turns`: for each turn or fact the ids of its turns; `sessions`: where there are any."""


def references(role_input: RoleInput) -> dict[str, list[Any]]:
    """Return the ids behind the numbers of a prompt, as plain lists."""
    if isinstance(role_input, ExtractInput):
        return _turns([[turn.id] for turn in role_input.turns], [turn.session for turn in role_input.turns])
    memories = {"memories": [memory.id for memory in role_input.memories]}
    if isinstance(role_input, AnswerInput):
        return memories
    facts = role_input.facts
    return memories | _turns([list(fact.source) for fact in facts], [fact.session for fact in facts])


def restore(role_input: RoleInput, ids: References) -> RoleInput:
    """Return the input with its ids and sessions put back.

    Args:
        role_input: What `read` got out of a prompt's messages.
        ids: What `references` returned for that prompt; what is missing, or of another length than the input, is left.
    """
    if isinstance(role_input, ExtractInput):
        matched = _matched(role_input.turns, ids)
        turns = [replace(turn, id=turn_ids[0], session=session) for turn, turn_ids, session in matched]
        return replace(role_input, turns=tuple(turns) or role_input.turns)
    keys = ids.get("memories", ())
    if len(keys) == len(role_input.memories):
        memories = [replace(memory, id=str(key)) for memory, key in zip(role_input.memories, keys, strict=True)]
        role_input = replace(role_input, memories=tuple(memories))
    if isinstance(role_input, ManageInput):
        matched = _matched(role_input.facts, ids)
        facts = [replace(fact, source=tuple(turn_ids), session=session) for fact, turn_ids, session in matched]
        # `read` gives a fact its number as its source; left there, it would pass for the id of a turn.
        return replace(role_input, facts=tuple(facts) or tuple(replace(fact, source=()) for fact in role_input.facts))
    return role_input


def _turns(ids: list[list[str]], sessions: list[str | None]) -> dict[str, list[Any]]:
    return {"turns": ids, **({"sessions": sessions} if any(sessions) else {})}


def _matched(items: Sequence[Any], ids: References) -> list[tuple[Any, Sequence[str], str | None]]:
    """Match every turn or fact with the ids of its turns and its session; nothing where the references do not fit."""
    turns = ids.get("turns", ())
    if len(turns) != len(items) or not all(turns):
        return []
    sessions = ids.get("sessions") or [None] * len(items)
    return list(zip(items, turns, sessions, strict=True)) if len(sessions) == len(items) else []
