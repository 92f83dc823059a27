"""A real model server is killed in the middle of a conversation: what the agent's user sees, and what is remembered."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver

from langgraph_memory_r1 import MemoryMiddleware, ModelError, load_chat_model
from langgraph_memory_r1.testing import ScriptedChatModel
from support.model_server import HOLD, ModelServer, model_server

pytestmark = pytest.mark.slow

BUDDY, SCOUT = "I adopted a dog called Buddy.", "I adopted another dog, Scout!"
FIRST = "User adopted a dog called Buddy."
BOTH = f"{FIRST} User adopted another dog, Scout!"
ANN = {"user_id": "ann@example.com"}
THREAD: RunnableConfig = {"configurable": {"thread_id": "t"}}

Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ModelServer]:
    with model_server(tmp_path) as server:
        yield server


@pytest.fixture(params=["invoke", "ainvoke"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """Says something to an agent, sync or async."""

    def run(agent: Any, said: str) -> dict[str, Any]:
        state = {"messages": said}
        if request.param == "invoke":
            return dict(agent.invoke(state, THREAD, context=ANN))
        return dict(asyncio.run(agent.ainvoke(state, THREAD, context=ANN)))

    return run


def agent_with(memory: MemoryMiddleware, model: Any = None) -> Any:
    """An agent whose own model is elsewhere, unless one is given."""
    own = model or ScriptedChatModel(lambda _: "Nice!")
    return create_agent(own, middleware=[memory], checkpointer=InMemorySaver())


def texts(memory: MemoryMiddleware) -> list[str]:
    return [item.text for item in memory.bank(ANN["user_id"]).all()]


def failures(result: dict[str, Any]) -> list[str]:
    return [operation["reason"] for operation in result["memory_ops"] if operation["event"] == "ERROR"]


def cursor(agent: Any) -> str | None:
    found: str | None = agent.get_state(THREAD).values["memory_cursor"]["memory"]
    return found


def test_the_agent_answers_and_the_turn_is_remembered_when_the_server_is_back(
    server: ModelServer, lance_uri: str, ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    memory = MemoryMiddleware(lance_uri, model=server.spec)
    agent = agent_with(memory)
    first = ask(agent, BUDDY)
    assert (texts(memory), failures(first), cursor(agent)) == ([FIRST], [], first["messages"][-1].id)

    server.kill()
    with caplog.at_level(logging.WARNING):
        alone = ask(agent, SCOUT)
    assert alone["messages"][-1].text == "Nice!"
    (reason,) = failures(alone)
    assert f"'baseline' at http://127.0.0.1:{server.port}/v1 cannot be reached; is the server running?" in reason
    assert "the run goes on" in caplog.text and str(server.port) in caplog.text
    assert cursor(agent) == first["messages"][-1].id
    assert texts(memory) == [FIRST]

    server.start()
    back = ask(agent, "Hello again!")
    assert (texts(memory), failures(back), cursor(agent)) == ([BOTH], [], back["messages"][-1].id)
    ask(agent, "And again!")
    changes = [change.event for change in memory.bank(ANN["user_id"]).history() if change.event != "NOOP"]
    assert changes == ["ADD", "UPDATE"]
    assert [SCOUT in text for text in server.asked()].count(True) == 1


def test_a_reply_that_breaks_off_half_way_is_a_failure_like_any_other(
    server: ModelServer, lance_uri: str, ask: Ask
) -> None:
    memory = MemoryMiddleware(lance_uri, model=server.spec)
    agent = agent_with(memory)
    killer = threading.Thread(target=kill_when_asked, args=(server, HOLD))
    killer.start()
    alone = ask(agent, f"{BUDDY} You need not {HOLD}.")
    killer.join()
    assert alone["messages"][-1].text == "Nice!"
    assert ["broke off" in reason for reason in failures(alone)] == [True]
    assert (cursor(agent), texts(memory)) == (None, [])


def kill_when_asked(server: ModelServer, words: str) -> None:
    end = time.monotonic() + 30
    while not any(words in text for text in server.asked()):
        assert time.monotonic() < end
        time.sleep(0.01)
    server.kill()


def test_an_agent_that_lost_its_own_model_says_so_and_remembers_all_when_it_is_back(
    server: ModelServer, lance_uri: str, ask: Ask
) -> None:
    model = load_chat_model(server.spec)
    memory = MemoryMiddleware(lance_uri)
    agent = agent_with(memory, model)
    ask(agent, BUDDY)
    server.kill()
    with pytest.raises(ModelError, match=r"cannot be reached; is the server running\?"):
        ask(agent, SCOUT)
    assert texts(memory) == [FIRST]
    server.start()
    back = ask(agent, "How many dogs do I have?")  # what was said to the dead agent stands in its thread
    assert [message.text for message in back["messages"]].count(SCOUT) == 1
    assert (texts(memory), failures(back)) == ([BOTH], [])
    assert ask(agent, "How many dogs do I have?")["messages"][-1].text == "2"


def test_in_the_background_the_failure_is_told_at_the_next_run(
    server: ModelServer, lance_uri: str, ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    memory = MemoryMiddleware(lance_uri, model=server.spec, write="background", delay=60)
    agent = agent_with(memory)
    ask(agent, BUDDY)
    memory.flush(30)
    server.kill()
    assert ask(agent, SCOUT)["messages"][-1].text == "Nice!"
    with caplog.at_level(logging.WARNING):
        memory.flush(30)
    assert "failed in the background" in caplog.text and str(server.port) in caplog.text
    assert texts(memory) == [FIRST]
    told = ask(agent, "Hello again!")
    assert ["cannot be reached" in reason for reason in failures(told)] == [True]
    server.start()
    memory.flush(30)
    assert texts(memory) == [BOTH]
    assert failures(ask(agent, "And again!")) == []
    memory.flush(30)
    changes = [change.event for change in memory.bank(ANN["user_id"]).history() if change.event != "NOOP"]
    assert changes == ["ADD", "UPDATE"]


ENDS = """
import sys
from langchain.agents import create_agent
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph_memory_r1 import MemoryMiddleware
from langgraph_memory_r1.testing import ScriptedChatModel
bank, spec, thread, said = sys.argv[1:]
memory = MemoryMiddleware(bank, model=spec, write="background", delay=60)
with SqliteSaver.from_conn_string(thread) as saver:
    agent = create_agent(ScriptedChatModel(lambda _: "Nice!"), middleware=[memory], checkpointer=saver)
    config = {"configurable": {"thread_id": "t"}}
    print(agent.invoke({"messages": said}, config, context={"user_id": "ann@example.com"})["messages"][-1].text)
"""


def test_a_process_that_ends_while_the_server_is_dead_leaves_the_turn_to_the_next_one(
    server: ModelServer, lance_uri: str, tmp_path: Path
) -> None:
    thread = str(tmp_path / "threads.sqlite")
    server.kill()
    command = [sys.executable, "-c", ENDS, lance_uri, server.spec, thread, BUDDY]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "Nice!\n"), done.stderr
    assert "cannot be reached" in done.stderr
    server.start()
    memory = MemoryMiddleware(lance_uri, model=server.spec)
    with SqliteSaver.from_conn_string(thread) as saver:
        own = ScriptedChatModel(lambda _: "Nice!")
        agent = create_agent(own, middleware=[memory], checkpointer=saver)
        agent.invoke({"messages": "Hello again!"}, THREAD, context=ANN)
    assert texts(memory) == [FIRST]
