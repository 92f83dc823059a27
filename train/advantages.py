"""Advantages and losses as pure functions of tensors: what GRPO, PPO and LoGo-GRPO differ in.

group_advantages   GRPO (Memory-R1, section 3.2): a reward against its group's
gae, value_loss    PPO (Schulman et al. 2016, 2017): a reward against what a critic expected, token by token
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor

Scale: TypeAlias = Literal["group", "batch", "none"]
EPSILON = 1e-4
"""Added to a standard deviation before dividing by it, as TRL does."""
IDLE = 1e-3
"""Advantages below it are rounding: in a group with any variance, the smallest is far above."""


def group_advantages(rewards: Tensor, groups: Tensor, *, scale: Scale = "group") -> Tensor:
    """Every reward minus the mean of its group, over a standard deviation.

    Groups may have different sizes, as in LoGo-GRPO (arXiv 2605.21768), where groups of whole episodes and groups of
    re-rolls from one memory state stand in one batch and each is normalised in itself.

    Args:
        rewards: Shape (B,); NaN marks a sample that could not be judged.
        groups: Shape (B,), integers that name each sample's group.
        scale: What to divide by: the standard deviation in the group or the batch, or nothing.

    Returns:
        Shape (B,); 0 for samples without a reward, in groups whose rewards are all equal, and in groups of one.
    """
    _, place = torch.unique(groups, return_inverse=True)
    known = ~torch.isnan(rewards)
    values = torch.where(known, rewards, torch.zeros_like(rewards))
    counts = _sums(known.to(rewards.dtype), place)
    mean = (_sums(values, place) / counts.clamp(min=1))[place]
    centred = torch.where(known, rewards - mean, torch.zeros_like(rewards))
    if scale == "none":
        return centred
    if scale == "batch":
        return centred / (_deviation(rewards[known]) + EPSILON)
    deviation = (_sums(centred**2, place) / (counts - 1).clamp(min=1)).sqrt()[place]
    return centred / (deviation + EPSILON)


def zero_variance_share(rewards: Tensor, groups: Tensor) -> float:
    """The share of groups whose rewards are all equal: they teach nothing. Shapes (B,), (B,)."""
    names = torch.unique(groups)
    flat = sum(_is_flat(rewards[groups == name]) for name in names)
    return flat / max(1, len(names))


def worth_learning(advantages: Tensor, multiple: int = 1) -> Tensor:
    """The places of the samples with an advantage, and of some without one where a multiple has to be filled up.

    Shape (B,) to (K,), ascending; where no sample has an advantage, those that fill the multiple are left.
    """
    order = (advantages.abs() < IDLE).long().argsort(stable=True)
    count = max(1, int((advantages.abs() >= IDLE).sum()))
    return order[: min(len(order), -(-count // multiple) * multiple)].sort().values


def token_rewards(rewards: Tensor, mask: Tensor) -> Tensor:
    """The reward of a completion on its last token. Shapes (B,), (B, T) to (B, T)."""
    spread = torch.zeros_like(mask, dtype=rewards.dtype)
    last = mask.sum(dim=1).long() - 1
    judged = (last >= 0) & ~torch.isnan(rewards)
    spread[judged.nonzero().squeeze(1), last[judged]] = rewards[judged]
    return spread


def gae(
    rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float = 1.0, lam: float = 0.95
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation.

    Args:
        rewards: Shape (B, T), per token.
        values: Shape (B, T), what the critic expects from each token on.
        mask: Shape (B, T), 1 for tokens of the completion, which begin at 0 without a gap.
        gamma: Discount of the next token.
        lam: 0 trusts the critic, 1 the rewards.

    Returns:
        Advantages and returns, both (B, T) and 0 where the mask is 0.
    """
    keep = mask.to(values.dtype)
    values = values * keep
    following = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], dim=1)
    errors = (rewards + gamma * following - values) * keep
    advantages = torch.zeros_like(values)
    running = torch.zeros_like(values[:, 0])
    for step in reversed(range(values.shape[1])):
        running = errors[:, step] + gamma * lam * running
        advantages[:, step] = running
    advantages = advantages * keep
    return advantages, (advantages + values) * keep


def whiten(values: Tensor, mask: Tensor) -> Tensor:
    """Mean 0 and standard deviation 1 over the unmasked entries. Shapes (B, T), (B, T)."""
    chosen = values[mask.bool()]
    if len(chosen) < 2:
        return values * mask
    return (values - chosen.mean()) / (chosen.std() + EPSILON) * mask


def value_loss(values: Tensor, old: Tensor, returns: Tensor, mask: Tensor, *, clip: float = 0.2) -> Tensor:
    """PPO's clipped value loss: half the squared error, of the prediction or of its clipped step, whichever is larger.

    Shapes (B, T) to a scalar: the mean over unmasked tokens.
    """
    clipped = old + (values - old).clamp(-clip, clip)
    worst = torch.maximum((values - returns) ** 2, (clipped - returns) ** 2)
    return 0.5 * (worst * mask).sum() / mask.sum().clamp(min=1)


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> float:
    """1 for a perfect critic, 0 for one that knows only the mean. Shapes (B, T)."""
    chosen = mask.bool()
    spread = returns[chosen].var(unbiased=False)
    if spread == 0:
        return float("nan")
    return float(1 - (returns[chosen] - values[chosen]).var(unbiased=False) / spread)


def _sums(values: Tensor, place: Tensor) -> Tensor:
    groups = int(place.max()) + 1 if len(place) else 0
    return torch.zeros(groups, dtype=values.dtype, device=values.device).index_add_(0, place, values)


def _deviation(values: Tensor) -> Tensor:
    return values.std() if len(values) > 1 else torch.zeros((), dtype=values.dtype, device=values.device)


def _is_flat(rewards: Tensor) -> bool:
    known = rewards[~torch.isnan(rewards)]
    return len(known) < 2 or bool(torch.isclose(known.max(), known.min()))
