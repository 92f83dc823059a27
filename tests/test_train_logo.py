"""Advantages within groups of any size, against values worked out by hand."""

from __future__ import annotations

import math

import pytest

pytest.importorskip("trl", reason="the extra `train` is not installed")

import torch

from langgraph_memory_r1.train.logo import group_advantages, zero_variance_share

NAN = float("nan")


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_a_group_is_centred_and_divided_by_its_own_deviation() -> None:
    got = group_advantages(tensor(1, 0, 0, 1), torch.tensor([0, 0, 0, 0]))
    # mean 1/2, standard deviation of a sample of four sqrt(1/3)
    unit = 0.5 / (math.sqrt(1 / 3) + 1e-4)
    torch.testing.assert_close(got, tensor(unit, -unit, -unit, unit))


def test_groups_of_different_sizes_stand_in_one_batch_in_any_order() -> None:
    rewards, groups = tensor(0, 10, 1, 14, 12), torch.tensor([7, 3, 7, 3, 3])
    got = group_advantages(rewards, groups)
    small, large = math.sqrt(1 / 2) + 1e-4, 2 + 1e-4  # deviations of samples of two and of three
    torch.testing.assert_close(got, tensor(-0.5 / small, -2 / large, 0.5 / small, 2 / large, 0))


def test_a_group_without_variance_and_a_group_of_one_teach_nothing() -> None:
    got = group_advantages(tensor(1, 1, 0.25), torch.tensor([0, 0, 1]))
    torch.testing.assert_close(got, tensor(0, 0, 0))


def test_a_sample_that_could_not_be_judged_leaves_its_group_as_it_is() -> None:
    got = group_advantages(tensor(1, NAN, 0), torch.tensor([0, 0, 0]))
    torch.testing.assert_close(got, tensor(0.5, 0, -0.5) / (math.sqrt(1 / 2) + 1e-4))
    nothing = group_advantages(tensor(NAN, NAN), torch.tensor([0, 0]))
    torch.testing.assert_close(nothing, tensor(0, 0))


def test_the_share_of_groups_without_variance() -> None:
    rewards, groups = tensor(1, 1, 0, 1, NAN, 1), torch.tensor([0, 0, 1, 1, 2, 2])
    assert zero_variance_share(rewards, groups) == pytest.approx(2 / 3)
