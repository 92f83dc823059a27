"""Each turn is heard once: sent twice, cancelled, edited, replayed, forgotten, or in a thread that changes hands."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.store.base import BaseStore
from langgraph.types import Command, Send

import langgraph_memory_r1
from langgraph_memory_r1 import (
    Add,
    ConflictError,
    LanceDBStore,
    Limits,
    MemoryBank,
    Turn,
)
from langgraph_memory_r1.prompts import ManageInput, read
from langgraph_memory_r1.testing import ScriptedChatModel
from support.stores import folder_bytes, versions

# Most runs here name nobody: a store takes them for the user "default" if it is told to.
create_memory_graph = partial(langgraph_memory_r1.create_memory_graph, require_user=False)
MemoryMiddleware = partial(langgraph_memory_r1.MemoryMiddleware, require_user=False)

App = Any


@pytest.fixture(params=["lancedb", "memory"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def owner() -> str:
    return "default"


def texts(bank: MemoryBank) -> list[str]:
    return [memory.text for memory in bank.all()]


def events(result: dict[str, Any]) -> list[str]:
    return [operation["event"] for operation in result["memory_ops"]]


def add_all(messages: list[BaseMessage]) -> str:
    """Every turn is a fact, every fact a new memory."""
    shown = read(messages)
    if isinstance(shown, ManageInput):
        added = [{"event": "ADD", "fact": n, "text": fact.text} for n, fact in enumerate(shown.facts)]
        return json.dumps({"operations": added})
    return json.dumps({"facts": [{"text": turn.text, "turns": [n]} for n, turn in enumerate(shown.turns)]})


def note_nothing(messages: list[BaseMessage]) -> str:
    """Every turn is a fact, and every fact is known already."""
    shown = read(messages)
    if isinstance(shown, ManageInput):
        return json.dumps({"operations": [{"event": "NOOP", "fact": n} for n in range(len(shown.facts))]})
    return add_all(messages)


def in_a_parent(memory: Any, checkpointer: Any = None) -> App:
    """The memory as a node of an app whose state does not keep the memory's cursor."""
    builder = StateGraph(MessagesState).add_node("memory", memory).add_edge(START, "memory")
    return builder.compile(checkpointer=checkpointer or InMemorySaver())


def run_of(user: str, thread: str = "t") -> dict[str, Any]:
    return {"configurable": {"thread_id": thread, "user_id": user}}


def say(app: App, user: str, *texts: str | BaseMessage, thread: str = "t") -> dict[str, Any]:
    messages = [text if isinstance(text, BaseMessage) else HumanMessage(text) for text in texts]
    return dict(app.invoke({"messages": messages}, run_of(user, thread)))


# ---- the same turn more than once


def test_one_message_in_three_runs_at_once_is_stored_once(store: BaseStore, bank: MemoryBank) -> None:
    graph = create_memory_graph(store, model=ScriptedChatModel(add_all, delay=0.01))
    state = {"messages": [HumanMessage("I have a dog.", id="m1")]}

    async def all_three() -> Sequence[dict[str, Any]]:
        return await asyncio.gather(*(graph.ainvoke(state) for _ in range(3)))

    results = asyncio.run(all_three())
    assert sorted(event for result in results for event in events(result)) == ["ADD"]
    assert texts(bank) == ["I have a dog."]


def test_a_run_that_shares_some_turns_with_another_one_keeps_the_rest(store: BaseStore, bank: MemoryBank) -> None:
    graph = create_memory_graph(store, model=ScriptedChatModel(add_all, delay=0.01))
    messages = [HumanMessage(f"fact {n}", id=f"m{n}") for n in range(4)]

    async def both() -> None:
        await asyncio.gather(*(graph.ainvoke({"messages": part}) for part in (messages[:3], messages[1:])))

    asyncio.run(both())
    assert sorted(texts(bank)) == [f"fact {n}" for n in range(4)]


def test_a_turn_that_was_heard_meanwhile_is_refused_whole(store: BaseStore, bank: MemoryBank) -> None:
    mark = bank.mark(Turn("Ana", "I have a dog.", id="t1"))
    bank.apply([Add("Ana has a dog.")], turns=[mark])
    with pytest.raises(ConflictError) as caught:
        MemoryBank(store, "default").apply([Add("Ana has a dog, again.")], turns=[mark])
    assert caught.value.keys == (mark.key,)
    assert (texts(bank), len(bank.history())) == (["Ana has a dog."], 1)


def test_short_ids_of_two_chats_are_two_messages(store: BaseStore, bank: MemoryBank) -> None:
    graph = create_memory_graph(store, model=ScriptedChatModel(add_all))
    for thread, text in (("a", "I like tea."), ("b", "I like milk.")):
        say(graph, "default", HumanMessage(text, id="1"), thread=thread)
    for session, text in (("s1", "I have a dog."), ("s2", "I have a cat."), ("s2", "I have a cat.")):
        graph.invoke({"turns": [Turn("Ana", text, id="7", session=session)]})
    assert sorted(texts(bank)) == ["I have a cat.", "I have a dog.", "I like milk.", "I like tea."]


def test_short_ids_of_two_sessions_in_one_call_are_two_turns(store: BaseStore, bank: MemoryBank) -> None:
    turns = [Turn("Ana", text, id="7", session=session) for session, text in (("s1", "a dog"), ("s2", "a cat"))]
    graph = create_memory_graph(store, model=ScriptedChatModel(add_all))
    graph.invoke({"turns": turns})
    graph.invoke({"turns": turns})
    assert sorted(texts(bank)) == ["a cat", "a dog"]


@pytest.mark.parametrize("given", ["messages", "turns"])
def test_a_short_id_without_a_thread_or_session_is_no_edited_message(
    store: BaseStore, bank: MemoryBank, given: str
) -> None:
    graph = create_memory_graph(store, model="rules")
    for text in ("I live in Boston.", "I have a cat.", "I live in Boston."):
        said = HumanMessage(text, id="1") if given == "messages" else Turn("user", text, id="1")
        graph.invoke({given: [said]})
    assert [(change.event, change.after and change.after.text) for change in bank.history()] == [
        ("ADD", "User lives in Boston."),
        ("ADD", "User has a cat."),
    ]


@pytest.mark.parametrize("write", ["inline", "background"])
def test_an_agent_without_threads_takes_no_short_id_for_an_edited_message(store: BaseStore, write: Any) -> None:
    memory = MemoryMiddleware(store, model="rules", write=write, delay=60)
    agent = create_agent(ScriptedChatModel(lambda _: "ok"), middleware=[memory])
    for text in ("I live in Boston.", "I have a cat."):
        agent.invoke({"messages": [HumanMessage(text, id="1")]})
    memory.flush(10)
    assert texts(memory.bank()) == ["User lives in Boston.", "User has a cat."]


@pytest.mark.parametrize("turn_id", ["01a23305-649e-77cc-bf20-bb09b62cb496", "msg_0123456789abcdef"])
def test_an_id_that_is_unique_tells_an_edited_message_without_a_thread(
    store: BaseStore, bank: MemoryBank, turn_id: str
) -> None:
    graph = create_memory_graph(store, model="rules")
    for text in ("I live in Boston.", "I live in Denver."):
        graph.invoke({"messages": [HumanMessage(text, id=turn_id)]})
    assert [change.event for change in bank.history()] == ["ADD", "UPDATE"]
    assert texts(bank) == ["User lives in Denver."]


def test_a_copied_thread_says_nothing_new(store: BaseStore, bank: MemoryBank) -> None:
    app = in_a_parent(create_memory_graph(store, model=ScriptedChatModel(add_all)))
    state = say(app, "default", "I like tea.")
    copied = in_a_parent(create_memory_graph(store, model=ScriptedChatModel(add_all)))
    say(copied, "default", *state["messages"], "I like milk.", thread="copy")
    assert texts(bank) == ["I like tea.", "I like milk."]


def test_a_bank_from_before_the_ledger_knows_its_turns_by_their_ids(store: BaseStore, bank: MemoryBank) -> None:
    bank.apply([Add("Ana has a dog.", source=("m1",))])
    graph = create_memory_graph(store, model=ScriptedChatModel(add_all))
    graph.invoke({"messages": [HumanMessage("I have a dog.", id="m1"), HumanMessage("I have a cat.", id="m2")]})
    assert texts(bank) == ["Ana has a dog.", "I have a cat."]


def test_other_limits_do_not_make_an_old_message_new(store: BaseStore, bank: MemoryBank) -> None:
    message = HumanMessage("word " * 100, id="m1")
    create_memory_graph(store, model=ScriptedChatModel(add_all), limits=Limits(batch_chars=200)).invoke(
        {"messages": [message]}
    )
    before = len(bank.history())
    create_memory_graph(store, model=ScriptedChatModel(add_all), limits=Limits(batch_chars=300)).invoke(
        {"messages": [message]}
    )
    assert (before, len(bank.history())) == (3, 3)


def test_turns_that_change_nothing_cost_no_commit(tmp_path: Path) -> None:
    with LanceDBStore(str(tmp_path / "db")) as store:
        graph = create_memory_graph(store, model=ScriptedChatModel(add_all))
        say(graph, "ann", "I like tea.")
        before = versions(tmp_path / "db")
        silent = create_memory_graph(store, model=ScriptedChatModel(note_nothing))
        message = HumanMessage("Hello!", id="m-hello")
        assert events(say(silent, "ann", message)) == ["NOOP"]
        assert say(graph, "ann", message)["memory_ops"] == []
        assert versions(tmp_path / "db") == before


def test_two_stores_on_one_folder_hear_a_turn_once(tmp_path: Path) -> None:
    """Two workers of a server, of which the second is sent what the first did not answer in time."""
    with LanceDBStore(str(tmp_path / "db")) as one, LanceDBStore(str(tmp_path / "db")) as two:
        message = {"messages": [HumanMessage("I have a dog.", id="m1")]}
        graphs = [create_memory_graph(store, model=ScriptedChatModel(add_all, delay=0.02)) for store in (one, two)]

        async def both() -> None:
            await asyncio.gather(*(graph.ainvoke(message) for graph in graphs))

        asyncio.run(both())
        assert texts(MemoryBank(one, "default")) == texts(MemoryBank(two, "default")) == ["I have a dog."]


# ---- forgotten, deleted, undone


@pytest.mark.parametrize("reply", [add_all, note_nothing])
def test_what_was_forgotten_does_not_come_back_with_its_history(store: BaseStore, bank: MemoryBank, reply: Any) -> None:
    app = in_a_parent(create_memory_graph(store, model=ScriptedChatModel(reply)))
    say(app, "default", "I have diabetes.")
    bank.forget()
    app = in_a_parent(create_memory_graph(store, model=ScriptedChatModel(add_all)), app.checkpointer)
    say(app, "default", "How is the weather?")
    assert texts(MemoryBank(store, "default")) == ["How is the weather?"]


def test_what_was_forgotten_in_a_bank_from_before_the_ledger_stays_forgotten(
    store: BaseStore, bank: MemoryBank
) -> None:
    bank.apply([Add("Ana has diabetes.", source=("m1",))])
    bank.forget()
    graph = create_memory_graph(store, model=ScriptedChatModel(add_all))
    graph.invoke({"messages": [HumanMessage("I have diabetes.", id="m1"), HumanMessage("I like tea.", id="m2")]})
    assert texts(bank) == ["I like tea."]


def test_what_was_undone_does_not_come_back_with_its_history(store: BaseStore, bank: MemoryBank) -> None:
    app = in_a_parent(create_memory_graph(store, model=ScriptedChatModel(add_all)))
    say(app, "default", "I have diabetes.")
    bank.undo()
    say(app, "default", "I like tea.")
    assert texts(bank) == ["I like tea."]


def test_what_is_left_of_the_forgotten_says_neither_what_nor_who(tmp_path: Path) -> None:
    with LanceDBStore(str(tmp_path / "db")) as store:
        app = in_a_parent(create_memory_graph(store, model=ScriptedChatModel(add_all)))
        say(app, "ann@example.com", HumanMessage("I have diabetes.", id="message-one"), thread="thread-one")
        MemoryBank(store, "ann@example.com").forget()
    left = folder_bytes(tmp_path / "db")
    assert not [word for word in (b"diabetes", b"ann@example.com", b"message-one", b"thread-one") if word in left]


# ---- a thread that changes hands


@pytest.mark.parametrize("reply", [add_all, note_nothing])
def test_who_writes_in_anothers_thread_gets_none_of_its_messages(store: BaseStore, reply: Any) -> None:
    first = in_a_parent(create_memory_graph(store, model=ScriptedChatModel(reply)))
    say(first, "ann", "I have diabetes.")
    app = in_a_parent(create_memory_graph(store, model=ScriptedChatModel(add_all)), first.checkpointer)
    say(app, "bob", "I like tea.")
    say(app, "ann", "I like milk.")
    assert texts(MemoryBank(store, "bob")) == ["I like tea."]
    assert "I like tea." not in texts(MemoryBank(store, "ann"))


def test_what_a_memory_failed_to_hear_stays_its_owners_when_the_thread_changes_hands(store: BaseStore) -> None:
    down = create_memory_graph(store, model=ScriptedChatModel([ConnectionError("down")]), on_error="degrade")
    first = in_a_parent(down)
    say(first, "ann", "I have diabetes.")
    app = in_a_parent(create_memory_graph(store, model=ScriptedChatModel(add_all)), first.checkpointer)
    say(app, "bob", "I like tea.")
    say(app, "ann", "I like milk.")
    assert texts(MemoryBank(store, "bob")) == ["I like tea."]
    assert texts(MemoryBank(store, "ann")) == ["I have diabetes.", "I like milk."]


@pytest.mark.parametrize("write", ["inline", "background"])
def test_an_agents_thread_that_changes_hands_keeps_everybodys_own(store: BaseStore, write: Any) -> None:
    memory = MemoryMiddleware(store, model=ScriptedChatModel(add_all), write=write, delay=60)
    agent = create_agent(ScriptedChatModel(lambda _: "ok"), middleware=[memory], checkpointer=InMemorySaver())
    for user, text in (("ann", "I have diabetes."), ("bob", "I like tea."), ("ann", "I like milk.")):
        agent.invoke({"messages": text}, {"configurable": {"thread_id": "t"}}, context={"user_id": user})
    memory.flush(10)
    assert not [text for text in texts(memory.bank("bob")) if "diabetes" in text or "milk" in text]
    assert not [text for text in texts(memory.bank("ann")) if "tea" in text]
    assert [text for text in texts(memory.bank("ann")) if "ok" not in text] == ["I have diabetes.", "I like milk."]


def test_two_memories_of_one_thread_both_hear_it(store: BaseStore) -> None:
    def memory(namespace: Any) -> Any:
        return create_memory_graph(store, model=ScriptedChatModel(add_all), namespace=namespace)

    builder = StateGraph(MessagesState).add_node("mine", memory(None)).add_node("team", memory(("team", "notes")))
    builder.add_node("by function", memory(lambda runtime: ("one", "notes")))
    builder.add_node("by another", memory(lambda runtime: ("two", "notes")))
    names = ["mine", "team", "by function", "by another"]
    for before, after in zip([START, *names], names, strict=False):
        builder.add_edge(before, after)
    say(builder.compile(checkpointer=InMemorySaver()), "ann", "I like tea.")
    for namespace in ("ann", ("team", "notes"), ("one", "notes"), ("two", "notes")):
        assert texts(MemoryBank(store, namespace)) == ["I like tea."]


def remember_for(memory: Any, user: str, state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
    """A node that gives the messages to one user's bank, whoever the run is for."""
    of_user = {**config, "configurable": {**config["configurable"], "user_id": user}}
    memory.invoke({"messages": state["messages"]}, of_user)
    return {}


def sent_to(store: BaseStore, users: Sequence[str], checkpointer: Any, *, at_once: bool) -> App:
    """An app that gives each message to several users' banks: in one step, or one after the other."""
    memory = create_memory_graph(store, model=ScriptedChatModel(add_all, delay=0.01))

    def remember(state: dict[str, Any], config: RunnableConfig) -> dict[str, Any]:
        for user in state["users"]:
            remember_for(memory, user, {"messages": state["messages"]}, config)
        return {}

    def fan_out(state: MessagesState) -> list[Send]:
        parts = [[user] for user in users] if at_once else [users]
        return [Send("remember", {"messages": state["messages"], "users": part}) for part in parts]

    builder = StateGraph(MessagesState).add_node("remember", remember)
    return builder.add_conditional_edges(START, fan_out, ["remember"]).compile(checkpointer=checkpointer)


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("checkpointer", [InMemorySaver, lambda: None], ids=["checkpointer", "none"])
def test_a_message_that_an_app_sends_to_two_users_is_heard_for_both(
    store: BaseStore, checkpointer: Any, at_once: bool
) -> None:
    app = sent_to(store, ("ann", "bob"), checkpointer(), at_once=at_once)
    for text in ("The picnic is on Friday.", "It is in Rome."):
        say(app, "ann", text)
    for user in ("ann", "bob"):
        assert texts(MemoryBank(store, user)) == ["The picnic is on Friday.", "It is in Rome."]


def test_who_comes_later_into_a_thread_of_two_users_gets_none_of_their_messages(store: BaseStore) -> None:
    checkpointer = InMemorySaver()
    say(sent_to(store, ("ann", "bob"), checkpointer, at_once=True), "ann", "I have diabetes.")
    say(sent_to(store, ("bob", "cid"), checkpointer, at_once=True), "bob", "I like tea.")
    assert texts(MemoryBank(store, "cid")) == ["I like tea."]
    assert texts(MemoryBank(store, "bob")) == ["I have diabetes.", "I like tea."]


def test_who_replays_anothers_step_gets_none_of_its_messages(store: BaseStore) -> None:
    app = in_a_parent(create_memory_graph(store, model=ScriptedChatModel(add_all)))
    say(app, "ann", HumanMessage("I have diabetes.", id="m1"))
    for snapshot in list(app.get_state_history(run_of("ann"))):
        config = {"configurable": {**snapshot.config["configurable"], "user_id": "bob"}}
        app.invoke(None, config)
    assert texts(MemoryBank(store, "bob")) == []


@pytest.mark.parametrize("checkpointer", [InMemorySaver, lambda: None], ids=["checkpointer", "none"])
def test_a_run_that_gives_a_message_to_two_users_step_by_step_is_heard_for_both(
    store: BaseStore, checkpointer: Any
) -> None:
    builder = StateGraph(MessagesState)
    for user in ("ann", "bob"):
        builder.add_node(user, partial(remember_for, create_memory_graph(store, model="rules"), user))
    app = builder.add_edge(START, "ann").add_edge("ann", "bob").compile(checkpointer=checkpointer())
    say(app, "ann", "I like tea.")
    assert texts(MemoryBank(store, "ann")) == texts(MemoryBank(store, "bob")) == ["User likes tea."]


def test_who_resumes_anothers_run_gets_none_of_its_messages(store: BaseStore) -> None:
    failures = [ConnectionError("down")]

    def remember(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
        memory.invoke({"messages": state["messages"]}, config)
        if failures:
            raise failures.pop()
        return {}

    memory, app = create_memory_graph(store, model="rules"), in_a_parent(remember)
    with pytest.raises(ConnectionError):
        say(app, "ann", "I have diabetes.")
    app.invoke(None, run_of("bob"))
    assert texts(MemoryBank(store, "bob")) == []


def labels_of(whose: str, runtime: Any) -> tuple[str, str]:
    return whose, "notes"


class LabelsOf:
    """A namespace with values of its own."""

    def __init__(self, whose: str) -> None:
        self.whose = whose

    def __call__(self, runtime: Any) -> tuple[str, str]:
        return labels_of(self.whose, runtime)

    def labels(self, runtime: Any) -> tuple[str, str]:
        return labels_of(self.whose, runtime)


def closure_over(values: dict[str, str]) -> Any:
    return lambda runtime: labels_of(values["whose"], runtime)


def closure_within(whose: str) -> Any:
    return lambda runtime: labels_of(whose, runtime)


def with_default(labels: Any) -> Any:
    return lambda runtime, labels=labels: labels.labels(runtime)


NAMESPACES: dict[str, Any] = {
    "partial": lambda whose: partial(labels_of, whose),
    "object": LabelsOf,
    "method": lambda whose: LabelsOf(whose).labels,
    "closure over a mapping": lambda whose: closure_over({"whose": whose}),
    "closure over a name": closure_within,
    "default": lambda whose: with_default(LabelsOf(whose)),
}


@pytest.mark.parametrize("make", NAMESPACES.values(), ids=NAMESPACES)
def test_two_memories_whose_namespaces_look_alike_both_hear_a_thread(store: BaseStore, make: Any) -> None:
    builder = StateGraph(MessagesState)
    for whose in ("user", "team"):
        memory = create_memory_graph(store, model=ScriptedChatModel(add_all), namespace=make(whose))
        builder.add_node(whose, memory)
    builder.add_edge(START, "user").add_edge("user", "team")
    say(builder.compile(checkpointer=InMemorySaver()), "ann", "I like tea.")
    assert [texts(MemoryBank(store, (whose, "notes"))) for whose in ("user", "team")] == [["I like tea."]] * 2


def test_a_namespace_by_a_plain_function_keeps_a_threads_owners_apart(store: BaseStore) -> None:
    def memory() -> Any:
        def namespace(runtime: Any) -> tuple[str, str]:
            return runtime.context["user_id"], "notes"

        return create_memory_graph(store, model=ScriptedChatModel(add_all), namespace=namespace)

    checkpointer = InMemorySaver()
    for user, text in (("ann", "I have diabetes."), ("bob", "I like tea.")):
        builder = StateGraph(MessagesState, context_schema=dict[str, str]).add_node("memory", memory())
        app = builder.add_edge(START, "memory").compile(checkpointer=checkpointer)
        app.invoke({"messages": [HumanMessage(text)]}, run_of(user), context={"user_id": user})
    assert texts(MemoryBank(store, ("bob", "notes"))) == ["I like tea."]


def test_turns_that_an_app_gives_are_whoever_it_gives_them_to(store: BaseStore) -> None:
    graph = create_memory_graph(store, model=ScriptedChatModel(add_all))
    turns = [Turn("Ana", "I have a dog.", id="D1:1", session="session_1")]
    for user in ("ann", "bob"):
        graph.invoke({"turns": turns}, context={"user_id": user})
        assert texts(MemoryBank(store, user)) == ["I have a dog."]


# ---- edited


def test_an_edited_message_takes_back_what_it_said_before(store: BaseStore, bank: MemoryBank) -> None:
    graph = create_memory_graph(store, model="rules", checkpointer=InMemorySaver())
    say(graph, "default", HumanMessage("I live in Boston.", id="m1"))
    say(graph, "default", HumanMessage("I like tea.", id="m2"))
    assert events(say(graph, "default", HumanMessage("I live in Denver.", id="m1"))) == ["UPDATE"]
    assert sorted(texts(bank)) == ["User likes tea.", "User lives in Denver."]
    say(graph, "default", HumanMessage("I play the cello.", id="m2"))  # about something else altogether
    assert sorted(texts(bank)) == ["User lives in Denver.", "User plays the cello."]
    assert say(graph, "default", "Hello!")["memory_ops"][0]["event"] == "NOOP"


def test_a_message_that_is_edited_back_says_again_what_it_said_first(store: BaseStore, bank: MemoryBank) -> None:
    app = in_a_parent(create_memory_graph(store, model="rules"))
    for city in ("Boston", "Denver", "Boston", "Boston", "Denver"):
        say(app, "default", HumanMessage(f"I live in {city}.", id="m1"))
        assert texts(bank) == [f"User lives in {city}."]
    assert len(bank.history()) == 4


def test_a_message_that_says_nothing_any_more_takes_its_fact_with_it(store: BaseStore, bank: MemoryBank) -> None:
    app = in_a_parent(create_memory_graph(store, model="rules"))
    say(app, "default", HumanMessage("I have diabetes.", id="m1"), HumanMessage("I like tea.", id="m2"))
    result = say(app, "default", HumanMessage("Good morning!", id="m1"))
    assert texts(bank) == ["User likes tea."]
    assert [change.reason for change in bank.history() if change.event == "DELETE"] == [
        "the message that said it was edited"
    ]
    assert result["messages"][0].text == "Good morning!"


def test_the_manager_is_shown_first_what_an_edited_message_had_said(store: BaseStore, bank: MemoryBank) -> None:
    bank.apply([Add(f"Ana likes tea number {number}.") for number in range(60)])
    shown: list[ManageInput] = []

    def reply(messages: list[BaseMessage]) -> str:
        data = read(messages)
        if isinstance(data, ManageInput):
            shown.append(data)
            if data.memories and "Boston" in data.memories[0].text:
                update = {"event": "UPDATE", "fact": 0, "id": 0, "text": "Ana lives in Denver."}
                return json.dumps({"operations": [update]})
        return add_all(messages)

    graph = create_memory_graph(store, model=ScriptedChatModel(reply))
    graph.invoke({"turns": [Turn("Ana", "I live in Boston.", id="t1", session="s")]})
    result = graph.invoke({"turns": [Turn("Ana", "tea number 1, tea number 2", id="t1", session="s")]})
    assert shown[1].memories[0].text == "I live in Boston."
    assert (events(dict(result)), len(bank)) == (["UPDATE"], 61)


def test_a_memory_that_others_had_a_part_in_is_the_managers_to_decide_about(store: BaseStore, bank: MemoryBank) -> None:
    heard = bank.mark(Turn("Ana", "A dog.", id="t1", session="s"))
    bank.apply([Add("Ana has a dog and a cat.", source=("t1", "t2"))], turns=[heard])
    graph = create_memory_graph(store, model=ScriptedChatModel(add_all))
    graph.invoke({"turns": [Turn("Ana", "A parrot.", id="t1", session="s")]})
    assert sorted(texts(bank)) == ["A parrot.", "Ana has a dog and a cat."]


def test_a_message_edited_while_it_waits_in_the_background_is_heard_as_it_is_now(store: BaseStore) -> None:
    memory = MemoryMiddleware(store, model=ScriptedChatModel(add_all), write="background", delay=60)
    agent = create_agent(ScriptedChatModel(lambda _: "ok"), middleware=[memory], checkpointer=InMemorySaver())
    for text in ("I live in Boston.", "I live in Denver."):
        agent.invoke({"messages": [HumanMessage(text, id="m1")]}, {"configurable": {"thread_id": "t"}})
    memory.flush(10)
    assert [text for text in texts(memory.bank()) if "ok" not in text] == ["I live in Denver."]


# ---- replayed


@pytest.mark.parametrize("wrap", [in_a_parent, None], ids=["node", "graph"])
def test_a_replay_changes_nothing_that_came_later(store: BaseStore, bank: MemoryBank, wrap: Any) -> None:
    if wrap is None:
        app: App = create_memory_graph(store, model="rules", checkpointer=InMemorySaver())
    else:
        app = wrap(create_memory_graph(store, model="rules"))
    say(app, "default", "I live in Boston.")
    say(app, "default", "I moved to Denver.")
    moved = bank.all()
    for snapshot in list(app.get_state_history(run_of("default"))):
        app.invoke(None, snapshot.config)
    assert bank.all() == moved


def test_a_fork_that_says_something_else_is_heard(store: BaseStore, bank: MemoryBank) -> None:
    app = in_a_parent(create_memory_graph(store, model="rules"))
    say(app, "default", "I live in Boston.")
    end = app.get_state(run_of("default")).config
    say(app, "default", "I moved to Denver.")
    config = {"configurable": {**end["configurable"], "user_id": "default"}}
    app.invoke({"messages": [("user", "I moved to Miami.")]}, config)
    assert texts(bank) == ["User moved to Miami."]
    app.invoke({"messages": [("user", "I moved to Denver.")]}, config)
    assert texts(bank) == ["User moved to Miami."]  # that was said after the checkpoint, and is said again


def test_the_same_words_later_are_news(store: BaseStore, bank: MemoryBank) -> None:
    app = in_a_parent(create_memory_graph(store, model="rules"))
    for text in ("I moved to Boston.", "I moved to Denver."):
        say(app, "default", text)
    # A client of a server names the newest checkpoint, which is no replay.
    newest = app.get_state(run_of("default")).config["configurable"]
    app.invoke({"messages": [("user", "I moved to Boston.")]}, {"configurable": {**newest, "user_id": "default"}})
    assert texts(bank) == ["User moved to Boston."]
    say(app, "default", "I moved to Denver.")
    assert texts(bank) == ["User moved to Denver."]


# ---- reviewed


def test_a_review_that_is_resumed_twice_applies_once(store: BaseStore) -> None:
    memory = MemoryMiddleware(store, model=ScriptedChatModel(add_all), review=lambda operation: True)
    agent = create_agent(ScriptedChatModel([AIMessage("ok")] * 3), middleware=[memory], checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "t"}}
    agent.invoke({"messages": "I like tea."}, config)
    waiting = agent.get_state(config).config
    for _ in range(2):
        agent.invoke(Command(resume=True), waiting)
    assert texts(memory.bank()) == ["I like tea."]
