"""All that the trainers need of TRL's and transformers' insides, in one place: TRL 1.12 to 1.16, one method each.

    NodeTrainer         checkpoints with what TRL leaves out, and only such sharding as `gathered` knows
    NodeSampler         GRPOTrainer with public hooks in place of its private methods, for grpo.py, ppo.py and logo.py
    completions_only    only completions are scored, on a CPU too

These names are private and may change with any release: PAPO, a subclass of GRPOTrainer in TRL's own tree, was removed
because every rewrite of GRPO broke it. `tests/test_train_trl_seams.py` holds TRL to what is taken for granted here, and
fails first after an upgrade.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import Trainer
from trl import GRPOTrainer
from trl.trainer import utils

from langgraph_memory_r1.train.checkpoints import load_extra_state, save_extra_state
from langgraph_memory_r1.train.sharded import check_deepspeed, check_fsdp, gathered, with_unrounded_outputs

Generated = tuple[list[list[int]], list[list[float]] | None]
"""Tokens of each completion, and their log-probabilities where another engine sampled them."""


class NodeTrainer(Trainer):  # type: ignore[misc]
    """What is added to a trainer of TRL, by inheritance ahead of it."""

    memo: dict[str, str] | None = None
    """`FrozenAnswerer.memo`, where there is one. It is saved because it cannot be made anew: asked again beside other
    prompts, in a batch of another shape, a model may round to another answer, and the run go another way."""

    def extra_state(self) -> dict[str, Any]:
        """Return what else has to be known to go on: tensors, and plain values of Python."""
        return {"memo": dict(self.memo or {})}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """Go on from what `extra_state` has returned."""
        if self.memo is not None:
            self.memo.update(state["memo"])

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        super()._save_checkpoint(*args, **kwargs)
        # After TRL's own part: what is written last says that the checkpoint is whole.
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        save_extra_state(folder, self.extra_state(), self.accelerator)

    def _load_optimizer_and_scheduler(self, checkpoint: str) -> None:
        # transformers loads weights in one of several places, depending on whether FSDP or DeepSpeed holds them. This
        # one step it takes for all of them, and after the weights.
        super()._load_optimizer_and_scheduler(checkpoint)
        self.load_extra_state(load_extra_state(Path(checkpoint), self.accelerator))

    def create_accelerator_and_postprocess(self) -> None:
        """Make the accelerator, and refuse ways to share a model in which no process can generate by itself."""
        super().create_accelerator_and_postprocess()
        if self.is_deepspeed_enabled:
            check_deepspeed(self.accelerator.state.deepspeed_plugin)
        if self.is_fsdp_enabled:
            plugin = self.accelerator.state.fsdp_plugin
            check_fsdp(plugin)
            plugin.mixed_precision_policy = with_unrounded_outputs(plugin.mixed_precision_policy)


class NodeSampler(NodeTrainer, GRPOTrainer):  # type: ignore[misc]
    """TRL's GRPOTrainer with its private methods under public names."""

    def sample(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """Sample and score completions for one generation; a subclass adds to them or makes its own.

        Args:
            inputs: The rows of the dataset, each `num_generations` times, with all their columns.

        Returns:
            What `_compute_loss` learns from: prompt_ids and prompt_mask (B, P) padded on the left, completion_ids and
            completion_mask (B, C) padded on the right, advantages (B,) or (B, C), num_items_in_batch; where they are
            needed old_per_token_logps and ref_per_token_logps (B, C). B may differ from the number of inputs: TRL
            shuffles the samples and splits them into `steps_per_generation` parts afterwards, and drops a remainder.
        """
        with gathered(self.model):
            output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        return output

    def generate(self, prompt_ids: list[list[int]]) -> Generated | None:
        """Generate in another way than `transformers` does, one completion per prompt; None leaves it to TRL."""
        return None

    def extra_loss(self, inputs: dict[str, Any]) -> Tensor | None:
        """Return what is added to TRL's loss of a micro-batch, a scalar; None adds nothing."""
        return None

    def completion_logps(self, model: Any, batch: dict[str, Any], first: int | None = None) -> Tensor:
        """Return the log-probabilities of completions under a model, without gradients: (B, C).

        Args:
            model: Scores.
            batch: As `sample` returns it.
            first: So many samples of the batch; None is all, `per_device_train_batch_size` of them at a time.
        """
        prompts, prompt_mask = batch["prompt_ids"][:first], batch["prompt_mask"][:first]
        completions, mask = batch["completion_ids"][:first], batch["completion_mask"][:first]
        with torch.no_grad():
            logps: Tensor = self._get_per_token_logps_and_entropies(
                model, torch.cat([prompts, completions], dim=1), torch.cat([prompt_mask, mask], dim=1),
                completions.shape[1], batch_size=self.args.per_device_train_batch_size if first is None else None,
            )[0]  # fmt: skip
        return logps

    def log_metric(self, name: str, value: float) -> None:
        """Log a number with the next step's, averaged over the micro-batches until then."""
        self._metrics["train"][name].append(value)

    def extra_state(self) -> dict[str, Any]:
        """Return samples too that are still to be learned from, where several steps share a generation."""
        # Where a generation is used up, the next step samples anew, and these samples would only fill the disk.
        used_up = self._step % (self.args.steps_per_generation * self.num_iterations) == 0
        return {
            **super().extra_state(),
            "step": self._step,
            "samples": None if used_up else self._buffered_inputs,
        }

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """Go on with these samples: TRL would sample anew in the middle of a generation, and learn from others."""
        super().load_extra_state(state)
        self._step, self._buffered_inputs = state["step"], state["samples"]

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        return self.sample(inputs)

    def _generate_single_turn(self, prompt_ids: list[list[int]], *args: Any, **kwargs: Any) -> Generated:
        generated = self.generate(prompt_ids)
        if generated is None:
            generated = super()._generate_single_turn(prompt_ids, *args, **kwargs)
        return generated

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        loss: Tensor = super()._compute_loss(model, inputs)
        extra = self.extra_loss(inputs)
        if extra is None:
            return loss
        return loss + extra / self.current_gradient_accumulation_steps  # TRL divides its own loss by them already


@contextmanager
def completions_only() -> Iterator[None]:
    """Have TRL's head score only completions until the end, as it does where there is Triton.

    Without Triton (on a CPU), TRL 1.16 scores every token of the prompts too and then drops that, which was most of
    what a step of a small model took.
    """
    chooses = vars(utils).get("_use_triton")  # older TRL has no such head
    if chooses is None:
        yield
        return
    utils._use_triton = lambda device: True
    try:
        yield
    finally:
        utils._use_triton = chooses
