"""The memory tools: langmem's names and shapes, LangChain's standard tests, ids that must exist, history and undo."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import BaseTool
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests
from langgraph.store.base import BaseStore, SearchItem
from pydantic import BaseModel, ValidationError

from langgraph_memory_r1 import (
    Add,
    InputError,
    LanceDBStore,
    MemoryBank,
    create_manage_memory_tool,
    create_search_memory_tool,
)
from langgraph_memory_r1.testing import ScriptedChatModel

ANN = {"configurable": {"user_id": "ann@example.com"}}

Call = Callable[..., Any]


@pytest.fixture(params=["invoke", "ainvoke"])
def call(request: pytest.FixtureRequest) -> Call:
    """Uses a tool, sync or async."""

    def run(tool: BaseTool, config: Any = ANN, **arguments: Any) -> Any:
        if request.param == "invoke":
            return tool.invoke(arguments, config)
        return asyncio.run(tool.ainvoke(arguments, config))

    return run


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[MemoryBank]:
    with LanceDBStore(tmp_path / "bank") as store:
        yield MemoryBank(store, "ann")


class Standard:
    """What both standard suites are told; a folder of their own is made for each test."""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.place = tmp_path / "db"


class TestManageMemoryUnit(Standard, ToolsUnitTests):
    @property
    def tool_constructor(self) -> Any:
        return create_manage_memory_tool(store=self.place)

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"content": "Ann has a dog.", "action": "create"}


class TestManageMemoryIntegration(Standard, ToolsIntegrationTests):
    @property
    def tool_constructor(self) -> Any:
        return create_manage_memory_tool(store=self.place)

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"content": "Ann has a dog.", "action": "create"}


class TestSearchMemoryUnit(Standard, ToolsUnitTests):
    @property
    def tool_constructor(self) -> Any:
        return create_search_memory_tool(store=self.place)

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"query": "dog", "limit": 3}


class TestSearchMemoryIntegration(Standard, ToolsIntegrationTests):
    @property
    def tool_constructor(self) -> Any:
        return create_search_memory_tool(store=self.place, response_format="content_and_artifact")

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"query": "dog", "limit": 3}


def test_a_memory_is_created_found_updated_and_deleted(store: BaseStore, call: Call) -> None:
    manage, search = create_manage_memory_tool(store=store), create_search_memory_tool(store=store)
    created = call(manage, content="Ann has a dog.")
    assert created.startswith("created memory ")
    key = created.removeprefix("created memory ")
    assert call(manage, content="Ann has two dogs.", action="update", id=key) == f"updated memory {key}"
    (found,) = json.loads(call(search, query="dogs"))
    assert (found["key"], found["value"]["content"]) == (key, "Ann has two dogs.")
    assert set(found) == {"namespace", "key", "value", "created_at", "updated_at", "score"}
    assert json.loads(call(search, {"configurable": {"user_id": "bob"}}, query="dogs")) == []
    assert call(manage, action="delete", id=key) == f"Deleted memory {key}"
    bank = MemoryBank(store, "ann@example.com")
    assert [change.event for change in bank.history()] == ["ADD", "UPDATE", "DELETE"]
    assert bank.undo().after.text == "Ann has two dogs."  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"action": "update", "id": "nobody", "content": "x"}, "no memory 'nobody'"),
        ({"action": "delete", "id": "9b2cf4a0-0000-4000-8000-000000000000"}, "no memory"),
        ({"action": "delete"}, "Give the id"),
        ({"action": "update", "content": "x"}, "Give the id"),
        ({"action": "create", "content": "x", "id": "abc"}, "leave out id"),
        ({"action": "create"}, "Give content"),
        ({"action": "update", "id": "abc", "content": " "}, "Give content"),
    ],
)
def test_a_model_is_told_what_it_did_wrong(store: BaseStore, arguments: dict[str, Any], told: str) -> None:
    bank = MemoryBank(store, "ann@example.com")
    bank.apply([Add("Ann has a dog.")])
    tool = create_manage_memory_tool(store=store)
    message = tool.invoke({"type": "tool_call", "name": tool.name, "id": "1", "args": arguments}, ANN)
    assert isinstance(message, ToolMessage)
    assert message.status == "error"
    assert told in message.text
    assert [memory.text for memory in bank.all()] == ["Ann has a dog."]


def test_a_search_pages_and_filters(store: BaseStore, call: Call) -> None:
    bank = MemoryBank(store, "ann@example.com")
    bank.apply([Add(f"Dog number {number}.", "Ann" if number % 2 else "Bob") for number in range(6)])
    search = create_search_memory_tool(store=store, response_format="content_and_artifact", name="look")
    assert search.name == "look"

    def keys(**options: Any) -> list[str]:
        return [item["value"]["content"] for item in json.loads(call(search, query="dog", **options))]

    assert len(set(keys(limit=2) + keys(limit=2, offset=2) + keys(limit=9, offset=4))) == 6
    assert sorted(keys(filter={"speaker": "Ann"})) == [f"Dog number {number}." for number in (1, 3, 5)]
    assert len(keys(filter={"speaker": {"$in": ["Bob"]}}, limit=2)) == 2
    assert keys(limit=0) == []
    message = search.invoke({"type": "tool_call", "name": "look", "id": "1", "args": {"query": "dog"}}, ANN)
    assert all(isinstance(item, SearchItem) for item in message.artifact)
    wrong = {"query": "dog", "filter": {"speaker": {"$like": 1}}}
    assert "filter cannot be used" in search.invoke(wrong, ANN)


class Profile(BaseModel):
    """What an app remembers."""

    name: str
    age: int


def test_a_memory_may_have_a_schema_and_actions_may_be_fewer(store: BaseStore, call: Call) -> None:
    tool = create_manage_memory_tool(store=store, schema=Profile, actions_permitted=("create",), name="note")
    assert set(tool.args) == {"content", "action"}
    assert "Create lasting memories" in tool.description
    call(tool, content={"name": "Ann", "age": 40})
    assert [json.loads(memory.text) for memory in MemoryBank(store, "ann@example.com").all()] == [
        {"name": "Ann", "age": 40}
    ]
    for wrong in ({"content": {"name": "Ann"}}, {"content": {"name": "Ann", "age": 1}, "action": "delete"}):
        with pytest.raises(ValidationError):
            call(tool, **wrong)
    with pytest.raises(InputError, match="actions"):
        create_manage_memory_tool(store=store, actions_permitted=())


@pytest.mark.parametrize(
    ("namespace", "labels"),
    [
        (("memories", "{langgraph_user_id}"), "ann@example.com"),
        (("org", "{team}", "{user_id}"), ("org", "x.y", "ann@example.com")),
        ("{user_id}", "ann@example.com"),
        (("shared",), ("shared",)),
    ],
)
def test_a_namespace_is_filled_in(store: BaseStore, call: Call, namespace: Any, labels: Any) -> None:
    tool = create_manage_memory_tool(store, namespace)
    call(tool, {"configurable": {**ANN["configurable"], "team": "x.y"}}, content="Hello")
    assert len(MemoryBank(store, labels)) == 1


def test_a_placeholder_that_nobody_fills_is_an_error(store: BaseStore) -> None:
    with pytest.raises(InputError, match="'team'"):
        create_manage_memory_tool(store, ("{team}",)).invoke({"content": "x"}, ANN)
    with pytest.raises(InputError, match="no namespace"):
        create_manage_memory_tool(store, ())
    with pytest.raises(InputError, match="store="):
        create_search_memory_tool().invoke({"query": "x"}, ANN)


@pytest.mark.parametrize("name", ["memories", "{user_id}"])
def test_langmems_namespace_becomes_no_folder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="namespace="):
        create_manage_memory_tool(name)
    create_manage_memory_tool(f"./{name}", "shared").invoke({"content": "x"})
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_an_agent_uses_them_with_its_own_store_and_context(store: BaseStore) -> None:
    def use(name: str, **args: Any) -> AIMessage:
        return AIMessage("", tool_calls=[{"name": name, "args": args, "id": name}])

    script = [
        use("manage_memory", content="Ann has a dog."),
        use("manage_memory", action="delete", id="nobody"),
        use("search_memory", query="dog"),
        "Done.",
    ]
    for context in ({"user_id": "ann"}, {"langgraph_user_id": "bob"}):
        for run in ("invoke", "ainvoke"):
            agent = create_agent(
                ScriptedChatModel(script), [create_manage_memory_tool(), create_search_memory_tool()], store=store
            )
            state: Any = {"messages": "Hello!"}
            result = (
                agent.invoke(state, context=context)
                if run == "invoke"
                else asyncio.run(agent.ainvoke(state, context=context))
            )
            told = [message for message in result["messages"] if isinstance(message, ToolMessage)]
            assert [message.status for message in told] == ["success", "error", "success"]
            assert json.loads(told[-1].text)[0]["value"]["content"] == "Ann has a dog."
    assert [len(MemoryBank(store, user)) for user in ("ann", "bob", "default")] == [2, 2, 0]


# ---- metadata, tags, filters


def test_a_search_shows_and_filters_metadata_and_tags(bank: MemoryBank, call: Call) -> None:
    bank.apply([Add("Ann plays chess.", metadata={"team": "red"}, tags=("games",)), Add("Ann plays go.")])
    tool = create_search_memory_tool(bank)
    (found,) = json.loads(call(tool, query="plays", filter={"tags": {"$contains": "games"}}))
    assert found["value"] == {"content": "Ann plays chess.", "metadata": {"team": "red"}, "tags": ["games"]}
    assert [item["value"]["content"] for item in json.loads(call(tool, query="plays", filter={"tags": []}))] == [
        "Ann plays go."
    ]


def test_an_agent_cannot_search_outside_of_the_apps_filter(bank: MemoryBank, call: Call) -> None:
    bank.apply([Add("Ann plays chess.", metadata={"team": "red"}), Add("Ann plays go.", metadata={"team": "blue"})])

    def of_the_run(runtime: Any) -> dict[str, Any]:
        return {"team": "red"}

    for app in ({"team": "red"}, of_the_run):
        tool = create_search_memory_tool(bank, filter=app)
        for wish in (None, {}, {"team": {"$in": ["red", "blue"]}}, {"$or": [{"team": "blue"}, {"team": "red"}]}):
            items = json.loads(call(tool, query="plays", filter=wish))
            assert [item["value"]["content"] for item in items] == ["Ann plays chess."]
        assert json.loads(call(tool, query="plays", filter={"team": "blue"})) == []
    with pytest.raises(InputError, match="The filter cannot be used"):
        create_search_memory_tool(bank, filter={"team": {"$near": 1}})
