"""PPO on one node (Memory-R1, section 3.2; Schulman et al. 2017): the same samples, judged against a critic.

A critic says from every token on what reward to expect; the advantage is what came beyond that (GAE, Schulman et al.
2016). It is a small head on the hidden states of the frozen base, without adapters, so that it costs no second model;
the paper trains a critic of the policy's size. TRL has no PPO any more (removed in 1.13), and had none that takes
reward functions: this one stands on its GRPO, whose loss takes an advantage for every token.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.train.grpo import NodeGRPOTrainer
from langgraph_memory_r1.train.models import BASE, has_adapters, using_adapter
from langgraph_memory_r1.train.recipe import PPOSettings

_EPSILON = 1e-4
"""Added to a standard deviation before dividing by it, as TRL does."""


class Critic(nn.Module):  # type: ignore[misc]
    """From hidden states (B, T, H) to values (B, T)."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(features), nn.Linear(features, hidden), nn.Tanh(), nn.Linear(hidden, 1)
        )
        nn.init.zeros_(self.layers[-1].weight)  # it begins by expecting nothing, whatever it reads

    def forward(self, states: Tensor) -> Tensor:
        """Return the expected reward from each token on."""
        values: Tensor = self.layers(states.float()).squeeze(-1)
        return values


class NodePPOTrainer(NodeGRPOTrainer):
    """`NodeGRPOTrainer` whose advantages come from a critic, not from the group; groups only share a prompt.

    Raises:
        InputError: There are several processes, whose critics would drift apart.
    """

    def __init__(self, *args: Any, ppo: PPOSettings | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.accelerator.num_processes > 1:
            raise InputError("PPO trains its critic in one process; launch one, or take grpo for several GPUs.")
        self.ppo = ppo or PPOSettings()
        self.drops_zero_advantages = False  # the critic learns from every sample
        base = self.accelerator.unwrap_model(self.model)
        self.critic = Critic(base.config.hidden_size, self.ppo.hidden).to(self.accelerator.device)

    def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        """Make the policy's optimizer, which takes the critic along at its own rate."""
        is_new = self.optimizer is None
        optimizer = super().create_optimizer(*args, **kwargs)
        if is_new:
            optimizer.add_param_group(
                {"params": list(self.critic.parameters()), "lr": self.ppo.critic_learning_rate, "weight_decay": 0.0}
            )
            # transformers clears the gradients of the model only; the critic's would add up over all steps.
            optimizer.register_step_post_hook(lambda *_: self.critic.zero_grad())
        return optimizer

    def sample(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """Sample as GRPO does, and replace the advantages by those that the critic sees: (B, C), whitened."""
        output = super().sample(inputs)
        mask = output["completion_mask"]
        # The weighted sum of what the reward functions returned last: rewards as they are, not relative to a group.
        # NaN where none of them could be computed.
        columns = torch.tensor(
            [[float("nan") if value is None else value for value in reward.last] for reward in self.reward_funcs]
        )
        rewards = (columns * self.reward_weights.cpu().unsqueeze(1)).nansum(dim=0)  # (B,)
        rewards = rewards.masked_fill(torch.isnan(columns).all(dim=0), float("nan")).to(mask.device)
        states = self._hidden_states(output)
        with torch.no_grad():
            values = self.critic(states) * mask
        advantages, returns = gae(token_rewards(rewards, mask), values, mask, gamma=self.ppo.gamma, lam=self.ppo.lam)
        judged = (~torch.isnan(rewards)).unsqueeze(1) * mask
        output["advantages"] = whiten(advantages, judged)
        # The base is frozen: what it makes of a token stays the same until the loss, and is not computed again there.
        # TRL shuffles and splits these tensors together with its own.
        output |= {"states": states, "old_values": values, "returns": returns, "judged": judged}
        self.log_metric("explained_variance", explained_variance(values, returns, judged))
        return output

    def extra_loss(self, inputs: dict[str, Any]) -> Tensor | None:
        """Return the critic's loss of a micro-batch."""
        values = self.critic(inputs["states"])
        loss = value_loss(values, inputs["old_values"], inputs["returns"], inputs["judged"], clip=self.ppo.value_clip)
        self.log_metric("value_loss", float(loss.detach()))
        return self.ppo.value_coef * loss

    def _hidden_states(self, batch: dict[str, Any]) -> Tensor:
        """The frozen base's hidden states before each completion token: (B, C, H)."""
        tokens = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
        mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
        model = self.accelerator.unwrap_model(self.model)
        with torch.no_grad(), using_adapter(model, BASE):
            base = model.get_base_model() if has_adapters(model) else model
            hidden = base.model(input_ids=tokens, attention_mask=mask).last_hidden_state
        # The value of a token is read off the state that it was chosen in: that of the position ahead of it.
        width = batch["completion_ids"].shape[1]
        states: Tensor = hidden[:, -width - 1 : -1].detach()
        return states

    def extra_state(self) -> dict[str, Any]:
        """Return the critic too."""
        return {**super().extra_state(), "critic": self.critic.state_dict()}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """Go on with this critic."""
        super().load_extra_state(state)
        self.critic.load_state_dict(state["critic"])


def token_rewards(rewards: Tensor, mask: Tensor) -> Tensor:
    """Put the reward of a completion on its last token: (B,), (B, T) to (B, T); 0 where it is NaN."""
    spread = torch.zeros_like(mask, dtype=rewards.dtype)
    last = mask.sum(dim=1).long() - 1
    judged = (last >= 0) & ~torch.isnan(rewards)
    spread[judged.nonzero().squeeze(1), last[judged]] = rewards[judged]
    return spread


def gae(
    rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float = 1.0, lam: float = 0.95
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation (Schulman et al. 2016, equation 16).

    Args:
        rewards: Shape (B, T), per token.
        values: Shape (B, T), what the critic expects from each token on.
        mask: Shape (B, T), 1 for tokens of the completion, which begin at 0 without a gap.
        gamma: Discount of the next token.
        lam: 0 trusts the critic, 1 the rewards.

    Returns:
        Advantages and returns, both (B, T) and 0 where the mask is 0.
    """
    unmasked = mask.to(values.dtype)
    values = values * unmasked
    following = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], dim=1)
    errors = (rewards + gamma * following - values) * unmasked
    advantages = torch.zeros_like(values)
    running = torch.zeros_like(values[:, 0])
    # From the last token on: an advantage is the error of its own step and, discounted, all that come after it.
    for step in reversed(range(values.shape[1])):
        running = errors[:, step] + gamma * lam * running
        advantages[:, step] = running
    advantages = advantages * unmasked
    return advantages, (advantages + values) * unmasked


def whiten(values: Tensor, mask: Tensor) -> Tensor:
    """Scale to mean 0 and standard deviation 1 over the unmasked entries: (B, T), (B, T) to (B, T)."""
    chosen = values[mask.bool()]
    if len(chosen) < 2:
        return values * mask
    return (values - chosen.mean()) / (chosen.std() + _EPSILON) * mask


def value_loss(values: Tensor, old: Tensor, returns: Tensor, mask: Tensor, *, clip: float = 0.2) -> Tensor:
    """PPO's clipped value loss: half the squared error, of the prediction or of its clipped step, whichever is larger.

    Shapes (B, T) to a scalar: the mean over unmasked tokens.
    """
    clipped = old + (values - old).clamp(-clip, clip)
    worst = torch.maximum((values - returns) ** 2, (clipped - returns) ** 2)
    return 0.5 * (worst * mask).sum() / mask.sum().clamp(min=1)


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> float:
    """Return 1 for a perfect critic, 0 for one that knows only the mean, NaN where returns do not vary: (B, T)."""
    chosen = mask.bool()
    spread = returns[chosen].var(unbiased=False)
    if spread == 0:
        return float("nan")
    return float(1 - (returns[chosen] - values[chosen]).var(unbiased=False) / spread)
