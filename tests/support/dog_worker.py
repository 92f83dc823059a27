"""A process in which many conversations of one owner extend one memory at once.

    python dog_worker.py FOLDER NAME CONVERSATIONS DELAY

`test_bank_queue.py` starts several. Each conversation says one turn with an id; the manager joins what it says to the
memory that is there, so that a decision from a stale memory would lose what another one has just added.
"""

from __future__ import annotations

import asyncio
import json
import sys
from functools import partial
from typing import Any

from langchain_core.messages import BaseMessage
from langgraph.store.base import BaseStore

import langgraph_memory_r1
from langgraph_memory_r1 import LanceDBStore
from langgraph_memory_r1.prompts import ManageInput, read
from langgraph_memory_r1.testing import ScriptedChatModel

# Most runs here name nobody: a store takes them for the user "default" if it is told to.
create_memory_graph = partial(langgraph_memory_r1.create_memory_graph, require_user=False)


def join_all(messages: list[BaseMessage]) -> str:
    """Find one fact in a turn, and join each fact to the first memory."""
    shown = read(messages)
    if not isinstance(shown, ManageInput):
        return json.dumps({"facts": [{"text": f"dogs {shown.turns[0].text}", "turns": [0]}]})
    if not shown.memories:
        return json.dumps({"operations": [{"event": "ADD", "fact": 0, "text": shown.facts[0].text}]})
    text = f"{shown.memories[0].text} {shown.facts[0].text.removeprefix('dogs ')}"
    return json.dumps({"operations": [{"event": "UPDATE", "fact": 0, "id": 0, "text": text}]})


async def converse(store: BaseStore, name: str, conversations: int, delay: float) -> list[dict[str, Any]]:
    """Let all conversations of one owner speak at once; return what was done in each."""
    graph = create_memory_graph(store, model=ScriptedChatModel(join_all, delay=delay))
    turns = [{"turns": [{"text": f"{name}-{n}.", "id": f"{name}-{n}"}]} for n in range(conversations)]
    return [dict(result) for result in await asyncio.gather(*map(graph.ainvoke, turns))]


if __name__ == "__main__":
    with LanceDBStore(sys.argv[1]) as opened:
        done = asyncio.run(converse(opened, sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
    assert all([operation["event"] for operation in result["memory_ops"]] == ["UPDATE"] for result in done), done
