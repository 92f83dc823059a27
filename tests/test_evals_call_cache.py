"""Kept model calls: none is made twice, whichever way it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from langchain_core.messages import AIMessage

from langgraph_memory_r1 import InputError
from langgraph_memory_r1.evals.call_cache import CachedChatModel, CachedEmbeddings, CallCache, Cost, key_of, metered
from langgraph_memory_r1.testing import HashEmbeddings, ScriptedChatModel

USAGE = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}


@pytest.fixture
def calls(tmp_path: Path) -> Iterator[CallCache]:
    cache = CallCache(tmp_path / "calls.sqlite")
    yield cache
    cache.close()


def slow(calls: CallCache) -> tuple[CachedChatModel, ScriptedChatModel]:
    model = ScriptedChatModel(lambda messages: AIMessage(messages[-1].text.upper(), usage_metadata=USAGE), delay=0.05)
    return CachedChatModel(bound=model, calls=calls), model


def test_a_reply_is_kept_with_its_tokens_and_counted(calls: CallCache) -> None:
    model, inner = slow(calls)
    with metered() as first:
        said = model.invoke("hello")
    with metered() as second:
        again = model.invoke("hello")
    assert (said.text, again.text, again.usage_metadata) == ("HELLO", "HELLO", USAGE)
    assert len(inner.calls) == 1
    assert (first.cost.calls, first.cost.cached, first.cost.input_tokens, first.cost.output_tokens) == (1, 0, 3, 2)
    assert (second.cost.calls, second.cost.cached, second.cost.input_tokens) == (1, 1, 3)
    assert second.cost.model_seconds == pytest.approx(first.cost.model_seconds, abs=1e-5)


def test_a_reply_outlives_the_process(tmp_path: Path) -> None:
    for _ in range(2):
        cache = CallCache(tmp_path / "calls.sqlite")
        model = CachedChatModel(bound=ScriptedChatModel(["once"]), calls=cache)
        assert model.invoke("hello").text == "once"
        cache.close()
    cache = CallCache(tmp_path / "calls.sqlite")
    assert CachedChatModel(bound=ScriptedChatModel([]), calls=cache).invoke("hello").text == "once"
    cache.close()


async def test_equal_calls_at_the_same_time_are_made_once(calls: CallCache) -> None:
    model, inner = slow(calls)
    replies = await asyncio.gather(*(model.ainvoke("hello") for _ in range(5)), model.ainvoke("bye"))
    assert [reply.text for reply in replies] == ["HELLO"] * 5 + ["BYE"]
    assert len(inner.calls) == 2


def test_equal_calls_in_threads_are_made_once(calls: CallCache) -> None:
    model, inner = slow(calls)
    with ThreadPoolExecutor(4) as threads:
        assert {reply.text for reply in threads.map(model.invoke, ["hello"] * 4)} == {"HELLO"}
    assert len(inner.calls) == 1


def test_a_failed_call_is_not_kept(calls: CallCache) -> None:
    model = CachedChatModel(bound=ScriptedChatModel([RuntimeError("down"), "up"]), calls=calls)
    with pytest.raises(RuntimeError, match="down"):
        model.invoke("hello")
    assert model.invoke("hello").text == "up"


def test_other_weights_settings_and_bindings_are_other_calls(calls: CallCache) -> None:
    script = ScriptedChatModel(["one", "two", "three"])
    model = CachedChatModel(bound=script, calls=calls)
    assert model.invoke("hello").text == "one"
    assert CachedChatModel(bound=script, calls=calls, weights="adapter").invoke("hello").text == "two"
    assert model.bind(response_format="json").invoke("hello").text == "three"
    assert model.invoke("hello").text == "one"
    assert CachedChatModel(bound=script, calls=calls, weights="adapter").identity != model.identity


def test_vectors_are_kept_too(calls: CallCache) -> None:
    vectors = CachedEmbeddings(HashEmbeddings(8), "hash-8", calls)
    with metered() as meter:
        first = vectors.embed_documents(["a dog", "a cat", "a dog"])
        assert vectors.embed_documents(["a cat"]) == [first[1]]
        assert vectors.embed_query("a dog") == first[0]
    assert first == HashEmbeddings(8).embed_documents(["a dog", "a cat", "a dog"])
    assert (meter.cost.calls, meter.cost.cached) == (4, 1)  # a query may be embedded in another way


def test_costs_add_up() -> None:
    assert Cost(1, 0, 2, 3, 0.5) + Cost(1, 1, 1, 1, 0.5) == Cost(2, 1, 3, 4, 1.0)
    assert key_of({"b": 1, "a": 2}) == key_of({"a": 2, "b": 1}) != key_of({"a": 2, "b": 2})


def test_a_file_that_is_no_cache_is_refused(tmp_path: Path) -> None:
    (tmp_path / "calls.sqlite").write_text("this is no database, but long enough to look at " * 30)
    with pytest.raises(InputError, match="cannot be used"):
        CallCache(tmp_path / "calls.sqlite")
