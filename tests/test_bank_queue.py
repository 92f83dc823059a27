"""Conversations of one owner at once: nothing is lost, nothing is doubled, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from langchain_core.messages import BaseMessage, HumanMessage
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore

import langgraph_memory_r1
from langgraph_memory_r1 import Add, LanceDBStore, MemoryBank
from langgraph_memory_r1.bank.queue import TurnQueue
from langgraph_memory_r1.prompts import ManageInput, read
from langgraph_memory_r1.testing import ScriptedChatModel
from support.dog_worker import converse, join_all
from support.stores import slow

# Most runs here name nobody: a store takes them for the user "default" if it is told to.
create_memory_graph = partial(langgraph_memory_r1.create_memory_graph, require_user=False)

WORKER = Path(__file__).parent / "support" / "dog_worker.py"


@pytest.fixture(params=["lancedb", "memory"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def owner() -> str:
    return "default"


def words(bank: MemoryBank) -> Counter[str]:
    """How often each word stands in the only memory."""
    (memory,) = bank.all()
    return Counter(memory.text.split())


@pytest.mark.parametrize(("conversations", "delay"), [(16, 0.01), slow(64, 0.3)])
def test_many_conversations_at_once_extend_one_memory_and_lose_nothing(
    store: BaseStore, bank: MemoryBank, conversations: int, delay: float
) -> None:
    bank.apply([Add("dogs")])
    results = asyncio.run(converse(store, "dog", conversations, delay))
    assert [operation["event"] for result in results for operation in result["memory_ops"]] == ["UPDATE"] * len(results)
    assert words(bank) == Counter(["dogs", *(f"dog-{n}." for n in range(conversations))])
    assert sum(result["usage"]["calls"] for result in results) == 2 * conversations  # nobody decided in vain


@pytest.mark.slow
def test_three_processes_of_conversations_extend_one_memory_and_lose_nothing(tmp_path: Path) -> None:
    folder = str(tmp_path / "db")
    with LanceDBStore(folder) as store:
        MemoryBank(store, "default").apply([Add("dogs")])
    processes = [
        subprocess.Popen([sys.executable, str(WORKER), folder, name, "22", "0.3"], stderr=subprocess.PIPE, text=True)
        for name in "abc"
    ]
    for process in processes:
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
    with LanceDBStore(folder) as store:
        assert words(MemoryBank(store, "default")) == Counter(
            ["dogs", *(f"{name}-{n}." for name in "abc" for n in range(22))]
        )


def test_threads_of_an_app_queue_like_tasks_do(store: BaseStore, bank: MemoryBank) -> None:
    bank.apply([Add("dogs")])
    graph = create_memory_graph(store, model=ScriptedChatModel(join_all, delay=0.01))
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: graph.invoke({"turns": [{"text": f"dog-{n}.", "id": f"t{n}"}]}), range(16)))
    assert words(bank) == Counter(["dogs", *(f"dog-{n}." for n in range(16))])


def test_what_has_nothing_to_do_with_a_decision_may_change_meanwhile(store: BaseStore, bank: MemoryBank) -> None:
    bank.apply([Add("dogs"), Add("dogs are nice")])
    key = bank.all()[1].id

    def interfere(messages: list[BaseMessage]) -> str:
        if isinstance(read(messages), ManageInput):
            bank.undo(f"{key}.1")
        return join_all(messages)

    result = create_memory_graph(store, model=ScriptedChatModel(interfere)).invoke(
        {"turns": [{"text": "dog-1.", "id": "t1"}]}
    )
    assert [operation["event"] for operation in result["memory_ops"]] == ["UPDATE"]
    assert result["usage"]["calls"] == 2


def test_a_graph_that_is_invoked_in_an_event_loop_does_not_wait_for_a_task_of_that_loop(
    store: BaseStore, bank: MemoryBank
) -> None:
    bank.apply([Add("dogs")])
    graph = create_memory_graph(store, model=ScriptedChatModel(join_all, delay=0.05))

    async def both() -> None:
        task = asyncio.create_task(graph.ainvoke({"turns": [{"text": "dog-1.", "id": "t1"}]}))
        await asyncio.sleep(0.08)  # the task holds the queue now, and its model needs the loop to go on
        graph.invoke({"turns": [{"text": "dog-2.", "id": "t2"}]})
        await task

    asyncio.run(asyncio.wait_for(both(), 10))
    assert words(bank) == Counter(["dogs", "dog-1.", "dog-2."])


def test_a_cancelled_conversation_gives_its_place_up(store: BaseStore, bank: MemoryBank) -> None:
    bank.apply([Add("dogs")])
    graph = create_memory_graph(store, model=ScriptedChatModel(join_all, delay=0.05))

    async def cancel_some() -> None:
        turns = [{"turns": [{"text": f"dog-{n}.", "id": f"t{n}"}]} for n in range(6)]
        tasks = [asyncio.create_task(graph.ainvoke(each)) for each in turns]
        await asyncio.sleep(0.08)
        for task in tasks[:3]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(asyncio.wait_for(cancel_some(), 10))
    assert {f"dog-{n}." for n in range(3, 6)} <= set(words(bank))


def test_places_are_given_in_the_order_in_which_they_were_asked_for() -> None:
    queue = TurnQueue()
    tickets = [queue.join() for _ in range(4)]
    assert [ticket.done() for ticket in tickets] == [True, False, False, False]
    queue.leave(tickets[1])  # gave up before its turn
    queue.leave(tickets[0])
    assert [ticket.done() for ticket in tickets[2:]] == [True, False]
    queue.leave(tickets[2])
    queue.leave(tickets[3])
    assert queue.join().done()


def test_waiting_conversations_take_no_threads() -> None:
    store = InMemoryStore()
    bank = MemoryBank(store, "default")
    bank.apply([Add("dogs")])
    slow_graph = create_memory_graph(store, model=ScriptedChatModel(join_all, delay=0.005))
    other = create_memory_graph(store, model=ScriptedChatModel(join_all), namespace="other")

    async def go() -> int:
        waiting = [slow_graph.ainvoke({"turns": [{"text": f"dog-{n}.", "id": f"t{n}"}]}) for n in range(80)]
        tasks = [asyncio.create_task(each) for each in waiting]
        await asyncio.sleep(0.1)
        await other.ainvoke({"turns": [{"text": "cat.", "id": "t1"}]})
        still_waiting = sum(not task.done() for task in tasks)
        await asyncio.gather(*tasks)
        return still_waiting

    assert asyncio.run(go()) > 40  # as many as the pool has threads, had each of them taken one
    assert len(words(bank)) == 81


# ---- cancelled


class SlowStore(InMemoryStore):
    """A store whose writes take a while."""

    def batch(self, ops: object) -> list[object]:  # type: ignore[override]
        ops = list(ops)  # type: ignore[call-overload]
        if any(getattr(op, "value", None) for op in ops):
            time.sleep(0.1)
        return super().batch(ops)  # type: ignore[return-value]


@pytest.mark.parametrize("after", [0.01, 0.05, 0.12])
def test_a_cancelled_turn_stands_whole_or_not_at_all_and_is_stored_once_when_sent_again(after: float) -> None:
    store = SlowStore()
    graph = create_memory_graph(store, model=ScriptedChatModel(join_all, delay=0.02))
    bank = MemoryBank(store, "default")
    message = {"messages": [HumanMessage("dog-1.", id="m1")]}

    async def go() -> tuple[int, int]:
        with suppress(TimeoutError):
            await asyncio.wait_for(graph.ainvoke(message), after)
        held = len(bank)
        await asyncio.sleep(0.2)
        return held, len(bank)

    at_once, later = asyncio.run(go())
    assert at_once == later  # what runs when a run is cancelled is finished first
    graph.invoke(message)
    assert [memory.text for memory in bank.all()] == ["dogs dog-1."]
    assert len(bank.history()) == 1


def test_a_storm_of_timeouts_and_retries_stores_each_fact_once(store: BaseStore, bank: MemoryBank) -> None:
    graph = create_memory_graph(store, model=ScriptedChatModel(join_all, delay=0.005))

    async def insist(number: int) -> None:
        patience = 0.004 * (1 + number % 5)
        while True:
            try:
                await asyncio.wait_for(
                    graph.ainvoke({"messages": [HumanMessage(f"dog-{number}.", id=f"message-{number}")]}), patience
                )
                return
            except TimeoutError:
                patience *= 1.5

    async def all_of_them() -> None:
        await asyncio.gather(*(insist(number) for number in range(16)))

    asyncio.run(all_of_them())
    counts = Counter(word for memory in bank.all() for word in memory.text.split() if word != "dogs")
    assert counts == Counter(f"dog-{n}." for n in range(16))


def test_an_interrupted_thread_gives_its_place_up() -> None:
    queue = TurnQueue()
    first, second = queue.join(), queue.join()
    waiter = threading.Thread(target=lambda: wait([second], 5))
    waiter.start()
    queue.leave(first)
    waiter.join(1)
    assert not waiter.is_alive()
