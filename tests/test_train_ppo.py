"""PPO's advantages and losses, against values worked out by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

pytest.importorskip("trl", reason="the extra `train` is not installed")

import torch

from langgraph_memory_r1.train.ppo import NodePPOTrainer, explained_variance, gae, token_rewards, value_loss, whiten
from langgraph_memory_r1.train.rewards import WeightedReward
from support.tiny_model import (
    manager_rows,
    settings,
    two_adapters,
)
from support.tiny_trainers import (
    TOKENIZER,
    Always,
    logged,
)

NAN = float("nan")


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_a_reward_comes_with_the_last_token() -> None:
    mask = torch.tensor([[1, 1, 0], [1, 1, 1], [1, 0, 0]])
    got = token_rewards(tensor(2, NAN, 3), mask)
    torch.testing.assert_close(got, torch.tensor([[0, 2, 0], [0, 0, 0], [3, 0, 0]], dtype=torch.float64))


def test_gae_by_hand() -> None:
    rewards = torch.tensor([[0.0, 0.0, 1.0]])
    values = torch.tensor([[0.5, 0.6, 0.8]])
    advantages, returns = gae(rewards, values, torch.ones(1, 3), gamma=0.9, lam=0.5)
    last = 1 - 0.8
    middle = 0.9 * 0.8 - 0.6 + 0.9 * 0.5 * last
    first = 0.9 * 0.6 - 0.5 + 0.9 * 0.5 * middle
    torch.testing.assert_close(advantages, torch.tensor([[first, middle, last]]))
    torch.testing.assert_close(returns, advantages + values)


def test_with_lambda_one_the_return_is_the_reward_that_came() -> None:
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    rewards = token_rewards(torch.tensor([2.0, -1.0]), mask)
    advantages, returns = gae(rewards, torch.rand(2, 3), mask, lam=1.0)
    torch.testing.assert_close(returns, torch.tensor([[2.0, 2.0, 2.0], [-1.0, -1.0, 0.0]]))
    assert advantages[1, 2] == 0


def test_with_lambda_zero_a_perfect_critic_leaves_nothing_to_learn() -> None:
    mask = torch.ones(1, 4)
    rewards = token_rewards(torch.tensor([1.0]), mask)
    advantages, _ = gae(rewards, torch.ones(1, 4), mask, lam=0.0)
    torch.testing.assert_close(advantages, torch.zeros(1, 4))


def test_ppo_with_a_perfect_critic_is_reinforce_with_that_baseline() -> None:
    """A critic that knows the mean reward of the prompt: every token's advantage is the reward minus it."""
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    rewards = torch.tensor([1.0, 0.0])
    baseline = torch.full((2, 3), 0.5) * mask
    advantages, _ = gae(token_rewards(rewards, mask), baseline, mask, gamma=1.0, lam=1.0)
    torch.testing.assert_close(advantages, (rewards - 0.5).unsqueeze(1) * mask)


def test_the_value_loss_takes_the_worse_of_the_prediction_and_its_clipped_step() -> None:
    mask = torch.tensor([[1, 1, 0]])
    values, old = torch.tensor([[1.0, 0.1, 9.0]]), torch.tensor([[0.0, 0.0, 0.0]])
    returns = torch.tensor([[1.0, 1.0, 0.0]])
    # first: predicted right, but the step is cut at 0.2, so (0.2 - 1)^2; second: no cut, (0.1 - 1)^2; third is masked
    expected = 0.5 * (0.8**2 + 0.9**2) / 2
    assert float(value_loss(values, old, returns, mask, clip=0.2)) == pytest.approx(expected)


def test_whitening_looks_at_unmasked_entries_only() -> None:
    values, mask = torch.tensor([[1.0, 3.0], [5.0, 100.0]]), torch.tensor([[1, 1], [1, 0]])
    got = whiten(values, mask)
    torch.testing.assert_close(got, torch.tensor([[-2.0, 0.0], [2.0, 0.0]]) / (2 + 1e-4))


def test_explained_variance() -> None:
    returns, mask = torch.tensor([[1.0, 0.0, 1.0, 0.0]]), torch.ones(1, 4)
    assert explained_variance(returns, returns, mask) == 1
    assert explained_variance(torch.full((1, 4), 0.3), returns, mask) == pytest.approx(0)
    assert math.isnan(explained_variance(returns, torch.ones(1, 4), mask))


@pytest.mark.slow
def test_ppo_learns_what_to_expect(tmp_path: Path) -> None:
    rows = manager_rows()
    args = settings(tmp_path, max_steps=30, num_generations=2, per_device_train_batch_size=4, learning_rate=1e-5)
    made = NodePPOTrainer(two_adapters(TOKENIZER), TOKENIZER, rows, [WeightedReward(Always(rows))], args)
    made.train()
    losses = logged(made, "value_loss")
    assert 0.3 < losses[0] <= 0.5  # it begins by expecting nothing, and gets 1 at the end
    assert losses[-1] < 0.5 * losses[0]
