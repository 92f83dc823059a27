"""What an agent's model is shown of its memories, and how."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from langgraph_memory_r1.prompts.recall import render_recalled
from langgraph_memory_r1.schemas import Memory
from langgraph_memory_r1.turns import RECALLED, is_recalled, text_of


def query_of(messages: Sequence[BaseMessage]) -> str:
    """Return what the person said last; empty where that has no text."""
    spoken = (each for each in reversed(messages) if isinstance(each, HumanMessage) and not is_recalled(each))
    return next((text for message in spoken if (text := text_of(message.content)[0])), "")


def with_memories(system: SystemMessage | None, memories: Sequence[Memory]) -> SystemMessage:
    """Return the system message with the memories at its end, marked as recalled."""
    recalled = render_recalled(memories)
    marked = {**(system.additional_kwargs if system else {}), RECALLED: True}
    if system is None:
        return SystemMessage(recalled, additional_kwargs=marked)
    if isinstance(system.content, str):
        content: object = f"{system.content}\n\n{recalled}" if system.content else recalled
    else:
        content = [*system.content, {"type": "text", "text": recalled}]
    return system.model_copy(update={"content": content, "additional_kwargs": marked})
