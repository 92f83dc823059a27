"""TraceRecorder: what it gets out of the callbacks of real graphs and agents."""

from __future__ import annotations

import asyncio
import copy
import gc
import os
import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from blockbuster import blockbuster_ctx
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command

from langgraph_memory_r1 import (
    Decision,
    InputError,
    LanceDBStore,
    MemoryBank,
    MemoryMiddleware,
    StoreError,
    TraceRecorder,
    create_memory_graph,
    read_traces,
)
from langgraph_memory_r1.models import with_limits
from langgraph_memory_r1.prompts import AnswerInput, ManageInput, render
from langgraph_memory_r1.schemas import Add, Memory
from langgraph_memory_r1.testing import ScriptedChatModel

BUDDY, SCOUT = "I adopted a dog called Buddy.", "I adopted another dog, Scout!"
FACTS = '{"facts":[{"text":"Ann has a dog.","turns":[0]}]}'
ADDED = '{"operations":[{"event":"ADD","fact":0,"text":"Ann has a dog."}]}'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "traces"


def config(recorder: TraceRecorder, thread: str = "t1", user: str = "ann") -> Any:
    return {"callbacks": [recorder], "configurable": {"thread_id": thread, "user_id": user}}


def by_role(folder: Path) -> dict[str | None, Decision]:
    return {decision.role: decision for decision in read_traces(folder, strict=True)}


def test_a_run_of_the_graph_is_three_decisions(folder: Path, lance_uri: str) -> None:
    graph = create_memory_graph(lance_uri)
    recorder = TraceRecorder(folder)
    out = graph.invoke({"messages": [("user", BUDDY)], "question": "How is the dog called?"}, config(recorder))
    extract, manage, answer = read_traces(folder, strict=True)
    (memory,) = out["memories"]
    assert [each.role for each in (extract, manage, answer)] == ["extract", "manage", "answer"]
    assert [each.node for each in (extract, manage, answer)] == ["extract", "manage", "answer"]
    assert {each.run_id for each in (extract, manage, answer)} == {recorder.last_run}
    assert {(each.thread, each.model, each.prompt_version) for each in (extract, manage, answer)} == {
        ("t1", "rules", "1")
    }
    assert manage.operations == tuple(out["memory_ops"])
    assert (answer.answer, answer.selected, answer.retrieved) == ("Buddy", (memory["id"],), (memory["id"],))
    assert answer.operations == extract.operations == ()
    assert manage.turns == extract.turns == tuple(out["memory_ops"][0]["source"])
    assert all(each.ms is not None and each.at is not None and each.error is None for each in (extract, manage, answer))


def test_the_bank_is_named_by_its_key(folder: Path, lance_uri: str) -> None:
    graph = create_memory_graph(lance_uri)
    for user in ("ann", "bob"):
        graph.invoke({"messages": [("user", BUDDY)]}, config(TraceRecorder(folder), user=user))
    banks = [decision.bank for decision in read_traces(folder) if decision.role == "manage"]
    with LanceDBStore(lance_uri) as store:
        assert banks == [MemoryBank(store, "ann").key, MemoryBank(store, "bob").key]
    assert "ann" not in "".join(banks)  # type: ignore[arg-type]


def test_what_the_model_saw_is_restored_with_real_ids(folder: Path, lance_uri: str) -> None:
    graph = create_memory_graph(lance_uri)
    recorder = TraceRecorder(folder)
    graph.invoke({"messages": [("user", BUDDY)]}, config(recorder))
    out = graph.invoke({"messages": [("user", SCOUT)]}, config(recorder))
    manage = [decision for decision in read_traces(folder) if decision.role == "manage"][-1]
    given = manage.input()
    assert isinstance(given, ManageInput)
    assert [memory.id for memory in given.memories] == [out["memory_ops"][0]["memory_id"]]
    assert given.facts[0].source == tuple(out["memory_ops"][0]["source"])
    assert given.facts[0].session == "t1"
    assert [message["content"] for message in manage.messages] == [message.content for message in render(given)]
    (update,) = manage.output()
    assert (update.event, update.id) == ("UPDATE", out["memory_ops"][0]["memory_id"])  # type: ignore[union-attr]


@pytest.mark.parametrize("how", ["ainvoke", "astream"])
async def test_async_graphs(folder: Path, lance_uri: str, how: str) -> None:
    graph = create_memory_graph(lance_uri)
    recorder = TraceRecorder(folder)
    asked = {"messages": [("user", BUDDY)], "question": "How is the dog called?"}
    if how == "ainvoke":
        await graph.ainvoke(asked, config(recorder))
    else:
        _ = [part async for part in graph.astream(asked, config(recorder), stream_mode="messages")]
    recorder.flush()
    found = by_role(folder)
    assert list(found) == ["extract", "manage", "answer"]
    assert [operation["event"] for operation in found["manage"].operations] == ["ADD"]
    assert found["answer"].answer == "Buddy"


async def test_an_event_loop_does_not_wait_for_the_disk(folder: Path, lance_uri: str) -> None:
    graph = create_memory_graph(lance_uri)
    asked: Any = {"messages": [("user", BUDDY)], "question": "How is the dog called?"}
    recorder = TraceRecorder(folder)
    with blockbuster_ctx():
        await graph.ainvoke(asked, config(recorder))
    assert recorder.has(recorder.last_run)
    recorder.feedback(recorder.last_run, gold="Buddy")
    assert [decision.gold for decision in read_traces(folder, strict=True)] == ["Buddy"] * 3
    recorder.close()
    await graph.ainvoke({"question": "Which dog?"}, config(recorder))
    recorder.close()
    assert len(list(read_traces(folder, strict=True))) == 4


async def test_runs_side_by_side_are_told_apart(folder: Path, lance_uri: str) -> None:
    graph = create_memory_graph(lance_uri)
    recorder = TraceRecorder(folder)
    runs = [uuid4() for _ in range(8)]
    await asyncio.gather(
        *(
            graph.ainvoke(
                {"messages": [("user", f"I adopted a dog called Buddy{number}.")]},
                config(recorder, f"t{number}", f"user{number}") | {"run_id": run},
            )
            for number, run in enumerate(runs)
        )
    )
    recorder.flush()
    managed = {decision.run_id: decision for decision in read_traces(folder) if decision.role == "manage"}
    assert list(managed) and set(managed) == {str(run) for run in runs}
    for number, run in enumerate(runs):
        (operation,) = managed[str(run)].operations
        assert f"Buddy{number}" in str(operation["after"])
        assert managed[str(run)].thread == f"t{number}"


def test_batch_and_threads(folder: Path, lance_uri: str) -> None:
    graph = create_memory_graph(lance_uri)
    recorder = TraceRecorder(folder)
    asked = [{"messages": [("user", f"I adopted a dog called Buddy{number}.")]} for number in range(4)]
    graph.batch(asked, [config(recorder, f"t{number}", f"u{number}") for number in range(4)])
    managed = [decision for decision in read_traces(folder) if decision.role == "manage"]
    assert sorted(str(decision.operations[0]["after"])[-8:] for decision in managed) == [
        f" Buddy{number}."[-8:] for number in range(4)
    ]
    assert len({decision.run_id for decision in managed}) == 4


def test_a_second_try_is_a_decision_of_its_own_and_gets_the_operations(folder: Path, lance_uri: str) -> None:
    graph = create_memory_graph(lance_uri, model=ScriptedChatModel([FACTS, "no idea", ADDED]))
    graph.invoke({"messages": [("user", "I have a dog.")]}, config(TraceRecorder(folder)))
    _, first, second = read_traces(folder, strict=True)
    assert (first.operations, len(second.operations)) == ((), 1)
    assert "no JSON object" in str(first.parse_error)
    assert second.parse_error is None
    assert [message["role"] for message in second.messages] == ["system", "user", "assistant", "user"]
    assert first.input() == second.input()


@pytest.mark.parametrize("how", ["retry", "fallbacks", "limits", "bind"])
def test_a_model_that_is_wrapped(folder: Path, lance_uri: str, how: str) -> None:
    failing = ScriptedChatModel([RuntimeError("down"), RuntimeError("down")])
    model: Any = {
        "retry": ScriptedChatModel([RuntimeError("down"), FACTS, ADDED]).with_retry(wait_exponential_jitter=False),
        "fallbacks": failing.with_fallbacks([ScriptedChatModel([FACTS, ADDED])]),
        "limits": with_limits(ScriptedChatModel([FACTS, ADDED]), retries=2),
        "bind": ScriptedChatModel([FACTS, ADDED]).bind(stop=["x"]),
    }[how]
    graph = create_memory_graph(lance_uri, model=model)
    graph.invoke({"messages": [("user", "I have a dog.")]}, config(TraceRecorder(folder)))
    found = [decision for decision in read_traces(folder, strict=True) if decision.error is None]
    assert [(decision.role, decision.node, len(decision.operations)) for decision in found] == [
        ("extract", "extract", 0),
        ("manage", "manage", 1),
    ]
    assert len({decision.run_id for decision in found}) == 1


def test_every_batch_of_turns_gets_its_own_operations(folder: Path, lance_uri: str) -> None:
    from langgraph_memory_r1.batches import Limits

    graph = create_memory_graph(lance_uri, limits=Limits(batch_turns=1))
    said = [("user", BUDDY), ("user", "Haha."), ("user", "I moved to Denver.")]
    out = graph.invoke({"messages": said}, config(TraceRecorder(folder)))
    managed = [decision for decision in read_traces(folder) if decision.role == "manage"]
    texts = [[operation["after"] for operation in decision.operations] for decision in managed]
    assert texts == [["User adopted a dog called Buddy."], ["User moved to Denver."]]
    assert [operation["event"] for operation in out["memory_ops"]] == ["ADD", "NOOP", "ADD"]


def test_a_model_that_fails_is_recorded_with_its_error(folder: Path, lance_uri: str) -> None:
    graph = create_memory_graph(lance_uri, model=ScriptedChatModel([RuntimeError("server down")]))
    with pytest.raises(RuntimeError):
        graph.invoke({"messages": [("user", BUDDY)]}, config(TraceRecorder(folder)))
    (decision,) = read_traces(folder, strict=True)
    assert (decision.error, decision.completion, decision.parse_error) == ("RuntimeError: server down", "", None)


def test_a_graph_in_a_graph_and_calls_of_the_app_itself(folder: Path, lance_uri: str) -> None:
    app_model = ScriptedChatModel(["Nice!"])
    builder = StateGraph(MessagesState)
    builder.add_node("chat", lambda state: {"messages": [app_model.invoke(state["messages"])]})
    builder.add_node("memory", create_memory_graph(lance_uri))
    app = builder.add_edge(START, "chat").add_edge("chat", "memory").compile()
    run = uuid4()
    app.invoke({"messages": [("user", BUDDY)]}, config(TraceRecorder(folder)) | {"run_id": run})
    found = list(read_traces(folder, strict=True))
    assert [(decision.node, decision.role) for decision in found] == [
        ("chat", None),
        ("extract", "extract"),
        ("manage", "manage"),
    ]
    assert {decision.run_id for decision in found} == {str(run)}
    assert (found[0].completion, found[0].messages[-1]) == ("Nice!", {"role": "user", "content": BUDDY})
    assert len(found[2].operations) == 1


def test_keys_of_an_app_that_are_called_the_same_do_no_harm(folder: Path) -> None:
    class AppState(MessagesState):
        answer: Any
        selected: Any
        memory_ops: Any

    def node(state: AppState) -> dict[str, Any]:
        ScriptedChatModel(["yes"]).invoke("hello", {"metadata": {"memory_role": "answer"}})
        return {"answer": {"text": "yes"}, "selected": "all", "memory_ops": ["none"]}

    graph = StateGraph(AppState).add_node("node", node).add_edge(START, "node").compile()
    graph.invoke({"messages": []}, {"callbacks": [TraceRecorder(folder)]})
    (decision,) = read_traces(folder, strict=True)
    assert (decision.completion, decision.answer, decision.selected, decision.operations) == ("yes", None, (), ())


def test_roles_choose_what_is_recorded(folder: Path, lance_uri: str) -> None:
    agent = create_agent(ScriptedChatModel(["Nice!"]), middleware=[MemoryMiddleware(lance_uri, model="rules")])
    agent.invoke({"messages": BUDDY}, config(TraceRecorder(folder, roles=["manage"])))
    assert list(by_role(folder)) == ["manage"]


@pytest.mark.parametrize("write", ["inline", "background"])
def test_middleware_inline_and_in_the_background(folder: Path, lance_uri: str, write: Any) -> None:
    memory = MemoryMiddleware(lance_uri, model="rules", write=write, delay=0.01)
    agent = create_agent(ScriptedChatModel(["Nice!"]), middleware=[memory])
    recorder = TraceRecorder(folder)
    agent.invoke({"messages": BUDDY}, config(recorder))
    memory.flush()
    found = by_role(folder)
    assert list(found) == [None, "extract", "manage"]
    assert {decision.thread for decision in found.values()} == {"t1"}
    assert [operation["event"] for operation in found["manage"].operations] == ["ADD"]
    assert found["manage"].bank == memory.bank("ann").key
    assert found["manage"].node == ("memory.after_agent" if write == "inline" else "memory_background")
    assert (found[None].run_id == found["manage"].run_id) == (write == "inline")


async def test_middleware_of_an_async_agent_in_the_background(folder: Path, lance_uri: str) -> None:
    memory = MemoryMiddleware(lance_uri, model="rules", write="background", delay=0.01)
    agent = create_agent(ScriptedChatModel(["Nice!"]), middleware=[memory])
    recorder = TraceRecorder(folder)
    await agent.ainvoke({"messages": BUDDY}, config(recorder))
    await memory.aflush()
    recorder.flush()
    assert len(by_role(folder)["manage"].operations) == 1


@pytest.mark.parametrize("verdict", [True, False])
def test_after_a_review_the_decision_has_what_was_approved(folder: Path, lance_uri: str, verdict: bool) -> None:
    memory = MemoryMiddleware(lance_uri, model="rules", review=lambda change: True)
    model = ScriptedChatModel(lambda messages: "Nice!")
    agent = create_agent(model, middleware=[memory], checkpointer=InMemorySaver())
    recorder = TraceRecorder(folder)
    assert "__interrupt__" in agent.invoke({"messages": BUDDY}, config(recorder))
    assert by_role(folder)["manage"].bank == memory.bank("ann").key
    assert by_role(folder)["manage"].operations == ()
    out = agent.invoke(Command(resume=verdict), config(recorder))
    (operation,) = by_role(folder)["manage"].operations
    assert operation in out["memory_ops"]
    assert operation["event"] == ("ADD" if verdict else "NOOP")


def test_tokens_ids_and_logprobs_where_the_provider_returns_them(folder: Path, lance_uri: str) -> None:
    usage = {"input_tokens": 90, "output_tokens": 2, "total_tokens": 92}
    logprobs = {"content": [{"token": "token_id:5", "logprob": -0.5}, {"token": "token_id:7", "logprob": -0.25}]}
    told = {"model_name": "tiny", "logprobs": logprobs, "prompt_token_ids": [1, 2, 3]}
    reply = AIMessage('{"facts":[]}', response_metadata=told, usage_metadata=usage)  # type: ignore[arg-type]
    graph = create_memory_graph(lance_uri, model=ScriptedChatModel([reply]))
    graph.invoke({"messages": [("user", BUDDY)]}, config(TraceRecorder(folder)))
    (decision,) = read_traces(folder, strict=True)
    assert (decision.token_ids, decision.logprobs, decision.prompt_token_ids) == ((5, 7), (-0.5, -0.25), (1, 2, 3))
    assert (decision.input_tokens, decision.output_tokens) == (90, 2)


def test_what_is_redacted_is_nowhere_on_disk(folder: Path, lance_uri: str) -> None:
    secret = "4711-0815"
    reply = AIMessage('{"facts":[]}', response_metadata={"token_ids": [1], "prompt_token_ids": [2]})
    model = ScriptedChatModel([reply])
    recorder = TraceRecorder(folder, redact=lambda text: text.replace(secret, "[card]"))
    create_memory_graph(lance_uri, model=model).invoke(
        {"messages": [("user", f"My card is {secret}.")]}, config(recorder)
    )
    create_memory_graph(lance_uri).invoke({"messages": [("user", f"My locker is {secret}.")]}, config(recorder))
    written = b"".join(file.read_bytes() for file in folder.iterdir()).decode()
    assert "[card]" in written
    assert secret not in written
    first = next(iter(read_traces(folder)))
    assert (first.prompt_token_ids, first.token_ids) == ((), (1,))


def test_images_are_left_out_and_tools_are_kept(folder: Path) -> None:
    call = {"name": "search", "args": {"q": "dog"}, "id": "c1"}
    model = ScriptedChatModel([AIMessage("", tool_calls=[call])])
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 1000}}
    model.invoke([("user", [{"type": "text", "text": "Look:"}, picture])], {"callbacks": [TraceRecorder(folder)]})
    (decision,) = read_traces(folder, strict=True)
    assert decision.messages[0]["content"] == [{"type": "text", "text": "Look:"}, {"type": "image_url"}]
    assert decision.tool_calls == (call,)
    assert decision.run_id == decision.id


def test_half_characters_and_control_characters_are_written_and_read(folder: Path) -> None:
    model = ScriptedChatModel(["half \ud83d of\x00 one\nline"])
    model.invoke("caf\u00e9 \ud800", {"callbacks": [TraceRecorder(folder)]})
    (decision,) = read_traces(folder, strict=True)
    assert (decision.messages[0]["content"], decision.completion) == ("caf\u00e9 ?", "half ? of\x00 one\nline")


def test_a_full_file_is_followed_by_another(folder: Path) -> None:
    model = ScriptedChatModel(lambda messages: "yes")
    recorder = TraceRecorder(folder, max_bytes=500)
    for number in range(6):
        model.invoke(f"{number} {'x' * 200}", {"callbacks": [recorder]})
    assert len(list(folder.iterdir())) > 1
    assert all(file.stat().st_size < 1200 for file in folder.iterdir())
    assert [decision.messages[0]["content"][0] for decision in read_traces(folder)] == list("012345")


def test_only_this_user_can_read_what_was_recorded(folder: Path) -> None:
    recorder = TraceRecorder(folder)
    ScriptedChatModel(["yes"]).invoke("hello", {"callbacks": [recorder]})
    recorder.feedback(recorder.last_run, score=1)
    assert {file.stat().st_mode & 0o077 for file in folder.iterdir()} == {0}


def test_config_may_be_copied_and_pickled(folder: Path) -> None:
    recorder = TraceRecorder(folder, roles=["manage"], max_bytes=1000)
    assert copy.deepcopy({"callbacks": [recorder]})["callbacks"][0] is recorder
    again = pickle.loads(pickle.dumps(recorder))
    assert (again.path, again._settings) == (folder, (None, ["manage"], 1000))


def test_a_folder_that_cannot_be_is_refused_at_once(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("here")
    with pytest.raises(StoreError, match="cannot be written"):
        TraceRecorder(file)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_stops_no_agent_and_is_said_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    recorder = TraceRecorder(folder)
    model = ScriptedChatModel(lambda messages: "yes")
    model.invoke("first", {"callbacks": [recorder]})
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, recorder._writer.appender._file or 0)
    os.close(full)
    for _ in range(3):
        assert model.invoke("hello", {"callbacks": [recorder]}).text == "yes"
    assert recorder.lost == 3
    assert [record.message[:25] for record in caplog.records] == ["Traces cannot be written:"]


@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
def test_what_redact_fails_on_is_counted_and_said_once(
    folder: Path, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    def redact(text: str) -> str:
        raise ValueError("no such pattern")

    recorder = TraceRecorder(folder, redact=redact)
    model = ScriptedChatModel(lambda messages: "yes")
    for _ in range(2):
        if how == "invoke":
            assert model.invoke("hello", {"callbacks": [recorder]}).text == "yes"
        else:
            assert asyncio.run(model.ainvoke("hello", {"callbacks": [recorder]})).text == "yes"
    recorder.flush()
    assert recorder.lost == 2
    assert [record.message for record in caplog.records] == ["Traces cannot be written: ValueError: no such pattern"]


@pytest.mark.slow
def test_processes_write_side_by_side_and_at_their_end(folder: Path) -> None:
    code = f"""
import sys
from langgraph_memory_r1 import TraceRecorder
from langgraph_memory_r1.testing import ScriptedChatModel
recorder = TraceRecorder({str(folder)!r})
model = ScriptedChatModel(lambda messages: "yes")
for number in range(50):
    model.invoke(f"{{sys.argv[1]}} {{number}}", {{"callbacks": [recorder]}})
"""
    processes = [subprocess.Popen([sys.executable, "-c", code, str(number)]) for number in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    said = [str(decision.messages[0]["content"]) for decision in read_traces(folder, strict=True)]
    assert sorted(said) == sorted(f"{process} {number}" for process in range(2) for number in range(50))


@pytest.mark.slow
def test_a_process_that_is_killed_leaves_whole_lines(folder: Path) -> None:
    code = f"""
from langgraph_memory_r1 import TraceRecorder
from langgraph_memory_r1.testing import ScriptedChatModel
recorder = TraceRecorder({str(folder)!r})
model = ScriptedChatModel(lambda messages: "yes " * 5000)
while True:
    model.invoke("hello", {{"callbacks": [recorder]}})
"""
    process = subprocess.Popen([sys.executable, "-c", code])
    while not folder.is_dir() or not any(file.stat().st_size > 200_000 for file in folder.iterdir()):
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    skipped: list[InputError] = []
    assert len(list(read_traces(folder, on_skip=skipped.append))) >= 9
    assert all("cut in half" in str(error) for error in skipped) and len(skipped) <= 1


@pytest.mark.slow
def test_a_process_that_was_forked_writes_to_a_file_of_its_own(folder: Path) -> None:
    code = f"""
import os
from langgraph_memory_r1 import TraceRecorder
from langgraph_memory_r1.testing import ScriptedChatModel
recorder = TraceRecorder({str(folder)!r})
model = ScriptedChatModel(lambda messages: "yes")
model.invoke("parent", {{"callbacks": [recorder]}})
if child := os.fork():
    os.waitpid(child, 0)
else:
    model.invoke("child", {{"callbacks": [recorder]}})
    os._exit(0)
model.invoke("parent again", {{"callbacks": [recorder]}})
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
    files = [[each.messages[0]["content"] for each in read_traces(file)] for file in sorted(folder.iterdir())]
    assert files == [["parent", "parent again"], ["child"]]


def test_what_a_node_has_decided_is_kept_when_the_process_ends_in_it(folder: Path) -> None:
    recorder = TraceRecorder(folder)
    entered, leave = threading.Event(), threading.Event()

    def node(state: Any) -> dict[str, Any]:
        ScriptedChatModel(["yes"]).invoke("hello")
        entered.set()
        leave.wait(5)
        return {}

    graph = StateGraph(MessagesState).add_node("slow", node).add_edge(START, "slow").compile()
    thread = threading.Thread(target=graph.invoke, args=({"messages": []}, {"callbacks": [recorder]}))
    thread.start()
    entered.wait(5)
    recorder.close()
    assert [decision.completion for decision in read_traces(folder)] == ["yes"]
    leave.set()
    thread.join()
    assert len(list(read_traces(folder))) == 1


def test_nothing_is_left_in_memory_of_runs_that_are_over(folder: Path, lance_uri: str) -> None:
    recorder = TraceRecorder(folder)
    graph = create_memory_graph(lance_uri)
    graph.invoke({"messages": [("user", BUDDY)], "question": "Which dog?"}, config(recorder))
    assert (recorder._runs, recorder._calls) == ({}, {})


def test_a_decision_outside_the_roles_has_no_input(folder: Path) -> None:
    ScriptedChatModel(["yes"]).invoke("hello", {"callbacks": [TraceRecorder(folder)]})
    (decision,) = read_traces(folder)
    with pytest.raises(InputError, match="prompt version none"):
        decision.input()
    assert decision.parse_error is None


def test_references_restore_an_answers_input() -> None:
    from langgraph_memory_r1.prompts import read, references, restore

    given = AnswerInput("Which dog?", (Memory("abc", "Ann has a dog.", "Ann"),))
    assert restore(read(render(given)), references(given)) == given
    assert restore(read(render(given)), {}).memories[0].id == "0"  # type: ignore[union-attr]


def test_a_bank_of_another_store_has_another_key(tmp_path: Path) -> None:
    from langgraph.store.memory import InMemoryStore

    with LanceDBStore(tmp_path / "a") as one, LanceDBStore(tmp_path / "b") as other:
        keys = {MemoryBank(store, "ann").key for store in (one, other, InMemoryStore())}
        assert len(keys) == 3
        before = MemoryBank(one, "ann").key
        MemoryBank(one, "ann").apply([Add("Ann has a dog.")])
    with LanceDBStore(os.path.relpath(tmp_path / "a")) as again:
        assert MemoryBank(again, "ann").key == before


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc")
def test_recorders_that_are_gone_hold_no_files(folder: Path) -> None:
    model = ScriptedChatModel(lambda messages: "yes")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        model.invoke("hello", {"callbacks": [TraceRecorder(folder)]})
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before + 1
