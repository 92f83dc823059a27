"""What the trainers take for granted of TRL and transformers: after an upgrade these fail first.

Private methods are overridden, on purpose few; nothing but these tests holds TRL to them.
"""

from __future__ import annotations

import inspect
from contextlib import nullcontext
from dataclasses import fields
from typing import Any

import pytest

pytest.importorskip("trl", reason="the extra `train` is not installed")

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM, Trainer
from trl import GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer
from trl.trainer import grpo_trainer, utils

from langgraph_memory_r1.train.trl_seams import completions_only

pytestmark = pytest.mark.slow  # TRL alone takes seconds to load


def parameters(method: Any) -> list[str]:
    return list(inspect.signature(method).parameters)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (
            GRPOTrainer._generate_single_turn,
            ["self", "prompt_ids", "images", "multimodal_fields", "num_generations", "has_tool_images"],
        ),
        (GRPOTrainer._generate_and_score_completions, ["self", "inputs"]),
        (GRPOTrainer._compute_loss, ["self", "model", "inputs"]),
        (GRPOTrainer._prepare_inputs, ["self", "generation_batch"]),
        (GRPOTrainer._save_checkpoint, ["self", "model", "trial"]),
        (Trainer._load_optimizer_and_scheduler, ["self", "checkpoint"]),
        (Trainer.create_optimizer, ["self", "model"]),
        (Trainer.create_accelerator_and_postprocess, ["self"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_overridden_has_the_same_parameters(method: Any, expected: list[str]) -> None:
    assert parameters(method) == expected


def test_what_is_called_takes_what_it_is_given() -> None:
    assert parameters(GRPOTrainer._get_per_token_logps_and_entropies)[:7] == [
        "self", "model", "input_ids", "attention_mask", "logits_to_keep", "batch_size", "compute_entropy",
    ]  # fmt: skip
    taken = parameters(GRPOTrainer.__init__)
    assert taken[1:4] == ["model", "reward_funcs", "args"]
    assert {"train_dataset", "processing_class", "callbacks"} <= set(taken)
    assert {"args", "train_dataset", "processing_class", "callbacks"} <= set(parameters(SFTTrainer.__init__))


def test_the_settings_that_are_made_by_default_exist() -> None:
    grpo, sft = ({item.name for item in fields(kind)} for kind in (GRPOConfig, SFTConfig))
    common = {"output_dir", "seed", "report_to", "logging_steps", "save_strategy", "save_steps", "save_total_limit",
              "disable_tqdm", "use_cpu", "bf16"}  # fmt: skip
    assert common <= grpo and common <= sft
    assert {"activation_checkpointing", "gradient_checkpointing"} & grpo
    assert {"max_completion_length", "temperature", "chat_template_kwargs", "generation_batch_size", "beta"} <= grpo
    assert {"num_generations", "steps_per_generation", "num_iterations", "reward_weights", "use_vllm"} <= grpo
    assert {"completion_only_loss", "max_length"} <= sft


def test_a_generation_holds_what_is_edited() -> None:
    source = inspect.getsource(GRPOTrainer._generate_and_score_completions)
    for key in ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask", "advantages", "num_items_in_batch",
                "old_per_token_logps", "ref_per_token_logps", "sampling_per_token_logps"):  # fmt: skip
        assert f'output["{key}"]' in source or f'"{key}":' in source, key


def test_advantages_may_be_given_for_every_token() -> None:
    source = inspect.getsource(GRPOTrainer._compute_loss)
    assert "advantages.dim() == 1" in source
    assert 'inputs.get("old_per_token_logps")' in source
    assert 'inputs["ref_per_token_logps"]' in source


def test_a_generation_is_shuffled_and_split_after_the_override() -> None:
    """LoGo-GRPO fills its batch up, because a remainder would be dropped here; PPO's tensors travel along."""
    source = inspect.getsource(GRPOTrainer._prepare_inputs)
    order = ["_generate_and_score_completions(", "shuffle_sequence_dict(", "split_tensor_dict(", "_buffered_inputs = "]
    places = [source.index(name) for name in order]
    assert places == sorted(places)
    assert "self._step % generate_every" in source


def test_an_epoch_leaves_out_what_fills_no_step() -> None:
    sampler = grpo_trainer.RepeatSampler(list(range(7)), mini_repeat_count=2, batch_size=3, shuffle=False)
    assert list(sampler) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_the_reference_of_a_model_with_adapters_is_the_model_without_them() -> None:
    """beta is set after the constructor, which would copy the adapter `default` otherwise."""
    source = inspect.getsource(GRPOTrainer._generate_and_score_completions)
    assert 'adapter_name="ref" if "ref" in model.peft_config else None' in source


@pytest.mark.parametrize("outputs", [("log_probs",), ("log_probs", "entropy")])
def test_only_completions_are_scored_and_to_the_same_values(
    outputs: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """TRL's head chooses by a name of its own whether it leaves prompts out; `completions_only` takes that over."""
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=50,
            hidden_size=8,
            intermediate_size=8,
            num_hidden_layers=1,
            num_attention_heads=1,
            num_key_value_heads=1,
            head_dim=8,
        )
    )
    utils.add_fused_lm_head(model, outputs=outputs)
    scored: list[int] = []
    head = utils._ChunkedLogProbFunction.apply
    monkeypatch.setattr(
        utils._ChunkedLogProbFunction, "apply", lambda hidden, *rest: scored.append(len(hidden)) or head(hidden, *rest)
    )
    tokens = torch.arange(1, 13).reshape(2, 6)
    labels = tokens.masked_fill(torch.arange(6) < 4, -100)
    found = []
    for scope in (nullcontext(), completions_only()):
        with scope:
            model.zero_grad()
            output = model(input_ids=tokens, labels=labels, fused_lm_head=True)
            output.log_probs.sum().backward()
            found.append((output.log_probs.detach(), model.model.embed_tokens.weight.grad.clone()))
    assert scored == [10, 4]  # of six tokens each the last five are said; two of them are the completion
    for whole, short in zip(*found, strict=True):
        assert torch.allclose(whole, short, atol=1e-6) and whole.abs().sum() > 0
