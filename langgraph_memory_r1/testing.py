"""Public fakes, so that memory can be tested without a key, a network or a model.

    model = ScriptedChatModel(['{"facts": []}', RuntimeError("server down"), lambda messages: messages[-1].text])
    store = LanceDBStore(path, index={"dims": 64, "embed": HashEmbeddings(64)})

They are used by this library's own tests and are as stable as the rest of the public names.
"""

from __future__ import annotations

import asyncio
import math
import re
import threading
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any, TypeAlias

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from pydantic import ConfigDict, Field, PrivateAttr

from langgraph_memory_r1.errors import InputError

ScriptedReply: TypeAlias = "str | AIMessage | BaseException | Callable[[list[BaseMessage]], str | AIMessage]"
"""What one call of a scripted model does: says it, raises it, or works it out from the messages."""

_WORD = re.compile(r"\w+")
_DIMS = 64


class ScriptedChatModel(BaseChatModel):
    """A chat model that replies from a script and records what it was asked.

    Example:
        >>> model = ScriptedChatModel(["first", "second"])
        >>> model.invoke("hello").text
        'first'
        >>> [message.text for message in model.calls[0]]
        ['hello']
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    script: Any
    """Replies in order (text, messages, exceptions or callables), or one callable that makes every reply."""
    delay: float = 0.0
    """Seconds that every call takes; an async call sleeps without blocking the event loop."""
    calls: list[list[BaseMessage]] = Field(default_factory=list)
    """The messages of every call, in order."""
    _lock: threading.Lock = PrivateAttr(default_factory=threading.Lock)

    def __init__(
        self, script: Sequence[ScriptedReply] | Callable[[list[BaseMessage]], str | AIMessage], **kwargs: Any
    ) -> None:
        """Take the script; `delay=` as a keyword."""
        fields: dict[str, Any] = {"script": script if callable(script) else tuple(script), **kwargs}
        super().__init__(**fields)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _reply(self, messages: list[BaseMessage]) -> ChatResult:
        with self._lock:
            number = len(self.calls)
            self.calls.append(list(messages))
        if not callable(self.script) and number >= len(self.script):
            raise InputError(
                f"the script holds {len(self.script)} replies but the model was called {number + 1} times; "
                "add a reply, or give a callable that makes every reply"
            )
        scripted: ScriptedReply = self.script if callable(self.script) else self.script[number]
        if isinstance(scripted, BaseException):
            raise scripted
        reply = scripted(messages) if callable(scripted) else scripted
        message = reply if isinstance(reply, AIMessage) else AIMessage(reply)
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        if self.delay:
            time.sleep(self.delay)
        return self._reply(messages)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        if self.delay:
            await asyncio.sleep(self.delay)
        return self._reply(messages)

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[LanguageModelInput, AIMessage]:
        """Accept tools and ignore them: what is called is what the script says."""
        return self


class HashEmbeddings(Embeddings):
    """Embeddings without a model: hashed words and character trigrams, so that texts that share words lie close.

    Deterministic across processes and machines; every vector has length 1.
    """

    def __init__(self, dims: int = _DIMS) -> None:
        """Make vectors of `dims` numbers (at least 1)."""
        if dims < 1:
            raise InputError(f"dims must be at least 1, not {dims!r}")
        self.dims = dims
        self.model = f"hash-{dims}"
        self.spec = "hash" if dims == _DIMS else None

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return one vector for each text."""
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of one text; a text without words gets the first axis."""
        vector = [0.0] * self.dims
        for word in _WORD.findall(text.lower()):
            padded = f"<{word}>"
            features = [(word, min(len(word), 6) / 6), *((padded[i : i + 3], 0.2) for i in range(len(padded) - 2))]
            for feature, weight in features:
                bucket, sign = _bucket(feature, self.dims)
                vector[bucket] += sign * weight
        length = math.sqrt(sum(value * value for value in vector))
        return [value / length for value in vector] if length else [1.0, *vector[1:]]


@lru_cache(maxsize=65536)
def _bucket(feature: str, dims: int) -> tuple[int, int]:
    number = int.from_bytes(blake2b(feature.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
    return (number >> 1) % dims, 1 if number & 1 else -1
