"""A memory for LangGraph agents that decides what to remember."""
