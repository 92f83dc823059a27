"""`MemoryMiddleware` for `create_agent`: recall before the model is called, remember after the agent has answered."""

from __future__ import annotations

from langgraph_memory_r1.middleware.memory_middleware import MemoryMiddleware
from langgraph_memory_r1.middleware.review import Review
from langgraph_memory_r1.middleware.turn import MemoryAgentState

__all__ = ["MemoryAgentState", "MemoryMiddleware", "Review"]
