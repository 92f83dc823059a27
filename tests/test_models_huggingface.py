"""`hf:` with a tiny random Qwen3 that is made here; runs where the extra `local` is installed."""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage, SystemMessage

from langgraph_memory_r1 import InputError, MissingDependencyError, load_chat_model
from langgraph_memory_r1.models import Manifest, model_name, write_manifest

HERE = all(importlib.util.find_spec(name) for name in ("torch", "transformers", "peft"))
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft asks for it
needs_torch = pytest.mark.skipif(not HERE, reason="needs torch, transformers and peft: pip install '.[local]'")
TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% if enable_thinking is false %}!{% endif %}{% endif %}"
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Qwen3 and a tokenizer of bytes."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    folder = tmp_path_factory.mktemp("hf") / "tiny"
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(["<end>", *letters])}, merges=[]))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<end>", chat_template=TEMPLATE)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, max_position_embeddings=128, eos_token_id=0, bos_token_id=None,
    )  # fmt: skip
    Qwen3ForCausalLM(config).save_pretrained(folder)
    return folder


def make_adapter(base: Path, folder: Path, role: Any, seed: int) -> Path:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    config = LoraConfig(r=2, target_modules=["o_proj", "down_proj"], init_lora_weights=False, lora_alpha=64)
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), config).save_pretrained(folder)
    write_manifest(folder, Manifest(base=str(base), role=role, data="none", rank=2))
    return folder


@needs_torch
async def test_a_reply_with_its_token_counts(base: Path) -> None:
    model = load_chat_model(f"hf:{base}", max_tokens=8)
    reply = model.invoke([SystemMessage("Be kind."), HumanMessage("Hi")])
    later = await model.ainvoke([SystemMessage("Be kind."), HumanMessage("Hi")])
    prompt = "<system>Be kind.<user>Hi<assistant>!"
    assert reply.usage_metadata == {"input_tokens": len(prompt), "output_tokens": 8, "total_tokens": len(prompt) + 8}
    assert reply.response_metadata["finish_reason"] == "length"
    assert reply.text and reply.text == later.text
    assert model.invoke("Hi", max_tokens=3).usage_metadata["output_tokens"] == 3  # type: ignore[attr-defined]
    assert model_name(model) == f"hf:{base}"


@needs_torch
def test_without_a_template_the_prompt_is_plain_text(base: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(base, tmp_path / "plain")
    for path in (tmp_path / "plain").glob("chat_template*"):
        path.unlink()
    model = load_chat_model(f"hf:{tmp_path / 'plain'}", max_tokens=1)
    reply = model.invoke([SystemMessage("Be kind."), HumanMessage("Hi")])
    assert reply.usage_metadata["input_tokens"] == len("system: Be kind.\n\nuser: Hi\n\nassistant:")  # type: ignore[attr-defined]


@needs_torch
async def test_adapters_share_a_base_and_answer_differently(base: Path, tmp_path: Path) -> None:
    manager = make_adapter(base, tmp_path / "manager", "manage", 1)
    answerer = make_adapter(base, tmp_path / "answer", "answer", 2)
    spec = f"hf:{base}"
    models: list[Any] = [
        load_chat_model(spec, max_tokens=12),
        load_chat_model(spec, manager, role="manage", max_tokens=12),
        load_chat_model(spec, answerer, role="answer", max_tokens=12),
    ]
    said = [model.invoke("Who are you?").text for model in models]
    assert len(set(said)) == 3
    assert len({id(model._base) for model in models}) == 1
    again = await asyncio.gather(*(model.ainvoke("Who are you?") for model in models * 4))
    assert [reply.text for reply in again] == said * 4
    assert model_name(models[1]) == f"hf:{base}+manager"


@needs_torch
def test_a_reply_ends_where_it_is_told_to(base: Path) -> None:
    model = load_chat_model(f"hf:{base}", max_tokens=30)
    whole = model.invoke("Hi").text
    mark = whole[len(whole) // 2]
    reply = model.invoke("Hi", stop=[mark])
    assert reply.text == whole[: whole.index(mark)].strip() and mark not in reply.text
    assert reply.response_metadata["finish_reason"] == "stop"


@needs_torch
def test_a_temperature_samples(base: Path) -> None:
    model = load_chat_model(f"hf:{base}", max_tokens=20, temperature=2.0)
    assert len({model.invoke("Hi").text for _ in range(4)}) > 1


@needs_torch
def test_a_base_with_habits_of_its_own_still_gives_its_likeliest_reply(base: Path, tmp_path: Path) -> None:
    """Qwen2.5 ships a penalty on repetition: with it, an adapter would decide otherwise than it was trained to."""
    import shutil

    from transformers import GenerationConfig

    plain = load_chat_model(f"hf:{base}", max_tokens=12).invoke("dog dog dog").text
    penalised = tmp_path / "penalised"
    shutil.copytree(base, penalised)
    GenerationConfig(repetition_penalty=3.0, no_repeat_ngram_size=1, eos_token_id=0).save_pretrained(penalised)
    assert load_chat_model(f"hf:{penalised}", max_tokens=12).invoke("dog dog dog").text == plain


@needs_torch
def test_a_prompt_that_does_not_fit_is_refused_with_the_fix(base: Path) -> None:
    with pytest.raises(
        InputError, match=r"has 2\d\d tokens and the reply may have 8, but the model holds 128; give fewer"
    ):
        load_chat_model(f"hf:{base}", max_tokens=8).invoke("dog " * 50)


@needs_torch
def test_what_cannot_be_loaded_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be loaded; give a folder that holds it"):
        load_chat_model(f"hf:{tmp_path}").invoke("Hi")
    with pytest.raises(InputError, match="needs a model; give hf:NAME_OR_FOLDER"):
        load_chat_model("hf:")
    with pytest.raises(InputError, match="temprature"):
        load_chat_model(f"hf:{tmp_path}", temprature=1)


@needs_torch
def test_a_broken_adapter_is_said(base: Path, tmp_path: Path) -> None:
    write_manifest(tmp_path, Manifest(base=str(base), role="manage", data="none", rank=2))
    with pytest.raises(InputError, match="cannot be put on its base"):
        load_chat_model(f"hf:{base}", tmp_path).invoke("Hi")


@needs_torch
def test_four_bits_without_a_gpu_are_refused(base: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("the refusal is for machines without a GPU, and this one has one")
    with pytest.raises(InputError, match="needs a CUDA GPU, and here is none; leave it out"):
        load_chat_model(f"hf:{base}", four_bit=True)


@pytest.mark.skipif(HERE, reason="torch, transformers and peft are installed here")
def test_a_missing_extra_is_named() -> None:
    with pytest.raises(
        MissingDependencyError, match=r"pip install 'langgraph-memory-r1\[local\]' to use 'hf:some/model'"
    ):
        load_chat_model("hf:some/model")
