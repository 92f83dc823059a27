"""The memory over the Model Context Protocol: the real command, started by the SDK's own client."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel

from langgraph_memory_r1 import Add, LanceDBStore, MemoryBank, MissingDependencyError, OutputError
from langgraph_memory_r1.testing import ScriptedChatModel

mcp = pytest.importorskip("mcp", reason="the mcp extra is not installed")

from mcp.client.stdio import stdio_client  # noqa: E402

from langgraph_memory_r1.mcp_server import create_mcp_server  # noqa: E402

NEW_SDK = hasattr(mcp, "Client")


class OldClient:
    """The client of the SDK before 2.0, under the names that it has since."""

    def __init__(self, server: Any) -> None:
        self.server, self.stack = server, AsyncExitStack()

    async def __aenter__(self) -> OldClient:
        if hasattr(self.server, "_mcp_server"):
            from mcp.shared.memory import create_connected_server_and_client_session as connected

            self.session = await self.stack.enter_async_context(connected(self.server._mcp_server))
        else:
            streams = await self.stack.enter_async_context(self.server)
            self.session = await self.stack.enter_async_context(mcp.ClientSession(*streams))
            await self.session.initialize()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self.stack.aclose()

    async def call_tool(self, name: str, arguments: dict[str, Any]) -> Any:
        done = await self.session.call_tool(name, arguments)
        structured = getattr(done, "structuredContent", None)
        if structured is None and not done.isError:  # before 1.10 there was none
            structured = json.loads(done.content[0].text)
        return SimpleNamespace(is_error=done.isError, content=done.content, structured_content=structured)

    async def list_tools(self) -> Any:
        tools = (await self.session.list_tools()).tools
        named = [SimpleNamespace(name=t.name, description=t.description, input_schema=t.inputSchema) for t in tools]
        return SimpleNamespace(tools=named)


Client: Any = mcp.Client if NEW_SDK else OldClient
TOOLS = ["search", "remember", "history", "undo", "forget"]


@asynccontextmanager
async def served(folder: Path, user: str = "ann", model: str | BaseChatModel = "rules") -> AsyncIterator[Any]:
    """A client and the server in this process."""
    with LanceDBStore(folder / "bank") as store:
        server = create_mcp_server(MemoryBank(store, user), user, model=model)
        async with Client(server) as client:
            yield client


async def told(client: Any, tool: str, **arguments: Any) -> dict[str, Any]:
    done = await client.call_tool(tool, arguments)
    assert not done.is_error, done.content
    assert json.loads(done.content[0].text) == done.structured_content
    found: dict[str, Any] = done.structured_content
    return found


async def refused(client: Any, tool: str, **arguments: Any) -> str:
    done = await client.call_tool(tool, arguments)
    assert done.is_error and len(done.content) == 1
    text: str = done.content[0].text
    assert "\n" not in text and text.endswith(".") and "Traceback" not in text
    return text


def command(folder: Path, *more: str) -> list[str]:
    return ["-m", "langgraph_memory_r1", "mcp", "--db", str(folder / "bank"), *more]


@pytest.mark.slow
async def test_all_five_tools_of_the_real_command_over_stdio(tmp_path: Path) -> None:
    server = mcp.StdioServerParameters(command=sys.executable, args=command(tmp_path, "--user", "ann@example.com"))
    async with Client(stdio_client(server)) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == TOOLS
        await told(client, "remember", text="I adopted a dog called Buddy.", said_at="2024-05-20T10:00:00Z")
        (update,) = (await told(client, "remember", text="I adopted another dog, Scout!"))["operations"]
        assert (update["event"], update["model"]) == ("UPDATE", "rules")
        assert "Buddy" in update["before"] and "Scout" in update["after"]
        (memory,) = (await told(client, "search", query="How many dogs?"))["memories"]
        assert (memory["id"], memory["text"]) == (update["memory_id"], update["after"])
        (undone,) = (await told(client, "undo", op_id=update["op_id"]))["operations"]
        assert undone["after"] == update["before"]
        events = [entry["event"] for entry in (await told(client, "history"))["operations"]]
        assert events == ["ADD", "UPDATE", "UPDATE"]
        await told(client, "forget", memory_ids=[memory["id"]])
        assert await told(client, "search") == {"memories": [], "total": 0}
        assert await refused(client, "undo", op_id="nope") == "There is no operation 'nope'."
        await told(client, "forget", everything_of="ann@example.com")
        assert (await told(client, "history"))["operations"] == []


@pytest.mark.slow
def test_nothing_but_the_protocol_is_on_standard_output(tmp_path: Path) -> None:
    about = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    said = {"name": "remember", "arguments": {"text": "I adopted a dog called Buddy."}}
    wrong = {"name": "undo", "arguments": {"op_id": "nope"}}
    requests: list[Any] = [
        {"id": 1, "method": "initialize", "params": about},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/call", "params": said},
        {"id": 3, "method": "tools/call", "params": wrong},
    ]
    process = subprocess.Popen(
        [sys.executable, *command(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    lines = []
    for request in requests:
        process.stdin.write(json.dumps({"jsonrpc": "2.0", **request}) + "\n")
        process.stdin.flush()
        if "id" in request:
            lines.append(process.stdout.readline())
    rest, errors = process.communicate(timeout=60)
    answers = [json.loads(line) for line in lines + rest.splitlines()]
    assert [answer["id"] for answer in answers] == [1, 2, 3]
    assert answers[0]["result"]["serverInfo"]["name"] == "langgraph-memory-r1"
    assert [answer["result"].get("isError") for answer in answers[1:]] == [False, True]
    assert (process.returncode, errors) == (0, "")


async def test_tools_say_what_they_take_give_and_harm(tmp_path: Path) -> None:
    async with served(tmp_path) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert list(tools) == TOOLS
    for tool in tools.values():
        assert tool.description and "\n  " not in tool.description
        assert all("type" in part or "anyOf" in part for part in tool.input_schema["properties"].values())
        assert all(part.get("description") for part in tool.input_schema["properties"].values())
        assert not NEW_SDK or tool.output_schema["type"] == "object"
    if not NEW_SDK:
        return
    assert [name for name, tool in tools.items() if tool.annotations.read_only_hint] == ["search", "history"]
    assert [name for name, tool in tools.items() if tool.annotations.destructive_hint] == ["forget"]


async def test_search_without_words_lists_the_newest(tmp_path: Path) -> None:
    async with served(tmp_path) as client:
        for text in ("I play the cello.", "I moved to Denver.", "I hate mushrooms."):
            await told(client, "remember", text=text, speaker="Ann")
        found = await told(client, "search", limit=2)
        assert [memory["text"] for memory in found["memories"]] == ["Ann hates mushrooms.", "Ann moved to Denver."]
        assert found["total"] == 3
        (first,) = (await told(client, "search", query="music cello", limit=1))["memories"]
        assert (first["text"], first["speaker"]) == ("Ann plays the cello.", "Ann")


async def test_history_of_one_memory_and_undo_of_undo(tmp_path: Path) -> None:
    async with served(tmp_path) as client:
        (added,) = (await told(client, "remember", text="I play the cello."))["operations"]
        await told(client, "remember", text="I moved to Denver.")
        (only,) = (await told(client, "history", memory_id=added["memory_id"]))["operations"]
        assert (only["op_id"], only["event"], only["after"]) == (added["op_id"], "ADD", "User plays the cello.")
        (undone,) = (await told(client, "undo"))["operations"]
        assert (await told(client, "search"))["total"] == 1
        await told(client, "undo", op_id=undone["op_id"])
        assert (await told(client, "search"))["total"] == 2


async def test_forgetting_some_can_be_undone(tmp_path: Path) -> None:
    async with served(tmp_path) as client:
        (added,) = (await told(client, "remember", text="I play the cello."))["operations"]
        done = await told(client, "forget", memory_ids=[added["memory_id"]] * 2, reason="Ann asked for it")
        assert [(entry["event"], entry["reason"]) for entry in done["operations"]] == [("DELETE", "Ann asked for it")]
        assert done["removed_for_good"] == 0
        await told(client, "undo")
        assert (await told(client, "search"))["memories"][0]["text"] == "User plays the cello."


async def test_forgetting_everything_needs_the_owners_name_and_spares_others(tmp_path: Path) -> None:
    with LanceDBStore(tmp_path / "bank") as store:
        MemoryBank(store, "bob").apply([Add("Bob plays the cello.")])
    async with served(tmp_path) as client:
        await told(client, "remember", text="I adopted a dog called Buddy.")
        assert "'ann'" in await refused(client, "forget", everything_of="bob")
        assert (await told(client, "forget", everything_of="ann"))["removed_for_good"] == 1
        assert await told(client, "search", query="cello") == {"memories": [], "total": 0}
    with LanceDBStore(tmp_path / "bank") as store:
        assert len(MemoryBank(store, "bob")) == 1


@pytest.mark.parametrize(
    ("tool", "arguments", "words"),
    [
        ("search", {"limit": 0}, "limit: Input should be greater than or equal to 1"),
        ("search", {"query": ["a", "b"]}, "query: Input should be a valid string"),
        ("remember", {}, "text: Field required"),
        ("remember", {"text": " \n"}, "The text is empty"),
        ("remember", {"text": "x", "said_at": "soon"}, "said_at"),
        ("history", {"memory_id": "nope"}, "There is no memory 'nope'"),
        ("undo", {}, "There is nothing to take back"),
        ("forget", {}, "Give either memory_ids"),
        ("forget", {"memory_ids": ["a"], "everything_of": "ann"}, "Give either memory_ids"),
        ("forget", {"memory_ids": ["nope"]}, "There is no memory 'nope'"),
    ],
)
async def test_errors_are_one_sentence(tmp_path: Path, tool: str, arguments: dict[str, Any], words: str) -> None:
    async with served(tmp_path) as client:
        assert words in await refused(client, tool, **arguments)


async def test_tools_called_at_once_lose_nothing(tmp_path: Path) -> None:
    things = ("cello", "piano", "flute", "harp", "drum", "oboe", "viola", "banjo")
    async with served(tmp_path) as client:
        await asyncio.gather(*(told(client, "remember", text="I play it.", speaker=thing) for thing in things))
        found = await told(client, "search")
    assert sorted(memory["speaker"] for memory in found["memories"]) == sorted(things)


async def test_odd_text_is_remembered_as_far_as_it_is_text(tmp_path: Path) -> None:
    async with served(tmp_path) as client:
        await told(client, "remember", text="\x00\x1b[31mI play the cello.\u202e", speaker=" ")
        done = await told(client, "remember", text="haha " * 40_000)
        assert {entry["event"] for entry in done["operations"]} == {"NOOP"}
        assert (await told(client, "search"))["total"] == 1


async def test_a_model_that_fails_is_said_and_loses_nothing(tmp_path: Path) -> None:
    async with served(tmp_path, model=ScriptedChatModel([OutputError("the server is down.")])) as client:
        assert await refused(client, "remember", text="I play the cello.") == "the server is down."
        assert (await told(client, "search"))["total"] == 0


def test_without_the_sdk_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from langgraph_memory_r1.cli import app

    monkeypatch.delitem(sys.modules, "langgraph_memory_r1.mcp_server")
    monkeypatch.setitem(sys.modules, "mcp.server.mcpserver", None)
    monkeypatch.setitem(sys.modules, "mcp.server.fastmcp", None)  # its name before 2.0
    done = CliRunner().invoke(app, ["mcp", "--db", str(tmp_path / "bank")])
    assert isinstance(done.exception, MissingDependencyError)
    assert str(done.exception) == "pip install 'langgraph-memory-r1[mcp]' to serve the memory over MCP"
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("tool", "arguments", "unknown"),
    [
        ("undo", {"memory_id": "zzz"}, "memory_id"),
        ("forget", {"memory_id": "zzz"}, "memory_id"),
        ("remember", {"text": "I like tea.", "user": "bob"}, "user"),
        ("search", {"query": "dog", "user_id": "bob"}, "user_id"),
        ("history", {"op_id": "zzz"}, "op_id"),
    ],
)
async def test_an_argument_that_a_tool_does_not_have_is_refused(
    tmp_path: Path, tool: str, arguments: dict[str, Any], unknown: str
) -> None:
    async with served(tmp_path) as client:
        await told(client, "remember", text="I adopted a dog called Buddy.")
        text = await refused(client, tool, **arguments)
        assert f"{tool} has no argument {unknown!r}; it has: " in text
        found = await told(client, "search")
        assert [memory["text"] for memory in found["memories"]] == ["User adopted a dog called Buddy."]


async def test_a_search_shows_and_filters_metadata_and_tags(tmp_path: Path) -> None:
    with LanceDBStore(tmp_path / "bank") as store:
        MemoryBank(store, "ann").apply(
            [Add("Ann plays chess.", metadata={"team": "red"}, tags=("games",)), Add("Ann runs.")]
        )
    async with served(tmp_path) as client:
        for query in ("chess", ""):
            (memory,) = (await told(client, "search", query=query, filter={"team": "red"}))["memories"]
            assert (memory["metadata"], memory["tags"]) == ({"team": "red"}, ["games"])
        assert "The filter cannot be used" in await refused(client, "search", query="x", filter={"a": {"$near": 1}})
