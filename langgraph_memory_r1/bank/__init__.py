"""One owner's memories and their history: `MemoryBank` on any store, `MemoryFork` in memory."""

from __future__ import annotations

from langgraph_memory_r1.bank.base import MemoryFork
from langgraph_memory_r1.bank.memory_bank import MemoryBank

__all__ = ["MemoryBank", "MemoryFork"]
