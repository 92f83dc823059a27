"""A real vLLM server on the CPU: the tiny base of this project, and adapters that know a conversation by heart.

The adapters are taught what the no-model baseline says, so that the memory graph on the server has to do exactly what
it does with the baseline. Others are put on the server while it runs.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from langchain_core.messages import BaseMessage, HumanMessage, convert_to_openai_messages

from langgraph_memory_r1 import create_memory_graph, load_chat_model
from langgraph_memory_r1.testing import ScriptedChatModel
from langgraph_memory_r1.train.tiny import BASE

PYTHON = os.environ.get("VLLM_PYTHON", "")
AT = datetime(2024, 5, 1, tzinfo=UTC)
TOLD = ["I adopted a dog called Buddy.", "I adopted another dog, Scout!"]
QUESTION = "How many dogs do I have?"
WHO = "Who are you?"
START_SECONDS = 600
OFFLINE = {
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
    # A thread that others interrupt holds up the rest at every barrier, and one is enough for a model this small.
    "OMP_NUM_THREADS": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false",
}  # fmt: skip

needs_vllm = pytest.mark.skipif(not PYTHON, reason="needs an environment with vLLM: make test-vllm")


@dataclass(frozen=True)
class Served:
    url: str
    folder: Path

    def model(self, name: str, **settings: Any) -> Any:
        return load_chat_model(f"vllm:{name}@{self.url}", **{"temperature": 0, "max_tokens": 200, **settings})

    def names(self) -> list[str]:
        """What the server serves now."""
        told = httpx.get(f"{self.url}/v1/models", trust_env=False).raise_for_status().json()
        return [card["id"] for card in told["data"]]

    @contextmanager
    def using_adapter(self, **adapters: Path) -> Iterator[None]:
        """The server with more adapters for a while."""
        for name, folder in adapters.items():
            self._post("load_lora_adapter", lora_name=name, lora_path=str(folder))
        try:
            yield
        finally:
            for name in adapters:
                self._post("unload_lora_adapter", lora_name=name)

    def _post(self, path: str, **body: str) -> None:
        httpx.post(f"{self.url}/v1/{path}", json=body, trust_env=False, timeout=60).raise_for_status()


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
    return [f"{op['event']} {op['after']}" for state in done for op in state["memory_ops"]], answer


def recorder() -> ScriptedChatModel:
    rules = load_chat_model("rules")
    return ScriptedChatModel(lambda messages: rules.invoke(messages).text)


def lessons(place: Path) -> dict[str, Any]:
    """What the baseline says in the conversation, and who each adapter is."""
    manager, answerer = recorder(), recorder()
    play(place, manager, answerer)
    taught: dict[str, Any] = {}
    for name, model, self in (("keeper", manager, "I keep the memory."), ("teller", answerer, "I answer from it.")):
        calls: list[list[BaseMessage]] = [*model.calls]
        pairs = [(call, load_chat_model("rules").invoke(call).text) for call in calls] + [([HumanMessage(WHO)], self)]
        taught[name] = [(convert_to_openai_messages(call), reply) for call, reply in pairs]
    return taught


@contextmanager
def serving(folder: Path) -> Iterator[Served]:
    """The server, until nothing of it is left."""
    (folder / "lessons.json").write_text(json.dumps(lessons(folder / "taught")))
    start = time.perf_counter()
    build = [PYTHON, str(Path(__file__).parent.parent / "vllm_env" / "build.py"), str(BASE), "lessons.json", "."]
    subprocess.run(build, check=True, env=os.environ | OFFLINE, timeout=START_SECONDS, cwd=folder)
    tell(f"adapters made in {time.perf_counter() - start:.0f} s")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    # In 32 bits, so that it decides as models in this process do.
    command = [
        PYTHON, "-m", "vllm.entrypoints.openai.api_server", "--model", str(BASE), "--served-model-name", "base",
        "--dtype", "float32", "--host", "127.0.0.1", "--port", str(port), "--max-model-len", "1024", "--enforce-eager",
        "--enable-lora", "--max-loras", "4", "--logprobs-mode", "processed_logprobs", "--generation-config", "vllm",
        "--lora-modules", f"keeper={folder / 'keeper'}", f"teller={folder / 'teller'}",
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
    for signal in (15, 9):
        with suppress(ProcessLookupError):  # all are gone
            os.killpg(server.pid, signal)
        with suppress(subprocess.TimeoutExpired):
            server.wait(20)
    until = time.monotonic() + 20
    while left := running(server.pid):
        assert time.monotonic() < until, f"processes of the server are left: {left}"
        time.sleep(0.1)


def running(group: int) -> list[int]:
    """The processes of a group; not those that ended and that nobody has asked after."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found
