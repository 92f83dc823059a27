"""One coroutine, three runners: what a role awaits, what is thrown into it, and what is refused."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from langgraph_memory_r1.steps import Agent, CallModel, RunBlocking, next_call, run_async, run_sync
from langgraph_memory_r1.testing import ScriptedChatModel

Runner = Callable[[Coroutine[Any, Any, Any]], Any]

WHO: ContextVar[str] = ContextVar("WHO", default="nobody")


def batched(role: Coroutine[Any, Any, Any]) -> Any:
    """A runner as the trainer's: it replies itself."""
    reply: Any = None
    try:
        while True:
            call = next_call(role, reply)
            try:
                reply = call.agent.model.invoke(list(call.messages))
            except Exception as error:
                reply = error
    except StopIteration as stop:
        return stop.value
    finally:
        role.close()


RUNNERS: dict[str, Runner] = {
    "sync": run_sync,
    "async": lambda role: asyncio.run(run_async(role)),
    "batched": batched,
}


@pytest.fixture(params=RUNNERS)
def run(request: pytest.FixtureRequest) -> Runner:
    return RUNNERS[request.param]


def agent(*replies: Any) -> Agent:
    return Agent("extract", ScriptedChatModel(list(replies)))


def test_a_role_is_sent_what_its_effects_give(run: Runner) -> None:
    async def role() -> str:
        number = await RunBlocking(lambda: 2)
        reply = await CallModel(agent("four"), [HumanMessage("?")])
        return f"{number}+{number}={reply.text}"

    assert run(role()) == "2+2=four"


def test_a_failure_is_thrown_into_the_role(run: Runner) -> None:
    async def role() -> list[str]:
        failures = []
        for effect in (RunBlocking(lambda: 1 // 0), CallModel(agent(OSError("down")), [HumanMessage("?")])):
            try:
                await effect
            except (OSError, ZeroDivisionError) as error:
                failures.append(type(error).__name__)
        return failures

    assert run(role()) == ["ZeroDivisionError", "OSError"]


def test_a_failure_that_the_role_does_not_catch_comes_out(run: Runner) -> None:
    async def role() -> None:
        await RunBlocking(lambda: 1 // 0)

    with pytest.raises(ZeroDivisionError):
        run(role())


def test_an_exception_that_an_action_returns_is_a_result(run: Runner) -> None:
    async def role() -> Exception:
        return await RunBlocking(lambda: ValueError("a value"))

    assert str(run(role())) == "a value"


def test_awaiting_anything_else_is_refused_where_it_is_awaited(run: Runner) -> None:
    """A role that waited for the event loop would hang or fail in the runners that have none."""
    after: list[str] = []

    async def role() -> None:
        try:
            await asyncio.sleep(0)
        finally:
            after.append("cleaned up")

    with pytest.raises(TypeError, match="may only await CallModel, RunBlocking, Wait and other roles"):
        run(role())
    assert after == ["cleaned up"]


async def test_a_future_of_the_event_loop_is_refused_too() -> None:
    async def role() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(TypeError, match="A role awaited <Future"):
        await run_async(role())


def test_an_interrupted_role_ends_where_it_stands() -> None:
    ended: list[str] = []

    def interrupt() -> None:
        raise KeyboardInterrupt

    async def role() -> None:
        try:
            await RunBlocking(interrupt)
        finally:
            ended.append("closed")

    with pytest.raises(KeyboardInterrupt):
        run_sync(role())
    assert ended == ["closed"]


async def test_a_cancelled_role_ends_where_it_stands() -> None:
    ended: list[str] = []
    slow = Agent("extract", ScriptedChatModel(lambda _: "late", delay=5))

    async def role() -> None:
        try:
            await CallModel(slow, [HumanMessage("?")])
        finally:
            ended.append("closed")

    task = asyncio.create_task(run_async(role()))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["closed"]


async def test_what_may_block_runs_beside_the_loop_in_the_context_of_the_run() -> None:
    async def role() -> tuple[str, str]:
        return await RunBlocking(lambda: (WHO.get(), threading.current_thread().name))

    WHO.set("ann")
    who, thread = await run_async(role())
    assert who == "ann" and thread.startswith("memory-r1")


def test_the_metadata_of_a_call_says_which_role_spoke() -> None:
    config = CallModel(agent("x"), [], {"memory_bank": "b1"}).config({"tags": ["mine"], "metadata": {"user": "ann"}})
    assert config["run_name"] == "memory_extract" and config["tags"][0] == "mine"
    assert config["metadata"] | {"user": "ann", "memory_role": "extract", "memory_bank": "b1"} == config["metadata"]


def test_a_reply_is_what_the_model_said() -> None:
    async def role() -> AIMessage:
        reply = await CallModel(agent("hello"), [HumanMessage("?")])
        assert isinstance(reply, AIMessage)
        return reply

    assert run_sync(role()).text == "hello"
