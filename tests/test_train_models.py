"""Models of a run: replies are sampled as the recipe says and not otherwise, trained weights have full precision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl", reason="the extra `train` is not installed")

import torch
import transformers
from langchain_core.messages import HumanMessage

from langgraph_memory_r1 import InputError
from langgraph_memory_r1.train.grpo import NodeGRPOTrainer
from langgraph_memory_r1.train.models import BASE, LocalPolicy, load_role_models, using_adapter
from langgraph_memory_r1.train.recipe import Data, Recipe, Stage
from langgraph_memory_r1.train.rewards import WeightedReward
from support.tiny_model import (
    manager_rows,
    save_base,
    settings,
    tiny_base,
    tiny_tokenizer,
    two_adapters,
)
from support.tiny_trainers import (
    TOKENIZER,
    Letters,
)

pytestmark = pytest.mark.slow  # TRL alone takes seconds to load

PROMPTS = [[HumanMessage("Ann adopted a dog. Ann adopted")], [HumanMessage("a dog")]]


@pytest.mark.parametrize(
    "of_the_base", [{"repetition_penalty": 3.0}, {"no_repeat_ngram_size": 1}, {"suppress_tokens": [5, 6, 7]}, {}]
)
def test_a_greedy_reply_is_the_likeliest_whatever_the_base_says_of_sampling(of_the_base: dict[str, Any]) -> None:
    tokenizer = tiny_tokenizer()
    model = tiny_base(tokenizer).eval()
    model.generation_config.update(**of_the_base)
    for completion in LocalPolicy(model, tokenizer, max_tokens=8).reply(PROMPTS):
        ids = [*completion.prompt_ids, *completion.completion_ids]
        with torch.no_grad():
            likeliest = model(torch.tensor([ids])).logits[0].argmax(-1).tolist()
        assert likeliest[len(completion.prompt_ids) - 1 : -1] == list(completion.completion_ids)


def test_samples_are_drawn_from_all_tokens_whatever_the_base_says() -> None:
    tokenizer = tiny_tokenizer()
    model = tiny_base(tokenizer)
    model.generation_config.update(top_k=1, top_p=0.1, min_p=0.9, typical_p=0.1, do_sample=True)
    replies = {
        completion.completion_ids
        for completion in LocalPolicy(model, tokenizer, max_tokens=2).reply([PROMPTS[0]] * 16, temperature=1.0)
    }
    assert len(replies) > 8  # a random model is undecided; cut to one token, all would be the same


@pytest.mark.parametrize(("lora", "dtypes"), [({"r": 4}, ["bfloat16"]), (None, ["bfloat16", "float32"])])
def test_weights_that_are_all_trained_are_float32_on_a_gpu_too(
    lora: Any, dtypes: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps of 1e-6 are lost in bfloat16: of weights as large as a base's only 2 % change."""
    weight = torch.full((1000,), 0.02).normal_(0, 0.02).bfloat16()
    assert (weight + 1e-6 != weight).float().mean() < 0.05
    recipe = Recipe(
        base=save_base(tmp_path / "base"), output="none", train=Data(source="personaworld"),
        stages=[Stage(role="answer")], lora=lora,
    )  # fmt: skip
    asked: list[str] = []

    def note(base: str, dtype: torch.dtype) -> Any:
        asked.append(str(dtype).removeprefix("torch."))
        if asked == dtypes:
            raise OSError("enough is known")
        return tiny_base(tiny_tokenizer())

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.nn.Module, "to", lambda module, place: module)
    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", note)
    with pytest.raises(InputError, match="enough is known"):
        load_role_models(recipe, "answer", {})
    assert asked == dtypes  # the frozen manager's, which is loaded first, and the trained answerer's


def test_weights_that_are_all_trained_are_saved_as_they_were_scored(tmp_path: Path) -> None:
    """Rounded to the base's bfloat16, two of three changes of 2e-5 would be lost."""
    weight = torch.full((10_000,), 0.02).normal_(0, 0.02).bfloat16().float()
    changed = weight + torch.randn(10_000) * 2.5e-5
    assert (changed.bfloat16() != weight).float().mean() < 0.4
    recipe = Recipe(
        base=save_base(tmp_path / "base"), output="none", train=Data(source="personaworld"),
        stages=[Stage(role="answer")], lora=None,
    )  # fmt: skip
    models = load_role_models(recipe, "answer", {})
    with torch.no_grad():
        for parameter in models.model.parameters():
            parameter.add_(1e-6)
    models.save(tmp_path / "saved")
    saved = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "saved", dtype="auto").state_dict()
    for name, value in models.model.state_dict().items():
        torch.testing.assert_close(saved[name], value, atol=0, rtol=0)


def test_borrowing_another_adapter_leaves_everything_as_it_was() -> None:
    model = two_adapters(TOKENIZER)
    trained = {name for name, value in model.named_parameters() if value.requires_grad}
    policy = LocalPolicy(model, TOKENIZER, adapter="answer", max_tokens=2)
    policy.reply([])
    for adapter in ("answer", BASE, None):
        with using_adapter(model, adapter):
            pass
        assert model.active_adapter == "manage"
        assert {name for name, value in model.named_parameters() if value.requires_grad} == trained


def test_a_base_without_a_chat_template_is_refused(tmp_path: Path) -> None:
    from langgraph_memory_r1.train.models import load_base

    folder = save_base(tmp_path / "base")
    (tmp_path / "base" / "chat_template.jinja").unlink()
    with pytest.raises(InputError, match="no chat template"):
        load_base(folder)
    bare = tiny_tokenizer()
    bare.chat_template = None
    rows = manager_rows()
    with pytest.raises(InputError, match="no chat template"):
        NodeGRPOTrainer(tiny_base(bare), bare, rows, [WeightedReward(Letters(rows))], settings(tmp_path))
