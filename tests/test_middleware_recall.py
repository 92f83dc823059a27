"""Memories reach the model in whatever order middleware comes, and whatever it does to the system message."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    ModelRequest,
    ModelRetryMiddleware,
    dynamic_prompt,
    wrap_model_call,
)
from langchain_core.messages import SystemMessage

from langgraph_memory_r1 import Add, MemoryMiddleware
from langgraph_memory_r1.prompts.recall import read_recalled
from langgraph_memory_r1.testing import ScriptedChatModel
from langgraph_memory_r1.turns import is_recalled

ANN = {"user_id": "ann"}
DOG = "Ann has a dog, Buddy."


def silent() -> ScriptedChatModel:
    return ScriptedChatModel(lambda _: "ok")


@dynamic_prompt
def as_text(request: ModelRequest[Any]) -> str:
    return "Be kind."


@dynamic_prompt
def as_message(request: ModelRequest[Any]) -> SystemMessage:
    return SystemMessage([{"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}])


@dynamic_prompt
def in_front(request: ModelRequest[Any]) -> str:
    return f"Be kind.\n\n{request.system_prompt}"


@wrap_model_call
def by_override(request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Any]) -> Any:
    request = request.override(system_message=None)
    return handler(request.override(system_prompt="Be kind.", model=request.model))  # type: ignore[call-arg]


class Removing(AgentMiddleware[Any, Any, Any]):
    """Takes the system message away, sync and async."""

    def wrap_model_call(self, request: ModelRequest[Any], handler: Any) -> Any:
        return handler(request.override(system_message=None))

    async def awrap_model_call(self, request: ModelRequest[Any], handler: Any) -> Any:
        return await handler(request.override(system_message=None))


@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
@pytest.mark.parametrize("memory_first", [True, False])
@pytest.mark.parametrize("prompt", [as_text, as_message, in_front, by_override, Removing()])
def test_memories_survive_another_prompt(lance_uri: str, prompt: Any, memory_first: bool, how: str) -> None:
    if how == "ainvoke" and prompt is by_override:
        pytest.skip("a sync wrapper")
    memory = MemoryMiddleware(lance_uri, model="rules")
    memory.bank("ann").apply([Add(DOG, "Ann")])
    middleware = [memory, prompt] if memory_first else [prompt, memory]
    model = silent()
    agent = create_agent(model, system_prompt="Be brief.", middleware=middleware)
    if how == "invoke":
        agent.invoke({"messages": "Hello!"}, context=ANN)
    else:
        asyncio.run(agent.ainvoke({"messages": "Hello!"}, context=ANN))
    system = model.calls[0][0]
    assert isinstance(system, SystemMessage)
    assert system.text.count("<memories>") == 1
    assert [found.text for found in read_recalled(system.text)] == [DOG]
    assert is_recalled(system)
    assert ("Be kind." in system.text) is (not isinstance(prompt, Removing))


def test_two_memories_survive_a_prompt_between_and_behind_them(lance_uri: str) -> None:
    mine = MemoryMiddleware(lance_uri, model="rules")
    team = MemoryMiddleware(lance_uri, model="rules", name="team", namespace="team")
    mine.bank("ann").apply([Add(DOG)])
    team.bank().apply([Add("The team meets on Monday.")])
    model = silent()
    middleware = [mine, as_text, team, as_message, ModelRetryMiddleware()]
    create_agent(model, middleware=middleware).invoke({"messages": "Hello!"}, context=ANN)
    text = model.calls[0][0].text
    assert (text.count("<memories>"), DOG in text, "Monday" in text, "Be kind." in text) == (2, True, True, True)


def test_a_prompt_is_left_as_it_is_where_nothing_is_known(lance_uri: str) -> None:
    model = silent()
    agent = create_agent(model, middleware=[MemoryMiddleware(lance_uri, model="rules"), as_text])
    agent.invoke({"messages": "Hello!"}, context=ANN)
    assert model.calls[0][0].text == "Be kind."
