"""What memory costs an agent: 64 conversations at once, recall before a model call, remembering a turn.

python benchmarks/run.py agents recall remember
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lancedb
from lancedb.index import BTree
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, ModelRequest
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableLambda
from langgraph.graph import END, START, StateGraph
from langgraph.store.base import PutOp
from langgraph.store.memory import InMemoryStore
from measure import Measure, index, p50, quiet_collector, seconds, sentence
from store import vacuum

from langgraph_memory_r1 import Add, LanceDBStore, MemoryBank, MemoryMiddleware, create_memory_graph
from langgraph_memory_r1.graph import MemoryGraph
from langgraph_memory_r1.state import MemoryContext, MemoryInput, MemoryOutput, MemoryState
from langgraph_memory_r1.testing import ScriptedChatModel

CONVERSATIONS, TURNS = 64, 10
LATENCY = 0.2
CALLS = 2
"""Model calls of a turn, one after the other: extract, then manage."""
LARGE, RECALLS, TOP_K = 10_000, 200, 20
REMEMBERED, WARM_UP = 60, 10


def agents_measures(folder: Path) -> Iterator[Measure]:
    """64 owners, ten turns each, a memory out of every turn, beside the same model calls without anything around them.

    The inverse of the ratio is the share of the throughput that the model alone allows. A bare graph of two nodes that
    call the model and do nothing else is shown for comparison: what of the loss is LangGraph's.
    """
    model = ScriptedChatModel(decide, delay=LATENCY)
    with graph_in(folder / "async", model) as graph:
        ours = converse_at_once(graph)
    alone = call_alone(model)
    bare = converse_at_once(bare_graph(model), check=False)
    print(f"  {CONVERSATIONS} x {TURNS} turns: {ours:.2f} s, a bare graph {bare:.2f} s, the model alone {alone:.2f} s")
    yield Measure("conversations_async", ours, alone, 1 / 0.85)
    with graph_in(folder / "threads", model) as graph:
        threaded = in_threads(lambda owner: [remember(graph, owner, turn) for turn in range(TURNS)])
    alone = in_threads(lambda _: [model.invoke(PROMPT) for _ in range(CALLS * TURNS)])
    yield Measure("conversations_threads", threaded, alone, 1 / 0.7)


@contextmanager
def graph_in(folder: Path, model: ScriptedChatModel) -> Iterator[MemoryGraph]:
    """A memory graph that has been running for a turn, as a server's has."""
    with LanceDBStore(folder) as store:
        graph = create_memory_graph(store, model=model)
        remember(graph, CONVERSATIONS)
        yield graph


PROMPT = "Turns:\n[0] user: nothing"
TEXTS = [sentence(number) for number in range(CONVERSATIONS * TURNS)]


def decide(messages: list[BaseMessage]) -> str:
    """One fact of a turn, one ADD of a fact."""
    head, _, line = messages[-1].text.rpartition("\n")
    text = line.partition(": ")[2]
    if head.startswith("Turns:"):
        return json.dumps({"facts": [{"text": text, "turns": [0]}]})
    return json.dumps({"operations": [{"event": "ADD", "fact": 0, "text": text}]})


def turn_input(owner: int, turn: int) -> dict[str, Any]:
    return {"messages": [("user", TEXTS[(owner * TURNS + turn) % len(TEXTS)])]}


def remember(graph: MemoryGraph, owner: int, turn: int = 0) -> None:
    assert added(graph.invoke(turn_input(owner, turn), context={"user_id": f"owner{owner}"}))


def added(result: dict[str, Any]) -> bool:
    return [operation["event"] for operation in result["memory_ops"]] == ["ADD"]


def bare_graph(model: ScriptedChatModel) -> MemoryGraph:
    """The memory graph's state and two model calls, without a memory."""

    async def acall(_: MemoryState) -> dict[str, Any]:
        return {"pending": [{"text": (await model.ainvoke(PROMPT)).text}]}

    def call(_: MemoryState) -> dict[str, Any]:
        return {"pending": [{"text": model.invoke(PROMPT).text}]}

    builder = StateGraph(MemoryState, MemoryContext, input_schema=MemoryInput, output_schema=MemoryOutput)
    for name in ("first", "second"):
        builder.add_node(name, RunnableLambda(call, acall))
    return builder.add_edge(START, "first").add_edge("first", "second").add_edge("second", END).compile()


def converse_at_once(graph: MemoryGraph, check: bool = True) -> float:
    """Seconds until the last conversation on one event loop is over."""

    async def converse(owner: int) -> None:
        for turn in range(TURNS):
            result = await graph.ainvoke(turn_input(owner, turn), context={"user_id": f"owner{owner}"})
            assert not check or added(result)

    return _gathered(converse)


def call_alone(model: ScriptedChatModel) -> float:
    """The same for what the conversations ask the model."""

    async def converse(_: int) -> None:
        for _call in range(CALLS * TURNS):
            await model.ainvoke(PROMPT)

    return _gathered(converse)


def _gathered(converse: Callable[[int], Any]) -> float:
    async def all_of_them() -> None:
        await asyncio.gather(*(converse(owner) for owner in range(CONVERSATIONS)))

    with quiet_collector():
        return seconds(lambda: asyncio.run(all_of_them()))


def in_threads(converse: Callable[[int], object]) -> float:
    """Seconds until the last conversation is over, each in a thread of its own."""
    with ThreadPoolExecutor(CONVERSATIONS) as threads, quiet_collector():
        return seconds(lambda: list(threads.map(converse, range(CONVERSATIONS))))


class Stopwatch(AgentMiddleware[Any, Any]):
    """Notes when a model call comes by: one outside and one inside of a middleware tell what that costs the call."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self.moments: list[float] = []

    @property
    def name(self) -> str:
        """Two of them stand in one agent."""
        return self._name

    def wrap_model_call(self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Any]) -> Any:
        """Let the call pass."""
        self.moments.append(time.perf_counter())
        return handler(request)


def recall_measures(folder: Path) -> Iterator[Measure]:
    """What `MemoryMiddleware` adds to an agent's model call with 10,000 memories of one owner, 384-d vectors.

    The vectors of the queries are at hand, so that the embedder costs next to nothing, here and there.
    """
    queries = [sentence(10 * number) for number in range(RECALLS)]
    with LanceDBStore(str(folder / "recall"), index=index()) as store:
        bank = MemoryBank(store, "ann")
        for start in range(0, LARGE, 500):
            bank.apply([Add(sentence(number), speaker="Ann") for number in range(start, start + 500)])
        ours = recall_times(store, queries)
        assert len(bank) == LARGE
    other = InMemoryStore(index=index())
    space = ("memories", "ann")
    other.batch([PutOp(space, str(number), {"text": sentence(number)}) for number in range(LARGE)])
    searches = [seconds(lambda q=query: other.search(space, query=q, limit=TOP_K)) for query in queries[:20]]
    yield Measure("recall_of_10000_in_5_ms", p50(ours), 0.005, 1)
    yield Measure("recall_vs_inmemorystore", p50(ours), p50(searches), 1)


def recall_times(store: LanceDBStore, queries: Sequence[str]) -> list[float]:
    """Seconds between the two sides of the middleware; every turn is remembered too, and says nothing new."""
    silent = ScriptedChatModel(lambda _: '{"facts":[]}')
    outside, inside = Stopwatch("outside"), Stopwatch("inside")
    memory = MemoryMiddleware(store, model=silent, recall_k=TOP_K)
    agent = create_agent(ScriptedChatModel(lambda _: "Yes."), middleware=[outside, memory, inside])
    for query in queries:
        store.engine.embed_query(query)
        with quiet_collector():
            agent.invoke({"messages": [("user", query)]}, context={"user_id": "ann"})
    return [after - before for before, after in zip(outside.moments, inside.moments, strict=True)][WARM_UP:]


def remember_measures(folder: Path) -> Iterator[Measure]:
    """One turn that becomes one memory, beside langmem's store manager with its defaults; neither waits for a model.

    langmem's memories are in this process's memory then, so ours are on the same store. In a folder, where they are on
    disk afterwards, with their history, a turn is held against a bare graph and a bare append of the same rows.
    """
    if importlib.util.find_spec("langmem") is None:
        print("remember_vs_langmem skipped: langmem is not installed (pip install langmem)")
        return
    model = ScriptedChatModel(decide)
    with graph_in(folder / "ours", model) as on_disk:
        spent = remember_times(on_disk, create_memory_graph(InMemoryStore(), model=model), model, folder)
    print("  a turn: " + ", ".join(f"{name} {1000 * time:.1f} ms" for name, time in spent.items()))
    yield Measure("remember_vs_langmem", spent["in memory"], spent["langmem"], 0.5)
    yield Measure("remember_on_disk_vs_bare", spent["on disk"], spent["a bare graph"] + spent["a bare append"], 1.6)


def remember_times(
    on_disk: MemoryGraph, in_memory: MemoryGraph, model: ScriptedChatModel, folder: Path
) -> dict[str, float]:
    """Median seconds of a turn, all of them measured turn by turn."""
    bare, append, theirs = bare_graph(model), bare_append(folder), langmem_manager()
    calls: dict[str, Callable[[int], object]] = {
        "on disk": lambda turn: remember(on_disk, 0, turn),
        "in memory": lambda turn: remember(in_memory, 0, turn),
        "langmem": lambda turn: theirs(TEXTS[turn]),
        "a bare graph": lambda turn: bare.invoke(turn_input(0, turn)),
        "a bare append": append,
    }
    times: dict[str, list[float]] = {name: [] for name in calls}
    with quiet_collector():
        for turn in range(WARM_UP + REMEMBERED):
            for name, call in calls.items():
                times[name].append(seconds(lambda call=call, turn=turn: call(turn)))
    return {name: p50(samples[WARM_UP:]) for name, samples in times.items()}


def bare_append(folder: Path) -> Callable[[int], object]:
    """Adds a memory's two rows to a LanceDB table like ours, which is kept as small as ours."""
    with LanceDBStore(str(folder / "pattern")) as store:
        MemoryBank(store, "ann").apply([Add(TEXTS[0], speaker="user")])
    rows = lancedb.connect(folder / "pattern").open_table("items").search().limit(2).to_arrow()
    table = lancedb.connect(folder / "bare").create_table("rows", schema=rows.schema)
    table.create_index("namespace", config=BTree())

    def append(turn: int) -> None:
        if turn % 32:
            table.add(rows)
        else:
            vacuum(table)

    return append


def langmem_manager() -> Callable[[str], None]:
    """Remembers a text with langmem; its model calls the tool that it is given for it."""
    with warnings.catch_warnings(action="ignore"):  # it imports names that LangGraph has moved
        from langmem import create_memory_store_manager

    def call(messages: list[BaseMessage]) -> AIMessage:
        text = messages[-1].text.strip().splitlines()[-1]
        return AIMessage("", tool_calls=[{"name": "Memory", "args": {"content": text}, "id": str(len(model.calls))}])

    model = ScriptedChatModel(call)
    store = InMemoryStore()
    manager = create_memory_store_manager(model, namespace=("memories", "ann"), store=store)
    count = 0

    def remember_text(text: str) -> None:
        nonlocal count
        manager.invoke({"messages": [{"role": "user", "content": text}]})
        count += 1
        assert len(store.search(("memories", "ann"), limit=count + 1)) == count

    return remember_text


MEASURES = {"agents": agents_measures, "recall": recall_measures, "remember": remember_measures}
