"""Patience and moderation for any chat model: retries with back-off, and a cap on calls at the same time.

    model = with_limits(model, retries=4, max_concurrency=16)

What is tried again (`is_temporary`), by the error or what caused it:
    rate limits   HTTP 429 and 529
    time-outs     HTTP 408 and 504, `TimeoutError`, and every error whose class is called ...Timeout...
    brief outages HTTP 502 and 503, and what the clients of OpenAI, Anthropic and others call an `APIConnectionError` or
                  an `InternalServerError`: they try these again themselves, and their own tries are switched off
Everything else is raised at once: a server that is gone, a key that is wrong and a prompt that is too long do not get
better by waiting. The waits double from `first_wait` to `longest_wait`, each shortened by chance to spread those who
wait, and are never shorter than what the server asks for in `Retry-After`.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager, nullcontext
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatResult
from pydantic import PrivateAttr

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.models.delegating import DelegatingChatModel

TEMPORARY = frozenset({408, 429, 502, 503, 504, 529})
_TEMPORARY_CLASSES = ("Timeout", "APIConnectionError", "InternalServerError")
LONGEST_PAUSE = 300.0
"""A server that asks for a longer pause than this, in seconds, is not waited for."""


class LimitedChatModel(DelegatingChatModel):
    """A chat model with retries and a cap on concurrency; else it behaves as the one inside.

    `stream` gives the reply as one chunk; callbacks, and with them LangGraph's `messages` stream, still get the tokens
    of a model that streams (again, where a reply broke off half-way and is retried).
    """

    retries: int
    first_wait: float
    longest_wait: float
    max_concurrency: int | None
    """Calls at the same time, over all threads and event loops; None: any number."""
    _semaphore: SharedSemaphore | None = PrivateAttr(default=None)

    def model_post_init(self, context: Any) -> None:
        """Make the semaphore that all calls share."""
        self._semaphore = SharedSemaphore(self.max_concurrency) if self.max_concurrency is not None else None

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with self._semaphore.hold() if self._semaphore else nullcontext():
            for wait in self._waits():
                try:
                    return self.bound._generate_with_cache(messages, stop, run_manager, **kwargs)
                except Exception as error:  # any package's; `_pause` raises what waiting does not help again
                    time.sleep(_pause(error, wait))
            return self.bound._generate_with_cache(messages, stop, run_manager, **kwargs)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        async with self._semaphore.ahold() if self._semaphore else nullcontext():
            for wait in self._waits():
                try:
                    return await self.bound._agenerate_with_cache(messages, stop, run_manager, **kwargs)
                except Exception as error:
                    await asyncio.sleep(_pause(error, wait))
            return await self.bound._agenerate_with_cache(messages, stop, run_manager, **kwargs)

    def _waits(self) -> Iterator[float]:
        for attempt in range(self.retries):
            yield min(self.longest_wait, self.first_wait * 2**attempt) * random.uniform(0.5, 1.0)


def with_limits(
    model: BaseChatModel,
    *,
    retries: int = 4,
    max_concurrency: int | None = None,
    first_wait: float = 0.5,
    longest_wait: float = 30.0,
) -> LimitedChatModel:
    """Give a model retries and, if wished, a cap on calls at the same time.

    Args:
        model: Any chat model.
        retries: Further tries after a temporary failure; see the module for what counts as one.
        max_concurrency: Most calls at the same time, sync and async together.
        first_wait: Seconds before the first retry, at most.
        longest_wait: No wait grows longer than this, unless the server asks for it.

    Raises:
        InputError: A number is too small.
    """
    if retries < 0 or first_wait < 0 or longest_wait < 0:
        raise InputError(f"retries={retries} and waits of {first_wait} to {longest_wait} s cannot be negative.")
    if max_concurrency is not None and max_concurrency < 1:
        raise InputError(f"max_concurrency={max_concurrency} would let nothing through; give at least 1, or None.")
    return LimitedChatModel(
        bound=model, retries=retries, max_concurrency=max_concurrency, first_wait=first_wait,
        longest_wait=longest_wait, cache=False, profile=model.profile,
    )  # fmt: skip


def is_temporary(error: BaseException) -> bool:
    """Return whether the same call may well succeed a little later."""
    for cause in _causes(error):
        response = getattr(cause, "response", None)
        # The names that providers' packages give the HTTP status; none of their classes can be imported here.
        codes = (
            getattr(cause, "status_code", None), getattr(cause, "code", None), getattr(response, "status_code", None),
        )  # fmt: skip
        status = next((code for code in codes if isinstance(code, int)), None)
        names = [kind.__name__ for kind in type(cause).__mro__]
        if status in TEMPORARY or any(part in name for part in _TEMPORARY_CLASSES for name in names):
            return True
    return False


def retry_after(error: BaseException) -> float:
    """Return the seconds that the server asked to wait, 0 where it did not say."""
    for cause in _causes(error):
        headers = getattr(getattr(cause, "response", None), "headers", None) or {}
        seconds = str(headers.get("retry-after", headers.get("Retry-After", "")))
        if seconds.replace(".", "", 1).isdecimal():
            return float(seconds)
    return 0.0


def _pause(error: Exception, wait: float) -> float:
    """Return the seconds until the next try; an error that waiting does not help is raised again."""
    pause = retry_after(error)
    if not is_temporary(error) or pause > LONGEST_PAUSE:
        raise error
    return max(wait, pause)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and what caused it, once each: causes can form a circle."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__


class SharedSemaphore:
    """A semaphore that threads and event loops share, first come, first served.

    Neither `threading.Semaphore` nor `asyncio.Semaphore` can: one blocks the event loop, the other belongs to one.
    """

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._waiting: deque[Future[None]] = deque()
        self._lock = threading.Lock()

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold a slot in the block; waits for one in this thread."""
        slot = self.acquire()
        try:
            slot.result()
        except BaseException:  # an interrupt of the one who waits
            self.abandon(slot)
            raise
        try:
            yield
        finally:
            self.release()

    @asynccontextmanager
    async def ahold(self) -> AsyncIterator[None]:
        """Hold a slot in the block; the event loop goes on while it waits for one."""
        slot = self.acquire()
        try:
            await asyncio.wrap_future(slot)
        except BaseException:  # a task that is cancelled while it waits
            self.abandon(slot)
            raise
        try:
            yield
        finally:
            self.release()

    def acquire(self) -> Future[None]:
        """Return a future that is done once a slot is there."""
        slot: Future[None] = Future()
        with self._lock:
            if self._free:
                self._free -= 1
                slot.set_result(None)
            else:
                self._waiting.append(slot)
        return slot

    def release(self) -> None:
        """Give the slot to the one that waits longest."""
        with self._lock:
            while self._waiting:
                slot = self._waiting.popleft()
                if slot.set_running_or_notify_cancel():  # false for one who has given up meanwhile
                    slot.set_result(None)
                    return
            self._free += 1

    def abandon(self, slot: Future[None]) -> None:
        """Give up waiting; a slot that came in the same instant goes on to the next."""
        if not slot.cancel():
            self.release()
