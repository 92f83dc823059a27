"""Reviews in the shape of LangChain's human-in-the-loop middleware, so that its approval screens work on memories."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command

from langgraph_memory_r1 import Add, MemoryMiddleware
from langgraph_memory_r1.testing import ScriptedChatModel

ANN = {"user_id": "ann"}
THREAD: RunnableConfig = {"configurable": {"thread_id": "t"}}
FACT = '{"facts":[{"text":"User sold the dog Buddy.","turns":[0]}]}'
DELETE = '{"operations":[{"event":"DELETE","id":0,"fact":0}]}'
UPDATE = '{"operations":[{"event":"UPDATE","id":0,"fact":0,"text":"User had a dog, Buddy."}]}'
DOG = "User has a dog, Buddy."


def waiting(store: Any, decision: str = DELETE, **options: Any) -> tuple[Any, MemoryMiddleware, dict[str, Any]]:
    """An agent that waits for a review, its memory and what it asks."""
    memory = MemoryMiddleware(store, model=ScriptedChatModel([FACT, decision] * 2), review="update", **options)
    memory.bank("ann").apply([Add(DOG)])
    model = ScriptedChatModel(lambda _: "Nice!")
    agent = create_agent(model, middleware=[memory], checkpointer=InMemorySaver())
    (request,) = agent.invoke({"messages": "I sold Buddy."}, THREAD, context=ANN)["__interrupt__"]
    return agent, memory, request.value


def resume(agent: Any, reply: Any) -> list[dict[str, Any]]:
    return list(agent.invoke(Command(resume=reply), THREAD, context=ANN)["memory_ops"])


def texts(memory: MemoryMiddleware) -> list[str]:
    return [item.text for item in memory.bank("ann").all()]


@pytest.mark.parametrize(("decision", "name", "text"), [
    (DELETE, "delete_memory", DOG), (UPDATE, "update_memory", "User had a dog, Buddy."),
])  # fmt: skip
def test_a_review_asks_as_langchains_approvals_do(lance_uri: str, decision: str, name: str, text: str) -> None:
    _, memory, request = waiting(lance_uri, decision)
    (action,) = request["action_requests"]
    assert (action["name"], action["args"]) == (name, {"memory_id": memory.bank("ann").all()[0].id, "text": text})
    assert DOG in action["description"]
    assert request["review_configs"] == [{"action_name": name, "allowed_decisions": ["approve", "edit", "reject"]}]


@pytest.mark.parametrize("decision", [DELETE, UPDATE])
@pytest.mark.parametrize("reply", [
    {"decisions": [{"type": "approve"}]}, [{"type": "approve"}], {"type": "accept"}, True,
])  # fmt: skip
def test_what_is_approved_is_done(lance_uri: str, decision: str, reply: Any) -> None:
    agent, memory, _ = waiting(lance_uri, decision)
    (operation,) = resume(agent, reply)
    assert operation["event"] == ("DELETE" if decision == DELETE else "UPDATE")
    assert texts(memory) == ([] if decision == DELETE else ["User had a dog, Buddy."])


@pytest.mark.parametrize("message", ["", "She only lent him."])
def test_what_is_rejected_is_not_done_and_says_why(lance_uri: str, message: str) -> None:
    agent, memory, _ = waiting(lance_uri)
    (operation,) = resume(agent, {"decisions": [{"type": "reject", "message": message}]})
    assert (operation["event"], message in operation["reason"]) == ("NOOP", True)
    assert texts(memory) == [DOG]


@pytest.mark.parametrize("decision", [DELETE, UPDATE])
def test_what_is_edited_is_done_as_it_was_edited(lance_uri: str, decision: str) -> None:
    agent, memory, request = waiting(lance_uri, decision, redact=lambda text: text.replace("Eve", "[name]"))
    (action,) = request["action_requests"]
    args = {**action["args"], "text": "User sold the dog Buddy to Eve."}
    (operation,) = resume(
        agent, {"decisions": [{"type": "edit", "edited_action": {"name": action["name"], "args": args}}]}
    )
    assert operation["event"] == "UPDATE"
    assert texts(memory) == ["User sold the dog Buddy to [name]."]


def test_an_edit_that_changes_nothing_is_an_approval(lance_uri: str) -> None:
    agent, memory, request = waiting(lance_uri)
    action = {key: request["action_requests"][0][key] for key in ("name", "args")}
    (operation,) = resume(agent, {"decisions": [{"type": "edit", "edited_action": action}]})
    assert (operation["event"], texts(memory)) == ("DELETE", [])


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        ({"decisions": []}, "cannot be understood"),
        ({"decisions": [{"type": "approve"}, {"type": "approve"}]}, "1 changes, and 2 decisions"),
        ({"decisions": [{"type": "respond", "message": "no"}]}, "approve, reject, or edit"),
        ({"decisions": [{"type": "edit"}]}, "approve, reject, or edit"),
        ({"decisions": [{"type": "edit", "edited_action": {"name": "x", "args": {"text": " "}}}]}, "or edit"),
        ({"decisions": [{"type": "edit", "edited_action": {"args": {"memory_id": "z", "text": "a"}}}]}, "which memory"),
    ],
)
def test_a_decision_that_cannot_be_understood_changes_nothing(lance_uri: str, reply: Any, told: str) -> None:
    agent, memory, _ = waiting(lance_uri)
    (operation,) = resume(agent, reply)
    assert (operation["event"], told in operation["reason"]) == ("ERROR", True)
    assert texts(memory) == [DOG]


def test_of_several_changes_each_has_its_decision(lance_uri: str) -> None:
    update = '{"event":"UPDATE","id":1,"fact":0,"text":"User likes tea."}'
    both = f'{{"operations":[{{"event":"DELETE","id":0,"fact":0}},{update}]}}'
    memory = MemoryMiddleware(lance_uri, model=ScriptedChatModel([FACT, both]), review="update")
    memory.bank("ann").apply([Add(DOG), Add("User likes coffee, sold by Buddy.")])
    agent = create_agent(ScriptedChatModel(lambda _: "ok"), middleware=[memory], checkpointer=InMemorySaver())
    (request,) = agent.invoke({"messages": "I sold Buddy."}, THREAD, context=ANN)["__interrupt__"]
    kinds = {"delete_memory": "reject", "update_memory": "approve"}
    resume(agent, {"decisions": [{"type": kinds[action["name"]]} for action in request.value["action_requests"]]})
    assert texts(memory) == [DOG, "User likes tea."]


def test_a_review_and_an_approval_of_a_tool_are_answered_alike(lance_uri: str) -> None:
    @tool
    def send(to: str) -> str:
        """Sends."""
        return f"sent to {to}"

    memory = MemoryMiddleware(lance_uri, model=ScriptedChatModel([FACT, DELETE]), review="delete")
    memory.bank("ann").apply([Add(DOG)])
    call = AIMessage("", tool_calls=[{"name": "send", "args": {"to": "Bob"}, "id": "1"}])
    agent = create_agent(
        ScriptedChatModel([call, "Done."]), tools=[send], checkpointer=InMemorySaver(),
        middleware=[memory, HumanInTheLoopMiddleware(interrupt_on={"send": True})],
    )  # fmt: skip
    asked = []
    state: Any = {"messages": "I sold Buddy. Tell Bob!"}
    while requests := (result := agent.invoke(state, THREAD, context=ANN)).get("__interrupt__"):
        asked += [action["name"] for action in requests[0].value["action_requests"]]
        state = Command(resume={"decisions": [{"type": "approve"}]})
    assert (asked, result["messages"][-1].text, texts(memory)) == (["send", "delete_memory"], "Done.", [])


# ---- nobody else decides what waits for a review


@pytest.mark.parametrize("folder", [True, False], ids=["folder", "store"])
def test_a_flush_decides_nothing_that_waits_for_a_review(lance_uri: str, folder: bool) -> None:
    agent, memory, _ = waiting(lance_uri if folder else InMemoryStore())
    memory.flush(10)
    assert texts(memory) == [DOG]
    (operation,) = resume(agent, False)
    assert (operation["event"], texts(memory)) == ("NOOP", [DOG])


@pytest.mark.parametrize("review", ["update", None])
def test_the_next_process_decides_nothing_that_waits_for_a_review(lance_uri: str, review: Any) -> None:
    agent, memory, _ = waiting(lance_uri)
    saver = agent.checkpointer
    del agent, memory
    gc.collect()  # as after the end of a process
    assert not list(Path(lance_uri, "pending").glob("*.json"))
    later = MemoryMiddleware(lance_uri, model=ScriptedChatModel([FACT, DELETE]), review=review)
    run = create_agent(ScriptedChatModel(lambda _: "ok"), middleware=[later])
    run.invoke({"messages": []}, context={"user_id": "bob"})
    later.flush(10)
    assert texts(later) == [DOG]
    if review:
        again = create_agent(ScriptedChatModel(lambda _: "ok"), middleware=[later], checkpointer=saver)
        assert [operation["event"] for operation in resume(again, True)] == ["DELETE"]


def fail_to_answer(uri: str) -> None:
    """A run that fails after it was heard, without a review, in a middleware that is gone afterwards."""
    memory = MemoryMiddleware(uri, model="rules")
    agent = create_agent(ScriptedChatModel([OSError("down")]), middleware=[memory])
    with pytest.raises(OSError, match="down"):
        agent.invoke({"messages": "I sold Buddy."}, THREAD, context=ANN)
    del memory, agent
    gc.collect()


def test_what_was_left_without_a_review_is_not_decided_where_there_is_one(lance_uri: str) -> None:
    fail_to_answer(lance_uri)
    options: Any = {"model": ScriptedChatModel([FACT, DELETE])}
    later = MemoryMiddleware(lance_uri, review="delete", **options)
    later.bank("ann").apply([Add(DOG)])
    later.flush(10)
    assert texts(later) == [DOG]
    MemoryMiddleware(lance_uri, **options).flush(10)
    assert texts(later) == []


def test_what_a_failed_run_heard_is_reviewed_in_the_next_run_of_its_thread(lance_uri: str) -> None:
    memory = MemoryMiddleware(lance_uri, model=ScriptedChatModel([FACT, DELETE] * 2), review="delete")
    memory.bank("ann").apply([Add(DOG)])
    model = ScriptedChatModel([OSError("down"), "Hello!"])
    agent = create_agent(model, middleware=[memory], checkpointer=InMemorySaver())
    with pytest.raises(OSError, match="down"):
        agent.invoke({"messages": "I sold Buddy."}, THREAD, context=ANN)
    memory.flush(10)
    assert texts(memory) == [DOG]
    assert agent.invoke({"messages": "Hi."}, THREAD, context=ANN)["__interrupt__"]
    assert resume(agent, True)[0]["event"] == "DELETE"
