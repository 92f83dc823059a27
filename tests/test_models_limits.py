from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.tools import tool

from langgraph_memory_r1 import InputError, ModelError, load_chat_model
from langgraph_memory_r1.models import model_name, with_limits
from langgraph_memory_r1.models.limits import SharedSemaphore, is_temporary, retry_after
from langgraph_memory_r1.testing import ScriptedChatModel
from support.openai_server import Says, serving

QUICK = {"first_wait": 0.001, "longest_wait": 0.002}


def refused(status: int, **headers: str) -> httpx.HTTPStatusError:
    request = httpx.Request("POST", "http://localhost")
    response = httpx.Response(status, headers=headers, request=request)
    return httpx.HTTPStatusError("refused", request=request, response=response)


class StatusError(Exception):
    """As the packages of OpenAI and Anthropic shape theirs."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status_code = status


class APITimeoutError(Exception):
    """As they name theirs."""


class APIConnectionError(Exception):
    """As they name theirs, and try again themselves."""


def caused_by(cause: Exception) -> ModelError:
    error = ModelError("told differently")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        *(refused(status) for status in (408, 429, 502, 503, 504, 529)), StatusError(429), TimeoutError(),
        TimeoutError(), httpx.ReadTimeout("late"), httpx.ConnectTimeout("late"), APITimeoutError(),
        APIConnectionError(),
        caused_by(refused(429)), caused_by(httpx.ReadTimeout("late")),
    ],
    ids=repr,
)  # fmt: skip
def test_what_waiting_helps_is_tried_again(error: Exception) -> None:
    assert is_temporary(error)
    model = ScriptedChatModel([error, error, "Hello!"])
    assert with_limits(model, retries=2, **QUICK).invoke("Hi").text == "Hello!"
    assert len(model.calls) == 3


@pytest.mark.parametrize(
    "error",
    [
        *(refused(status) for status in (400, 401, 403, 404, 422, 500)), StatusError(400), ValueError("no"),
        ConnectionRefusedError(), httpx.ConnectError("gone"), httpx.RemoteProtocolError("half"),
    ],
    ids=repr,
)  # fmt: skip
async def test_what_waiting_does_not_help_is_raised_at_once(error: Exception) -> None:
    assert not is_temporary(error)
    model = ScriptedChatModel([error] * 4)
    limited = with_limits(model, retries=9, **QUICK)
    with pytest.raises(type(error)):
        limited.invoke("Hi")
    with pytest.raises(type(error)):
        await limited.ainvoke("Hi")
    assert len(model.calls) == 2


async def test_the_last_error_is_raised() -> None:
    model = ScriptedChatModel([StatusError(429), StatusError(503), StatusError(502), StatusError(504)])
    limited = with_limits(model, retries=1, **QUICK)
    with pytest.raises(StatusError, match="503"):
        limited.invoke("Hi")
    with pytest.raises(StatusError, match="504"):
        await limited.ainvoke("Hi")


async def test_waits_double_up_to_the_longest_and_vary() -> None:
    limited = with_limits(ScriptedChatModel([]), retries=8, first_wait=1, longest_wait=20)
    for waits in ([*limited._waits()] for _ in range(50)):
        assert all(most / 2 <= wait <= most for wait, most in zip(waits, [1, 2, 4, 8, 16, 20, 20, 20], strict=True))
    assert len({wait for _ in range(20) for wait in limited._waits()}) > 100


def test_a_server_that_asks_for_a_pause_gets_it() -> None:
    assert retry_after(refused(429, **{"Retry-After": "7"})) == 7
    assert retry_after(caused_by(refused(503, **{"retry-after": "0.5"}))) == 0.5
    assert retry_after(refused(429, **{"Retry-After": "soon"})) == retry_after(ValueError()) == 0
    model = ScriptedChatModel([refused(429, **{"Retry-After": "0.2"}), "Hello!"])
    start = time.perf_counter()
    assert with_limits(model, **QUICK).invoke("Hi").text == "Hello!"
    assert time.perf_counter() - start >= 0.2


def test_a_pause_of_an_hour_is_an_error() -> None:
    model = ScriptedChatModel([refused(429, **{"Retry-After": "3600"})])
    with pytest.raises(httpx.HTTPStatusError):
        with_limits(model).invoke("Hi")


class Counting:
    """A reply that notes how many are made at once."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self.lock = threading.Lock()

    def __call__(self, messages: list[BaseMessage]) -> str:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(0.01)
        with self.lock:
            self.now -= 1
        return "done"


def test_a_cap_holds_over_threads_and_event_loops_together() -> None:
    counting = Counting()
    limited = with_limits(ScriptedChatModel(counting), max_concurrency=3)

    async def many() -> None:
        await asyncio.gather(*(asyncio.to_thread(limited.invoke, "a") for _ in range(5)))

    def loop(_: int) -> None:
        asyncio.run(many())

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(loop, range(3)))
        list(threads.map(lambda _: limited.invoke("Hi"), range(9)))
    assert counting.most == 3


async def test_a_cap_holds_on_one_event_loop_and_keeps_the_order() -> None:
    model = ScriptedChatModel(lambda messages: messages[0].text, delay=0.01)
    limited = with_limits(model, max_concurrency=2)
    start = time.perf_counter()
    replies = await asyncio.gather(*(limited.ainvoke(str(number)) for number in range(8)))
    assert [reply.text for reply in replies] == [str(number) for number in range(8)]
    assert [call[0].text for call in model.calls] == [str(number) for number in range(8)]
    assert time.perf_counter() - start >= 0.04


async def test_who_gives_up_waiting_or_fails_leaves_no_slot_behind() -> None:
    limited = with_limits(ScriptedChatModel([ValueError("no"), *["ok"] * 9], delay=0.02), retries=0, max_concurrency=1)
    with pytest.raises(ValueError, match="no"):
        await limited.ainvoke("fails")
    tasks = [asyncio.create_task(limited.ainvoke(str(number))) for number in range(5)]
    await asyncio.sleep(0.005)
    for task in tasks[:3]:  # the one that runs, and two that wait
        task.cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(reply, asyncio.CancelledError) for reply in done] == [True, True, True, False, False]
    assert (await asyncio.wait_for(limited.ainvoke("after"), 5)).text == "ok"
    assert (await asyncio.to_thread(limited.invoke, "after")).text == "ok"


def test_a_slot_that_comes_in_the_instant_of_leaving_goes_to_the_next() -> None:
    slots = SharedSemaphore(1)
    first, second, third = (slots.acquire() for _ in range(3))
    assert (first.done(), second.done(), third.done()) == (True, False, False)
    slots.release()
    assert second.done()
    slots.abandon(second)
    assert third.done()
    slots.abandon(third)
    assert slots.acquire().done()


@pytest.mark.parametrize("wrong", [{"retries": -1}, {"max_concurrency": 0}, {"first_wait": -1}])
def test_numbers_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        with_limits(ScriptedChatModel([]), **wrong)


def test_it_stands_in_for_the_model_inside() -> None:
    class Named(ScriptedChatModel):
        model: str = "gpt"

    assert model_name(with_limits(Named([]))) == model_name(Named([])) == "named:gpt"
    assert with_limits(Named([]))._llm_type == "scripted"


def test_tools_are_bound_as_the_model_inside_wants_them_with_the_limits_kept() -> None:
    class Binding(ScriptedChatModel):
        def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
            return self.bind(tools=[found.name for found in tools], **kwargs)

        def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> Any:
            seen.append(kwargs)
            return super()._generate(messages, stop, run_manager)

    @tool
    def search() -> str:
        """Searches."""
        return ""

    seen: list[dict[str, Any]] = []
    limited = with_limits(Binding([StatusError(429), "Hello!"]), **QUICK)
    assert limited.bind_tools([search], tool_choice="any").invoke("Hi").text == "Hello!"
    assert seen == [{"tools": ["search"], "tool_choice": "any"}] * 2
    plain = with_limits(ScriptedChatModel([StatusError(429), "Hello!"]), **QUICK)
    assert plain.bind_tools([search]).invoke("Hi").text == "Hello!"


async def test_callbacks_and_agents_see_one_call() -> None:
    from langchain.agents import create_agent
    from langchain_core.callbacks import BaseCallbackHandler

    class Ears(BaseCallbackHandler):
        def __init__(self) -> None:
            self.heard: list[str] = []

        def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
            self.heard.append("start")

        def on_llm_end(self, *args: Any, **kwargs: Any) -> None:
            self.heard.append("end")

    ears = Ears()
    script: Callable[[list[BaseMessage]], AIMessage] = lambda messages: AIMessage("Hello!")  # noqa: E731
    agent = create_agent(with_limits(ScriptedChatModel(script)))
    done = await agent.ainvoke({"messages": [("user", "Hi")]}, {"callbacks": [ears]})
    assert (done["messages"][-1].text, ears.heard) == ("Hello!", ["start", "end"])


def test_specs_take_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_chat_model("vllm:base@http://localhost:8000", retries=1, max_concurrency=2)
    assert (model.retries, model.max_concurrency) == (1, 2)  # type: ignore[attr-defined]


class RetryingChatModel(ScriptedChatModel):
    """As the packages of the providers are: each call is tried again by the client that it is given to."""

    max_retries: int = 2

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        for _ in range(self.max_retries):
            try:
                return super()._generate(*args, **kwargs)
            except StatusError:
                continue
        return super()._generate(*args, **kwargs)


@pytest.mark.parametrize(
    ("settings", "requests"), [({}, 5), ({"max_retries": 1}, 2), ({"retries": 1}, 2), ({"retries": 0}, 1)]
)
def test_a_rate_limited_call_is_tried_again_by_one_layer_alone(
    settings: dict[str, int], requests: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[RetryingChatModel] = []

    def make(spec: str, **given: Any) -> RetryingChatModel:
        made.append(RetryingChatModel([StatusError(429)] * 20, **given))
        return made[-1]

    monkeypatch.setattr("langchain.chat_models.init_chat_model", make)
    monkeypatch.setattr("langgraph_memory_r1.models.limits._pause", lambda error, wait: 0.0)
    with pytest.raises(StatusError):
        load_chat_model("openai:gpt-5-mini", **settings).invoke("Hi")  # type: ignore[arg-type]
    assert len(made[-1].calls) == requests


def test_a_rate_limited_call_of_openai_makes_five_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    openai = pytest.importorskip("langchain_openai") and __import__("openai")
    monkeypatch.setattr("langgraph_memory_r1.models.limits._pause", lambda error, wait: 0.0)
    with serving(Says("{}", 429)) as server:
        model = load_chat_model("openai:gpt-5-mini", base_url=f"{server.url}/v1", api_key="none")
        with pytest.raises(openai.RateLimitError):
            model.invoke("Hi")
    assert len(server.asked) == 5
