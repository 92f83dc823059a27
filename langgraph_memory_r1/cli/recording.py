"""`--traces`: records what the graph of a command decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langgraph_memory_r1.graph import MemoryGraph
    from langgraph_memory_r1.traces import TraceRecorder

_SHORT = 8


def recorder_for(traces: str | None) -> TraceRecorder | None:
    """The recorder of a folder; None where nothing is to be recorded."""
    from langgraph_memory_r1.traces import TraceRecorder

    return None if traces is None else TraceRecorder(traces)


def recorded(graph: MemoryGraph, recorder: TraceRecorder | None, thread: str) -> MemoryGraph:
    """The graph with its decisions recorded under a thread."""
    if recorder is None:
        return graph
    return graph.with_config(callbacks=[recorder], metadata={"thread_id": thread})


def short(run: str) -> str:
    """The end of a run's id, by which `memory-r1 traces` finds it."""
    return run[-_SHORT:]
