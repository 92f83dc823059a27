"""A random tiny Qwen3 with a chat template, and rows of both nodes: what a trainer needs, in a tenth of a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM
from trl import GRPOConfig

from langgraph_memory_r1.schemas import Add, Fact, Memory
from langgraph_memory_r1.train.rows import AnswerRow, ManagerRow, Probe

torch.set_num_threads(1)  # for a model this small, more threads only wait for each other

TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
LORA = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}
BUDDY = Memory("b", "Ann adopted a dog called Buddy.", "Ann")
SCOUT = Fact("Ann adopted another dog, Scout.", "Ann", None, ("t2",))
DOGS = Probe("How many dogs does Ann have?", "2")


def tiny_tokenizer() -> Any:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    learn = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<pad>", "<eos>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    bpe.train_from_iterator(["Ann adopted a dog."] * 10, learn)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, pad_token="<pad>", eos_token="<eos>")
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def tiny_base(tokenizer: Any) -> Any:
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16, max_position_embeddings=32768, eos_token_id=1, pad_token_id=0,
        bos_token_id=None,
    )  # fmt: skip
    return Qwen3ForCausalLM(config)


def two_adapters(tokenizer: Any) -> Any:
    """A base with the adapters `manage`, which is active, and `answer`; neither is zero."""
    torch.manual_seed(1)
    model = PeftModel(tiny_base(tokenizer), LoraConfig(**LORA, init_lora_weights=False), adapter_name="manage")
    model.add_adapter("answer", LoraConfig(**LORA, init_lora_weights=False))
    model.set_adapter("manage")
    return model


def save_base(folder: Path) -> str:
    tokenizer = tiny_tokenizer()
    tiny_base(tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def manager_rows(count: int = 8) -> list[ManagerRow]:
    return [
        ManagerRow(f"r{place}", (SCOUT,), (BUDDY,), (BUDDY,), (DOGS,), gold=(Add(SCOUT.text, source=("t2",)),))
        for place in range(count)
    ]


def answer_rows(count: int = 8) -> list[AnswerRow]:
    return [AnswerRow(f"a{place}", "Which dog?", "Buddy", (BUDDY,), selected=(0,)) for place in range(count)]


def settings(folder: Path, **changed: Any) -> GRPOConfig:
    told: dict[str, Any] = {
        "output_dir": str(folder), "per_device_train_batch_size": 8, "num_generations": 4, "max_completion_length": 6,
        "learning_rate": 1e-2, "use_cpu": True, "bf16": False, "activation_checkpointing": False, "logging_steps": 1,
        "max_steps": 2, "report_to": "none", "save_strategy": "no", "disable_tqdm": True,
    }  # fmt: skip
    return GRPOConfig(**told | changed)
