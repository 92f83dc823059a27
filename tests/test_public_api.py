"""The public names, pinned, and what importing the package costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import langgraph_memory_r1

PUBLIC = """
    MemoryMiddleware create_memory_graph create_manage_memory_tool create_search_memory_tool
    MemoryState MemoryContext load_chat_model load_embeddings LanceDBStore MemoryBank
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
