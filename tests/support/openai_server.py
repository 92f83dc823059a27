"""A real HTTP server on this machine that speaks the OpenAI shape, with a script of what it answers."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


@dataclass(frozen=True)
class Says:
    """One answer of the server."""

    body: str
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0


def completion(content: str | None, **message: Any) -> Says:
    reply = {"role": "assistant", "content": content, **message}
    choice = {"index": 0, "message": reply, "finish_reason": "stop"}
    return Says(json.dumps({"id": "c1", "model": "base", "choices": [choice], "usage": USAGE}))


def stream(*pieces: str) -> Says:
    chunks: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]
    chunks.append({"model": "base", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    chunks.append({"model": "base", "choices": [], "usage": USAGE})
    lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
    return Says(": keep-alive\n\n" + "".join(lines) + "data: [DONE]\n\n")


@dataclass
class Server:
    url: str
    script: list[Says | Callable[[dict[str, Any]], Says]]
    """What it says, or how that is worked out from a request."""
    asked: list[dict[str, Any]] = field(default_factory=list)
    """The bodies of the requests, in order."""
    headers: list[dict[str, str]] = field(default_factory=list)
    most_at_once: int = 0
    _now: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, body: dict[str, Any], headers: dict[str, str]) -> Says:
        """The next line of the script; the last one for ever."""
        with self._lock:
            self.asked.append(body)
            self.headers.append(headers)
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            line = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        return line(body) if callable(line) else line

    def done(self) -> None:
        with self._lock:
            self._now -= 1


@contextmanager
def serving(*script: Says | Callable[[dict[str, Any]], Says], port: int = 0) -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _answer(self, body: dict[str, Any]) -> None:
            says = server.take({**body, "path": self.path}, {key.lower(): value for key, value in self.headers.items()})
            time.sleep(says.delay)
            server.done()
            try:
                self.send_response(says.status)
                for key, value in says.headers.items():
                    self.send_header(key, value)
                self.end_headers()
                self.wfile.write(says.body.encode())
            except (BrokenPipeError, ConnectionResetError):
                pass  # the client did not wait

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Http(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

    http = Http(("127.0.0.1", port), Handler)
    server = Server(f"http://127.0.0.1:{http.server_port}", list(script))
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
