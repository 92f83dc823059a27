"""GRPO on a random tiny model: what changes, what must not, what is refused, and which samples are learned from."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl", reason="the extra `train` is not installed")

import torch

from langgraph_memory_r1 import InputError
from langgraph_memory_r1.train.grpo import NodeGRPOTrainer, samples_with_advantage
from langgraph_memory_r1.train.ppo import NodePPOTrainer
from langgraph_memory_r1.train.rewards import WeightedReward
from support.tiny_model import (
    manager_rows,
    settings,
    tiny_base,
    two_adapters,
)
from support.tiny_trainers import (
    TOKENIZER,
    Letters,
    LettersOfSome,
    Nothing,
    logged,
    same,
    trainer,
    weights,
)


def test_samples_without_an_advantage_are_left_out_except_to_fill_a_multiple() -> None:
    advantages = torch.tensor([0.0, 1.2, 0.0, -0.8, 3e-4, 0.5])
    assert samples_with_advantage(advantages).tolist() == [1, 3, 5]
    assert samples_with_advantage(advantages, 4).tolist() == [0, 1, 3, 5]
    assert samples_with_advantage(torch.zeros(6), 2).tolist() == [0, 1]
    assert samples_with_advantage(advantages, 8).tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.slow
@pytest.mark.parametrize("kind", [NodeGRPOTrainer, NodePPOTrainer])
def test_only_the_active_adapter_learns(tmp_path: Path, kind: type[NodeGRPOTrainer]) -> None:
    made = trainer(tmp_path, kind, beta=0.1)
    trained, other = weights(made.model, "manage"), weights(made.model, "answer")
    base = {name: value.clone() for name, value in made.model.state_dict().items() if "lora" not in name}
    made.train()
    after = made.model.state_dict()
    assert not same(trained, weights(made.model, "manage"))
    assert same(other, weights(made.model, "answer"))
    assert all(torch.equal(value, after[name]) for name, value in base.items())
    assert logged(made, "kl")[0] > 0  # the adapter was not zero: its divergence from the base shows at once


@pytest.mark.slow
def test_the_reference_is_the_base_whatever_adapters_there_are(tmp_path: Path) -> None:
    made = trainer(tmp_path, beta=0.1)
    batch = made._generate_and_score_completions([{"prompt": [{"role": "user", "content": "Hi"}], "row_id": "r0"}] * 4)
    tokens = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
    width = batch["completion_ids"].shape[1]
    with torch.no_grad():
        logits = tiny_base(TOKENIZER)(input_ids=tokens, attention_mask=mask).logits[:, -width - 1 : -1]
    expected = logits.log_softmax(-1).gather(2, batch["completion_ids"].unsqueeze(2)).squeeze(2)
    said = batch["completion_mask"].bool()
    torch.testing.assert_close(batch["ref_per_token_logps"][said], expected[said])


@pytest.mark.slow
def test_samples_that_teach_nothing_are_left_out_without_a_difference(tmp_path: Path) -> None:
    sizes, ends = [], []
    for drops_zero_advantages in (True, False):
        rows = manager_rows()
        args = settings(tmp_path, optim="sgd", learning_rate=1.0, max_steps=1, per_device_train_batch_size=16)
        made = NodeGRPOTrainer(two_adapters(TOKENIZER), TOKENIZER, rows, [WeightedReward(LettersOfSome(rows))], args)
        assert made.drops_zero_advantages
        made.drops_zero_advantages = drops_zero_advantages
        made.train()
        ends.append(weights(made.model, "manage"))
        sizes.append([len(batch["advantages"]) for batch in made._buffered_inputs])
    assert sizes[0][0] < sizes[1][0] == 16
    assert not same(ends[0], weights(two_adapters(TOKENIZER), "manage"))
    for name, value in ends[0].items():
        torch.testing.assert_close(value, ends[1][name], atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_a_reward_that_is_learned_rises(tmp_path: Path) -> None:
    how = {"per_device_train_batch_size": 16, "num_generations": 8, "max_completion_length": 4}
    made = trainer(tmp_path, max_steps=12, learning_rate=0.05, **how)
    with torch.no_grad():
        made.model.get_output_embeddings().weight.mul_(20)  # as random as before, but no longer bound to be undecided
    made.train()
    rewards = logged(made, "reward")
    assert sum(rewards[-3:]) > 2 * sum(rewards[:3])


@pytest.mark.slow
def test_what_teaches_nothing_is_counted_and_what_was_sampled_can_be_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = manager_rows(5)
    args = settings(tmp_path, max_steps=1, num_generations=2, per_device_train_batch_size=4)
    with caplog.at_level(logging.WARNING):
        made = NodeGRPOTrainer(two_adapters(TOKENIZER), TOKENIZER, rows, [WeightedReward(Nothing(rows))], args)
    assert "leaves out 1 of 5 rows" in caplog.text
    before = weights(made.model, "manage")
    made.train()
    assert same(before, weights(made.model, "manage"))
    kept = [json.loads(line) for line in (tmp_path / "completions" / "000000-0.jsonl").read_text().splitlines()]
    assert len(kept) == 4
    assert {line["Nothing"] for line in kept} == {None} and {line["advantage"] for line in kept} == {0.0}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"per_device_train_batch_size": 64, "num_generations": 4}, "8 rows are fewer than the 16 prompts"),
        ({"use_vllm": True}, "engine=VLLMServerEngine"),
        ({"beta_in_args": True}, "Give beta to the trainer"),
    ],
)
def test_what_would_train_something_else_is_refused(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    if changed.pop("beta_in_args", False):
        changed = {"beta": 0.1}
    args, rows = settings(tmp_path, **changed), manager_rows()
    with pytest.raises(InputError, match=said):
        NodeGRPOTrainer(two_adapters(TOKENIZER), TOKENIZER, rows, [WeightedReward(Letters(rows))], args)


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, where bf16 is right")
def test_half_precision_without_a_gpu_is_refused(tmp_path: Path) -> None:
    args, rows = settings(tmp_path), manager_rows()
    args.bf16 = True  # its own check comes before ours, and says less
    with pytest.raises(InputError, match="set bf16=false"):
        NodeGRPOTrainer(two_adapters(TOKENIZER), TOKENIZER, rows, [WeightedReward(Letters(rows))], args)
