"""`langgraph dev` over HTTP: all graphs of langgraph.json, runs that wait and that stream, and the store's endpoints.

The development server raises where anything blocks its event loop, so a passing run says that nothing of ours does.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
SAID = ["I adopted a dog called Buddy.", "I adopted another dog, Scout!", "How many dogs do I have?"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec("langgraph_api") is None, reason="pip install 'langgraph-cli[inmem]' to test the development server"
    ),
]


class Server:
    """A running server, over HTTP."""

    def __init__(self, port: int, login: str | None = None) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.headers = {"Content-Type": "application/json"} | ({"Authorization": login} if login else {})

    def call(self, method: str, path: str, body: Any = None) -> str:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, self.headers, method=method)
        with urllib.request.urlopen(request, timeout=120) as reply:
            return str(reply.read().decode())

    def run(self, graph: str, text: str, thread: str | None = None, how: str = "wait", **more: Any) -> str:
        state = {"messages": [{"role": "user", "content": text}], **more.pop("state", {})}
        path = f"/threads/{thread}/runs/{how}" if thread else f"/runs/{how}"
        context = {"user_id": f"{graph}@example.com"}
        return self.call("POST", path, {"assistant_id": graph, "input": state, "context": context, **more})


AUTH = """
from langgraph_sdk import Auth

auth = Auth()

@auth.authenticate
async def authenticate(headers: dict) -> dict:
    login = headers.get(b"authorization") or headers.get("authorization")
    if not login:
        raise Auth.exceptions.HTTPException(401, "no login")
    name = login.decode() if isinstance(login, bytes) else login
    return {"identity": f"{name}@example.com", "display_name": name.title(), "org": "acme"}
"""
# As docs/agents.md shows it.
AUTH += """
from langgraph_memory_r1.bank.records import encode_label

@auth.on.store
async def own_memories(ctx: Auth.types.AuthContext, value: dict) -> None:
    if tuple(value["namespace"] or ())[:2] != ("memories", encode_label(ctx.user.identity)):
        raise Auth.exceptions.HTTPException(status_code=403, detail="These memories are not yours.")
"""


@contextmanager
def serving(folder: Path, auth: str = "") -> Iterator[Server]:
    shutil.copytree(ROOT / "graphs", folder / "graphs")
    config = json.loads((ROOT / "langgraph.json").read_text())
    if auth:
        (folder / "auth.py").write_text(auth)
        config["auth"] = {"path": "./auth.py:auth"}
    (folder / "langgraph.json").write_text(json.dumps(config))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [Path(sys.executable).parent / "langgraph", "dev", "--no-browser", "--no-reload", "--port", str(port)]
    environment = os.environ | {"LANGSMITH_TRACING": "false", "LANGGRAPH_CLI_NO_ANALYTICS": "1"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        _until_up(Server(port), process, folder / "log")
        yield Server(port)
        assert "BlockingError" not in (folder / "log").read_text()
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def server_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dev")


@pytest.fixture(scope="module")
def server(server_folder: Path) -> Iterator[Server]:
    with serving(server_folder) as running:
        yield running


@pytest.fixture(scope="module")
def server_with_logins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("logins"), AUTH) as running:
        yield running


def _until_up(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 180
    while True:
        try:
            assert json.loads(server.call("GET", "/ok"))["ok"]
            return
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.3)


@pytest.mark.parametrize("graph", ["chat", "agent", "memory"])
def test_a_graph_remembers_over_runs_and_counts_the_dogs(server: Server, graph: str) -> None:
    results = []
    for text in SAID:
        asked = {"question": text} if graph == "memory" else {}
        results.append(json.loads(server.run(graph, text, state=asked)))
    assert [result["memory_ops"][0]["event"] for result in results] == ["ADD", "UPDATE", "NOOP"]
    answer = results[2]["answer"] if graph == "memory" else results[2]["messages"][-1]["content"]
    assert answer == "2"


def test_a_thread_streams_its_operations_and_keeps_its_cursor(server: Server) -> None:
    thread = json.loads(server.call("POST", "/threads", {}))["thread_id"]
    streamed = server.run("agent", "I play the cello.", thread, "stream", stream_mode=["custom", "updates"])
    assert '"event":"operation"' in streamed.replace(" ", "")
    assert "memory.after_agent" in streamed
    state = json.loads(server.call("GET", f"/threads/{thread}/state"))["values"]
    assert [operation["event"] for operation in state["memory_ops"]] == ["ADD"]
    again = json.loads(server.run("agent", "Hello!", thread))
    assert [operation["event"] for operation in again["memory_ops"]] == ["NOOP"]


def test_the_store_endpoints_show_the_memories(server: Server) -> None:
    server.run("chat", "My sister Eve lives in Boston.")
    space = ["memories", "chat@example%2Ecom", "memory"]
    search = {"namespace_prefix": space, "filter": {"text": {"$contains": "Boston"}}}
    (found,) = json.loads(server.call("POST", "/store/items/search", search))["items"]
    assert "Boston" in found["value"]["text"]
    assert json.loads(server.call("POST", "/store/namespaces", {"prefix": space}))["namespaces"] == [space]
    item = {"namespace": ["mine"], "key": "k", "value": {"a": 1}}
    server.call("PUT", "/store/items", item)
    assert json.loads(server.call("GET", "/store/items?namespace=mine&key=k"))["value"] == {"a": 1}
    server.call("DELETE", "/store/items", {"namespace": ["mine"], "key": "k"})
    left = json.loads(server.call("POST", "/store/items/search", {"namespace_prefix": ["mine"]}))["items"]
    assert left == []


# ---- with logins, and without one


@pytest.mark.parametrize("graph", ["chat", "agent", "memory"])
def test_a_client_that_sends_anothers_id_is_refused(server_with_logins: Server, graph: str) -> None:
    ann, bob = Server(server_with_logins.port, "ann"), Server(server_with_logins.port, "bob")
    secret, question = f"I have a {graph} allergy.", "Which allergy do I have?"
    asked = {"question": question} if graph == "memory" else {}
    assert f"{graph} allergy" in ann.run(graph, secret, context={"user_id": "ann@example.com"})
    ann.run(graph, "My favourite drink is tea.", context={})
    for sent in (
        {"context": {"user_id": "ann@example.com"}},
        {"context": {}, "config": {"configurable": {"user_id": "ann@example.com"}}},
        {"context": {}, "config": {"configurable": {"langgraph_user_id": "ann@example.com"}}},
    ):
        for text in (question, "Her favourite colour is red."):
            refused = json.loads(bob.run(graph, text, state=asked, **sent))
            assert refused["__error__"]["error"] == "IdentityError"
            assert "'bob@example.com' is logged in" in refused["__error__"]["message"]
        streamed = bob.run(graph, question, how="stream", state=asked, stream_mode=["values", "custom"], **sent)
        assert "IdentityError" in streamed
        assert f"{graph} allergy" not in streamed
    # Names that the server's schema does not know, and keys that it reserves, do not reach a run: it is the login's.
    for sent in (
        {"context": {"langgraph_user_id": "ann@example.com"}},
        {"context": {}, "config": {"configurable": {"langgraph_auth_user_id": "ann@example.com"}}},
        {"context": {"user_id": ""}},
        {"context": {}},
    ):
        assert f"{graph} allergy" not in bob.run(graph, question, state=asked, **sent)
    space = {"namespace_prefix": ["memories", "ann@example%2Ecom"], "limit": 100}
    remembered = ann.call("POST", "/store/items/search", space)
    assert [word in remembered for word in (f"{graph} allergy", "tea", "colour")] == [True, True, False]


def test_the_store_endpoints_show_a_login_its_own_memories_only(server_with_logins: Server) -> None:
    ann, bob = Server(server_with_logins.port, "ann"), Server(server_with_logins.port, "bob")
    ann.run("memory", "I play the cello.", context={})
    space = ["memories", "ann@example%2Ecom", "memory"]
    assert "cello" in ann.call("POST", "/store/items/search", {"namespace_prefix": space})
    (key,) = [
        item["key"]
        for item in json.loads(ann.call("POST", "/store/items/search", {"namespace_prefix": space}))["items"]
        if "cello" in item["value"]["text"]
    ]
    item = {"namespace": space, "key": key}
    for path, body in (
        ("/store/items/search", {"namespace_prefix": space}),
        ("/store/items/search", {"namespace_prefix": ["memories"]}),
        ("/store/items/search", {"namespace_prefix": []}),
        ("/store/namespaces", {"prefix": ["memories"]}),
        ("/store/namespaces", {}),
    ):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            bob.call("POST", path, body)
    with pytest.raises(urllib.error.HTTPError, match="403"):
        bob.call("PUT", "/store/items", {**item, "value": {"text": "Ann hates the cello."}})
    with pytest.raises(urllib.error.HTTPError, match="403"):
        bob.call("DELETE", "/store/items", item)
    assert "hates" not in ann.call("POST", "/store/items/search", {"namespace_prefix": space})


def test_a_thread_of_a_login_goes_on_after_its_state_was_changed_by_hand(server_with_logins: Server) -> None:
    ann = Server(server_with_logins.port, "ann")
    thread = json.loads(ann.call("POST", "/threads", {}))["thread_id"]
    ann.run("memory", "I have a parrot.", thread, context={})
    ann.call("POST", f"/threads/{thread}/state", {"values": {"question": "Which bird do I have?"}})
    assert "__error__" not in ann.run("memory", "I have a canary, too.", thread, context={})


@pytest.mark.parametrize("graph", ["chat", "agent", "memory"])
def test_runs_without_a_login_are_remembered_and_warned_of(server: Server, server_folder: Path, graph: str) -> None:
    result = json.loads(server.run(graph, f"I have a {graph} allergy.", context={}))
    assert [operation["event"] for operation in result["memory_ops"]][:1] == ["ADD"]
    space = {"namespace_prefix": ["memories", "default", "memory"]}
    assert f"{graph} allergy" in server.call("POST", "/store/items/search", space)
    assert "A run names no user" in (server_folder / "log").read_text()
