"""Chats and memory graphs on a real vLLM server; `make test-vllm` builds its environment and runs this."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest

from langgraph_memory_r1 import InputError, ModelError, load_chat_model, prompts
from langgraph_memory_r1.models import Manifest, write_manifest
from langgraph_memory_r1.schemas import Memory
from langgraph_memory_r1.train.tiny import BASE
from support.vllm_served import WHO, Served, needs_vllm, play, tell

pytestmark = [pytest.mark.slow, needs_vllm]


async def test_chat_sync_async_and_streamed(served: Served) -> None:
    model = served.model("base", max_tokens=6, seed=1)
    reply = model.invoke("Hello")
    later = await model.ainvoke("Hello")
    streamed = "".join([chunk.text async for chunk in model.bound.astream("Hello")])
    tell(f"base says {reply.text!r}, {reply.usage_metadata}")
    assert reply.text == later.text and streamed.strip() == reply.text.strip()
    assert reply.usage_metadata["output_tokens"] == 6 and reply.response_metadata["finish_reason"] == "length"


def test_two_adapters_of_one_base_answer_differently(served: Served) -> None:
    said = {name: served.model(name, max_tokens=40).invoke(WHO).text for name in ("base", "keeper", "teller")}
    for name, text in said.items():
        tell(f"{name:8} {WHO} -> {text!r}")
    assert (said["keeper"], said["teller"]) == ("I keep the memory.", "I answer from it.")
    assert said["base"] not in (said["keeper"], said["teller"])


async def test_the_base_is_held_to_the_json_of_the_manager(served: Served) -> None:
    """Asked a question it answers; under the schema it says operations, whatever they are."""
    given = prompts.render(prompts.AnswerInput("Which tea?", (Memory("m", "Ann likes green tea.", "Ann"),)), "compact")
    free = served.model("base", max_tokens=60).invoke(given).text
    seeds = [served.model("base", role="manage", temperature=1, seed=seed, max_tokens=400) for seed in range(12)]
    held = await asyncio.gather(*(model.ainvoke(given) for model in seeds))
    whole = [reply.text for reply in held if reply.response_metadata["finish_reason"] == "stop"]
    tell(f"base, free: {free[:60]!r}")
    shown = " ".join((whole or [held[0].text])[0].split())
    tell(f"base, held: {shown[:160]!r} ({len(whole)} of {len(held)} came to an end)")
    assert free.startswith('{"selected"') and len(whole) > 0
    begin = '{"operations":['
    for text in (
        "".join(reply.text.split()) for reply in held
    ):  # one that is cut off may be white space for the most part
        assert text[: len(begin)] == begin[: len(text)]
    for text in whole:
        for operation in json.loads(text)["operations"]:
            assert operation["event"] in ("ADD", "UPDATE", "DELETE", "NOOP") and "fact" in operation


def test_the_graph_on_the_server_does_what_its_adapters_were_taught(served: Served, tmp_path: Path) -> None:
    taught = play(tmp_path / "rules", "rules", "rules")
    done = play(tmp_path / "vllm", f"vllm:keeper@{served.url}", f"vllm:teller@{served.url}")
    tell(f"graph on vLLM: {done}")
    assert done == taught


async def test_sixty_four_requests_at_once(served: Served) -> None:
    names = ["base", "keeper", "teller"]
    models = [served.model(names[number % 3], max_tokens=16) for number in range(64)]
    start = time.perf_counter()
    replies = await asyncio.gather(*(model.ainvoke(f"{WHO} {number}") for number, model in enumerate(models)))
    spent = time.perf_counter() - start
    tokens = sum(reply.usage_metadata["output_tokens"] for reply in replies)
    tell(f"64 requests at once: {spent:.1f} s, {64 / spent:.1f} requests/s, {tokens / spent:.0f} tokens/s")
    assert len(replies) == 64 and all(reply.usage_metadata["output_tokens"] > 0 for reply in replies)
    start = time.perf_counter()
    capped = load_chat_model(f"vllm:teller@{served.url}", max_concurrency=8, temperature=0, max_tokens=24)
    replies = await asyncio.gather(*(capped.ainvoke(WHO) for _ in range(64)))
    tell(f"64 requests, 8 at once: {time.perf_counter() - start:.1f} s")
    assert {reply.text for reply in replies} == {"I answer from it."}


def test_a_name_that_is_not_served(served: Served) -> None:
    with pytest.raises(ModelError, match=r"answered 404: .*its /v1/models lists the names") as caught:
        served.model("nobody").invoke("Hello")
    tell(f"{caught.value}")


def test_a_prompt_that_is_too_long(served: Served) -> None:
    with pytest.raises(ModelError, match="answered 400") as caught:
        served.model("base").invoke("dog " * 5000)
    tell(f"{caught.value}")


def test_an_adapter_for_another_role_is_refused_before_the_server_is_asked(served: Served) -> None:
    folder = served.folder / "keeper"
    write_manifest(folder, Manifest(base=str(BASE), role="manage", data="none", rank=16))
    load_chat_model(f"vllm:keeper@{served.url}", folder, role="manage")
    with pytest.raises(InputError, match="plays the role 'manage', not 'answer'"):
        load_chat_model(f"vllm:keeper@{served.url}", folder, role="answer")


def test_an_adapter_for_another_base_is_refused(served: Served) -> None:
    folder = served.folder / "keeper"
    write_manifest(folder, Manifest(base="Qwen/Qwen3-4B", role="manage", data="none", rank=16))
    with pytest.raises(InputError, match=r"sits on 'Qwen/Qwen3-4B', not on '.*base'; start a server of") as caught:
        load_chat_model(f"vllm:keeper@{served.url}", folder)
    tell(f"{caught.value}")
