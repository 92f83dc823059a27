"""Advantages within groups of any size, against values worked out by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

pytest.importorskip("trl", reason="the extra `train` is not installed")

import torch

from langgraph_memory_r1.train.logo import NodeLoGoTrainer, group_advantages, zero_variance_share
from langgraph_memory_r1.train.models import LocalPolicy
from langgraph_memory_r1.train.recipe import LoGoSettings
from langgraph_memory_r1.train.rollout import RolePolicy
from support.tiny_model import (
    settings,
    two_adapters,
)
from support.tiny_trainers import (
    TOKENIZER,
    Counting,
    episode,
    logged,
    same,
    weights,
)

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


@pytest.mark.slow
def test_logo_compares_sessions_of_rollouts_and_rerolls_each_among_themselves(tmp_path: Path) -> None:
    model = two_adapters(TOKENIZER)
    judge = Counting(RolePolicy(LocalPolicy(model, TOKENIZER, adapter="answer", max_tokens=4)))
    args = settings(tmp_path, max_steps=1, max_completion_length=4)
    made = NodeLoGoTrainer(model, TOKENIZER, [episode("a"), episode("b")], judge, args, beta=0.1)
    other = weights(model, "answer")
    made.train()
    assert same(other, weights(model, "answer"))
    kept = [json.loads(line) for line in (tmp_path / "completions" / "000000-0.jsonl").read_text().splitlines()]
    sizes: dict[str, int] = {}
    for line in kept:
        sizes[line["group"]] = sizes.get(line["group"], 0) + 1
    # 4 rollouts of 2 episodes, 2 sessions each, at least a call a step; an unreadable reply is asked again
    assert {group for group in sizes if group.startswith("global")} == {f"global/{e}/s{s}" for e in "ab" for s in "01"}
    assert all(sizes[group] >= 8 for group in sizes if group.startswith("global"))
    assert logged(made, "samples_per_rollout") == [pytest.approx(len(kept) / 8)]


@pytest.mark.slow
def test_logo_rerolls_every_session_where_something_can_be_asked(tmp_path: Path) -> None:
    judge = Counting(
        RolePolicy(LocalPolicy(model := two_adapters(TOKENIZER), TOKENIZER, adapter="answer", max_tokens=4))
    )
    args = settings(
        tmp_path, max_steps=2, max_completion_length=4, steps_per_generation=2, per_device_train_batch_size=4
    )
    logo = LoGoSettings(local_probability=1, local_rolls=3)
    made = NodeLoGoTrainer(model, TOKENIZER, [episode("a"), episode("b")], judge, args, logo=logo)
    made.train()
    kept = [json.loads(line) for line in (tmp_path / "completions" / "000000-0.jsonl").read_text().splitlines()]
    groups = [line["group"] for line in kept if line["group"].startswith("local")]
    assert set(groups) == {f"local/{e}/{step}" for e in "ab" for step in (0, 2)}  # the first steps of both sessions
    assert all(groups.count(group) >= 6 for group in groups)
    assert len(list((tmp_path / "completions").iterdir())) == 1  # one generation for two steps
    assert logged(made, "clip_ratio/region_mean")


@pytest.mark.slow
def test_logo_prompts_in_the_style_of_the_recipe(tmp_path: Path) -> None:
    """What is learned under one prompt is not what is deployed under another."""
    model = two_adapters(TOKENIZER)
    frozen_answerer = Counting(RolePolicy(LocalPolicy(model, TOKENIZER, adapter="answer", max_tokens=4)))
    lengths = {}
    for style in ("compact", "full"):
        args, logo = settings(tmp_path, max_completion_length=4), LoGoSettings(local_probability=0)
        made = NodeLoGoTrainer(model, TOKENIZER, [episode("a")] * 2, frozen_answerer, args, logo=logo, style=style)
        lengths[style] = int(made.sample([{"row_id": "a"}])["prompt_mask"].sum(dim=1).min())
    assert lengths["full"] > 2 * lengths["compact"]
