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
CONFIG = json.loads((ROOT / "langgraph.json").read_text())
SERVED, STORE = CONFIG["graphs"], CONFIG["store"]
FILES = sorted((ROOT / "graphs").glob("[!_]*.py"))

SAID = ["I adopted a dog called Buddy.", "I adopted another dog, Scout!", "How many dogs do I have?"]

CONVERSE = """
import asyncio, json, runpy, sys
path, variable, *said = sys.argv[1:]
graph = runpy.run_path(path)[variable]
assert graph.checkpointer is None and graph.store is None, "the server refuses such a graph"

async def stream(state, **options):
    return [value async for value in graph.astream(state, stream_mode="values", **options)][-1]

ways = {
    "invoke": graph.invoke,
    "ainvoke": lambda state, **options: asyncio.run(graph.ainvoke(state, **options)),
    "astream": lambda state, **options: asyncio.run(stream(state, **options)),
}
for way, run in ways.items():
    for text in said:
        asked = {"question": text} if path.endswith("memory.py") else {}
        result = run({"messages": [("user", text)], **asked}, context={"user_id": f"{way}@example.com"})
        answer = result["answer"] if asked else result["messages"][-1].text
        print(json.dumps([answer, [[op["event"], op["after"]] for op in result["memory_ops"]]]))
"""


def test_every_graph_file_is_served() -> None:
    assert sorted(entry["path"].partition(":")[0] for entry in SERVED.values()) == [
        f"./graphs/{file.name}" for file in FILES
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", SERVED)
def test_a_served_graph_stands_alone_and_counts_the_dogs_without_a_key(name: str, tmp_path: Path) -> None:
    path, _, variable = SERVED[name]["path"].partition(":")
    lines = run_python(tmp_path, "-c", CONVERSE, str(ROOT / path), variable, *SAID).splitlines()
    told: list[Any] = [json.loads(line) for line in lines]
    assert [events[0][0] for _, events in told] == ["ADD", "UPDATE", "NOOP"] * 3
    assert told[1][1][0][1] == "User adopted a dog called Buddy. User adopted another dog, Scout!"
    assert told[2][0] == "2"
    assert told[:3] == told[3:6] == told[6:]
    assert [path.name for path in tmp_path.iterdir()] == ["memory"]


@pytest.mark.slow
def test_the_agent_runs_as_a_script(tmp_path: Path) -> None:
    lines = run_python(tmp_path, str(ROOT / "graphs" / "agent.py")).splitlines()
    assert lines[::2] == SAID
    assert [line.split() for line in lines[1::2]] == [
        ["Noted.", "[ADD]"], ["Noted.", "[UPDATE]"], ["2", "[NOOP]"],
    ]  # fmt: skip


@pytest.mark.slow
def test_the_store_of_the_server_shows_what_the_graphs_remember(tmp_path: Path) -> None:
    path, _, factory = STORE["path"].partition(":")
    code = f"""
import json, runpy
names = runpy.run_path({str(ROOT / path)!r})
names["graph"].invoke({{"messages": [("user", {SAID[0]!r})]}}, context={{"user_id": "ana@example.com"}})
with names[{factory!r}]() as store:
    print(json.dumps([[item.namespace, item.value.get("text")] for item in store.search(("memories",))]))
"""
    found = json.loads(run_python(tmp_path, "-c", code))
    assert [["memories", "ana@example%2Ecom", "memory"], "User adopted a dog called Buddy."] in found


def run_python(cwd: Path, *arguments: str) -> str:
    run = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.name))
def test_a_graph_file_uses_public_names_only(file: Path) -> None:
    imports = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ImportFrom)]
    ours = [node for node in imports if str(node.module).startswith("langgraph_memory_r1")]
    assert ours
    for node in ours:
        assert (node.level, node.module) == (0, "langgraph_memory_r1")
        assert {alias.name for alias in node.names} <= set(langgraph_memory_r1.__all__)
