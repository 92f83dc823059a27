"""Whose memories a run uses: logins, contexts, runs that go on, threads that others take over, and runs of nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, StateGraph
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command, Send, interrupt

from langgraph_memory_r1 import (
    Add,
    InputError,
    LanceDBStore,
    MemoryBank,
    MemoryContext,
    MemoryMiddleware,
    MemoryState,
    create_manage_memory_tool,
    create_memory_graph,
    create_memory_nodes,
    create_search_memory_tool,
)
from langgraph_memory_r1.errors import IdentityError
from langgraph_memory_r1.identity import context_value
from langgraph_memory_r1.owners import BankPool
from langgraph_memory_r1.testing import ScriptedChatModel

SECRET = "I have diabetes."
THREAD: RunnableConfig = {"configurable": {"thread_id": "t"}}
ANN = {"user_id": "ann@example.com"}

Invoke = Callable[..., dict[str, Any]]


class Login(dict[str, Any]):
    """A user as an auth handler returns it and the server hands it to a graph."""

    def __init__(self, identity: str, **more: Any) -> None:
        super().__init__(identity=identity, **more)
        self.identity = identity
        self.__dict__.update(more)


def login(identity: str, **configurable: Any) -> dict[str, Any]:
    return {"langgraph_auth_user": Login(identity), "langgraph_auth_user_id": identity, **configurable}


def texts(store: BaseStore, owner: Any) -> list[str]:
    return MemoryBank(store, owner).texts()


def owners(store: BaseStore) -> set[str]:
    return {namespace[1] for namespace in store.list_namespaces(prefix=("memories",)) if len(namespace) > 1}


def silent() -> ScriptedChatModel:
    return ScriptedChatModel(lambda _: "ok")


def use(name: str, **args: Any) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": name, "args": args, "id": name}])


@pytest.fixture(params=["invoke", "ainvoke", "stream", "astream"])
def invoke(request: pytest.FixtureRequest) -> Invoke:
    """Runs a graph in one of the four ways."""

    async def astream(graph: Any, *args: Any, **options: Any) -> Any:
        return [value async for value in graph.astream(*args, **options)][-1]

    ways: dict[str, Invoke] = {
        "invoke": lambda graph, *args, **options: graph.invoke(*args, **options),
        "ainvoke": lambda graph, *args, **options: asyncio.run(graph.ainvoke(*args, **options)),
        "stream": lambda graph, *args, **options: list(graph.stream(*args, stream_mode="values", **options))[-1],
        "astream": lambda graph, *args, **options: asyncio.run(astream(graph, *args, stream_mode="values", **options)),
    }
    return ways[str(request.param)]


KINDS = ["graph", "parent", "middleware", "tool", "entrypoint"]


def app(kind: str, store: Any, **options: Any) -> Any:
    """Something that remembers what a message says, and fails softly where that is possible."""
    graph_options = {"on_error": "degrade", **options}
    if kind == "graph":
        return create_memory_graph(store, **graph_options)
    if kind == "parent":
        child = create_memory_graph(store, **graph_options)
        builder = StateGraph(MemoryState).add_node("one", lambda _: {}).add_node("memory", child)
        builder.add_conditional_edges(
            "one", lambda state: [Send("memory", {"messages": state["messages"]})], ["memory"]
        )
        return builder.add_edge(START, "one").compile()
    if kind == "entrypoint":
        child = create_memory_graph(store, **graph_options)

        @task
        def remember(state: Any) -> Any:
            return child.invoke(state)

        @entrypoint()
        def flow(state: Any) -> Any:
            return remember(state).result()

        return flow
    if kind == "middleware":
        return create_agent(silent(), middleware=[MemoryMiddleware(store, model="rules", tools=True, **options)])
    options.setdefault("namespace", ("memories", "{user_id}"))
    calls = [use("manage_memory", content=SECRET), use("search_memory", query="diabetes"), "Done."]
    tools = [create_manage_memory_tool(store, **options), create_search_memory_tool(store, **options)]
    return create_agent(ScriptedChatModel(calls), tools)


# ---- the server's login


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("context", "configurable"),
    [
        ({"user_id": "victim"}, {}),
        ({"langgraph_user_id": "victim"}, {}),
        (None, {"user_id": "victim"}),
        (None, {"langgraph_user_id": "victim"}),
        ({"user_id": "bob"}, {"user_id": "victim"}),
        ({"user_id": "bob", "langgraph_user_id": "victim"}, {"user_id": "bob"}),
    ],
)
def test_a_client_that_asks_for_another_than_its_login_is_refused(kind: str, context: Any, configurable: Any) -> None:
    store = InMemoryStore()
    with pytest.raises(InputError, match=r"'bob' is logged in, and (context|conf).*'victim'.*trust_client"):
        app(kind, store).invoke(
            {"messages": [("user", SECRET)]}, {"configurable": login("bob", **configurable)}, context=context
        )
    assert owners(store) == set()


@pytest.mark.parametrize("kind", KINDS)
def test_the_login_owns_what_is_remembered(kind: str, invoke: Invoke) -> None:
    store = InMemoryStore()
    running = app(kind, store)
    for context, configurable in ((None, {}), (None, {"user_id": ""}), ({"user_id": "bob"}, {"user_id": "bob"})):
        invoke(
            running, {"messages": [("user", SECRET)]}, {"configurable": login("bob", **configurable)}, context=context
        )
        assert owners(store) == {"bob"}
        running = app(kind, store)


def test_a_login_counts_also_where_it_was_restored_from_json() -> None:
    store = InMemoryStore()
    for restored in ({"langgraph_auth_user": {"identity": "bob"}}, {"langgraph_auth_user_id": "bob"}):
        graph = create_memory_graph(store)
        graph.invoke({"messages": [("user", SECRET)]}, {"configurable": restored})
        with pytest.raises(InputError, match="'bob' is logged in"):
            graph.invoke({"question": "Which illness?"}, {"configurable": restored}, context={"user_id": "ann"})
    assert owners(store) == {"bob"}


def test_a_server_that_writes_the_name_of_the_login_asks_for_nobody_else() -> None:
    store = InMemoryStore()
    configurable = {"langgraph_auth_user": Login("bob-1", display_name="Bob"), "user_id": "Bob"}
    create_memory_graph(store).invoke({"messages": [("user", SECRET)]}, {"configurable": configurable})
    assert owners(store) == {"bob-1"}


@pytest.mark.parametrize("kind", ["graph", "middleware", "tool"])
def test_an_app_that_acts_for_its_users_says_so(kind: str) -> None:
    store = InMemoryStore()
    told = app(kind, store, trust_client_user=True)
    told.invoke({"messages": [("user", SECRET)]}, {"configurable": login("service")}, context=ANN)
    chosen = app(kind, store, namespace=lambda runtime: ("memories", context_value(runtime.context, "user_id") + "!"))
    chosen.invoke({"messages": [("user", SECRET)]}, {"configurable": login("service")}, context=ANN)
    assert owners(store) == {"ann@example%2Ecom", "ann@example%2Ecom!"}
    app(kind, store, trust_client_user=True).invoke(
        {"messages": [("user", SECRET)]}, {"configurable": login("service")}
    )
    assert "service" in owners(store)


def test_the_values_of_a_login_fill_placeholders_before_a_clients() -> None:
    store = InMemoryStore()
    graph = create_memory_graph(store, namespace=("{org}", "notes"))
    configurable: Any = {"langgraph_auth_user": Login("bob", org="acme")}
    graph.invoke({"messages": [("user", SECRET)]}, {"configurable": configurable})
    assert len(texts(store, ("acme", "notes"))) == 1
    with pytest.raises(InputError, match="login's org is 'acme'"):
        graph.invoke({"question": "Which illness?"}, {"configurable": configurable}, context={"org": "umbrella"})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("context", "configurable"),
    [({"org": "victim"}, {}), (None, {"org": "victim"}), ({"org": "bob"}, {"org": "victim"}), (None, {})],
)
def test_what_a_login_does_not_say_no_client_says_for_it(kind: str, context: Any, configurable: Any) -> None:
    store = InMemoryStore()
    MemoryBank(store, ("victim", "notes")).apply([Add("The victim has diabetes.")])
    before = store.list_namespaces()
    with pytest.raises(
        IdentityError, match=r"login of 'bob' has no org.*auth handler.*trust_client_user=True.*function"
    ):
        app(kind, store, namespace=("{org}", "notes")).invoke(
            {"messages": [("user", SECRET)]}, {"configurable": login("bob", **configurable)}, context=context
        )
    assert store.list_namespaces() == before


def test_a_state_from_outside_does_not_say_it_either() -> None:
    forged: Any = {"memory": {"values": {"org": "victim"}, "labels": ["victim", "notes"], "over": False}}
    nodes = create_memory_nodes(InMemoryStore(), namespace=("{org}", "notes"))
    builder = StateGraph(MemoryState, MemoryContext).add_node("answer", nodes.answer).add_edge(START, "answer")
    with pytest.raises(IdentityError, match="login of 'bob' has no org"):
        builder.compile().invoke({"question": "Which illness?", "memory_owner": forged}, {"configurable": login("bob")})


@pytest.mark.parametrize("kind", ["graph", "middleware", "tool"])
@pytest.mark.parametrize("trusted", [True, False])
def test_a_client_says_it_where_it_is_trusted_or_nobody_is_logged_in(kind: str, trusted: bool) -> None:
    store = InMemoryStore()
    running = app(kind, store, namespace=("{org}", "notes"), trust_client_user=trusted)
    by_whom = login("service" if trusted else "")
    running.invoke({"messages": [("user", SECRET)]}, {"configurable": by_whom}, context={"org": "acme"})
    assert texts(store, ("acme", "notes"))


# ---- runs of nobody


@pytest.mark.parametrize("kind", KINDS)
def test_the_empty_id_of_a_server_without_a_login_is_no_user(kind: str, tmp_path: Path) -> None:
    from_server = {"user_id": "", "langgraph_auth_user_id": "", "langgraph_auth_user": None, "graph_id": "g"}
    app(kind, str(tmp_path)).invoke({"messages": [("user", SECRET)]}, {"configurable": from_server}, context={})
    named = {**from_server, "langgraph_user_id": "ann"}
    app(kind, str(tmp_path)).invoke({"messages": [("user", SECRET)]}, {"configurable": named}, context={})
    with LanceDBStore(tmp_path) as store:
        assert owners(store) == {"default", "ann"}


@pytest.mark.parametrize("kind", ["graph", "parent", "tool"])
@pytest.mark.parametrize("given", [{"context": {"user_id": " "}}, {"config": {"configurable": {"user_id": ""}}}])
def test_a_blank_id_of_an_app_is_refused(kind: str, given: Any) -> None:
    store = InMemoryStore()
    options = {} if kind == "tool" else {"on_error": "raise"}
    with pytest.raises(InputError, match="user id is blank"):
        app(kind, store, **options).invoke({"messages": [("user", SECRET)]}, **given)
    assert owners(store) == set()


@pytest.mark.parametrize("kind", KINDS)
def test_a_store_refuses_runs_that_name_nobody(kind: str) -> None:
    store = InMemoryStore()
    options = {} if kind == "tool" else {"on_error": "raise"}
    with pytest.raises(InputError, match=r"names no user; run it with context=.*require_user=False"):
        app(kind, store, **options).invoke({"messages": [("user", SECRET)]})
    assert owners(store) == set()
    app(kind, store, require_user=False, **options).invoke({"messages": [("user", SECRET)]})
    assert owners(store) == {"default"}


def test_an_agent_whose_memory_may_fail_answers_and_says_that_the_run_names_nobody() -> None:
    store = InMemoryStore()
    result = create_agent(silent(), middleware=[MemoryMiddleware(store, model="rules")]).invoke({"messages": SECRET})
    assert result["messages"][-1].text == "ok"
    assert [(op["event"], "names no user" in op["reason"]) for op in result["memory_ops"]] == [("ERROR", True)] * 2
    assert owners(store) == set()


@pytest.mark.parametrize(
    ("store", "required"),
    [
        ("s3://bucket/memory", True),
        ("db://memory", True),
        (None, True),
        (InMemoryStore(), True),
        ("./memory", False),
        (Path("memory"), False),
        ("file:///tmp/memory", False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseStore) else str(value),
)
def test_a_user_is_required_where_several_are_likely(store: Any, required: bool) -> None:
    from langgraph.runtime import Runtime

    banks = BankPool(store, of_graph=True)
    if required:
        with pytest.raises(InputError, match="names no user"):
            banks.owner(Runtime(), {})
    else:
        assert banks.owner(Runtime(), {}).labels == "default"
    assert (
        BankPool(store, of_graph=True, require_user=not required).owner(Runtime(context=ANN), {}).labels
        == ANN["user_id"]
    )
    assert BankPool(store, ("team", "notes"), of_graph=True).owner(Runtime(), {}).labels == ("team", "notes")


def test_a_bank_serves_every_run() -> None:
    bank = MemoryBank(InMemoryStore(), "team")
    for context in (None, ANN, {"userid": "x"}):
        create_memory_graph(bank).invoke({"messages": [("user", f"My name is {context}.")]}, context=context)
    assert len(bank.history()) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_pools_runs_of_nobody_with_one_warning(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    running = app("graph" if kind == "tool" else kind, str(tmp_path))
    for _ in range(3):
        running.invoke({"messages": [("user", SECRET)]})
    warnings = [record.message for record in caplog.records if "names no user" in record.message]
    assert len(warnings) == 1
    assert 'context={"user_id": ...}' in warnings[0]
    assert "require_user=True" in warnings[0]
    caplog.clear()
    app(kind, str(tmp_path), require_user=False).invoke({"messages": [("user", SECRET)]})
    assert "names no user" not in caplog.text


@pytest.mark.parametrize(
    "name", ["userid", "userId", "user-id", "UserID", "usr_id", "user_idd", "uesr_id", "langgraphuserid"]
)
@pytest.mark.parametrize("where", ["context", "configurable"])
def test_a_mistyped_user_id_is_refused_by_its_name(name: str, where: str, tmp_path: Path) -> None:
    given: Any = {"context": {name: "b"}} if where == "context" else {"config": {"configurable": {name: "b"}}}
    with pytest.raises(InputError, match=rf"{where}\['{name}'\] is another name; rename it"):
        create_memory_graph(tmp_path).invoke({"messages": [("user", SECRET)]}, **given)
    assert list(tmp_path.iterdir()) == []


@dataclass
class Mistyped:
    """An app's context."""

    userid: str = "b"


@dataclass
class Themed:
    """An app's context that says nothing of a user."""

    theme: str = "dark"
    user: str = "Bob"


def test_a_dataclass_without_the_id_is_refused_or_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    memory = MemoryMiddleware(str(tmp_path), model="rules")
    agent = partial(create_agent, silent(), middleware=[memory])
    failed = agent(context_schema=Mistyped).invoke({"messages": SECRET}, context=Mistyped())
    assert all("userid" in operation["reason"] for operation in failed["memory_ops"])
    assert not (tmp_path / "lance").exists()
    agent(context_schema=Themed).invoke({"messages": SECRET}, context=Themed())
    assert "(context['user'] is another name.)" in caplog.text


@pytest.mark.parametrize(
    "context", [{"user_ip": "1.2.3.4"}, {"user_name": "Ann"}, {"userid": None}, {"userids": ["a"]}]
)
def test_other_names_are_no_mistyped_ids(context: Any, tmp_path: Path) -> None:
    create_memory_graph(tmp_path).invoke({"messages": [("user", SECRET)]}, context=context)
    with LanceDBStore(tmp_path) as store:
        assert owners(store) == {"default"}


# ---- what a run began with goes on with it


def guitar(store: Any, **options: Any) -> Any:
    """An agent that is about to forget the guitar, and waits for a person's word."""
    memory = MemoryMiddleware(store, model="rules", review="delete", **options)
    agent = create_agent(silent(), middleware=[memory], checkpointer=InMemorySaver())
    context = {**ANN, "org": "acme"}
    agent.invoke({"messages": "I play the guitar."}, THREAD, context=context)
    agent.invoke({"messages": "I stopped playing the guitar. I am pregnant."}, THREAD, context=context)
    return agent


@pytest.mark.parametrize(
    "namespace",
    [None, ("{org}", "{user_id}"), lambda runtime: ("of", runtime.context["user_id"])],
    ids=["user", "placeholders", "function"],
)
def test_a_resumed_run_goes_on_for_its_user(invoke: Invoke, namespace: Any, tmp_path: Path) -> None:
    agent = guitar(str(tmp_path), namespace=namespace)
    invoke(agent, Command(resume=False), THREAD)
    labels = ANN["user_id"] if namespace is None else ("of" if callable(namespace) else "acme", ANN["user_id"])
    with LanceDBStore(tmp_path) as store:
        assert texts(store, labels) == ["User plays the guitar.", "User is pregnant."]
        assert texts(store, "default") == []


@pytest.mark.parametrize("outer", ["graph", "entrypoint"])
def test_an_agent_inside_another_app_goes_on_for_its_user(outer: str, tmp_path: Path) -> None:
    agent = create_agent(silent(), middleware=[MemoryMiddleware(str(tmp_path), model="rules", review="delete")])
    if outer == "graph":
        builder = StateGraph(MemoryState).add_node("agent", agent).add_edge(START, "agent")
        app: Any = builder.compile(checkpointer=InMemorySaver())
    else:

        @entrypoint(checkpointer=InMemorySaver())
        def app(state: Any) -> Any:
            return agent.invoke(state)

    for said in ("I play the guitar.", "I stopped playing the guitar. I am pregnant."):
        app.invoke({"messages": [("user", said)]}, THREAD, context=ANN)
    app.invoke(Command(resume=False), THREAD)
    with LanceDBStore(tmp_path) as store:
        assert owners(store) == {"ann@example%2Ecom"}
        assert texts(store, ANN["user_id"]) == ["User plays the guitar.", "User is pregnant."]


@pytest.mark.parametrize("given", [{"context": {"user_id": "bob"}}, {"user_id": "bob"}, login("bob")], ids=str)
def test_a_run_is_not_resumed_for_another_user(given: Any, tmp_path: Path) -> None:
    agent = guitar(str(tmp_path))
    context, configurable = given.get("context"), {} if "context" in given else given
    with pytest.raises(InputError, match="began with another user_id than 'bob'"):
        agent.invoke(Command(resume=True), {"configurable": {"thread_id": "t", **configurable}}, context=context)
    with LanceDBStore(tmp_path) as store:
        assert owners(store) == {"ann@example%2Ecom"}
        assert texts(store, ANN["user_id"]) == ["User plays the guitar."]
    agent.invoke(Command(resume=True), THREAD, context=ANN)
    with LanceDBStore(tmp_path) as store:
        assert texts(store, ANN["user_id"]) == ["User is pregnant."]


@pytest.mark.parametrize("own_tools", [True, False])
def test_a_tool_that_waited_for_a_person_works_for_the_user_of_its_run(own_tools: bool, tmp_path: Path) -> None:
    memory = MemoryMiddleware(str(tmp_path), model="rules", tools=not own_tools)
    tools = [create_manage_memory_tool(str(tmp_path))] if own_tools else []
    review = HumanInTheLoopMiddleware({"manage_memory": True})
    agent = create_agent(
        ScriptedChatModel([use("manage_memory", content="Ann loves tea."), "Done."]),
        tools,
        middleware=[memory, review],
        checkpointer=InMemorySaver(),
    )
    agent.invoke({"messages": "Hello!"}, THREAD, context=ANN)
    agent.invoke(Command(resume={"decisions": [{"type": "approve"}]}), THREAD)
    with LanceDBStore(tmp_path) as store:
        assert texts(store, ANN["user_id"])[:1] == ["Ann loves tea."]
        assert owners(store) == {"ann@example%2Ecom"}


@pytest.mark.parametrize("before", ["manage", "answer"])
def test_a_graph_that_was_interrupted_goes_on_for_its_user(before: str, invoke: Invoke, tmp_path: Path) -> None:
    graph = create_memory_graph(tmp_path, checkpointer=InMemorySaver())
    state: Any = {"messages": [("user", "I have a dog called Zero.")], "question": "What is the dog called?"}
    graph.invoke(state, THREAD, context=ANN, interrupt_before=[before])
    with pytest.raises(InputError, match="began with another user_id"):
        graph.invoke(None, THREAD, context={"user_id": "bob"})
    assert invoke(graph, None, THREAD)["answer"] == "Zero"
    with LanceDBStore(tmp_path) as store:
        assert owners(store) == {"ann@example%2Ecom"}


def test_a_fork_of_a_checkpoint_keeps_its_owner(tmp_path: Path) -> None:
    graph = create_memory_graph(tmp_path, checkpointer=InMemorySaver())
    graph.invoke({"messages": [("user", "I have a dog called Zero.")]}, THREAD, context=ANN)
    graph.invoke({"messages": [("user", "I like tea.")]}, THREAD, context={"user_id": "bob"})
    state: Any = {"question": "What is the dog called?"}
    (first,) = [each for each in graph.get_state_history(THREAD) if each.next == ("manage",)][1:]
    fork = graph.update_state(first.config, state)
    assert graph.invoke(None, fork)["answer"] == "Zero"
    with LanceDBStore(tmp_path) as store:
        assert owners(store) == {"ann@example%2Ecom", "bob"}
        assert len(texts(store, "bob")) == 1


def by_hand(store: Any) -> Any:
    """The nodes between a person's approval and a question that goes straight to the answer."""
    nodes = create_memory_nodes(store)

    def approve(_: MemoryState) -> dict[str, Any]:
        interrupt("may I remember this?")
        return {}

    builder = StateGraph(MemoryState, MemoryContext)
    builder.add_node("extract", nodes.extract).add_node("approve", approve)
    builder.add_node("manage", nodes.manage).add_node("answer", nodes.answer)
    builder.add_conditional_edges(START, lambda state: "answer" if state.get("question") else "extract")
    builder.add_edge("extract", "approve").add_edge("approve", "manage").add_edge("manage", END)
    return builder.add_edge("answer", END).compile(checkpointer=InMemorySaver())


def test_nodes_that_are_wired_by_hand_go_on_for_their_user(tmp_path: Path) -> None:
    app = by_hand(str(tmp_path))
    ann, bob = MemoryContext(user_id="ann"), MemoryContext(user_id="bob")
    app.invoke({"messages": [("user", "I have a dog called Zero.")]}, THREAD, context=ann)
    with pytest.raises(InputError, match="began with another user_id"):
        app.invoke(Command(resume=True), THREAD, context=bob)
    app.invoke(Command(resume=True), THREAD)
    question: Any = {"question": "What is the dog called?"}
    assert app.invoke(question, THREAD, context=bob)["answer"] == "I don't know."
    assert app.invoke(question, THREAD, context=ann)["answer"] == "Zero"
    with pytest.raises(InputError, match="the last one of its thread did"):
        app.invoke(question, THREAD)
    with LanceDBStore(tmp_path) as store:
        assert owners(store) == {"ann"}


def test_a_state_from_outside_does_not_choose_the_bank_of_a_login(tmp_path: Path) -> None:
    app = by_hand(str(tmp_path))
    app.invoke({"messages": [("user", "I have a dog called Zero.")]}, THREAD, context=MemoryContext(user_id="ann"))
    app.invoke(Command(resume=True), THREAD)
    for values in ({"user_id": "ann"}, {}):
        forged: Any = {"memory": {"values": values, "labels": "ann", "over": False}}
        state: Any = {"question": "What is the dog called?", "memory_owner": forged}
        config: RunnableConfig = {"configurable": {"thread_id": str(values), **login("bob")}}
        try:
            assert app.invoke(state, config)["answer"] == "I don't know."
        except InputError as refused:
            assert "began with another user_id" in str(refused)


@pytest.mark.parametrize("kind", ["graph", "middleware"])
def test_a_new_run_of_another_user_on_a_thread_is_theirs(kind: str, invoke: Invoke, tmp_path: Path) -> None:
    if kind == "graph":
        running: Any = create_memory_graph(tmp_path, checkpointer=InMemorySaver())
    else:
        memory = MemoryMiddleware(tmp_path, model="rules")
        running = create_agent(silent(), middleware=[memory], checkpointer=InMemorySaver())
    for user, said in (("ann", "I play the cello."), ("bob", "I play chess."), ("ann", "I like tea.")):
        invoke(running, {"messages": [("user", said)]}, THREAD, context={"user_id": user})
    with LanceDBStore(tmp_path) as store:
        assert owners(store) == {"ann", "bob"}
        assert not any("cello" in text for text in texts(store, "bob"))
        assert not any("chess" in text for text in texts(store, "ann"))


@pytest.mark.parametrize("kind", ["graph", "middleware"])
def test_a_thread_of_a_user_does_not_fall_back_to_the_default(kind: str, tmp_path: Path) -> None:
    if kind == "graph":
        running: Any = create_memory_graph(tmp_path, checkpointer=InMemorySaver())
    else:
        memory = MemoryMiddleware(tmp_path, model="rules", on_error="raise")
        running = create_agent(silent(), middleware=[memory], checkpointer=InMemorySaver())
    running.invoke({"messages": [("user", "I play the cello.")]}, THREAD, context=ANN)
    with pytest.raises(InputError, match="the last one of its thread did"):
        running.invoke({"messages": [("user", SECRET)]}, THREAD)
    with LanceDBStore(tmp_path) as store:
        assert owners(store) == {"ann@example%2Ecom"}


def test_several_memories_of_an_agent_keep_an_owner_each(tmp_path: Path) -> None:
    memories = [
        MemoryMiddleware(tmp_path / "own", model="rules", review="delete"),
        MemoryMiddleware(tmp_path / "team", model="rules", namespace=("{team}", "notes"), name="team"),
    ]
    agent = create_agent(silent(), middleware=memories, checkpointer=InMemorySaver())
    for said in ("I play the guitar.", "I stopped playing the guitar. I am pregnant."):
        agent.invoke({"messages": said}, THREAD, context={**ANN, "team": "x"})
    agent.invoke(Command(resume=False), THREAD)
    assert memories[0].bank(ANN["user_id"]).texts() == ["User plays the guitar.", "User is pregnant."]
    assert "User is pregnant." in memories[1].bank(team="x").texts()


def test_what_waits_in_the_background_belongs_to_the_run_that_said_it(tmp_path: Path) -> None:
    memory = MemoryMiddleware(tmp_path, model="rules", write="background", delay=60)
    agent = create_agent(silent(), middleware=[memory], checkpointer=InMemorySaver())
    agent.invoke({"messages": "I play the cello."}, THREAD, context={"user_id": "ann"})
    agent.invoke({"messages": "I play chess."}, THREAD, context={"user_id": "bob"})
    memory.flush()
    assert memory.bank("ann").texts() == ["User plays the cello."]
    assert any("chess" in text for text in memory.bank("bob").texts())


# ---- placeholders


class Colour(str, Enum):  # noqa: UP042  # not StrEnum, whose text is its value
    """A value that is a string with another face."""

    RED = "red"


@pytest.mark.parametrize(
    ("value", "label"),
    [(42, "42"), (UUID(int=7), str(UUID(int=7))), (Colour.RED, "red"), ("a/b.c:d{e}\n", "a/b.c:d{e}\n")],
)
def test_a_placeholder_takes_strings_and_whole_numbers(store: BaseStore, value: Any, label: str) -> None:
    for namespace in (("{org}", "notes"), "{org}", ("x", "of-{org}-y")):
        graph = create_memory_graph(store, namespace=namespace)
        graph.invoke({"messages": [("user", SECRET)]}, context={"org": value})
        labels = (
            label if namespace == "{org}" else (label, "notes") if namespace[0] == "{org}" else ("x", f"of-{label}-y")
        )
        assert len(texts(store, labels)) == 1


@pytest.mark.parametrize("value", [True, 1.5, ["a"], {"id": "a"}, b"a", object(), "", " \n"])
@pytest.mark.parametrize("key", ["org", "user_id"])
def test_a_placeholder_takes_nothing_else(key: str, value: Any) -> None:
    store = InMemoryStore()
    graph = create_memory_graph(store, namespace=("x", f"{{{key}}}"))
    with pytest.raises(InputError, match=r"give a string or a whole number|is blank"):
        graph.invoke({"messages": [("user", SECRET)]}, context={key: value})
    assert store.list_namespaces() == []


@pytest.mark.parametrize("label", ["{org}-{user_id}", "{org}: {user_id}!", "a/{org}/{team}/{user_id}"])
def test_values_in_one_label_cannot_be_mistaken_for_others(label: str) -> None:
    store = InMemoryStore()
    graph = create_memory_graph(store, namespace=("x", label))
    parts = ["a", "a-b", "b-c", "c", "a/b", "a: b", "a%2Db"]
    runs = [(org, user) for org in parts for user in parts]
    for org, user in runs:
        graph.invoke({"messages": [("user", SECRET)]}, context={"org": org, "team": "t", "user_id": user})
    assert len({namespace[1] for namespace in store.list_namespaces(prefix=("x",), limit=1000)}) == len(runs)
    graph.invoke({"messages": [("user", SECRET)]}, context={"org": "acme", "team": "t", "user_id": "42"})
    plain = label.replace("{org}", "acme").replace("{team}", "t").replace("{user_id}", "42")
    assert len(texts(store, ("x", plain))) == 1


@pytest.mark.parametrize("label", ["{org}{user_id}", "{org}of{user_id}", "{org}%{user_id}"])
def test_values_that_nothing_separates_are_refused_at_once(label: str) -> None:
    with pytest.raises(InputError, match="could not be told apart"):
        create_memory_graph(InMemoryStore(), namespace=("x", label))
