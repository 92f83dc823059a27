"""Ranking a bank's memories for a query: lexical always, dense where there are vectors, then their context."""

from langgraph_memory_r1.retrieval.index import Hit, Index
from langgraph_memory_r1.retrieval.ranking import Weights
from langgraph_memory_r1.retrieval.segment import Vector

__all__ = ["Index", "Hit", "Weights", "Vector"]
