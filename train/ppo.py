"""PPO on one node (Memory-R1, section 3.2; Schulman et al. 2017): the same samples, judged against a critic.

A critic tells from every token on what reward to expect; the advantage is what came beyond that (GAE). It is a small
head on the hidden states of the frozen base, without adapters, so that it costs no second model; the paper trains a
critic of the policy's size.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.train.advantages import explained_variance, gae, token_rewards, value_loss, whiten
from langgraph_memory_r1.train.grpo import NodeGRPOTrainer
from langgraph_memory_r1.train.models import BASE, has_adapters, wearing
from langgraph_memory_r1.train.recipe import PPOSettings


class Critic(nn.Module):  # type: ignore[misc]
    """From hidden states (B, T, H) to values (B, T)."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(features), nn.Linear(features, hidden), nn.Tanh(), nn.Linear(hidden, 1)
        )
        nn.init.zeros_(self.layers[-1].weight)

    def forward(self, states: Tensor) -> Tensor:
        """The expected reward from each token on."""
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
        self.leaves_out = False  # the critic learns from every sample
        base = self.accelerator.unwrap_model(self.model)
        self.critic = Critic(base.config.hidden_size, self.ppo.hidden).to(self.accelerator.device)

    def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        """The policy's optimizer, which takes the critic along at its own rate."""
        fresh = self.optimizer is None
        optimizer = super().create_optimizer(*args, **kwargs)
        if fresh:
            optimizer.add_param_group(
                {"params": list(self.critic.parameters()), "lr": self.ppo.critic_learning_rate, "weight_decay": 0.0}
            )
            # transformers clears the gradients of the model only; the critic's would add up over all steps.
            optimizer.register_step_post_hook(lambda *_: self.critic.zero_grad())
        return optimizer

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        if not self.model.training:
            return output
        mask = output["completion_mask"]
        rewards = self._rewards().to(mask.device)
        states = self._states(output)
        with torch.no_grad():
            values = self.critic(states) * mask
        spread = token_rewards(rewards, mask)
        advantages, returns = gae(spread, values, mask, gamma=self.ppo.gamma, lam=self.ppo.lam)
        judged = (~torch.isnan(rewards)).unsqueeze(1) * mask
        output["advantages"] = whiten(advantages, judged)
        # The base is frozen: what it makes of a token stays the same until the loss.
        output |= {"states": states, "old_values": values, "returns": returns, "judged": judged}
        self._metrics["train"]["explained_variance"].append(explained_variance(values, returns, judged))
        return output

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        loss: Tensor = super()._compute_loss(model, inputs)
        if "returns" not in inputs:
            return loss
        values = self.critic(inputs["states"])
        extra = value_loss(values, inputs["old_values"], inputs["returns"], inputs["judged"], clip=self.ppo.value_clip)
        self._metrics["train"]["value_loss"].append(float(extra.detach()))
        return loss + self.ppo.value_coef * extra / self.current_gradient_accumulation_steps

    def _rewards(self) -> Tensor:
        """The weighted sum of what the reward functions returned last: rewards as they are; NaN without any."""
        columns = torch.tensor(
            [[float("nan") if value is None else value for value in reward.last] for reward in self.reward_funcs]
        )
        total = (columns * self.reward_weights.cpu().unsqueeze(1)).nansum(dim=0)
        return torch.where(torch.isnan(columns).all(dim=0), torch.full_like(total, float("nan")), total)

    def _states(self, batch: dict[str, Any]) -> Tensor:
        """The frozen base's hidden states before each completion token: (B, T, H)."""
        tokens = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
        mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
        model = self.accelerator.unwrap_model(self.model)
        with torch.no_grad(), wearing(model, BASE):
            base = model.get_base_model() if has_adapters(model) else model
            hidden = base.model(input_ids=tokens, attention_mask=mask).last_hidden_state
        width = batch["completion_ids"].shape[1]
        kept: Tensor = hidden[:, -width - 1 : -1].detach()
        return kept

    def rest(self) -> dict[str, Any]:
        """The critic too."""
        return {**super().rest(), "critic": self.critic.state_dict()}

    def take_up(self, rest: dict[str, Any]) -> None:
        """Go on with this critic."""
        super().take_up(rest)
        self.critic.load_state_dict(rest["critic"])
