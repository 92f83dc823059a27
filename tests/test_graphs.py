"""The graphs that `langgraph dev` serves: named in langgraph.json, self-contained, and answering without a key."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import langgraph_memory_r1

ROOT = Path(__file__).resolve().parents[1]
SERVED = json.loads((ROOT / "langgraph.json").read_text())["graphs"]
FILES = sorted((ROOT / "graphs").glob("[!_]*.py"))

CONVERSE = """
import json, runpy, sys
graph = runpy.run_path(sys.argv[1])[sys.argv[2]]
assert graph.checkpointer is None and graph.store is None, "the server refuses such a graph"
context = {"user_id": "ana@example.com"}
graph.invoke({"messages": [("user", "I adopted a dog called Buddy.")]}, context=context)
result = graph.invoke({"question": "What is the dog called?"}, context=context)
print(json.dumps(result))
"""


def test_every_graph_file_is_served() -> None:
    assert sorted(entry["path"].partition(":")[0] for entry in SERVED.values()) == [
        f"./graphs/{file.name}" for file in FILES
    ]


@pytest.mark.parametrize("name", SERVED)
def test_a_served_graph_stands_alone_and_answers_without_a_key(name: str, tmp_path: Path) -> None:
    path, _, variable = SERVED[name]["path"].partition(":")
    command = [sys.executable, "-c", CONVERSE, str(ROOT / path), variable]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    result: dict[str, Any] = json.loads(run.stdout)
    assert (result["answer"], result["memory_ops"]) == ("Buddy", [])
    assert [path.name for path in tmp_path.iterdir()] == ["memory-r1-db"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.name))
def test_a_graph_file_uses_public_names_only(file: Path) -> None:
    imports = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ImportFrom)]
    ours = [node for node in imports if str(node.module).startswith("langgraph_memory_r1")]
    assert ours
    for node in ours:
        assert (node.level, node.module) == (0, "langgraph_memory_r1")
        assert {alias.name for alias in node.names} <= set(langgraph_memory_r1.__all__)
