"""Whatever is sent, again or edited, cancelled, forgotten, undone, restarted: a bank holds what a plain model says.

Two people write in two threads whose messages have the same short ids; an app sends the whole thread each time.
"""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from langchain_core.messages import HumanMessage
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from test_bank_ledger import add_all

import langgraph_memory_r1
from langgraph_memory_r1 import LanceDBStore, MemoryBank
from langgraph_memory_r1.errors import UnknownMemoryError
from langgraph_memory_r1.testing import ScriptedChatModel

# Most runs here name nobody: a store takes them for the user "default" if it is told to.
create_memory_graph = partial(langgraph_memory_r1.create_memory_graph, require_user=False)

OWNERS, THREADS = ("ann", "bob"), ("t1", "t2")


@dataclass
class Message:
    """One message of a thread, as the plain model sees it."""

    owner: str
    text: str
    versions: list[str] = field(default_factory=list)


class HeardOnce(RuleBasedStateMachine):
    """A bank for each owner beside a plain model: which message each memory says, and how it came there."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.store = self.open_store()
        self.threads: dict[str, list[Message]] = {thread: [] for thread in THREADS}
        self.known: dict[str, dict[int, str]] = {owner: {} for owner in OWNERS}
        """Message (by identity) → what the bank says of it."""
        self.done: dict[str, list[tuple[int, str | None]]] = {owner: [] for owner in OWNERS}
        """Operations that stand: the message, and what the bank said of it before."""
        self.count = 0
        self.restart()

    def open_store(self) -> BaseStore:
        return InMemoryStore()

    def teardown(self) -> None:
        self.stack.close()

    @rule()
    def restart(self) -> None:
        self.graph = create_memory_graph(self.store, model=ScriptedChatModel(add_all))
        self.slow_graph = create_memory_graph(self.store, model=ScriptedChatModel(add_all, delay=0.002))

    def state(self, thread: str) -> dict[str, Any]:
        return {"messages": [HumanMessage(message.text, id=str(n)) for n, message in enumerate(self.threads[thread])]}

    def config(self, owner: str, thread: str) -> dict[str, Any]:
        return {"configurable": {"thread_id": thread, "user_id": owner}}

    def run_graph(self, owner: str, thread: str) -> None:
        self.graph.invoke(self.state(thread), self.config(owner, thread))

    def expect(self, message: Message) -> None:
        """Take into the model that a message was heard as it is now."""
        if message.versions[-1:] != [message.text]:
            message.versions.append(message.text)
            known = self.known[message.owner]
            self.done[message.owner].append((id(message), known.get(id(message))))
            known[id(message)] = message.text

    def new_text(self) -> str:
        self.count += 1
        return f"fact number {self.count}"

    @rule(owner=st.sampled_from(OWNERS), thread=st.sampled_from(THREADS), messages=st.integers(1, 3))
    def send(self, owner: str, thread: str, messages: int) -> None:
        new = [Message(owner, self.new_text()) for _ in range(messages)]
        self.threads[thread] += new
        self.run_graph(owner, thread)
        for message in new:
            self.expect(message)

    @rule(owner=st.sampled_from(OWNERS), thread=st.sampled_from(THREADS))
    def send_again(self, owner: str, thread: str) -> None:
        self.run_graph(owner, thread)

    @rule(owner=st.sampled_from(OWNERS), thread=st.sampled_from(THREADS))
    def send_twice_at_once(self, owner: str, thread: str) -> None:
        message = Message(owner, self.new_text())
        self.threads[thread].append(message)

        async def both() -> None:
            runs = [self.slow_graph.ainvoke(self.state(thread), self.config(owner, thread)) for _ in range(2)]
            await asyncio.gather(*runs)

        asyncio.run(both())
        self.expect(message)

    @rule(owner=st.sampled_from(OWNERS), thread=st.sampled_from(THREADS), patience=st.floats(0, 0.012))
    def cancel_and_send_again(self, owner: str, thread: str, patience: float) -> None:
        message = Message(owner, self.new_text())
        self.threads[thread].append(message)

        async def give_up() -> None:
            with suppress(TimeoutError):
                await asyncio.wait_for(
                    self.slow_graph.ainvoke(self.state(thread), self.config(owner, thread)), patience
                )

        asyncio.run(give_up())
        self.run_graph(owner, thread)
        self.expect(message)

    @precondition(lambda self: any(self.threads.values()))
    @rule(data=st.data())
    def edit(self, data: st.DataObject) -> None:
        thread = data.draw(st.sampled_from([thread for thread, messages in self.threads.items() if messages]))
        message = data.draw(st.sampled_from(self.threads[thread]))
        message.text = self.new_text()
        self.run_graph(message.owner, thread)
        self.expect(message)

    @precondition(lambda self: any(self.threads.values()))
    @rule(data=st.data())
    def edit_back(self, data: st.DataObject) -> None:
        thread = data.draw(st.sampled_from([thread for thread, messages in self.threads.items() if messages]))
        message = data.draw(st.sampled_from(self.threads[thread]))
        text = data.draw(st.sampled_from(message.versions))
        # The scripted manager adds what is there already; one that reads would not.
        if self.known[message.owner].get(id(message)) != text:
            message.text = text
            self.run_graph(message.owner, thread)
            self.expect(message)

    @rule(owner=st.sampled_from(OWNERS))
    def undo(self, owner: str) -> None:
        with suppress(UnknownMemoryError):
            MemoryBank(self.store, owner).undo()
        if self.done[owner]:
            message, before = self.done[owner].pop()
            if before is None:
                del self.known[owner][message]
            else:
                self.known[owner][message] = before

    @rule(owner=st.sampled_from(OWNERS))
    def forget(self, owner: str) -> None:
        MemoryBank(self.store, owner).forget()
        self.known[owner].clear()
        self.done[owner].clear()

    @invariant()
    def banks_hold_what_the_model_says(self) -> None:
        for owner in OWNERS:
            assert sorted(MemoryBank(self.store, owner).texts()) == sorted(self.known[owner].values())


class HeardOnceOnDisk(HeardOnce):
    """The same in a folder, which a restart opens anew."""

    def open_store(self) -> BaseStore:
        self.folder = self.stack.enter_context(tempfile.TemporaryDirectory())
        return LanceDBStore(self.folder)

    def restart(self) -> None:  # type: ignore[override]
        if isinstance(self.store, LanceDBStore):
            self.store.close()
            self.store = LanceDBStore(self.folder)
        super().restart()

    def teardown(self) -> None:
        if isinstance(self.store, LanceDBStore):
            self.store.close()
        super().teardown()


COMMON = {"deadline": None, "suppress_health_check": list(HealthCheck), "print_blob": True}


def test_a_bank_holds_what_a_plain_model_says() -> None:
    run_state_machine_as_test(
        HeardOnce, settings=settings(max_examples=5, stateful_step_count=10, derandomize=True, **COMMON)
    )


@pytest.mark.slow
@pytest.mark.parametrize("machine", [HeardOnce, HeardOnceOnDisk])
def test_a_bank_holds_what_a_plain_model_says_in_many_ways(machine: type[HeardOnce]) -> None:
    run_state_machine_as_test(machine, settings=settings(max_examples=60, stateful_step_count=30, **COMMON))
