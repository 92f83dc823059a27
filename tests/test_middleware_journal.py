"""What was heard outlives the process: killed ones, failed runs, several processes on one folder, forgotten owners."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import before_model
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command, interrupt

from langgraph_memory_r1 import LanceDBStore, MemoryBank, MemoryMiddleware
from langgraph_memory_r1.store.pending import PendingFolder
from langgraph_memory_r1.testing import ScriptedChatModel

NUTS = "I am allergic to nuts."
FACT = "User is allergic to nuts."
ANN = {"user_id": "ann"}
THREAD: RunnableConfig = {"configurable": {"thread_id": "t"}}


def silent() -> ScriptedChatModel:
    return ScriptedChatModel(lambda _: "ok")


def texts(memory: MemoryMiddleware, user: str = "ann") -> list[str]:
    return [item.text for item in memory.bank(user).all()]


def fail_to_answer(uri: str, **options: Any) -> None:
    """A run that fails after it was heard, in a middleware that is gone afterwards, as after the end of a process."""
    memory = MemoryMiddleware(uri, model="rules", **options)
    agent = create_agent(ScriptedChatModel([OSError("down")]), middleware=[memory])
    with pytest.raises(OSError, match="down"):
        agent.invoke({"messages": NUTS}, THREAD, context=ANN)
    del memory, agent
    gc.collect()


def files_with(uri: str, words: bytes) -> list[Path]:
    return [path for path in Path(uri).rglob("*") if path.is_file() and words in path.read_bytes()]


@pytest.mark.parametrize("write", ["inline", "background"])
@pytest.mark.parametrize("by", ["run", "flush"])
def test_the_next_start_remembers_what_was_left(lance_uri: str, write: Any, by: str) -> None:
    fail_to_answer(lance_uri)
    memory = MemoryMiddleware(lance_uri, model="rules", write=write)
    if by == "run":
        create_agent(silent(), middleware=[memory]).invoke({"messages": "I like tea."}, context={"user_id": "bob"})
    memory.flush(10)
    assert (texts(memory), texts(memory, "bob")) == ([FACT], ["User likes tea."] if by == "run" else [])
    assert not files_with(lance_uri, b'allergic to nuts."}') and not list(Path(lance_uri, "pending").glob("*.json"))


def test_what_is_remembered_already_is_not_remembered_again(lance_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = MemoryMiddleware(lance_uri, model="rules")
    # As if the process died between the commit and the end of the entry.
    monkeypatch.setattr(memory._background.journal, "done", lambda *_: None)
    create_agent(silent(), middleware=[memory]).invoke({"messages": NUTS}, context=ANN)
    history = len(memory.bank("ann").history())
    del memory
    monkeypatch.undo()
    gc.collect()
    assert list(Path(lance_uri, "pending").glob("*.json"))
    model = ScriptedChatModel(lambda _: '{"facts":[]}')
    later = MemoryMiddleware(lance_uri, model=model)
    later.flush(10)
    assert (texts(later), len(later.bank("ann").history()), model.calls) == ([FACT], history, [])
    assert not list(Path(lance_uri, "pending").glob("*.json"))


def test_what_a_live_process_has_yet_to_do_is_its_own(lance_uri: str) -> None:
    one = MemoryMiddleware(lance_uri, model="rules", write="background", delay=60)
    create_agent(silent(), middleware=[one]).invoke({"messages": NUTS}, context=ANN)
    other = MemoryMiddleware(lance_uri, model="rules")
    other.flush(10)
    assert texts(other) == []
    one.flush(10)
    assert texts(other) == [FACT]


def test_a_memory_of_another_name_leaves_it_alone(lance_uri: str) -> None:
    fail_to_answer(lance_uri, name="team", namespace="team")
    other = MemoryMiddleware(lance_uri, model="rules")
    other.flush(10)
    assert texts(other) == []
    MemoryMiddleware(lance_uri, model="rules", name="team", namespace="elsewhere").flush(10)
    with LanceDBStore(lance_uri) as store:
        assert [item.text for item in MemoryBank(store, "team").all()] == [FACT]


def test_forgetting_an_owner_forgets_what_waits(lance_uri: str) -> None:
    fail_to_answer(lance_uri)
    assert files_with(lance_uri, b"allergic")
    with LanceDBStore(lance_uri) as store:
        MemoryBank(store, "ann").forget()
    assert not files_with(lance_uri, b"allergic")
    memory = MemoryMiddleware(lance_uri, model="rules", write="background", delay=60)
    create_agent(silent(), middleware=[memory]).invoke({"messages": "I have diabetes."}, context=ANN)
    assert files_with(lance_uri, b"diabetes")
    memory.bank("ann").forget()
    assert not files_with(lance_uri, b"diabetes")
    memory.flush(10)
    assert texts(memory) == []
    assert not files_with(lance_uri, b"diabetes")


def test_nothing_waits_on_disk_before_it_was_redacted(lance_uri: str) -> None:
    fail_to_answer(lance_uri, redact=lambda text: text.replace("nuts", "[food]"))
    assert files_with(lance_uri, b"[food]")
    assert not files_with(lance_uri, b"nuts")


def test_a_model_that_is_not_known_yet_is_waited_for(lance_uri: str) -> None:
    fail_to_answer(lance_uri)
    model = ScriptedChatModel(["ok", '{"facts":[]}', '{"facts":[{"text":"User is allergic.","turns":[0]}]}'])
    memory = MemoryMiddleware(lance_uri, manager="rules")
    memory.flush(10)
    assert texts(memory) == []
    create_agent(model, middleware=[memory]).invoke({"messages": "Hello!"}, context={"user_id": "bob"})
    memory.flush(10)
    assert texts(memory) == ["User is allergic."]


def test_a_store_without_a_folder_keeps_it_in_memory() -> None:
    memory = MemoryMiddleware(InMemoryStore(), model="rules", write="background", delay=60)
    create_agent(silent(), middleware=[memory]).invoke({"messages": NUTS}, context=ANN)
    memory.flush(10)
    assert texts(memory) == [FACT]


def test_a_run_that_goes_on_in_another_process_is_remembered_there(lance_uri: str) -> None:
    saver, other = InMemorySaver(), f"{lance_uri}-moved"
    for uri in (lance_uri, other):  # the second has nothing in its journal: as after a move to another machine
        memory = MemoryMiddleware(uri, model="rules", write="background", delay=60)
        agent = create_agent(silent(), middleware=[memory, pause], checkpointer=saver)
        agent.invoke({"messages": NUTS} if uri == lance_uri else Command(resume=True), THREAD, context=ANN)
    memory.flush(10)
    assert texts(memory) == [FACT]


@before_model
def pause(state: Any, runtime: Any) -> None:
    interrupt("Well?")


# ---- the folder


def test_of_many_that_start_at_once_each_entry_goes_to_one(tmp_path: Path) -> None:
    dead = PendingFolder(tmp_path)
    for number in range(50):
        dead.put(("ann",), "memory", {"number": number})
    dead._unlock()
    taken: list[int] = []
    start = threading.Barrier(6)

    def take() -> None:
        start.wait()
        for _, record in folders[threading.current_thread().name].take_over("memory"):
            taken.append(record["number"])

    threads = [threading.Thread(target=take) for _ in range(6)]
    folders = {thread.name: PendingFolder(tmp_path) for thread in threads}
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    left = [record["number"] for _, record in PendingFolder(tmp_path).take_over("memory")]
    assert sorted([*taken, *left]) == list(range(50))


def test_a_half_written_or_foreign_file_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dead = PendingFolder(tmp_path)
    dead.put(("ann",), "memory", {"number": 1}).write_text("{")
    dead.put(("ann",), "memory", {"number": 2})
    (tmp_path / "notes.json").write_text("mine")
    dead._unlock()
    assert [record["number"] for _, record in PendingFolder(tmp_path).take_over("memory")] == [2]
    assert "cannot be read" in caplog.text


def test_a_forked_child_has_entries_of_its_own(tmp_path: Path) -> None:
    folder = PendingFolder(tmp_path)
    first = folder.put(("ann",), "memory", {})
    pid = os.fork()
    if pid == 0:
        try:
            child = folder.put(("ann",), "memory", {})
            os._exit(0 if child.name.split(".")[2] != first.name.split(".")[2] else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert len(PendingFolder(tmp_path).take_over("memory")) == 1  # the dead child's, not the parent's


def test_erasing_a_namespace_takes_those_below_along(tmp_path: Path) -> None:
    folder = PendingFolder(tmp_path)
    for namespace in (("a",), ("a", "b"), ("ab",)):
        folder.put(namespace, "memory", {})
    folder.erase(("a",), below=True)
    assert len(list(tmp_path.glob("*.json"))) == 1


# ---- killed


APP = """
import sys, time, threading
from langchain.agents import create_agent
from langgraph_memory_r1 import MemoryMiddleware
from langgraph_memory_r1.testing import ScriptedChatModel

def reply(messages):
    if sys.argv[2] == "inline":
        print("ready", flush=True)
        time.sleep(600)
    return "Nice!"

memory = MemoryMiddleware(sys.argv[1], model="rules", write=sys.argv[2], delay=600)
agent = create_agent(ScriptedChatModel(reply), middleware=[memory])
for number in range(12):
    agent.invoke({"messages": f"I adopted a dog called Rex{number}."}, context={"user_id": f"user-{number % 3}"})
print("ready", flush=True)
time.sleep(600)
"""

NEXT = """
import sys
from langchain.agents import create_agent
from langgraph_memory_r1 import MemoryMiddleware
from langgraph_memory_r1.testing import ScriptedChatModel
memory = MemoryMiddleware(sys.argv[1], model="rules", write=sys.argv[2], delay=600)
agent = create_agent(ScriptedChatModel(lambda _: "Nice!"), middleware=[memory])
agent.invoke({"messages": "Hello there!"}, context={"user_id": "somebody"})
"""


@contextmanager
def app(uri: str, write: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", APP, uri, write], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


@pytest.mark.slow
@pytest.mark.parametrize("write", ["background", "inline"])
@pytest.mark.parametrize("kill", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_process_leaves_its_turns_to_the_next(lance_uri: str, kill: signal.Signals, write: str) -> None:
    with app(lance_uri, write) as process:
        process.send_signal(kill)
        assert process.wait(60) == -kill
    # Two at once, as the workers of a server start: each entry is for one of them.
    starts = [subprocess.Popen([sys.executable, "-c", NEXT, lance_uri, write]) for _ in range(2)]
    assert [start.wait(300) for start in starts] == [0, 0]
    with LanceDBStore(lance_uri) as store:
        memories = [item for user in range(3) for item in MemoryBank(store, f"user-{user}").all()]
        words = " ".join(item.text for item in memories)
        for number in range(12 if write == "background" else 1):
            assert words.count(f"Rex{number}.") + words.count(f"Rex{number} ") == 1, words
    assert not list(Path(lance_uri, "pending").glob("*.json"))
