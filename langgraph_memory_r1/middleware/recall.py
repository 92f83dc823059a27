"""What an agent's model is shown of its memories, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from langchain.agents.middleware.types import ModelRequest
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from langgraph_memory_r1.prompts.recall import render_recalled
from langgraph_memory_r1.schemas import Memory
from langgraph_memory_r1.turns import RECALLED, is_recalled, text_of


def query_of(messages: Sequence[BaseMessage]) -> str:
    """Return what the person said last; empty where that has no text."""
    spoken = (each for each in reversed(messages) if isinstance(each, HumanMessage) and not is_recalled(each))
    return next((text for message in spoken if (text := text_of(message.content)[0])), "")


@dataclass(init=False)
class RecallingRequest(ModelRequest[Any]):
    """A model request that keeps its memories at the end of its system message, whoever replaces that.

    Middleware that comes after the memory makes its own request of this one with `override`, which makes another one
    of the same class: where it puts a prompt of its own in place of the system message, the memories are added again.
    """

    recalled: tuple[str, ...] = ()
    """Rendered memories; several where several middlewares recall."""

    def __init__(self, *, recalled: tuple[str, ...] = (), **values: Any) -> None:
        super().__init__(**values)
        system = self.system_message
        for number, memories in enumerate(recalled, 1):
            # Who keeps the system message, in whatever wording of its own around it, keeps the memories.
            if system is None or system.text.count(memories) < recalled[:number].count(memories):
                system = with_memories(system, memories)
        if system is not None and recalled and not is_recalled(system):
            system = system.model_copy(update={"additional_kwargs": {**system.additional_kwargs, RECALLED: True}})
        object.__setattr__(self, "recalled", recalled)
        object.__setattr__(self, "system_message", system)


def recalling(request: ModelRequest[Any], memories: Sequence[Memory]) -> ModelRequest[Any]:
    """Return a request with memories at the end of its system message, which stay there."""
    # Not by `override`, since the class changes; a subclass of the app's own stays as it is and gets the message only.
    recalled = (*getattr(request, "recalled", ()), render_recalled(memories))
    if type(request) not in (ModelRequest, RecallingRequest):
        return request.override(system_message=with_memories(request.system_message, recalled[-1]))
    values = {each.name: getattr(request, each.name) for each in fields(ModelRequest)}
    return RecallingRequest(**values, recalled=recalled)


def with_memories(system: SystemMessage | None, recalled: str) -> SystemMessage:
    """Return the system message with rendered memories at its end, marked as recalled."""
    marked = {**(system.additional_kwargs if system else {}), RECALLED: True}
    if system is None:
        return SystemMessage(recalled, additional_kwargs=marked)
    if isinstance(system.content, str):
        content: object = f"{system.content}\n\n{recalled}" if system.content else recalled
    else:
        content = [*system.content, {"type": "text", "text": recalled}]
    return system.model_copy(update={"content": content, "additional_kwargs": marked})
