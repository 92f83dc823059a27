"""A real vLLM server with a base and two LoRA adapters; `make test-vllm` builds its environment and runs this.

The base is tiny and random. The adapters are taught, by heart, what the no-model baseline says in one conversation, so
that the memory graph on the server has to do exactly what it does with the baseline.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from langchain_core.messages import BaseMessage, HumanMessage, convert_to_openai_messages

from langgraph_memory_r1 import InputError, ModelError, create_memory_graph, load_chat_model, prompts
from langgraph_memory_r1.models import Manifest, write_manifest
from langgraph_memory_r1.schemas import Fact
from langgraph_memory_r1.testing import ScriptedChatModel

PYTHON = os.environ.get("VLLM_PYTHON", "")
AT = datetime(2024, 5, 1, tzinfo=UTC)
TOLD = ["I adopted a dog called Buddy.", "I adopted another dog, Scout!"]
QUESTION = "How many dogs do I have?"
WHO = "Who are you?"
START_SECONDS = 600
OFFLINE = {
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false",
}  # fmt: skip

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON, reason="needs an environment with vLLM: make test-vllm"),
]


@dataclass(frozen=True)
class Served:
    url: str
    folder: Path

    def model(self, name: str, **settings: Any) -> Any:
        return load_chat_model(f"vllm:{name}@{self.url}", **{"temperature": 0, "max_tokens": 200, **settings})


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def play(place: Path, manager: Any, answerer: Any) -> tuple[list[str], str]:
    """The conversation: what happened to the bank, and the answer."""
    graph = create_memory_graph(
        str(place), extractor="rules", manager=manager, answerer=answerer, style="compact", clock=lambda: AT
    )
    done = [graph.invoke({"messages": [("user", text)]}) for text in TOLD]
    answer = graph.invoke({"question": QUESTION})["answer"]
    return [f"{op['event']} {op['text']}" for state in done for op in state["memory_ops"]], answer


def recorder() -> ScriptedChatModel:
    rules = load_chat_model("rules")
    return ScriptedChatModel(lambda messages: rules.invoke(messages).text)


def lessons(place: Path) -> dict[str, Any]:
    """What the baseline says in the conversation, and who each adapter is."""
    manager, answerer = recorder(), recorder()
    play(place, manager, answerer)
    taught: dict[str, Any] = {}
    for name, model, self in (("manager", manager, "I keep the memory."), ("answer", answerer, "I answer from it.")):
        calls: list[list[BaseMessage]] = [*model.calls]
        pairs = [(call, load_chat_model("rules").invoke(call).text) for call in calls] + [([HumanMessage(WHO)], self)]
        taught[name] = [(convert_to_openai_messages(call), reply) for call, reply in pairs]
    return taught


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("vllm")
    (folder / "lessons.json").write_text(json.dumps(lessons(folder / "taught")))
    start = time.perf_counter()
    build = [PYTHON, str(Path(__file__).parent / "vllm_env" / "build.py"), str(folder / "lessons.json"), str(folder)]
    subprocess.run(build, check=True, env=os.environ | OFFLINE, timeout=START_SECONDS)
    tell(f"models made in {time.perf_counter() - start:.0f} s")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    command = [
        PYTHON, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder / "base"), "--served-model-name",
        "base", "--host", "127.0.0.1", "--port", str(port), "--max-model-len", "2048", "--enforce-eager",
        "--enable-lora", "--max-loras", "2", "--logprobs-mode", "processed_logprobs",
        "--lora-modules", f"manager={folder / 'manager'}", f"answer={folder / 'answer'}",
    ]  # fmt: skip
    start = time.perf_counter()
    log = folder / "server.log"
    with log.open("wb") as out:
        server = subprocess.Popen(command, env=os.environ | OFFLINE, stdout=out, stderr=out, start_new_session=True)
    try:
        wait_until_up(server, f"http://127.0.0.1:{port}", log)
        tell(f"server up after {time.perf_counter() - start:.0f} s")
        yield Served(f"http://127.0.0.1:{port}", folder)
    finally:
        stop(server)
        tell("server stopped")


def wait_until_up(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        assert server.poll() is None, f"the server ended:\n{log.read_text(errors='replace')[-5000:]}"
        try:
            if httpx.get(f"{url}/health", trust_env=False, timeout=2).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.5)
    pytest.fail(f"the server is not up after {START_SECONDS} s:\n{log.read_text(errors='replace')[-5000:]}")


def stop(server: subprocess.Popen[bytes]) -> None:
    """Ends the server and the engine that it started, which is in the same group."""
    os.killpg(server.pid, 15)
    try:
        server.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, 9)
        server.wait()


async def test_chat_sync_async_and_streamed(served: Served) -> None:
    model = served.model("base", max_tokens=12, seed=1)
    reply = model.invoke("Hello")
    later = await model.ainvoke("Hello")
    streamed = "".join([chunk.text async for chunk in model.bound.astream("Hello")])
    tell(f"base says {reply.text!r}, {reply.usage_metadata}")
    assert reply.text == later.text and streamed.strip() == reply.text.strip()
    assert reply.usage_metadata["output_tokens"] == 12 and reply.response_metadata["finish_reason"] == "length"


def test_two_adapters_of_one_base_answer_differently(served: Served) -> None:
    said = {name: served.model(name, max_tokens=20).invoke(WHO).text for name in ("base", "manager", "answer")}
    for name, text in said.items():
        tell(f"{name:8} {WHO} -> {text!r}")
    assert (said["manager"], said["answer"]) == ("I keep the memory.", "I answer from it.")
    assert said["base"] not in (said["manager"], said["answer"])


async def test_the_base_is_held_to_the_json_of_the_manager(served: Served) -> None:
    """A random model says noise; under the schema it says operations, whatever they are."""
    given = prompts.ManageInput((Fact("Ann likes tea.", "Ann"),), ())
    free = served.model("base", max_tokens=60).invoke(prompts.render(given, "compact")).text
    seeds = [served.model("base", role="manage", temperature=1, seed=seed, max_tokens=400) for seed in range(12)]
    held = await asyncio.gather(*(model.ainvoke(prompts.render(given, "compact")) for model in seeds))
    whole = [reply.text for reply in held if reply.response_metadata["finish_reason"] == "stop"]
    tell(f"base, free: {free[:60]!r}")
    shown = " ".join((whole or [held[0].text])[0].split())
    tell(f"base, held: {shown[:160]!r} ({len(whole)} of {len(held)} came to an end)")
    assert not free.lstrip().startswith('{"operations"') and len(whole) > 0
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
    done = play(tmp_path / "vllm", f"vllm:manager@{served.url}", f"vllm:answer@{served.url}")
    tell(f"graph on vLLM: {done}")
    assert done == taught


async def test_sixty_four_requests_at_once(served: Served) -> None:
    names = ["base", "manager", "answer"]
    models = [served.model(names[number % 3], max_tokens=16) for number in range(64)]
    start = time.perf_counter()
    replies = await asyncio.gather(*(model.ainvoke(f"{WHO} {number}") for number, model in enumerate(models)))
    spent = time.perf_counter() - start
    tokens = sum(reply.usage_metadata["output_tokens"] for reply in replies)
    tell(f"64 requests at once: {spent:.1f} s, {64 / spent:.1f} requests/s, {tokens / spent:.0f} tokens/s")
    assert len(replies) == 64 and all(reply.usage_metadata["output_tokens"] > 0 for reply in replies)
    start = time.perf_counter()
    capped = load_chat_model(f"vllm:answer@{served.url}", max_concurrency=8, temperature=0, max_tokens=16)
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
    folder = served.folder / "manager"
    write_manifest(folder, Manifest(base=str(served.folder / "base"), role="manage", data="none", rank=16))
    load_chat_model(f"vllm:manager@{served.url}", folder, role="manage")
    with pytest.raises(InputError, match="plays the role 'manage', not 'answer'"):
        load_chat_model(f"vllm:manager@{served.url}", folder, role="answer")


def test_an_adapter_for_another_base_is_refused(served: Served) -> None:
    folder = served.folder / "manager"
    write_manifest(folder, Manifest(base="Qwen/Qwen3-4B", role="manage", data="none", rank=16))
    with pytest.raises(InputError, match=r"sits on 'Qwen/Qwen3-4B', not on '.*base'; start a server of") as caught:
        load_chat_model(f"vllm:manager@{served.url}", folder)
    tell(f"{caught.value}")


def test_the_trainer_samples_from_the_server_with_the_newest_adapter(served: Served, tmp_path: Path) -> None:
    pytest.importorskip("trl", reason="the extra `train` is not installed")
    import torch
    from peft import LoraConfig, PeftModel
    from tiny_model import LORA, manager_rows, settings

    from langgraph_memory_r1.train.actors import load_base
    from langgraph_memory_r1.train.engines import VLLMServerEngine
    from langgraph_memory_r1.train.grpo import NodeGRPOTrainer
    from langgraph_memory_r1.train.rewards import FormatReward, SizeReward, Weighted

    base, tokenizer = load_base(str(served.folder / "base"))
    model = PeftModel(base, LoraConfig(**LORA, init_lora_weights=False), adapter_name="manage")
    engine, rows = VLLMServerEngine(served.url, role="manage", folder=tmp_path / "published"), manager_rows()
    engine.publish(model, 100)
    prompt = tokenizer("Ann adopted a dog.")["input_ids"]
    (ids,), (logps,) = engine.generate([prompt], temperature=1.0, max_tokens=12)
    with torch.no_grad():
        logits = model.eval()(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1]
    expected = logits.log_softmax(-1).gather(1, torch.tensor(ids).unsqueeze(1)).squeeze(1)
    apart = float((torch.tensor(logps) - expected).abs().max())
    tell(f"{len(ids)} tokens; log-probabilities of server and trainer at most {apart:.4f} apart")
    assert apart < 0.1
    args = settings(tmp_path / "run", max_completion_length=8, learning_rate=1e-3)
    rewards = [Weighted(FormatReward(rows)), Weighted(SizeReward(rows))]
    made = NodeGRPOTrainer(model.train(), tokenizer, rows, rewards, args, engine=engine)
    start = time.perf_counter()
    made.train()
    engine.close()
    tell(f"two GRPO steps on the server in {time.perf_counter() - start:.1f} s")
    assert [path.name for path in (tmp_path / "published").iterdir()] == ["manage-v1"]
