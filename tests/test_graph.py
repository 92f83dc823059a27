"""The graph in LangGraph: whose memories, which stream, which checkpointer, which place, which thread."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from blockbuster import blockbuster_ctx
from langchain.agents import create_agent
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from pydantic import BaseModel

import langgraph_memory_r1
from langgraph_memory_r1 import (
    Add,
    InputError,
    LanceDBStore,
    MemoryBank,
    MemoryContext,
    MemoryMiddleware,
    MemoryState,
    Turn,
    create_manage_memory_tool,
    create_search_memory_tool,
    load_chat_model,
)
from langgraph_memory_r1.graph import after_extract
from langgraph_memory_r1.prompts import ExtractInput, ManageInput, read
from langgraph_memory_r1.testing import HashEmbeddings, ScriptedChatModel

# Most runs here name nobody: a store takes them for the user "default" if it is told to.
create_memory_graph = partial(langgraph_memory_r1.create_memory_graph, require_user=False)
create_memory_nodes = partial(langgraph_memory_r1.create_memory_nodes, require_user=False)

BUDDY = ("user", "I adopted a dog called Buddy.")
SCOUT = ("user", "I adopted another dog, Scout.")
HOSTILE_USERS = [
    "ana@example.com",
    "a.b",
    "O'Brien\\",
    "x\x00y",
    "%_*?[",
    "🐕",
    "langgraph",
    "../up",
    "two\nlines",
    "a" * 500,
    " ",
]


@dataclass
class AppContext:
    """An app's own context."""

    user_id: str
    theme: str = "dark"


class PydanticContext(BaseModel):
    """Another app's own context."""

    user_id: str


def texts(store: BaseStore, namespace: Any = "default") -> list[str]:
    return [memory.text for memory in MemoryBank(store, namespace).all()]


def without_ids(value: Any) -> Any:
    """A result without what differs from run to run."""
    if isinstance(value, dict):
        volatile = {
            "id",
            "op_id",
            "memory_id",
            "at",
            "created_at",
            "updated_at",
            "ms",
            "model_ms",
            "source",
            "memory_cursor",
        }
        return {key: without_ids(item) for key, item in value.items() if key not in volatile}
    return [without_ids(item) for item in value] if isinstance(value, list) else value


# ---- the flow


def test_a_dog_and_another_dog_without_any_model(store: BaseStore) -> None:
    graph = create_memory_graph(store)
    graph.invoke({"messages": [BUDDY]})
    result = graph.invoke({"messages": [SCOUT], "question": "How many dogs does the user have?"})
    (memory,) = texts(store)
    assert "Buddy" in memory
    assert "Scout" in memory
    assert [operation["event"] for operation in result["memory_ops"]] == ["UPDATE"]
    assert result["answer"] == "2"


def test_sync_async_and_streams_agree(tmp_path: Path) -> None:
    def states() -> Iterator[dict[str, Any]]:
        yield {"messages": [BUDDY, ("assistant", "Nice to meet Buddy!")]}
        yield {"messages": [SCOUT], "question": "What are the dogs called?"}
        yield {"turns": [Turn("Ben", "Hello there!")]}

    async def streamed(graph: Any, state: dict[str, Any]) -> Any:
        return [value async for value in graph.astream(state, stream_mode="values", output_keys=KEYS)][-1]

    async def asynchronous(graph: Any) -> list[Any]:
        return [await graph.ainvoke(state) for state in states()]

    async def astreamed(graph: Any) -> list[Any]:
        return [await streamed(graph, state) for state in states()]

    graphs = [create_memory_graph(tmp_path / name) for name in ("invoke", "ainvoke", "stream", "astream")]
    invoked = [graphs[0].invoke(state) for state in states()]
    streams = [list(graphs[2].stream(s, stream_mode="values", output_keys=KEYS))[-1] for s in states()]
    results = [invoked, asyncio.run(asynchronous(graphs[1])), streams, asyncio.run(astreamed(graphs[3]))]
    assert invoked[1]["answer"]
    for other in results[1:]:
        assert without_ids(other) == without_ids(invoked)


KEYS = ["memory_ops", "answer", "selected", "memories", "usage", "memory_cursor"]


def test_progress_is_on_the_custom_stream(store: BaseStore) -> None:
    graph = create_memory_graph(store)
    modes = ["custom", "updates"]
    chunks = list(graph.stream({"messages": [BUDDY], "question": "Which dog?"}, stream_mode=modes))
    custom = [chunk for mode, chunk in chunks if mode == "custom"]
    assert [(event["memory"], event["event"]) for event in custom] == [
        ("extract", "new_turns"), ("extract", "facts"), ("manage", "operation"),
        ("answer", "retrieved"), ("answer", "answer"),
    ]  # fmt: skip
    assert custom[2]["operation"]["after"] == texts(store)[0]
    assert [list(chunk) for mode, chunk in chunks if mode == "updates"] == [["extract"], ["manage"], ["answer"]]


def test_the_roles_stay_out_of_the_token_stream_and_show_in_traces(store: BaseStore) -> None:
    class Recorder(BaseCallbackHandler):
        def __init__(self) -> None:
            self.seen: list[Any] = []

        def on_chat_model_start(self, serialized: Any, messages: Any, *, metadata: Any = None, **kwargs: Any) -> None:
            names = ("langgraph_node", "memory_role", "prompt_version", "prompt_style", "mine")
            self.seen.append([metadata.get(name) for name in names])

    recorder = Recorder()
    config: RunnableConfig = {"callbacks": [recorder], "metadata": {"mine": 1}}
    state: Any = {"messages": [BUDDY], "question": "Which dog?"}
    graph = create_memory_graph(store)
    assert list(graph.stream(state, config, stream_mode="messages")) == []
    assert recorder.seen == [[role, role, "1", "full", 1] for role in ("extract", "manage", "answer")]
    asyncio.run(graph.ainvoke(state, config))
    assert recorder.seen[3:] == recorder.seen[:3]


def test_a_server_can_show_what_goes_in_and_out(tmp_path: Path) -> None:
    graph = create_memory_graph(tmp_path)
    assert set(graph.get_input_jsonschema()["properties"]) == {"messages", "turns", "question", "memory_cursor"}
    assert set(graph.get_output_jsonschema()["properties"]) == set(KEYS)
    assert set(graph.get_context_jsonschema()["properties"]) == {"user_id", "user_name", "timezone"}


# ---- whose memories


@pytest.mark.parametrize("user", HOSTILE_USERS[:-1], ids=range(len(HOSTILE_USERS) - 1))
def test_any_user_id_has_its_own_bank(store: BaseStore, user: str) -> None:
    graph = create_memory_graph(store)
    graph.invoke({"messages": [BUDDY]}, context={"user_id": user})
    assert len(texts(store, user)) == 1
    assert texts(store) == []
    for other in ({"user_id": "somebody else"}, None):
        assert graph.invoke({"question": "Which dog?"}, context=other)["answer"] == "I don't know."
    assert graph.invoke({"question": "What is the dog called?"}, context={"user_id": user})["answer"] == "Buddy"


CONTEXTS = [{"user_id": "ana"}, MemoryContext(user_id="ana"), AppContext("ana"), PydanticContext(user_id="ana")]


@pytest.mark.parametrize("context", CONTEXTS, ids=lambda context: type(context).__name__)
def test_a_context_may_have_any_shape(store: BaseStore, context: Any) -> None:
    child = create_memory_graph(store)
    parent = StateGraph(MemoryState, context_schema=None if isinstance(context, dict) else type(context))
    parent.add_node("memory", child)
    parent.add_edge(START, "memory")
    parent.compile().invoke({"messages": [BUDDY]}, context=context)
    assert len(texts(store, "ana")) == 1


@pytest.mark.parametrize("blank", ["", "  "])
def test_a_blank_user_is_refused_rather_than_pooled(store: BaseStore, blank: str) -> None:
    with pytest.raises(InputError, match="user id is blank"):
        create_memory_graph(store).invoke({"messages": [BUDDY]}, context={"user_id": blank})


@pytest.mark.parametrize(
    ("namespace", "labels"),
    [
        ("shared", "shared"),
        (("org", "{user_id}"), ("org", "ana@example.com")),
        ("team-{user_id}", "team-ana@example.com"),
        (("{user_name}", "of {user_id}"), ("Ana", "of ana@example.com")),
        (("{org}", "notes"), ("acme", "notes")),
        (("{langgraph_user_id}",), ("ana@example.com",)),
        (lambda runtime: ("by", runtime.context.user_id), ("by", "ana@example.com")),
    ],
)
def test_a_namespace_can_be_chosen(store: BaseStore, namespace: Any, labels: Any) -> None:
    graph = create_memory_graph(store, namespace=namespace)
    ana = MemoryContext(user_id="ana@example.com", user_name="Ana")
    graph.invoke({"messages": [BUDDY]}, {"configurable": {"org": "acme"}}, context=ana)
    assert len(texts(store, labels)) == 1


@pytest.mark.parametrize("kind", ["graph", "middleware", "tool"])
def test_a_placeholder_that_a_run_does_not_fill_is_refused_by_name(store: BaseStore, kind: str) -> None:
    namespace = ("{org}", "notes")
    with pytest.raises(InputError, match=r"names \{org\}.*run with context=\{'org'"):
        if kind == "graph":
            create_memory_graph(store, namespace=namespace).invoke({"messages": [BUDDY]})
        elif kind == "middleware":
            memory = MemoryMiddleware(store, namespace=namespace, on_error="raise")
            create_agent(ScriptedChatModel(["Nice!"]), middleware=[memory]).invoke({"messages": [BUDDY]})
        else:
            create_search_memory_tool(store, namespace).invoke({"query": "dogs"})
    assert store.search(()) == []


@pytest.mark.parametrize("label", ["{user id}", "{}", "{user-id}", "notes}", "{{user_id}}"])
@pytest.mark.parametrize("keep", [create_memory_graph, MemoryMiddleware, create_manage_memory_tool])
def test_braces_that_name_nothing_are_refused_at_once(store: BaseStore, keep: Any, label: str) -> None:
    with pytest.raises(InputError, match="braces that name nothing"):
        keep(store, namespace=("memories", label))


@pytest.mark.parametrize(
    "create", [lambda store: create_memory_graph(store, model="rules"), lambda store: MemoryMiddleware(store)]
)
def test_a_model_that_roles_share_is_loaded_once(
    store: BaseStore, create: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[str] = []

    def load(spec: str) -> Any:
        loads.append(spec)
        return load_chat_model(spec)

    monkeypatch.setattr("langgraph_memory_r1.graph.load_chat_model", load)
    create(store)
    assert loads == ["rules"]


@pytest.mark.parametrize("wrong", ["", (), ("a", ""), ("a", 5), lambda runtime: ""])
def test_an_empty_namespace_is_refused(store: BaseStore, wrong: Any) -> None:
    with pytest.raises(InputError, match="namespace"):
        create_memory_graph(store, namespace=wrong).invoke({"messages": [BUDDY]})


def test_a_user_can_have_a_name(store: BaseStore) -> None:
    create_memory_graph(store).invoke({"messages": [BUDDY]}, context=MemoryContext(user_id="1", user_name="Ana"))
    assert texts(store, "1") == ["Ana adopted a dog called Buddy."]


# ---- places


def test_a_place_is_a_folder_a_store_or_a_bank(tmp_path: Path) -> None:
    for place in (str(tmp_path / "one"), tmp_path / "two"):
        create_memory_graph(place).invoke({"messages": [BUDDY]})
        with LanceDBStore(place) as store:
            assert len(texts(store)) == 1
    bank = MemoryBank(InMemoryStore(), "mine")
    create_memory_graph(bank).invoke({"messages": [BUDDY]}, context={"user_id": "anybody"})
    assert len(bank) == 1


def test_nothing_is_made_before_it_is_needed(tmp_path: Path) -> None:
    create_memory_graph(tmp_path / "db")
    assert list(tmp_path.iterdir()) == []


def test_an_embedder_makes_a_folder_searchable_by_meaning(tmp_path: Path) -> None:
    graph = create_memory_graph(tmp_path / "db", embedder=HashEmbeddings(32))
    graph.invoke({"messages": [BUDDY]})
    assert graph.invoke({"question": "What is the dog called?"})["answer"] == "Buddy"
    with LanceDBStore(tmp_path / "db", index={"dims": 32, "embed": HashEmbeddings(32), "fields": ["text"]}) as store:
        (hit,) = MemoryBank(store, "default").search("a dog called Buddy")
    assert hit.score > 0


def test_a_pasted_document_is_answered_from_memories_that_its_words_find(tmp_path: Path) -> None:
    class Short(HashEmbeddings):
        def embed_query(self, text: str) -> list[float]:
            if len(text) > 1_000:
                raise ValueError("maximum context length exceeded")
            return super().embed_query(text)

    with LanceDBStore(tmp_path / "db", index={"dims": 32, "embed": Short(32), "fields": ["text"]}) as store:
        graph = create_memory_graph(store, on_error="degrade")
        graph.invoke({"messages": [("user", "I play the cello.")]})
        question = "A pasted page. " * 200 + "Which instrument do I play, the cello?"
        state = graph.invoke({"messages": [("user", question)], "question": question})
    assert "User plays the cello." in [memory["text"] for memory in state["memories"]]
    assert not [change for change in state["memory_ops"] if change["event"] == "ERROR"]


def test_a_store_brings_its_own_embedder(store: BaseStore) -> None:
    with pytest.raises(InputError, match="index="):
        create_memory_graph(store, embedder="hash")


@pytest.mark.parametrize("options", [{"k": 0}, {"related_k": -1}, {"style": "short"}, {"on_error": "ignore"}])
def test_options_that_make_no_sense_are_refused(store: BaseStore, options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"at least 1|one of"):
        create_memory_graph(store, **options)


def test_a_model_may_be_wrapped_by_langchain(store: BaseStore) -> None:
    model = ScriptedChatModel([ConnectionError("once"), '{"facts":[]}']).with_retry(wait_exponential_jitter=False)
    result = create_memory_graph(store, model=model).invoke({"messages": [BUDDY]})
    assert [operation["model"] for operation in result["memory_ops"]] == ["scripted"]


# ---- in a bigger graph, over several runs


class ChatState(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]


def chat(memory: Any, **compiled: Any) -> Any:
    """A chatbot that has the memory graph as a node."""
    builder = StateGraph(ChatState)
    builder.add_node("reply", lambda state: {"messages": [AIMessage("How nice!")]})
    builder.add_node("memory", memory)
    builder.add_edge(START, "reply").add_edge("reply", "memory").add_edge("memory", END)
    return builder.compile(**compiled)


def test_a_sub_graph_keeps_its_own_bank_and_adds_no_messages(store: BaseStore) -> None:
    other = InMemoryStore()
    result = chat(create_memory_graph(store), store=other).invoke({"messages": [BUDDY]})
    assert len(texts(store)) == 1
    assert other.search(()) == []
    assert [message.type for message in result["messages"]] == ["human", "ai"]


@pytest.mark.parametrize("saver", ["memory", "sqlite"])
def test_each_message_is_looked_at_once_in_a_thread(store: BaseStore, saver: str) -> None:
    checkpointer = (
        InMemorySaver() if saver == "memory" else SqliteSaver(sqlite3.connect(":memory:", check_same_thread=False))
    )
    model = ScriptedChatModel(lambda _: '{"facts":[]}')
    graph = create_memory_graph(store, model=model, checkpointer=checkpointer)
    thread: RunnableConfig = {"configurable": {"thread_id": "t"}}
    for text in ("one", "two", "three"):
        graph.invoke({"messages": [HumanMessage(text)], "question": None}, thread)
    assert [len(read(call).turns) for call in model.calls] == [1, 1, 1]
    assert graph.invoke({"question": ""}, thread)["memory_ops"] == []
    assert len(graph.get_state(thread).values["messages"]) == 3


def test_a_sub_graph_of_a_thread_looks_at_each_message_once(store: BaseStore) -> None:
    model = ScriptedChatModel(lambda _: '{"facts":[]}')
    graph = chat(create_memory_graph(store, model=model), checkpointer=InMemorySaver())
    thread: RunnableConfig = {"configurable": {"thread_id": "t"}}
    for text in ("one", "two", "three"):
        graph.invoke({"messages": [HumanMessage(text)]}, thread)
    shown = [[turn.text for turn in read(call).turns] for call in model.calls]
    assert shown == [[text, "How nice!"] for text in ("one", "two", "three")]


def test_a_question_is_asked_once_in_a_thread(store: BaseStore) -> None:
    graph = create_memory_graph(store, checkpointer=InMemorySaver())
    thread: RunnableConfig = {"configurable": {"thread_id": "t"}}
    assert graph.invoke({"messages": [BUDDY], "question": "What is the dog called?"}, thread)["answer"] == "Buddy"
    later = graph.invoke({"messages": [("user", "Thanks!")]}, thread)
    assert (later["answer"], later["selected"], later["memories"]) == (None, [], [])


def test_a_checkpointer_keeps_the_state_without_warnings(store: BaseStore, caplog: pytest.LogCaptureFixture) -> None:
    graph = create_memory_graph(store, checkpointer=InMemorySaver())
    thread: RunnableConfig = {"configurable": {"thread_id": "t"}}
    turn: Any = {"speaker": "Ana", "text": "I adopted a dog called Buddy.", "at": "2024-05-01"}
    with caplog.at_level(logging.WARNING):
        graph.invoke({"turns": [turn], "question": "What is the dog called?"}, thread)
        snapshots = list(graph.get_state_history(thread))
        graph.invoke({"turns": [Turn("Ben", "My cat is Miso.")]}, thread)
        values = graph.get_state(thread).values
    assert caplog.text == ""
    assert values["turns"] == []
    assert snapshots[0].values["selected"][0]["text"] == snapshots[0].values["memories"][0]["text"]


def test_messages_without_a_checkpointer_are_known_by_their_ids(store: BaseStore) -> None:
    model = ScriptedChatModel(lambda _: '{"facts":[]}')
    graph = create_memory_graph(store, model=model)
    history = [HumanMessage("one", id="m1"), AIMessage("two", id="m2")]
    graph.invoke({"messages": history})
    graph.invoke({"messages": [*history, HumanMessage("three", id="m3")]})
    shown = [[turn.text for turn in read(call).turns] for call in model.calls]
    assert shown == [["one", "two"], ["three"]]


def test_an_agent_that_quotes_its_memories_does_not_feed_them_back(store: BaseStore) -> None:
    """Fifty turns with recalled memories in system, tool, marked and spoken messages: two facts stay two memories."""
    seen: list[str] = []

    def reply(messages: Any) -> str:
        shown = read(messages)
        if isinstance(shown, ManageInput):
            return json.dumps([{"event": "ADD", "fact": n, "text": fact.text} for n, fact in enumerate(shown.facts)])
        assert isinstance(shown, ExtractInput)
        seen.extend(turn.text for turn in shown.turns)
        return json.dumps({"facts": [turn.text for turn in shown.turns if "My" in turn.text]})

    graph = create_memory_graph(store, model=ScriptedChatModel(reply), checkpointer=InMemorySaver())
    thread: RunnableConfig = {"configurable": {"thread_id": "t"}}
    for number in range(50):
        recalled = " ".join(texts(store))
        said = {0: "My dog is called Buddy.", 25: "My cat is called Miso."}.get(number, f"And how about {number}?")
        graph.invoke(
            {
                "messages": [
                    ("system", f"You know: {recalled}"),
                    HumanMessage(f"Recalled: {recalled}", additional_kwargs={"memory_r1_recalled": True}),
                    HumanMessage(said),
                    AIMessage("", tool_calls=[{"name": "search_memory", "args": {}, "id": f"c{number}"}]),
                    ToolMessage(recalled or "nothing", tool_call_id=f"c{number}"),
                    AIMessage(f"As far as I know: {recalled} Good question."),
                ]
            },
            thread,
        )
    assert texts(store) == ["My dog is called Buddy.", "My cat is called Miso."]
    assert len(seen) == 100
    assert set(seen[3::2]) == {"Good question."}


def test_nodes_can_be_wired_by_hand(store: BaseStore) -> None:
    nodes = create_memory_nodes(store)
    builder = StateGraph(MemoryState)
    builder.add_node("find", nodes.extract).add_node("decide", nodes.manage).add_node("say", nodes.answer)
    builder.add_edge(START, "find").add_edge("find", "decide").add_edge("decide", "say")
    result = builder.compile().invoke({"messages": [BUDDY], "question": "What is the dog called?"})
    assert result["answer"] == "Buddy"


class PydanticState(BaseModel):
    """An app's own state, as a model."""

    messages: Annotated[list[AnyMessage], add_messages] = []
    question: str | None = None
    pending: list[dict[str, Any]] = []
    memory_ops: list[dict[str, Any]] = []
    answer: str | None = None


@dataclass
class DataclassState:
    """Another app's own state, as a dataclass."""

    messages: Annotated[list[AnyMessage], add_messages]
    question: str | None = None
    pending: list[dict[str, Any]] = field(default_factory=list)
    memory_ops: list[dict[str, Any]] = field(default_factory=list)
    answer: str | None = None


@pytest.mark.parametrize("schema", [PydanticState, DataclassState])
def test_nodes_read_a_state_that_is_no_mapping(store: BaseStore, schema: type[Any]) -> None:
    nodes = create_memory_nodes(store)
    builder = StateGraph(schema)
    builder.add_node("find", nodes.extract).add_node("decide", nodes.manage).add_node("say", nodes.answer)
    builder.add_edge(START, "find").add_edge("decide", "say").add_edge("say", END)
    builder.add_conditional_edges("find", after_extract, {"manage": "decide", "answer": "say", END: END})
    graph = builder.compile()
    question = "What is the dog called?"
    result = graph.invoke({"messages": [BUDDY], "question": question})
    assert [change["event"] for change in result["memory_ops"]] == ["ADD"] and result["answer"] == "Buddy"
    asked = asyncio.run(graph.ainvoke({"messages": [("user", "Hello")], "question": question}))
    assert asked["answer"] == "Buddy"


@pytest.mark.parametrize("schema", [PydanticState, DataclassState])
def test_a_graph_with_such_a_state_may_hold_the_memory_as_a_node(store: BaseStore, schema: type[Any]) -> None:
    graph = StateGraph(schema).add_node("memory", create_memory_graph(store)).add_edge(START, "memory").compile()
    result = graph.invoke({"messages": [BUDDY], "question": "What is the dog called?"})
    assert result["answer"] == "Buddy"


# ---- what day it is


@pytest.mark.parametrize("given", ["context", "configurable"])
def test_today_is_the_day_of_the_user(store: BaseStore, given: str) -> None:
    graph = create_memory_graph(store, clock=lambda: datetime(2024, 5, 21, 2, tzinfo=UTC))
    run: dict[str, Any] = {"context": {"timezone": "America/New_York"}}
    if given == "configurable":
        run = {"config": {"configurable": {"timezone": "America/New_York"}}}
    graph.invoke({"messages": [("user", "I adopted a dog today.")]}, **run)
    graph.invoke({"turns": [Turn("user", "I moved yesterday.", datetime(2024, 5, 21, 2, tzinfo=UTC))]}, **run)
    memories = MemoryBank(store, "default").all()
    assert {memory.text for memory in memories} == {
        "User adopted a dog today (20 May 2024).",
        "User moved yesterday (19 May 2024).",
    }
    assert {memory.at.isoformat() for memory in memories if memory.at} == {"2024-05-20T22:00:00-04:00"}


async def test_the_middleware_and_the_event_loop_know_the_day_too(tmp_path: Path) -> None:
    clock = lambda: datetime(2024, 5, 21, 2, tzinfo=UTC)  # noqa: E731
    memory = MemoryMiddleware(tmp_path / "db", model="rules", clock=clock)
    agent = create_agent(ScriptedChatModel(lambda _: "ok"), middleware=[memory])
    graph = create_memory_graph(tmp_path / "db", clock=clock)
    with blockbuster_ctx():
        await agent.ainvoke({"messages": "I adopted a dog today."}, context={"timezone": "America/Lima"})
        await graph.ainvoke({"messages": [("user", "I moved today.")]}, context={"timezone": "America/Bogota"})
    with LanceDBStore(tmp_path / "db") as store:
        texts = {memory.text for memory in MemoryBank(store, "default").all()}
    assert texts >= {"User adopted a dog today (20 May 2024).", "User moved today (20 May 2024)."}


def test_an_unknown_zone_is_said_once(store: BaseStore, caplog: pytest.LogCaptureFixture) -> None:
    graph, zone = create_memory_graph(store), f"America/New{type(store).__name__}"  # said once in a process
    for text in ("I have a dog.", "I have a cat."):
        graph.invoke({"messages": [("user", text)]}, context={"timezone": zone})
    assert caplog.text.count(f"There is no time zone {zone!r}") == 1
    assert len(MemoryBank(store, "default")) == 2


# ---- the event loop


def test_the_event_loop_is_never_blocked(tmp_path: Path) -> None:
    async def run() -> dict[str, Any]:
        graph = create_memory_graph(tmp_path / "db", model=ScriptedChatModel(rules, delay=0.001))
        with blockbuster_ctx():
            await graph.ainvoke({"messages": [BUDDY]}, context={"user_id": "ana"})
            async for _ in graph.astream({"messages": [SCOUT]}, context={"user_id": "ana"}, stream_mode="custom"):
                pass
            return dict(await graph.ainvoke({"question": "What are the dogs called?"}, context={"user_id": "ana"}))

    def rules(messages: Any) -> Any:
        from langgraph_memory_r1 import load_chat_model

        return load_chat_model("rules").invoke(messages)

    assert len(asyncio.run(run())["memories"]) == 1


def test_many_conversations_at_once_wait_for_their_models_together(store: BaseStore) -> None:
    model = ScriptedChatModel(lambda _: '{"facts":[]}', delay=0.2)
    graph = create_memory_graph(store, model=model)

    async def run() -> float:
        start = asyncio.get_running_loop().time()
        users = [f"user-{number}" for number in range(32)]
        await asyncio.gather(*(graph.ainvoke({"messages": [BUDDY]}, context={"user_id": user}) for user in users))
        return asyncio.get_running_loop().time() - start

    assert asyncio.run(run()) < 32 * 0.2 / 2
    assert len(model.calls) == 32


def test_a_bank_is_shared_with_what_the_app_does_itself(store: BaseStore) -> None:
    MemoryBank(store, "ana").apply([Add("Ana's dog is called Buddy.")])
    graph = create_memory_graph(store)
    assert graph.invoke({"question": "What is Ana's dog called?"}, context={"user_id": "ana"})["answer"] == "Buddy"


def test_without_a_store_a_graph_uses_the_one_that_it_is_a_part_of(store: BaseStore) -> None:
    class State(TypedDict):
        messages: Annotated[list[AnyMessage], add_messages]

    builder = StateGraph(State).add_node("memory", create_memory_graph()).add_edge(START, "memory")
    builder.compile(store=store).invoke({"messages": [("user", "I have a dog, Buddy.")]}, context={"user_id": "ana"})
    assert len(MemoryBank(store, "ana")) == 1
    with pytest.raises(InputError, match="has no store"):
        create_memory_graph().invoke({"messages": [("user", "I have a dog, Buddy.")]})


def test_answers_come_from_what_the_filter_lets_through(tmp_path: Path) -> None:
    graph = create_memory_graph(tmp_path, metadata={"app": "support"}, tags=["chat"], filter={"app": "support"})
    graph.invoke({"messages": [("user", "I play the guitar.")]})
    with LanceDBStore(tmp_path) as store:
        bank = MemoryBank(store, "default")
        assert [(memory.metadata, memory.tags) for memory in bank.all()] == [({"app": "support"}, ("chat",))]
        bank.apply([Add("User plays the cello.", metadata={"app": "diary"})])
    done = graph.invoke({"question": "What does the user play?"})
    assert [memory["text"] for memory in done["memories"]] == ["User plays the guitar."]
    assert done["memories"][0]["metadata"] == {"app": "support"}
