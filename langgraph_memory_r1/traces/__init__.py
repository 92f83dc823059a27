"""Traces: what models decided, recorded from callbacks, with what people said about it later.

    graph.invoke(..., config={"callbacks": [TraceRecorder("traces")]})
    add_feedback("traces", run_id, gold="Buddy")
    for decision in read_traces("traces"): ...

What is stored: messages and replies of model calls word by word, operations on the bank with the texts before and
after, ids of memories and turns, the thread's id, the bank's key (a fingerprint, not the owner's name), model and
settings, token counts, times and errors. Nothing leaves the folder.
"""

from __future__ import annotations

from langgraph_memory_r1.traces.decision import Decision, Feedback
from langgraph_memory_r1.traces.feedback import add_feedback
from langgraph_memory_r1.traces.reader import read_traces
from langgraph_memory_r1.traces.recorder import TraceRecorder

__all__ = ["TraceRecorder", "read_traces", "Decision", "Feedback", "add_feedback"]
