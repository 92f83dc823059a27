"""Which samples GRPO learns from."""

from __future__ import annotations

import pytest

pytest.importorskip("trl", reason="the extra `train` is not installed")

import torch

from langgraph_memory_r1.train.grpo import samples_with_advantage


def test_samples_without_an_advantage_are_left_out_except_to_fill_a_multiple() -> None:
    advantages = torch.tensor([0.0, 1.2, 0.0, -0.8, 3e-4, 0.5])
    assert samples_with_advantage(advantages).tolist() == [1, 3, 5]
    assert samples_with_advantage(advantages, 4).tolist() == [0, 1, 3, 5]
    assert samples_with_advantage(torch.zeros(6), 2).tolist() == [0, 1]
    assert samples_with_advantage(advantages, 8).tolist() == [0, 1, 2, 3, 4, 5]
