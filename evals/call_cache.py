"""Every finished model call of a run, kept before its reply is used, so that no run ever makes it a second time.

    calls = CallCache("run/calls.sqlite")
    model = CachedChatModel(bound=load_chat_model("openai:gpt-5-mini"), calls=calls)
    with metered() as meter:
        model.invoke("hello")
    meter.cost

A call is known by what determines its reply: the model with its settings, the messages, and what is bound to the call
(tools, a reply's format). Two equal calls at the same time are made once; the second waits for the first.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.embeddings import Embeddings
from langchain_core.messages import AIMessage, BaseMessage, message_to_dict, messages_from_dict
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import ConfigDict

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.models.delegating import DelegatingChatModel

__all__ = ["CachedChatModel", "CachedEmbeddings", "CallCache", "Cost", "Meter", "key_of", "metered"]


def key_of(*parts: Any) -> str:
    """Return a hash of what these values say together; the same in every process."""
    text = json.dumps(parts, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Cost:
    """What some model calls took."""

    calls: int = 0
    cached: int = 0
    """How many of them had been made before."""
    input_tokens: int = 0
    output_tokens: int = 0
    model_seconds: float = 0.0
    """As measured when the calls were made."""

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.calls + other.calls,
            self.cached + other.cached,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.model_seconds + other.model_seconds,
        )


class Meter:
    """Adds up what calls cost, over all threads and tasks that were started while it was read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.cost = Cost()

    def add(self, cost: Cost) -> None:
        """Count further calls."""
        with self._lock:
            self.cost += cost


_METER: ContextVar[Meter | None] = ContextVar("memory_r1_meter", default=None)


@contextmanager
def metered() -> Iterator[Meter]:
    """Count the calls that are made in the block."""
    meter = Meter()
    token = _METER.set(meter)
    try:
        yield meter
    finally:
        _METER.reset(token)


def _count(cost: Cost) -> None:
    meter = _METER.get()
    if meter is not None:
        meter.add(cost)


class CallCache:
    """Finished calls in one SQLite file; safe between threads and processes, and whole after a kill at any point."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._running: dict[str, Future[None]] = {}
        try:
            self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=60)
            # In WAL mode NORMAL loses nothing when the process is killed, and writes need not wait for the disk; a
            # power cut may cost the last calls, which are then made again.
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=NORMAL")
            self._database.execute("CREATE TABLE IF NOT EXISTS calls (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID")
        except sqlite3.Error as error:
            raise InputError(f"{path} cannot be used ({error}); remove it, or give another --out") from error

    def get(self, key: str) -> bytes | None:
        """Return what the call returned, None if it was not made."""
        with self._lock:
            row = self._database.execute("SELECT value FROM calls WHERE key = ?", (key,)).fetchone()
        return None if row is None else bytes(row[0])

    def put(self, key: str, value: bytes) -> None:
        """Keep what a call returned."""
        with self._lock:
            self._database.execute("INSERT OR REPLACE INTO calls VALUES (?, ?)", (key, value))

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._database.close()

    def claim(self, key: str) -> Future[None] | None:
        """Claim a call: None if it is now the caller's to make, up to `release`; else what is done once it is made."""
        with self._lock:
            running = self._running.get(key)
            if running is None:
                self._running[key] = Future()
            return running

    def release(self, key: str) -> None:
        """Give up the claim: the call is made, or has failed."""
        with self._lock:
            running = self._running.pop(key)
        running.set_result(None)

    @contextmanager
    def alone(self, key: str) -> Iterator[None]:
        """Keep all others from making this call for as long as the block lasts."""
        # Claimed anew after the wait: whoever made the call may have failed, and then it is still to be made.
        while (running := self.claim(key)) is not None:
            running.result()
        try:
            yield
        finally:
            self.release(key)


class CachedChatModel(DelegatingChatModel):
    """A chat model whose finished calls are kept; else it behaves as the one inside."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    calls: CallCache
    weights: str = ""
    """A hash of what the model's settings do not show, such as the content of an adapter's folder."""

    @property
    def identity(self) -> str:
        """What determines its replies."""
        return f"{self.bound._get_llm_string()} {self.weights}".strip()

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        key = self._key(messages, stop, kwargs)
        with self.calls.alone(key):
            if (result := self._cached(key)) is not None:
                return result
            start = time.perf_counter()
            result = self.bound._generate_with_cache(messages, stop, run_manager, **kwargs)
            return self._keep(key, result, time.perf_counter() - start)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        key = self._key(messages, stop, kwargs)
        while (running := self.calls.claim(key)) is not None:
            # Shielded: who waits may be cancelled, and must not cancel the future that its owner still has to set.
            await asyncio.shield(asyncio.wrap_future(running))
        try:
            if (result := self._cached(key)) is not None:
                return result
            start = time.perf_counter()
            result = await self.bound._agenerate_with_cache(messages, stop, run_manager, **kwargs)
            return self._keep(key, result, time.perf_counter() - start)
        finally:
            self.calls.release(key)

    def _key(self, messages: Sequence[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]) -> str:
        identity = self.bound._get_llm_string(stop=stop, **kwargs)
        # What a model sees of a message, and no more: ids and metadata differ from run to run.
        seen = [
            [message.type, message.content, message.name, getattr(message, "tool_call_id", None)]
            + ([message.tool_calls] if isinstance(message, AIMessage) and message.tool_calls else [])
            for message in messages
        ]
        return key_of("chat", identity, self.weights, seen)

    def _cached(self, key: str) -> ChatResult | None:
        value = self.calls.get(key)
        if value is None:
            return None
        reply = json.loads(value)
        (message,) = messages_from_dict([reply["message"]])
        _count(_cost(message, reply["seconds"], cached=1))
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _keep(self, key: str, result: ChatResult, seconds: float) -> ChatResult:
        message = result.generations[0].message
        reply = {"message": message_to_dict(message), "seconds": round(seconds, 6)}
        self.calls.put(key, json.dumps(reply, ensure_ascii=True, default=str).encode())
        _count(_cost(message, seconds, cached=0))
        return result


class CachedEmbeddings(Embeddings):
    """An embedding model whose vectors are kept.

    Args:
        bound: The model.
        model: What it is called; vectors of models of the same name are the same.
        calls: Where they are kept.
    """

    def __init__(self, bound: Embeddings, model: str, calls: CallCache) -> None:
        self.bound = bound
        self.model = model
        self.calls = calls

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return a vector for each text; only those that are new reach the model."""
        return self._embed("document", texts)

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a query."""
        return self._embed("query", [text])[0]

    def _embed(self, kind: str, texts: Sequence[str]) -> list[list[float]]:
        keys = {text: key_of("embedding", kind, self.model, text) for text in texts}
        values = {text: self.calls.get(key) for text, key in keys.items()}
        missing = [text for text, value in values.items() if value is None]
        start = time.perf_counter()
        vectors: list[list[float]] = []
        if missing:
            of_query = kind == "query"
            vectors = [self.bound.embed_query(missing[0])] if of_query else self.bound.embed_documents(missing)
        for text, vector in zip(missing, vectors, strict=True):
            values[text] = value = json.dumps(vector).encode()
            self.calls.put(keys[text], value)
        seconds = time.perf_counter() - start
        _count(Cost(calls=len(keys), cached=len(keys) - len(missing), model_seconds=seconds))
        return [json.loads(values[text] or b"") for text in texts]


def _cost(message: BaseMessage, seconds: float, cached: int) -> Cost:
    tokens = message.usage_metadata if isinstance(message, AIMessage) else None
    return Cost(1, cached, tokens["input_tokens"] if tokens else 0, tokens["output_tokens"] if tokens else 0, seconds)
