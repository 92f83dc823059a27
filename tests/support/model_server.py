"""A model server as a process of its own, so that it can be killed: `python tests/support/model_server.py PORT`.

It speaks the OpenAI shape, and what answers is the no-model baseline, so that it says the same every time. A request
in which `HOLD` stands is never answered: whoever kills the server then kills it in the middle of a reply.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
from langchain_core.messages import convert_to_messages

HOLD = "wait for ever"
UP_SECONDS = 60


class ModelServer:
    """The process, which can be killed and started again at the same address."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.spec = f"vllm:baseline@http://127.0.0.1:{self.port}"
        self._asked = folder / f"asked-{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen([sys.executable, __file__, str(self.port), str(self._asked)])
        end = time.monotonic() + UP_SECONDS
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{self.port}/health", trust_env=False).raise_for_status()
                return
            except httpx.TransportError:
                assert self._process.poll() is None and time.monotonic() < end, "the model server does not start"
                time.sleep(0.05)

    def kill(self) -> None:
        """As a crash does it: no goodbye to anybody."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        assert self._process.wait(10) == -signal.SIGKILL

    def asked(self) -> list[str]:
        """The last message of every request so far, over all starts."""
        return [json.loads(line) for line in self._asked.read_text().splitlines()] if self._asked.exists() else []


@contextmanager
def model_server(folder: Path) -> Iterator[ModelServer]:
    server = ModelServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()


def serve(port: int, asked: Path) -> None:
    from langgraph_memory_r1.models import RulesChatModel

    model = RulesChatModel()
    writing = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._say({})

        def do_POST(self) -> None:
            messages = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"]
            with writing, asked.open("a") as log:
                log.write(json.dumps(messages[-1]["content"]) + "\n")
            if HOLD in messages[-1]["content"]:
                time.sleep(3600)
            said = {"role": "assistant", "content": model.invoke(convert_to_messages(messages)).text}
            usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
            self._say({"model": "baseline", "choices": [{"message": said, "finish_reason": "stop"}], "usage": usage})

        def _say(self, body: object) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    serve(int(sys.argv[1]), Path(sys.argv[2]))
