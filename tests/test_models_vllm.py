"""`vllm:NAME@URL` against a real HTTP server on this machine; `make test-vllm` does it with a real vLLM."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from blockbuster import blockbuster_ctx
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from langgraph_memory_r1 import InputError, ModelError, create_memory_graph, load_chat_model, prompts
from langgraph_memory_r1.models import LimitedChatModel, Manifest, model_name, write_manifest
from support.openai_server import Says, completion, serving, stream

TOO_MANY = Says('{"error": {"message": "slow down"}}', 429)


def load(url: str, name: str = "base", **settings: Any) -> Any:
    model = load_chat_model(f"vllm:{name}@{url}", **{"retries": 2, **settings})
    assert isinstance(model, LimitedChatModel)
    return model.model_copy(update={"first_wait": 0.01})


def test_a_reply_with_its_token_counts() -> None:
    with serving(completion("Hello!")) as server:
        reply = load(server.url, temperature=0, max_tokens=5).invoke(
            [SystemMessage("Be kind."), HumanMessage("Hi \ud800")]
        )
    assert (reply.text, reply.response_metadata["finish_reason"]) == ("Hello!", "stop")
    assert reply.usage_metadata == {"input_tokens": 11, "output_tokens": 7, "total_tokens": 18}
    assert server.asked == [
        {
            "path": "/v1/chat/completions", "model": "base", "temperature": 0, "max_tokens": 5,
            "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi \ud800"}],
        }
    ]  # fmt: skip


async def test_async_is_the_same() -> None:
    with serving(completion("Hello!")) as server:
        model = load(f"{server.url}/v1/", name="org/base@2")
        reply = await model.ainvoke("Hi", stop=["\n"])
    assert (reply.text, reply.usage_metadata["total_tokens"]) == ("Hello!", 18)
    assert (server.asked[0]["model"], server.asked[0]["stop"]) == ("org/base@2", ["\n"])
    assert server.asked[0]["path"] == "/v1/chat/completions"


async def test_streams_are_the_reply_in_pieces() -> None:
    with serving(stream("Hel", "lo", "!")) as server:
        model = load(server.url).bound
        sync = list(model.stream("Hi"))
        later = [chunk async for chunk in model.astream("Hi")]
    for chunks in (sync, later):
        assert [chunk.text for chunk in chunks if chunk.text] == ["Hel", "lo", "!"]
        whole = sum(chunks[1:], chunks[0])
        assert isinstance(whole, AIMessageChunk) and whole.usage_metadata is not None
        assert (whole.text, whole.usage_metadata["total_tokens"]) == ("Hello!", 18)
        assert whole.response_metadata["finish_reason"] == "stop"
    assert server.asked[0]["stream_options"] == {"include_usage": True}


async def test_tokens_reach_langgraphs_stream_through_the_limits() -> None:
    from langgraph.graph import START, MessagesState, StateGraph

    with serving(TOO_MANY, stream("Hel", "lo")) as server:
        model = load(server.url)

        def speak(state: MessagesState) -> dict[str, Any]:
            return {"messages": [model.invoke(state["messages"])]}

        graph = StateGraph(MessagesState).add_node("speak", speak).add_edge(START, "speak").compile()
        pieces = [piece[0].text async for piece in graph.astream({"messages": "Hi"}, stream_mode="messages")]
    assert [piece for piece in pieces if piece] == ["Hel", "lo"]


def test_tools_are_offered_and_calls_read() -> None:
    @tool
    def add(a: int, b: int) -> int:
        """Adds."""
        return a + b

    def call(name: str, arguments: str) -> dict[str, Any]:
        return {"id": name, "type": "function", "function": {"name": name, "arguments": arguments}}

    calls = [call("add", '{"a": 1, "b": 2}'), call("broken", '{"a": ')]
    with serving(completion(None, tool_calls=calls, reasoning_content="hm")) as server:
        model = load(server.url).bind_tools([add], tool_choice="any")
        reply = model.invoke(
            [
                HumanMessage("1+2"),
                AIMessage("", tool_calls=[{"name": "add", "args": {}, "id": "x"}]),
                ToolMessage("3", tool_call_id="x"),
            ]
        )
    assert [(found["name"], found["args"]) for found in reply.tool_calls] == [("add", {"a": 1, "b": 2})]
    assert [found["name"] for found in reply.invalid_tool_calls] == ["broken"]
    assert reply.additional_kwargs["reasoning_content"] == "hm"
    assert server.asked[0]["tools"][0]["function"]["name"] == "add" and server.asked[0]["tool_choice"] == "required"
    assert server.asked[0]["messages"][1]["tool_calls"][0]["id"] == server.asked[0]["messages"][2]["tool_call_id"]


@pytest.mark.parametrize("role", ["extract", "manage", "answer"])
def test_a_role_sends_the_schema_of_its_json(role: prompts.Role) -> None:
    with serving(completion("{}")) as server:
        load(server.url, role=role).invoke("Hi")
    assert server.asked[0]["response_format"]["json_schema"] == {
        "name": role, "schema": prompts.schema(role), "strict": True,
    }  # fmt: skip


def test_a_role_is_played_greedily_and_without_thoughts_as_in_training_unless_told_otherwise(tmp_path: Path) -> None:
    told = {"temperature": 0.7, "extra_body": {"chat_template_kwargs": {"enable_thinking": True}}}
    with serving(completion('{"facts":[]}')) as server:
        for settings in ({}, {"role": "extract"}, told, {**told, "role": "extract"}):
            model = load(server.url, **settings)
            place = str(tmp_path / str(len(server.asked)))
            create_memory_graph(place, model=model).invoke({"messages": [("user", "Hi there.")]})
        load(server.url).invoke("Hi")
    *played, chatted = server.asked
    asked = [(body["temperature"], body["chat_template_kwargs"]["enable_thinking"]) for body in played]
    assert asked == [(0, False), (0, False), (0.7, True), (0.7, True)]
    assert "temperature" not in chatted and "chat_template_kwargs" not in chatted


@pytest.mark.parametrize("structured", [True, False])
def test_a_role_is_played_whatever_the_bases_generation_config_says_of_sampling(structured: bool) -> None:
    with serving(completion('{"facts":[]}')) as server:
        load(server.url, role="extract", structured=structured).invoke("Hi")
        load(server.url, role="extract", structured=structured, top_p=0.5).invoke("Hi")
        load(server.url).invoke("Hi")
    names = ("top_p", "top_k", "min_p", "repetition_penalty")
    assert [[request.get(name) for name in names] for request in server.asked] == [
        [1.0, 0, 0.0, 1.0], [0.5, 0, 0.0, 1.0], [None, None, None, None],
    ]  # fmt: skip


def test_a_graph_holds_every_role_to_its_schema_and_remembers(tmp_path: Path) -> None:
    facts = '{"facts":[{"text":"User has a dog, Buddy.","turns":[0]}]}'
    operations = '{"operations":[{"event":"ADD","fact":0,"text":"User has a dog, Buddy."}]}'
    with serving(completion(facts), completion(operations), completion('{"selected":[0],"answer":"Buddy"}')) as server:
        graph = create_memory_graph(str(tmp_path / "bank"), model=f"vllm:base@{server.url}")
        done = graph.invoke({"messages": [("user", "I have a dog, Buddy.")], "question": "What is the dog called?"})
    assert (done["answer"], done["memory_ops"][0]["after"]) == ("Buddy", "User has a dog, Buddy.")
    assert [asked["response_format"]["json_schema"]["name"] for asked in server.asked] == [
        "extract",
        "manage",
        "answer",
    ]
    assert (done["usage"]["calls"], done["usage"]["input_tokens"], done["usage"]["output_tokens"]) == (3, 33, 21)
    assert done["memory_ops"][0]["model"] == "vllm:base"


def test_one_model_object_is_held_to_each_role_unless_it_is_to_be_free(tmp_path: Path) -> None:
    with serving(completion('{"facts":[]}')) as server:
        for settings in ({}, {"structured": False}):
            graph = create_memory_graph(str(tmp_path / str(len(settings))), model=load(server.url, **settings))
            done = graph.invoke({"messages": [("user", "Hi there.")]})
            assert done["memory_ops"][0]["model"] == "vllm:base"
        load(server.url, role="extract", structured=False).invoke("Hi")
    held, free, free_too = (asked.get("response_format") for asked in server.asked)
    assert held["json_schema"]["name"] == "extract" and (free, free_too) == (None, None)
    assert [asked.get("temperature") for asked in server.asked] == [0, None, None]


async def test_nothing_blocks_the_event_loop() -> None:
    with serving(completion("Hello!")) as server:
        model = load(server.url, max_concurrency=1)
        with blockbuster_ctx():
            assert (await model.ainvoke("Hi")).text == "Hello!"
    with serving(stream("Hello!")) as server:
        model = load(server.url)
        with blockbuster_ctx():
            streamed = [chunk.text async for chunk in model.bound.astream("Hi")]
    assert "".join(streamed) == "Hello!"


def test_a_turn_is_remembered_when_the_server_is_back(tmp_path: Path) -> None:
    facts = completion('{"facts":[{"text":"User has a dog, Buddy.","turns":[0]}]}')
    operations = completion('{"operations":[{"event":"ADD","fact":0,"text":"User has a dog, Buddy."}]}')
    with serving(facts) as server:
        url = server.url
    graph = create_memory_graph(
        str(tmp_path / "bank"), model=f"vllm:base@{url}", on_error="degrade", checkpointer=InMemorySaver()
    )
    thread: Any = {"configurable": {"thread_id": "1"}}
    (failed,) = graph.invoke({"messages": [("user", "I have a dog, Buddy.")]}, thread)["memory_ops"]
    assert "cannot be reached; is the server running?" in str(failed)
    with serving(facts, operations, port=int(url.rpartition(":")[2])):
        done = graph.invoke({"messages": [("ai", "Nice!")]}, thread)
    assert [op["after"] for op in done["memory_ops"] if op["event"] == "ADD"] == ["User has a dog, Buddy."]


def test_a_rate_limit_is_waited_out() -> None:
    with serving(TOO_MANY, TOO_MANY, completion("Hello!")) as server:
        assert load(server.url).invoke("Hi").text == "Hello!"
    assert len(server.asked) == 3


async def test_a_rate_limit_is_waited_out_as_long_as_the_server_asks() -> None:
    with serving(Says("slow down", 429, {"Retry-After": "0.3"}), completion("Hello!")) as server:
        start = time.perf_counter()
        assert (await load(server.url).ainvoke("Hi")).text == "Hello!"
    assert 0.3 <= time.perf_counter() - start < 5


def test_a_rate_limit_that_stays_is_an_error() -> None:
    with serving(TOO_MANY) as server, pytest.raises(ModelError, match="answered 429: slow down"):
        load(server.url).invoke("Hi")
    assert len(server.asked) == 3


async def test_a_time_out_is_tried_again() -> None:
    slow = Says(completion("late").body, delay=0.4)
    with serving(slow, slow, completion("Hello!"), completion("Hello!")) as server:
        model = load(server.url, timeout=0.1)
        assert model.invoke("Hi").text == "Hello!"
        server.script[:] = [slow]
        with pytest.raises(ModelError, match=r"did not answer within 0\.1 s; give timeout="):
            await model.ainvoke("Hi")
    assert len(server.asked) == 6


@pytest.mark.parametrize(
    "body",
    [
        "<html>hello</html>",
        "",
        "[]",
        "{}",
        '{"choices": []}',
        '{"choices": [{"message": null}]}',
        '{"choices": [{"message": {"content": 7}}]}',
        '{"choices": [{"text": "old"}]}',
    ],
)
async def test_what_is_no_completion_is_said_and_not_tried_again(body: str) -> None:
    with serving(Says(body)) as server:
        with pytest.raises(ModelError, match="is no chat completion; is there an OpenAI-compatible server"):
            load(server.url).invoke("Hi")
        with pytest.raises(ModelError, match="is no chat completion"):
            await load(server.url).ainvoke("Hi")
    assert len(server.asked) == 2


async def test_a_stream_that_is_none_is_said() -> None:
    with serving(Says("data: {oops\n\n")) as server, pytest.raises(ModelError, match="is no chat completion"):
        _ = [chunk async for chunk in load(server.url).bound.astream("Hi")]
    failed = Says('data: {"error": {"message": "out of memory"}}\n\n')
    with serving(failed) as server, pytest.raises(ModelError, match="The model's server failed: out of memory"):
        list(load(server.url).bound.stream("Hi"))


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (400, '{"error": {"message": "too long"}}', "answered 400: too long$"),
        (400, '{"message": "too long"}', "answered 400: too long$"),
        (422, '{"detail": [{"msg": "field required"}]}', "field required"),
        (401, "no", "answered 401: no; set VLLM_API_KEY to the server's key"),
        (404, '{"error": "no model"}', "answered 404: no model; its /v1/models lists the names that it serves"),
        (500, "boom", "answered 500: boom"),
    ],
)
async def test_a_refusal_is_said_with_the_fix_and_not_tried_again(status: int, body: str, message: str) -> None:
    with serving(Says(body, status)) as server:
        with pytest.raises(ModelError, match=message) as caught:
            load(server.url).invoke("Hi")
        with pytest.raises(ModelError, match=message):
            list(load(server.url).bound.stream("Hi"))
        with pytest.raises(ModelError, match=message):
            _ = [chunk async for chunk in load(server.url).bound.astream("Hi")]
    assert "\n" not in str(caught.value) and len(server.asked) == 3


def test_a_server_that_is_gone_is_said_at_once_and_found_when_it_is_back() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    start = time.perf_counter()
    with pytest.raises(ModelError, match="cannot be reached; is the server running"):
        load(url, retries=9).invoke("Hi")
    assert time.perf_counter() - start < 2
    with serving(completion("one")) as server:
        assert load(server.url).invoke("Hi").text == "one"


def test_the_key_is_sent_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "sesame")
    with serving(completion("Hello!")) as server:
        model = load(server.url)
        model.invoke("Hi")
        monkeypatch.delenv("VLLM_API_KEY")
        load(server.url).invoke("Hi")
    assert [headers.get("authorization") for headers in server.headers] == ["Bearer sesame", None]
    assert "sesame" not in repr(model) + str(model.bound._identifying_params)


@pytest.mark.slow
async def test_sixty_four_calls_run_at_once_and_a_cap_holds() -> None:
    slow = Says(completion("Hello!").body, delay=0.3)
    with serving(slow) as server:
        start = time.perf_counter()
        replies = await asyncio.gather(*(load(server.url).ainvoke("Hi") for _ in range(64)))
        assert {reply.text for reply in replies} == {"Hello!"} and time.perf_counter() - start < 5
        assert server.most_at_once > 16
    with serving(Says(slow.body, delay=0.02)) as server:
        capped = load_chat_model(f"vllm:base@{server.url}", max_concurrency=3)
        await asyncio.gather(*(capped.ainvoke("Hi") for _ in range(20)))
        assert server.most_at_once == 3


@pytest.mark.parametrize(
    "spec", ["vllm:", "vllm:base", "vllm:@http://localhost:1", "vllm:base@localhost:8000", "vllm:base@http://"]
)
def test_another_shape_is_refused_with_an_example(spec: str) -> None:
    with pytest.raises(InputError, match="give vllm:NAME@http://HOST:PORT"):
        load_chat_model(spec)


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(InputError, match="temprature"):
        load_chat_model("vllm:base@http://localhost:8000", temprature=1)


def test_the_name_in_the_history() -> None:
    assert model_name(load_chat_model("vllm:manager@http://localhost:8000")) == "vllm:manager"


def models(**known: dict[str, Any]) -> Says:
    """A server's list of its models, as vLLM writes it."""
    return Says(json.dumps({"object": "list", "data": [{"id": name, **card} for name, card in known.items()]}))


def listed(root: str) -> Says:
    manager = {"root": "/adapters/manager", "parent": "base"}
    return models(base={"root": root, "parent": None}, manager=manager)


def test_an_adapter_that_the_server_has_loaded_is_checked_too(tmp_path: Path) -> None:
    write_manifest(tmp_path, Manifest(base="Qwen/Qwen3-4B", role="manage", data="d", rank=8))
    for root in ("Qwen/Qwen3-4B", "/on/another/machine/Qwen3-4B"):
        with serving(listed(root)) as server:
            spec = f"vllm:manager@{server.url}"
            assert model_name(load_chat_model(spec, tmp_path, role="manage")) == "vllm:manager"
            assert [asked["path"] for asked in server.asked] == ["/v1/models"]
            with pytest.raises(InputError, match="plays the role 'manage', not 'answer'"):
                load_chat_model(spec, tmp_path, role="answer")
    with serving(models(manager={})) as server:  # a server that tells no bases
        load_chat_model(f"vllm:manager@{server.url}", tmp_path)
    with pytest.raises(InputError, match="takes no adapter"):
        load_chat_model("openai:gpt-5-mini", tmp_path)


@pytest.mark.parametrize(
    ("name", "says", "told"),
    [
        ("manager", listed("Qwen/Qwen3-8B"), r"sits on 'Qwen/Qwen3-4B', not on 'Qwen/Qwen3-8B'; start a server of"),
        ("manager", listed("/on/another/machine/Qwen3-8B"), "sits on 'Qwen/Qwen3-4B', not on '/on/another"),
        ("base", listed("Qwen/Qwen3-4B"), "'base' is the base of its server, not an adapter"),
        ("nobody", listed("Qwen/Qwen3-4B"), "no model 'nobody'; give one of 'base', 'manager'"),
        ("manager", Says("<html>"), "no list of models"),
        ("manager", Says("no", 404), "answered 404"),
    ],
)
def test_an_adapter_that_the_server_has_not_or_on_another_base_is_refused(
    tmp_path: Path, name: str, says: Says, told: str
) -> None:
    write_manifest(tmp_path, Manifest(base="Qwen/Qwen3-4B", role="manage", data="d", rank=8))
    with serving(says) as server, pytest.raises((InputError, ModelError), match=told):
        load_chat_model(f"vllm:{name}@{server.url}", tmp_path)


def test_an_adapter_cannot_be_checked_while_its_server_is_down(tmp_path: Path) -> None:
    write_manifest(tmp_path, Manifest(base="Qwen/Qwen3-4B", role="manage", data="d", rank=8))
    with pytest.raises(ModelError, match=r"cannot be reached; is the server running\?"):
        load_chat_model("vllm:manager@http://127.0.0.1:9", tmp_path)
