"""What is said is heard whatever becomes of its message: summaries, trims, failing agents; tasks of agents are not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    ClearToolUsesEdit,
    ContextEditingMiddleware,
    PIIMiddleware,
    SummarizationMiddleware,
    after_agent,
    after_model,
    before_agent,
    before_model,
)
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, RemoveMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphRecursionError
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command, interrupt

from langgraph_memory_r1 import InputError, MemoryMiddleware
from langgraph_memory_r1.testing import ScriptedChatModel

NUTS = "I am allergic to nuts."
FACT = "User is allergic to nuts."
ANN = {"user_id": "ann"}
THREAD: RunnableConfig = {"configurable": {"thread_id": "t"}}


@tool
def look(page: int) -> str:
    """Looks a page up."""
    return f"page {page}"


@tool
def burn() -> str:
    """Fails."""
    raise OSError("on fire")


def calling(name: str, text: str = "", **args: Any) -> AIMessage:
    return AIMessage(text, tool_calls=[{"name": name, "args": args, "id": f"{name}-{len(str(args))}-{args}"}])


def pages(count: int) -> ScriptedChatModel:
    return ScriptedChatModel([*(calling("look", page=page) for page in range(count)), "Done.", "Hello!", "Bye!"])


def silent(text: str = "ok") -> ScriptedChatModel:
    return ScriptedChatModel(lambda _: text)


def texts(memory: MemoryMiddleware, user: str = "ann") -> list[str]:
    return [item.text for item in memory.bank(user).all()]


def run(agent: Any, said: Any, how: str, config: Any = THREAD, context: Any = ANN) -> dict[str, Any]:
    state = said if isinstance(said, Command) else {"messages": said}
    if how == "invoke":
        return dict(agent.invoke(state, config, context=context))
    return dict(asyncio.run(agent.ainvoke(state, config, context=context)))


def summary() -> AgentMiddleware[Any, Any, Any]:
    return SummarizationMiddleware(silent("They talked."), trigger=("messages", 4), keep=("messages", 1))


@before_model
def trim(state: Any, runtime: Any) -> dict[str, Any]:
    kept = state["messages"][-2:]
    return {"messages": [RemoveMessage(id=REMOVE_ALL_MESSAGES), *kept]} if len(state["messages"]) > 3 else {}


@after_model
def remove_the_first(state: Any, runtime: Any) -> dict[str, Any]:
    return {"messages": [RemoveMessage(id=str(message.id)) for message in state["messages"][:1]]}


@after_agent
def remove_all(state: Any, runtime: Any) -> dict[str, Any]:
    return {"messages": [RemoveMessage(id=REMOVE_ALL_MESSAGES)]}


def editing() -> AgentMiddleware[Any, Any, Any]:
    return ContextEditingMiddleware(edits=[ClearToolUsesEdit(trigger=1, keep=0)])


REMOVERS: dict[str, Callable[[], Any]] = {
    "summary": summary, "trim": lambda: trim, "after model": lambda: remove_the_first,
    "after agent": lambda: remove_all, "context editing": editing,
}  # fmt: skip


@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
@pytest.mark.parametrize("memory_first", [True, False])
@pytest.mark.parametrize("remover", REMOVERS)
def test_what_was_said_survives_its_message(lance_uri: str, remover: str, memory_first: bool, how: str) -> None:
    memory = MemoryMiddleware(lance_uri, model="rules")
    middleware = [memory, REMOVERS[remover]()]
    agent = create_agent(
        pages(5), tools=[look], middleware=middleware if memory_first else middleware[::-1],
        checkpointer=InMemorySaver(),
    )  # fmt: skip
    run(agent, NUTS, how)
    assert texts(memory) == [FACT]
    assert agent.get_state(THREAD).values["memory_waiting"] == {"memory": []}


@pytest.mark.parametrize("memory_first", [True, False])
@pytest.mark.parametrize("remover", ["summary", "trim", "after model"])
def test_the_assistants_words_survive_too_where_they_are_wanted(
    lance_uri: str, remover: str, memory_first: bool
) -> None:
    memory = MemoryMiddleware(lance_uri, model="rules", remember_from=("user", "assistant"))
    middleware = [memory, REMOVERS[remover]()]
    script = [
        calling("look", "The shop is in Denver.", page=1),
        *(calling("look", page=n) for n in range(2, 6)),
        "Done.",
    ]
    agent = create_agent(
        ScriptedChatModel(script), tools=[look], middleware=middleware if memory_first else middleware[::-1],
        checkpointer=InMemorySaver(),
    )  # fmt: skip
    agent.invoke({"messages": NUTS}, THREAD, context=ANN)
    assert FACT in texts(memory)
    assert "Denver" in str(texts(memory))


@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
@pytest.mark.parametrize("failure", ["model", "tool", "recursion"])
def test_the_next_run_takes_up_what_a_failed_one_heard(lance_uri: str, failure: str, how: str) -> None:
    memory = MemoryMiddleware(lance_uri, model="rules")
    script: list[Any] = {
        "model": [OSError("down"), "ok"],
        "tool": [calling("burn"), "ok"],
        "recursion": [*(calling("look", page=page) for page in range(20)), "ok"],
    }[failure]
    agent = create_agent(
        ScriptedChatModel(script), tools=[look, burn], middleware=[memory], checkpointer=InMemorySaver()
    )
    with pytest.raises((OSError, GraphRecursionError)):
        run(agent, NUTS, how, {**THREAD, "recursion_limit": 9})
    assert texts(memory) == []
    # What the app does before the next run: it takes the failed one's messages out.
    agent.update_state(THREAD, {"messages": [RemoveMessage(id=REMOVE_ALL_MESSAGES)]})
    other = create_agent(silent(), middleware=[memory], checkpointer=agent.checkpointer)
    run(other, "I like tea.", how)
    assert sorted(texts(memory)) == [FACT, "User likes tea."]


def test_without_a_checkpointer_the_next_run_of_the_thread_takes_it_up(lance_uri: str) -> None:
    memory = MemoryMiddleware(lance_uri, model="rules")
    agent = create_agent(ScriptedChatModel([OSError("down"), "ok", "ok"]), middleware=[memory])
    with pytest.raises(OSError, match="down"):
        agent.invoke({"messages": NUTS}, THREAD, context=ANN)
    agent.invoke({"messages": "I like tea."}, {"configurable": {"thread_id": "another"}}, context=ANN)
    assert texts(memory) == ["User likes tea."]
    agent.invoke({"messages": "I like rum."}, THREAD, context=ANN)
    assert FACT in texts(memory)


def test_what_a_failed_run_left_is_remembered_by_a_flush(lance_uri: str) -> None:
    memory = MemoryMiddleware(lance_uri, model="rules")
    agent = create_agent(ScriptedChatModel([OSError("down")]), middleware=[memory])
    with pytest.raises(OSError, match="down"):
        agent.invoke({"messages": NUTS}, context=ANN)
    memory.flush(10)
    assert texts(memory) == [FACT]
    memory.flush(10)
    assert len(memory.bank("ann").history()) == 1


def test_a_failed_run_of_one_user_is_not_taken_up_by_another(lance_uri: str) -> None:
    memory = MemoryMiddleware(lance_uri, model="rules")
    agent = create_agent(
        ScriptedChatModel([OSError("down"), "ok", "ok"]), middleware=[memory], checkpointer=InMemorySaver()
    )
    with pytest.raises(OSError, match="down"):
        agent.invoke({"messages": NUTS}, THREAD, context=ANN)
    agent.invoke({"messages": "I like tea."}, THREAD, context={"user_id": "bob"})
    assert (texts(memory), texts(memory, "bob")) == ([], ["User likes tea."])
    agent.invoke({"messages": "I like rum."}, THREAD, context=ANN)
    assert (texts(memory), texts(memory, "bob")) == ([FACT, "User likes rum."], ["User likes tea."])


def test_an_agent_that_is_ended_early_has_heard_all_the_same(lance_uri: str) -> None:
    @before_model(can_jump_to=["end"])
    def stop(state: Any, runtime: Any) -> dict[str, Any]:
        return {"jump_to": "end", "messages": [RemoveMessage(id=REMOVE_ALL_MESSAGES), AIMessage("Enough.")]}

    @before_agent(can_jump_to=["end"])
    def stop_at_once(state: Any, runtime: Any) -> dict[str, Any]:
        return {"jump_to": "end"}

    for number, middleware in enumerate((stop, stop_at_once)):
        for order in (1, -1):
            memory = MemoryMiddleware(f"{lance_uri}-{number}-{order}", model="rules")
            create_agent(silent(), middleware=[memory, middleware][::order]).invoke({"messages": NUTS}, context=ANN)
            assert texts(memory) == [FACT]


def test_what_is_said_while_a_run_waits_is_heard(lance_uri: str) -> None:
    @tool
    def ask() -> str:
        """Asks."""
        return str(interrupt("Well?"))

    memory = MemoryMiddleware(lance_uri, model="rules")
    agent = create_agent(
        ScriptedChatModel([calling("ask"), "Done."]),
        tools=[ask],
        middleware=[memory, trim],
        checkpointer=InMemorySaver(),
    )
    agent.invoke({"messages": "Hello there, my friend!"}, THREAD, context=ANN)
    agent.invoke(Command(resume="yes", update={"messages": [HumanMessage(NUTS)]}), THREAD, context=ANN)
    assert FACT in texts(memory)


def test_what_another_middleware_redacts_is_remembered_redacted(lance_uri: str) -> None:
    memory = MemoryMiddleware(lance_uri, model="rules")
    agent = create_agent(
        silent(), middleware=[memory, PIIMiddleware("email", strategy="redact")], checkpointer=InMemorySaver()
    )
    agent.invoke({"messages": "My address is ann@secret.org now."}, THREAD, context=ANN)
    assert texts(memory)
    assert "secret" not in str(texts(memory))
    files = [path for path in Path(lance_uri).rglob("*") if path.is_file()]
    assert not [path for path in files if b"ann@secret.org" in path.read_bytes()]


def test_two_memories_hear_the_same_and_each_keeps_its_own(lance_uri: str) -> None:
    mine = MemoryMiddleware(lance_uri, model="rules")
    team = MemoryMiddleware(f"{lance_uri}-team", model="rules", namespace="team", name="team")
    agent = create_agent(pages(5), tools=[look], middleware=[mine, summary(), team], checkpointer=InMemorySaver())
    agent.invoke({"messages": NUTS}, THREAD, context=ANN)
    assert texts(mine) == texts(team) == [FACT]


# ---- whose words


def test_the_assistants_words_become_no_memories_unless_wanted(lance_uri: str) -> None:
    for sides, wanted in ((("user",), False), (("user", "assistant"), True), ("assistant", True), ((), False)):
        memory = MemoryMiddleware(f"{lance_uri}-{len(sides)}-{wanted}", model="rules", remember_from=sides)  # type: ignore[arg-type]
        agent = create_agent(silent("I sent the letter to Bob."), middleware=[memory], checkpointer=InMemorySaver())
        for said in (NUTS, "I like tea."):
            result = agent.invoke({"messages": said}, THREAD, context=ANN)
        assert ("letter" in str(texts(memory))) is wanted
        assert (FACT in texts(memory)) is ("user" in sides)
        assert [op["event"] for op in result["memory_ops"]][:1] == (
            ["ADD"] if "user" in sides else [] if not sides else ["NOOP"]
        )
    with pytest.raises(InputError, match="no side 'human'"):
        MemoryMiddleware(lance_uri, remember_from=("human",))  # type: ignore[arg-type]


def test_an_agent_that_quotes_its_memories_recalls_no_more_for_it(lance_uri: str) -> None:
    memory = MemoryMiddleware(lance_uri, model="rules")

    def echo(messages: list[BaseMessage]) -> str:
        return "I understand: " + " and ".join(message.text.replace("\n", " ") for message in messages)

    model = ScriptedChatModel(echo)
    agent = create_agent(model, middleware=[memory], checkpointer=InMemorySaver())
    for said in (NUTS, *["Tell me more."] * 6):
        agent.invoke({"messages": said}, THREAD, context=ANN)
    assert texts(memory) == [FACT]


# ---- agents that speak to agents


def subagent(memory: MemoryMiddleware) -> Any:
    child = create_agent(silent("Done."), middleware=[memory], name="writer")

    @tool
    def task(description: str) -> str:
        """Hands a task to another agent."""
        return str(child.invoke({"messages": [HumanMessage(description)]})["messages"][-1].text)

    return task


def asked_of(agent: Any, messages: list[Any]) -> None:
    """Run an agent as a node of an app."""
    graph: Any = StateGraph(MessagesState).add_node("writer", agent).add_edge(START, "writer").compile()
    graph.invoke({"messages": messages}, context=ANN)


TASK = "I am a supervisor agent. I need a poem about cats."


@pytest.mark.parametrize("checkpointed", [True, False])
@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
def test_a_task_that_an_agent_hands_to_another_one_is_nobodys_words(
    lance_uri: str, how: str, checkpointed: bool
) -> None:
    memory = MemoryMiddleware(lance_uri, model="rules")
    parent = create_agent(
        ScriptedChatModel([calling("task", description=TASK), "Here it is."]), tools=[subagent(memory)],
        checkpointer=InMemorySaver() if checkpointed else None,
    )  # fmt: skip
    run(parent, NUTS, how)
    assert memory.bank("ann").history() == []


def test_a_task_deep_below_a_tool_is_nobodys_words_either(lance_uri: str) -> None:
    memory = MemoryMiddleware(lance_uri, model="rules")
    graph: Any = StateGraph(MessagesState).add_node("writer", create_agent(silent(), middleware=[memory]))
    compiled = graph.add_edge(START, "writer").compile()

    @tool
    def task(description: str) -> str:
        """Hands a task over."""
        return str(compiled.invoke({"messages": description})["messages"][-1].text)

    script = [calling("task", description=TASK), "Here it is."]
    create_agent(ScriptedChatModel(script), tools=[task]).invoke({"messages": NUTS}, context=ANN)
    assert memory.bank("ann").history() == []


def test_a_task_behind_the_supervisors_call_and_a_colleagues_report_are_passed_over(lance_uri: str) -> None:
    memory = MemoryMiddleware(lance_uri, model="rules")
    call = calling("transfer_to_writer", task=TASK)
    said = [
        HumanMessage(NUTS),
        AIMessage("Let us see.", name="researcher"),
        HumanMessage("I found that I am in Oslo.", name="researcher"),
        call,
        ToolMessage("Transferred.", tool_call_id=str(call.tool_calls[0]["id"])),
        HumanMessage(TASK),
    ]
    asked_of(create_agent(silent(), middleware=[memory]), said)
    assert texts(memory) == [FACT]


def test_an_agent_that_is_a_node_hears_the_user(lance_uri: str) -> None:
    memory = MemoryMiddleware(lance_uri, model="rules")
    graph: Any = StateGraph(MessagesState).add_node("writer", create_agent(silent(), middleware=[memory]))
    graph.add_edge(START, "writer").compile(store=InMemoryStore()).invoke({"messages": NUTS}, context=ANN)
    assert texts(memory) == [FACT]


@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
@pytest.mark.parametrize("nested", [True, False])
def test_a_user_who_is_called_like_the_agent_is_heard(lance_uri: str, nested: bool, how: str) -> None:
    memory = MemoryMiddleware(lance_uri, model="rules")
    agent: Any = create_agent(
        silent(), middleware=[memory], name="Alex", checkpointer=None if nested else InMemorySaver()
    )
    if nested:
        graph: Any = StateGraph(MessagesState).add_node("alex", agent).add_edge(START, "alex")
        agent = graph.compile(checkpointer=InMemorySaver())
    for said in ("I like tea.", NUTS):
        run(agent, [HumanMessage(said, name="Alex")], how)
    assert len(texts(memory)) == 2
    assert "nuts" in str(texts(memory))


def test_a_user_who_is_called_like_one_of_several_agents_is_heard(lance_uri: str) -> None:
    memory = MemoryMiddleware(lance_uri, model="rules")
    said = [HumanMessage("Hello.", name="Alex"), AIMessage("Hi!", name="Alex"), AIMessage("Hey!", name="Bo")]
    asked_of(create_agent(silent(), middleware=[memory]), [*said, HumanMessage(NUTS, name="Alex")])
    assert "nuts" in str(texts(memory))


@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
def test_a_user_who_repeats_what_a_tool_was_called_with_is_heard(lance_uri: str, how: str) -> None:
    @tool(return_direct=True)
    def confirm(fact: str) -> str:
        """Asks whether it was understood."""
        return f"Is it right that: {fact}"

    memory = MemoryMiddleware(lance_uri, model="rules")
    agent = create_agent(
        ScriptedChatModel([calling("confirm", fact=NUTS), "ok"]), tools=[confirm], middleware=[memory],
        checkpointer=InMemorySaver(),
    )  # fmt: skip
    run(agent, "Nuts make me ill.", how)
    run(agent, NUTS, how)
    assert FACT in texts(memory)


def test_without_a_checkpointer_the_app_sends_the_call_again_and_the_user_is_heard(lance_uri: str) -> None:
    memory = MemoryMiddleware(lance_uri, model="rules")
    call = calling("confirm", fact=NUTS)
    asked = ToolMessage("Is it right?", tool_call_id=str(call.tool_calls[0]["id"]))
    create_agent(silent(), middleware=[memory]).invoke({"messages": [call, asked, HumanMessage(NUTS)]}, context=ANN)
    assert texts(memory) == [FACT]
