"""Which memories an agent's model is shown, and how."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from langgraph_memory_r1.bank import MemoryBank
from langgraph_memory_r1.bank.history import in_order
from langgraph_memory_r1.prompts.recall import render_recalled
from langgraph_memory_r1.schemas import Memory
from langgraph_memory_r1.turns import RECALLED, is_recalled, text_of


def query_of(messages: Sequence[BaseMessage]) -> str:
    """What the person said last; empty where that has no text."""
    said = (message for message in reversed(messages) if isinstance(message, HumanMessage) and not is_recalled(message))
    return next((text for message in said if (text := text_of(message.content)[0])), "")


def best(bank: Callable[[], MemoryBank], query: str, k: int) -> list[Memory]:
    """The best memories for a query, in time order; the newest ones for an empty query. May block."""
    return in_order(hit.memory for hit in bank().search(query, k=k))


def with_memories(system: SystemMessage | None, memories: Sequence[Memory]) -> SystemMessage:
    """The system message with the memories at its end, marked as recalled."""
    recalled = render_recalled(memories)
    marked = {**(system.additional_kwargs if system else {}), RECALLED: True}
    if system is None:
        return SystemMessage(recalled, additional_kwargs=marked)
    if isinstance(system.content, str):
        content: object = f"{system.content}\n\n{recalled}" if system.content else recalled
    else:
        content = [*system.content, {"type": "text", "text": recalled}]
    return system.model_copy(update={"content": content, "additional_kwargs": marked})
