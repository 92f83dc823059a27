"""The public names, pinned, and what importing the package costs."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

import langgraph_memory_r1
from langgraph_memory_r1 import (
    MemoryBank,
    MemoryMiddleware,
    create_manage_memory_tool,
    create_memory_graph,
    create_memory_nodes,
    create_search_memory_tool,
)

PUBLIC = """
    MemoryMiddleware create_memory_graph create_memory_nodes create_manage_memory_tool create_search_memory_tool
    MemoryState MemoryContext ChangeRecord Usage Limits load_chat_model load_embeddings LanceDBStore MemoryBank Hit
    TraceRecorder read_traces add_feedback Decision Feedback
    Turn Question Conversation Fact Memory Operation Add Update Delete Noop Change Answer
    MemoryR1Error StoreError StoreFormatError EmbedderMismatchError ConflictError UnknownMemoryError ModelError
    OutputError InputError MissingDependencyError __version__
""".split()


def test_public_names_are_exactly_the_documented_ones() -> None:
    assert langgraph_memory_r1.__all__ == PUBLIC
    assert set(PUBLIC) <= set(dir(langgraph_memory_r1))


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name_is_there(name: str) -> None:
    assert getattr(langgraph_memory_r1, name) is not None


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'memory_bank'"):
        langgraph_memory_r1.memory_bank  # noqa: B018


def test_import_loads_nothing_heavy_and_is_quick() -> None:
    code = """
import sys, time
start = time.process_time()
import langgraph_memory_r1
spent = time.process_time() - start
heavy = {"lancedb", "torch", "trl", "langgraph", "langchain_core", "pydantic", "numpy"}
print(sorted(heavy & set(sys.modules)), spent < 0.3)
"""
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert printed == "[] True\n"


def parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(function).parameters)


@pytest.mark.parametrize("first", [create_memory_nodes, MemoryMiddleware])
def test_shared_arguments_agree_in_order_and_default(first: Callable[..., Any]) -> None:
    ours, graph = parameters(first), parameters(create_memory_graph)
    shared = [name for name in ours if name in graph]
    assert shared == [name for name in graph if name in ours]
    assert {"store", "model", "extractor", "manager", "embedder", "namespace", "related_k", "style"} <= set(shared)
    differ = [name for name in shared if ours[name].default != graph[name].default]
    # An agent's user waits for an answer, whatever becomes of its memory; who calls a graph is told of a failure.
    assert differ == (["on_error"] if first is MemoryMiddleware else [])


@pytest.mark.parametrize(
    "keeps",
    [
        MemoryBank, create_memory_graph, create_memory_nodes, MemoryMiddleware, create_manage_memory_tool,
        create_search_memory_tool,
    ],
)  # fmt: skip
def test_what_keeps_memories_takes_the_store_first(keeps: Callable[..., Any]) -> None:
    first = next(iter(parameters(keeps).values()))
    assert (first.name, first.kind) == ("store", inspect.Parameter.POSITIONAL_OR_KEYWORD)
