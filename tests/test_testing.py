from __future__ import annotations

import asyncio
import subprocess
import sys
import time

import numpy as np
import pytest
from langchain_core.messages import AIMessage, HumanMessage

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.testing import HashEmbeddings, ScriptedChatModel


def test_replies_come_in_order_and_calls_are_recorded():
    model = ScriptedChatModel(["one", AIMessage("two")])
    assert [model.invoke("a").text, model.invoke([HumanMessage("b")]).text] == ["one", "two"]
    assert [[message.text for message in call] for call in model.calls] == [["a"], ["b"]]


def test_a_script_that_runs_out_says_how_many_replies_it_held():
    model = ScriptedChatModel(["only"])
    model.invoke("a")
    with pytest.raises(InputError, match="holds 1 replies but the model was called 2 times"):
        model.invoke("b")


def test_a_callable_makes_every_reply():
    model = ScriptedChatModel(lambda messages: messages[-1].text.upper())
    assert [model.invoke(word).text for word in ("a", "b", "c")] == ["A", "B", "C"]


def test_exceptions_and_callables_are_lines_of_a_script():
    model = ScriptedChatModel([TimeoutError("slow server"), lambda messages: f"{len(messages)} message"])
    with pytest.raises(TimeoutError, match="slow server"):
        model.invoke("a")
    assert model.invoke("a").text == "1 message"
    assert len(model.calls) == 2


async def _gather(model: ScriptedChatModel, count: int) -> tuple[list[str], float]:
    start = time.perf_counter()
    replies = await asyncio.gather(*(model.ainvoke(str(number)) for number in range(count)))
    return [reply.text for reply in replies], time.perf_counter() - start


def test_async_calls_sleep_at_the_same_time():
    replies, seconds = asyncio.run(_gather(ScriptedChatModel(lambda m: m[-1].text, delay=0.2), 10))
    assert replies == [str(number) for number in range(10)]
    assert 0.2 <= seconds < 1.5


def test_sync_calls_take_the_delay():
    model = ScriptedChatModel(["a"], delay=0.05)
    start = time.perf_counter()
    model.invoke("x")
    assert time.perf_counter() - start >= 0.05


def test_tools_can_be_bound_and_called_by_the_script():
    call = AIMessage("", tool_calls=[{"name": "search", "args": {"query": "dog"}, "id": "1"}])
    reply = ScriptedChatModel([call]).bind_tools([]).invoke("find the dog")
    assert reply.tool_calls[0]["args"] == {"query": "dog"}


@pytest.mark.slow
def test_embeddings_are_normalised_and_the_same_in_another_process():
    texts = ["Ann adopted a dog", "", "\ud800 odd", "日本語"]
    vectors = HashEmbeddings(32).embed_documents(texts)
    assert np.allclose(np.linalg.norm(np.array(vectors), axis=1), 1)
    code = "from langgraph_memory_r1.testing import HashEmbeddings as H; print(H(32).embed_query('Ann adopted a dog'))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert other.strip() == str(vectors[0])


def test_texts_that_share_words_lie_close():
    embed = HashEmbeddings(64)
    query = np.array(embed.embed_query("Which dog did Ann adopt?"))
    near, far = embed.embed_documents(["Ann adopted a dog called Buddy", "Her flight leaves on Monday morning"])
    assert query @ near > query @ far + 0.2


def test_dims_must_be_positive():
    with pytest.raises(InputError, match="dims must be at least 1, not 0"):
        HashEmbeddings(0)
