"""GRPO on one node of the graph (Memory-R1, section 3.2): TRL's trainer on rows, judged by outcomes.

    rewards = [WeightedReward(ManagerReward(rows, frozen_answerer))]
    trainer = NodeGRPOTrainer(model, tokenizer, rows, rewards, args, beta=0.01)
    trainer.train()

The advantages are TRL's own: a reward minus the mean of its group, over the group's standard deviation, unless the
setting `scale_rewards` names another divisor ("batch") or none ("none"). What is private of TRL stands in
`trl_seams.py`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from transformers import TrainerCallback
from trl import GRPOConfig

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.prompts import Style, render
from langgraph_memory_r1.train.engines import GenerationEngine
from langgraph_memory_r1.train.models import as_chat, has_adapters
from langgraph_memory_r1.train.rewards import WeightedReward
from langgraph_memory_r1.train.rows import Row
from langgraph_memory_r1.train.trl_seams import Generated, NodeSampler

logger = logging.getLogger(__name__)

_COMPARED = 8
"""Samples of every generation whose log-probabilities by another engine are compared with the trainer's own."""
# Advantages below it count as none. Where a reply earns 0 or 1, only groups without variance have such: of 64 replies
# of which one earns 1, the others have -0.125. A graded reward (F1, a sum of rewards) may come as near to the mean of
# a group with variance; its sample is left out too, and would have weighed next to nothing.
_ROUNDING = 1e-3


class NodeGRPOTrainer(NodeSampler):
    """TRL's GRPOTrainer on the rows of one node.

    Args:
        model: A `transformers` model, or a `peft` model whose active adapter is trained.
        tokenizer: With a chat template.
        rows: What the node saw.
        rewards: Reward functions, which find the rows by their ids.
        args: TRL's settings, except `beta`; see `check_args`.
        beta: Weight of the KL divergence from the base: the model without its adapters, or where all weights are
            trained, as it was loaded.
        style: Of the prompts.
        engine: Generates in place of `transformers`.
        callbacks: `transformers` callbacks.

    Raises:
        InputError: The settings would train nothing, or something else than they say.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        rows: Sequence[Row],
        rewards: Sequence[WeightedReward],
        args: GRPOConfig,
        *,
        beta: float = 0.0,
        style: Style = "compact",
        engine: GenerationEngine | None = None,
        callbacks: Sequence[TrainerCallback] = (),
    ) -> None:
        check_args(args, len(rows), tokenizer)
        if left_out := dropped_rows(args, len(rows)):
            logger.warning(
                "Every epoch leaves out %d of %d rows, which fill no step of %d prompts.",
                left_out, len(rows), prompts_per_step(args),
            )  # fmt: skip
        # TRL takes functions and weights apart, and would count each once.
        args.reward_weights = [weighted.weight for weighted in rewards]
        args.beta = 0.0 if has_adapters(model) else beta
        super().__init__(
            model,
            [weighted.reward for weighted in rewards],
            args,
            train_dataset=dataset(rows, style),
            processing_class=tokenizer,
            callbacks=list(callbacks),
        )
        # Set only now: given beta, TRL's constructor looks for an adapter called "default" and makes the KL reference a
        # copy of it. Without one that is a KeyError; with one, the other node's adapter is the reference, and nothing
        # says so. Set afterwards, the reference is the model without adapters.
        self.beta = beta
        # Entropy, where it is rewarded, teaches samples without an advantage too; older TRL has no such settings.
        settings = vars(args)
        rewards_entropy = settings.get("entropy_coef") or settings.get("use_adaptive_entropy")
        selects_by_entropy = args.top_entropy_quantile < 1
        self.drops_zero_advantages = (
            self.beta == 0 and args.loss_type == "dapo" and not (rewards_entropy or selects_by_entropy)
        )
        """Whether samples without an advantage are left out before the loss, since they would change nothing in it.

        Only with `dapo`, which divides by all tokens of the generation, as they were counted before; other losses
        divide by what is left. With beta they have a gradient after all, of the KL divergence.
        """
        self.style = style
        self.engine = engine
        self._published_step = -1

    def generate(self, prompt_ids: list[list[int]]) -> Generated | None:
        """Generate by the engine, if there is one, with the weights of this step."""
        if self.engine is None:
            return None
        if self._published_step != self.state.global_step:
            self.engine.publish(self.accelerator.unwrap_model(self.model), self.state.global_step)
            # Only the main process publishes; the others must not ask for an adapter that is not there yet.
            self.accelerator.wait_for_everyone()
            self._published_step = self.state.global_step
        return self.engine.generate(
            prompt_ids, temperature=self.args.temperature, max_tokens=self.max_completion_length
        )

    def sample(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """Sample and score completions as TRL does, and write down for people what was sampled."""
        output = super().sample(inputs)
        texts = self.processing_class.batch_decode(output["completion_ids"], skip_special_tokens=True)
        samples = zip(inputs, texts, output["advantages"].tolist(), strict=True)
        write_completions(
            self.args, self.state.global_step,
            [
                {
                    "row": row["row_id"], "completion": text, "advantage": advantage,
                    **{reward.__name__: reward.last[number] for reward in self.reward_funcs},
                }
                for number, (row, text, advantage) in enumerate(samples)
            ],
        )  # fmt: skip
        if "sampling_per_token_logps" in output:
            # Another engine sampled these: the ratio that is clipped has to be taken to its probabilities, or rounding
            # that differs between the engines would pass for a step of the policy.
            output["old_per_token_logps"] = torch.nan_to_num(output["sampling_per_token_logps"])
            self._log_difference_of_engines(output)
        return self.without_zero_advantages(output)

    def without_zero_advantages(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return the batch without samples that teach nothing; the loss is divided by all tokens nonetheless.

        With exact match as the reward, many groups are right or wrong as a whole: of the tiny base's first ones half to
        three quarters.
        """
        if not self.drops_zero_advantages:
            return batch
        indices = samples_with_advantage(batch["advantages"], self.args.steps_per_generation)
        return {
            name: value[indices] if isinstance(value, torch.Tensor) and value.dim() else value
            for name, value in batch.items()
        }

    def _log_difference_of_engines(self, output: dict[str, Any]) -> None:
        """Log how far the engine's log-probabilities of some samples are from the trainer's: by rounding only.

        A server that still generates with an older adapter shows here, and nowhere else.
        """
        own = self.completion_logps(self.model, output, first=_COMPARED)
        engine, mask = output["old_per_token_logps"][:_COMPARED], output["completion_mask"][:_COMPARED].bool()
        difference = (own - engine).abs()[mask]
        for name, value in (("mean", difference.mean()), ("max", difference.max())):
            self.log_metric(f"sampling/sampling_logp_difference/{name}", value.item())


def samples_with_advantage(advantages: Tensor, multiple: int = 1) -> Tensor:
    """Return the indices of samples with an advantage, and of some without one where a multiple has to be filled up.

    Args:
        advantages: Shape (B,).
        multiple: TRL splits a batch into this many steps and drops a remainder.

    Returns:
        Shape (K,), ascending; where no sample has an advantage, those that fill the multiple are left: a step without
        any samples would be an error.
    """
    order = (advantages.abs() < _ROUNDING).long().argsort(stable=True)
    count = max(1, int((advantages.abs() >= _ROUNDING).sum()))
    return order[: min(len(order), -(-count // multiple) * multiple)].sort().values


def write_completions(args: GRPOConfig, step: int, samples: Sequence[dict[str, Any]]) -> None:
    """Write what was sampled for a step, one JSON object a line, into `completions/` of the output folder."""
    # Every process samples its own prompts, and has a file of its own.
    file = Path(args.output_dir) / "completions" / f"{step:06}-{args.process_index}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(sample, ensure_ascii=False) + "\n" for sample in samples), encoding="utf-8")


def dataset(rows: Sequence[Row], style: Style) -> Dataset:
    """Return rows as TRL takes them: the rendered prompt, and the id by which a reward finds its row."""
    return Dataset.from_list([{"prompt": as_chat(render(row.role_input, style)), "row_id": row.id} for row in rows])


def prompts_per_step(args: GRPOConfig) -> int:
    """Return how many different prompts one generation samples groups for."""
    return int(args.generation_batch_size // args.num_generations)


def dropped_rows(args: GRPOConfig, rows: int) -> int:
    """Return how many rows every epoch leaves out, because they do not fill a step."""
    return rows % prompts_per_step(args)


def check_args(args: GRPOConfig, rows: int, tokenizer: Any) -> None:
    """Refuse what TRL would take without a word and then do something else.

    Raises:
        InputError: With the setting to change.
    """
    if args.beta:
        raise InputError("Give beta to the trainer, not to its arguments; see NodeGRPOTrainer.")
    if not tokenizer.chat_template:
        raise InputError("The base model has no chat template; give a chat model, or set tokenizer.chat_template.")
    if args.use_vllm:
        raise InputError("use_vllm needs vLLM in the trainer's process; give engine=VLLMServerEngine(...) instead.")
    if (args.bf16 or args.fp16) and not torch.cuda.is_available():
        raise InputError("Half precision needs a GPU here; set bf16=false and fp16=false.")
    check_rows(args, rows)


def check_rows(args: GRPOConfig, rows: int, where: str = "") -> None:
    """Refuse rows that do not fill a single step: TRL would end after zero steps, and say nothing.

    Raises:
        InputError: With the setting to change.
    """
    needed = prompts_per_step(args)
    if rows < needed:
        raise InputError(
            f"{where}{': ' if where else ''}{rows} rows are fewer than the {needed} prompts of one step, so nothing "
            f"would be trained; add rows, or lower generation_batch_size ({args.generation_batch_size}) or raise "
            f"num_generations ({args.num_generations})."
        )
