"""GRPO on one node of the graph (Memory-R1, section 3.2): TRL's trainer, fed with rows, judged by outcomes.

    trainer = NodeGRPOTrainer(model, tokenizer, rows, [Weighted(ManagerReward(rows, judge))], args, beta=0.01)
    trainer.train()

Of TRL only `_generate_single_turn` (another engine generates) and `_generate_and_score_completions` (other advantages)
are overridden, here and in the subclasses; `tests/test_train_contract.py` fails first when TRL changes them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from datasets import Dataset
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.prompts import Style, render
from langgraph_memory_r1.train.advantages import worth_learning
from langgraph_memory_r1.train.checkpoints import Resumable
from langgraph_memory_r1.train.models import as_chat, has_adapters
from langgraph_memory_r1.train.rewards import Weighted
from langgraph_memory_r1.train.rows import Row
from langgraph_memory_r1.train.sharded import Sharing, gathered

logger = logging.getLogger(__name__)

_COMPARED = 8
"""Samples of every generation whose log-probabilities by another engine are compared with the trainer's own."""


class Engine(Protocol):
    """Generates for the trainer, outside of its process or in another way than `transformers` does."""

    def publish(self, model: Any, step: int) -> None:
        """Make the newest weights of the adapter the ones that generate; called in every process of a run."""

    def generate(
        self, prompts: Sequence[Sequence[int]], *, temperature: float, max_tokens: int
    ) -> tuple[list[list[int]], list[list[float]] | None]:
        """Completion tokens and their log-probabilities under the weights that generated, one per prompt.

        None instead of log-probabilities: these are the trainer's own weights as they stand.
        """

    def close(self) -> None:
        """Give back what is held elsewhere; nothing is generated any more."""


class NodeGRPOTrainer(Resumable, Sharing, GRPOTrainer):  # type: ignore[misc]
    """TRL's GRPOTrainer on the rows of one node.

    Args:
        model: A `transformers` model, or a `peft` model whose active adapter is trained.
        tokenizer: With a chat template.
        rows: What the node saw.
        rewards: Reward functions over rows that can be found by their id; evaluation rows too.
        args: TRL's settings, except `beta`; see `check_args`.
        beta: Weight of the KL divergence from the base: the model without its adapters, or where all weights are
            trained, as it was loaded.
        style: Of the prompts.
        eval_rows: For evaluation while training.
        engine: Generates in place of `transformers`.

    Raises:
        InputError: The settings would train nothing, or something else than they say.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        rows: Sequence[Row],
        rewards: Sequence[Weighted],
        args: GRPOConfig,
        *,
        beta: float = 0.0,
        style: Style = "compact",
        eval_rows: Sequence[Row] = (),
        engine: Engine | None = None,
        callbacks: Sequence[TrainerCallback] = (),
    ) -> None:
        check_args(args, len(rows), tokenizer)
        if left := dropped_rows(args, len(rows)):
            logger.warning(
                "Every epoch leaves out %d of %d rows, which fill no step of %d prompts.",
                left, len(rows), prompts_per_step(args),
            )  # fmt: skip
        args.reward_weights = [weighted.weight for weighted in rewards]
        args.beta = 0.0 if has_adapters(model) else beta
        super().__init__(
            model,
            [weighted.reward for weighted in rewards],
            args,
            train_dataset=dataset(rows, style),
            eval_dataset=dataset(eval_rows, style) if eval_rows else None,
            processing_class=tokenizer,
            callbacks=list(callbacks),
        )
        # Set only now: given to the constructor, TRL takes a copy of some adapter for the reference, which may be
        # the other node's; set afterwards, the reference is the model without adapters.
        self.beta = beta
        self.leaves_out = self.beta == 0 and args.loss_type == "dapo" and not _rewards_entropy(args)
        """Whether samples without an advantage, which then change nothing, are left out before the loss."""
        self.engine = engine
        self._published = -1

    def _generate_single_turn(
        self,
        prompt_ids: list[list[int]],
        images: Any,
        multimodal_fields: Any,
        num_generations: int,
        has_tool_images: bool = False,
    ) -> tuple[list[list[int]], list[list[float]] | None]:
        if self.engine is None:
            found: tuple[list[list[int]], list[list[float]] | None] = super()._generate_single_turn(
                prompt_ids, images, multimodal_fields, num_generations, has_tool_images
            )
            return found
        if self._published != self.state.global_step:
            self.engine.publish(self.accelerator.unwrap_model(self.model), self.state.global_step)
            self.accelerator.wait_for_everyone()
            self._published = self.state.global_step
        return self.engine.generate(
            prompt_ids, temperature=self.args.temperature, max_tokens=self.max_completion_length
        )

    def rest(self) -> dict[str, Any]:
        """Samples that are still to be learned from, where several steps share a generation."""
        per_generation = self.args.steps_per_generation * self.num_iterations
        used_up = self._step % per_generation == 0
        return {**super().rest(), "step": self._step, "samples": None if used_up else self._buffered_inputs}

    def take_up(self, rest: dict[str, Any]) -> None:
        """Go on with these samples."""
        super().take_up(rest)
        self._step, self._buffered_inputs = rest["step"], rest["samples"]

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        with gathered(self.model):
            output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        if self.model.training:
            self._note(inputs, output)
        if "sampling_per_token_logps" in output and self.model.training:
            # Another engine sampled these: the ratio that is clipped has to be taken to its probabilities.
            output["old_per_token_logps"] = torch.nan_to_num(output["sampling_per_token_logps"])
            self._compare(output)
        return self.shortened(output) if self.model.training else output

    def shortened(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The batch without samples that teach nothing; the loss is divided by all tokens nonetheless."""
        if not self.leaves_out:
            return batch
        places = worth_learning(batch["advantages"], self.args.steps_per_generation)
        return {
            name: value[places] if isinstance(value, torch.Tensor) and value.dim() else value
            for name, value in batch.items()
        }

    def _compare(self, output: dict[str, Any]) -> None:
        """Log how far the engine's log-probabilities of some samples are from the trainer's: by rounding only."""
        prompt, said = output["prompt_ids"][:_COMPARED], output["completion_ids"][:_COMPARED]
        seen, counted = output["prompt_mask"][:_COMPARED], output["completion_mask"][:_COMPARED]
        with torch.no_grad():
            own, *_ = self._get_per_token_logps_and_entropies(
                self.model, torch.cat([prompt, said], dim=1), torch.cat([seen, counted], dim=1), said.size(1)
            )
        apart = (own - output["old_per_token_logps"][:_COMPARED]).abs()[counted.bool()]
        for name, value in (("mean", apart.mean()), ("max", apart.max())):
            self._metrics["train"][f"sampling/sampling_logp_difference/{name}"].append(value.item())

    def _note(self, inputs: list[dict[str, Any]], output: dict[str, Any]) -> None:
        """Keep what was sampled, and its rewards, for reading."""
        texts = self.processing_class.batch_decode(output["completion_ids"], skip_special_tokens=True)
        advantages = output["advantages"].tolist()
        write_completions(
            self.args, self.state.global_step,
            [
                {
                    "row": row["row_id"], "completion": text, "advantage": advantage,
                    **{reward.__name__: reward.last[place] for reward in self.reward_funcs},
                }
                for place, (row, text, advantage) in enumerate(zip(inputs, texts, advantages, strict=True))
            ],
        )  # fmt: skip


def write_completions(args: GRPOConfig, step: int, entries: Sequence[dict[str, Any]]) -> None:
    """What was sampled for a step, one JSON object a line, into `completions/` of the output folder."""
    file = Path(args.output_dir) / "completions" / f"{step:06}-{args.process_index}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries), encoding="utf-8")


def dataset(rows: Sequence[Row], style: Style) -> Dataset:
    """Rows as TRL takes them: the rendered prompt, and the id by which a reward finds its row."""
    return Dataset.from_list([{"prompt": as_chat(render(row.given, style)), "row_id": row.id} for row in rows])


def prompts_per_step(args: GRPOConfig) -> int:
    """Different prompts that one generation samples groups for."""
    return int(args.generation_batch_size // args.num_generations)


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
    """Refuse rows that do not fill a single step.

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


def _rewards_entropy(args: GRPOConfig) -> bool:
    """Whether something else than the advantage is learned from; older TRL has no such settings."""
    told = vars(args)
    return bool(told.get("entropy_coef") or told.get("use_adaptive_entropy") or args.top_entropy_quantile < 1)


def dropped_rows(args: GRPOConfig, rows: int) -> int:
    """Rows that every epoch leaves out, because they do not fill a step."""
    return rows % prompts_per_step(args)
