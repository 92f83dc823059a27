"""A memory for LangGraph agents that decides what to remember.

    from langgraph_memory_r1 import LanceDBStore, create_memory_graph

Every public name stands here and is loaded when it is first used: importing the package costs next to nothing and loads
neither LanceDB nor a model.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langgraph_memory_r1.bank import MemoryBank
    from langgraph_memory_r1.batches import Limits
    from langgraph_memory_r1.errors import (
        ConflictError,
        EmbedderMismatchError,
        InputError,
        MemoryR1Error,
        MissingDependencyError,
        ModelError,
        OutputError,
        StoreError,
        StoreFormatError,
        UnknownMemoryError,
    )
    from langgraph_memory_r1.graph import create_memory_graph, create_memory_nodes
    from langgraph_memory_r1.middleware import MemoryMiddleware
    from langgraph_memory_r1.models import load_chat_model, load_embeddings
    from langgraph_memory_r1.retrieval import Hit
    from langgraph_memory_r1.schemas import (
        Add,
        Answer,
        Change,
        Conversation,
        Delete,
        Fact,
        Memory,
        Noop,
        Operation,
        Question,
        Turn,
        Update,
    )
    from langgraph_memory_r1.state import ChangeRecord, MemoryContext, MemoryState, Usage
    from langgraph_memory_r1.store import LanceDBStore
    from langgraph_memory_r1.tools import create_manage_memory_tool, create_search_memory_tool
    from langgraph_memory_r1.traces import Decision, Feedback, TraceRecorder, add_feedback, read_traces

__version__ = "0.1.0"

__all__ = [
    # plug in
    "MemoryMiddleware",
    "create_memory_graph",
    "create_memory_nodes",
    "create_manage_memory_tool",
    "create_search_memory_tool",
    "MemoryState",
    "MemoryContext",
    "ChangeRecord",
    "Usage",
    "Limits",
    "load_chat_model",
    "load_embeddings",
    # keep
    "LanceDBStore",
    "MemoryBank",
    "Hit",
    # record
    "TraceRecorder",
    "read_traces",
    "add_feedback",
    "Decision",
    "Feedback",
    # the nouns, in the order in which they flow
    "Turn",
    "Question",
    "Conversation",
    "Fact",
    "Memory",
    "Operation",
    "Add",
    "Update",
    "Delete",
    "Noop",
    "Change",
    "Answer",
    # what can go wrong
    "MemoryR1Error",
    "StoreError",
    "StoreFormatError",
    "EmbedderMismatchError",
    "ConflictError",
    "UnknownMemoryError",
    "ModelError",
    "OutputError",
    "InputError",
    "MissingDependencyError",
    "__version__",
]

_MODULES = {
    "middleware": ["MemoryMiddleware"],
    "graph": ["create_memory_graph", "create_memory_nodes"],
    "tools": ["create_manage_memory_tool", "create_search_memory_tool"],
    "state": ["MemoryState", "MemoryContext", "ChangeRecord", "Usage"],
    "batches": ["Limits"],
    "models": ["load_chat_model", "load_embeddings"],
    "store": ["LanceDBStore"],
    "bank": ["MemoryBank"],
    "retrieval": ["Hit"],
    "traces": ["TraceRecorder", "read_traces", "add_feedback", "Decision", "Feedback"],
    "schemas": __all__[__all__.index("Turn") : __all__.index("MemoryR1Error")],
    "errors": __all__[__all__.index("MemoryR1Error") : -1],
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_MODULE_OF[name]}")
    value: object = getattr(module, name)
    globals()[name] = value  # the next use does not come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
