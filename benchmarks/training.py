"""Training: what our GRPO costs over TRL's own, and how many rewards a second there are.

CPU seconds, so that it plays no part how busy the machine is otherwise. The frozen Answer Agent is `rules`: what a
model takes to answer is no overhead of ours, and it answers the same question over the same memories once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any
from zlib import crc32

from measure import Measure, p50

PROMPTS, GROUP, TOKENS, STEPS, ROUNDS = 4, 8, 24, 4, 3


def measures(folder: Path) -> Iterator[Measure]:
    """Seconds of a step over those of TRL's trainer with a constant reward; seconds of a reward over 1/2,000."""
    from langgraph_memory_r1.train.models import silence_libraries

    silence_libraries()
    yield Measure("reward_evaluation_vs_2000_per_second", _reward(), 1 / 2000, 1)
    plain, ours = [], []
    for number in range(ROUNDS):
        plain += _steps(_plain(folder / f"plain{number}"))
        ours += _steps(_ours(folder / f"ours{number}"))
    yield Measure("manager_grpo_step_vs_plain_trl", p50(ours), p50(plain), 1.2)


def _reward() -> float:
    """Of one operation and one probe, whose answer is known: reading, applying, finding memories, scoring."""
    rows, reward = _rows(), _judged()
    sampled = [(row, _decision(row, "Yes.")) for row in rows]
    reward.rewards(sampled)
    count, taken = sum(len(row.probes) for row in rows), []
    for _ in range(7):
        start = time.process_time()
        reward.rewards(sampled)
        taken.append((time.process_time() - start) / count)
    return p50(taken)


def _decision(row: Any, said: str) -> str:
    """A reply that can be read: all facts are added."""
    from langgraph_memory_r1.prompts import write
    from langgraph_memory_r1.schemas import Add

    return write(tuple(Add(f"{fact.text} {said}", source=fact.source) for fact in row.facts), row.role_input)


def _rows() -> Sequence[Any]:
    from langgraph_memory_r1.evals.personaworld import generate
    from langgraph_memory_r1.train.rollout import episodes_of
    from langgraph_memory_r1.train.sources import manager_rows

    episodes = episodes_of([story.conversation for story in generate("train")])
    return manager_rows(episodes, _rules(6))[0]


def _rules(k: int) -> Any:
    from langgraph_memory_r1.models import RulesChatModel
    from langgraph_memory_r1.train.models import ChatPolicy
    from langgraph_memory_r1.train.rollout import RolePolicy

    return RolePolicy(ChatPolicy(RulesChatModel()), style="full", k=k)


def _judged() -> Any:
    from langgraph_memory_r1.train.rewards import FrozenAnswerer, ManagerReward

    return ManagerReward(_rows(), FrozenAnswerer(_rules(10)))


def _ours(folder: Path) -> Any:
    """Does more than it has to: it judges another decision for each sample, and leaves none out before the loss."""
    from langgraph_memory_r1.train.grpo import NodeGRPOTrainer
    from langgraph_memory_r1.train.rewards import RowReward, WeightedReward

    class Decided(RowReward):
        """Judges a decision in the place of a random model's noise, which would be judged in no time."""

        def rewards(self, sampled: Sequence[tuple[Any, str]]) -> list[float | None]:
            return judged.rewards([(row, _decision(row, f"{crc32(text.encode())}.")) for row, text in sampled])

    judged, rows = _judged(), _rows()
    made = NodeGRPOTrainer(*_model(), rows, [WeightedReward(Decided(rows))], _settings(folder))
    made.drops_zero_advantages = False  # or it would learn from fewer samples than TRL's own
    return made


def _plain(folder: Path) -> Any:
    from trl import GRPOTrainer

    from langgraph_memory_r1.train.grpo import dataset

    def constant(completions: Sequence[Any], **columns: Any) -> list[float]:
        return [0.0] * len(completions)

    model, tokenizer = _model()
    return GRPOTrainer(
        model, constant, _settings(folder), train_dataset=dataset(_rows(), "compact"), processing_class=tokenizer
    )


def _settings(folder: Path) -> Any:
    from trl import GRPOConfig

    return GRPOConfig(
        output_dir=str(folder), per_device_train_batch_size=PROMPTS * GROUP, num_generations=GROUP,
        max_completion_length=TOKENS, generation_kwargs={"min_new_tokens": TOKENS}, max_steps=STEPS, use_cpu=True,
        bf16=False, activation_checkpointing=False, report_to="none", save_strategy="no", disable_tqdm=True,
        learning_rate=1e-5, seed=0,
    )  # fmt: skip


def _model() -> tuple[Any, Any]:
    """A random model of the tiny base's shape with an adapter, and a tokenizer that knows the prompts' words."""
    import torch
    from peft import LoraConfig, PeftModel
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    from langgraph_memory_r1.prompts import render

    texts = [str(message.content) for row in _rows() for message in render(row.role_input, "compact")]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    letters = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=2000, special_tokens=["<pad>", "<eos>"], initial_alphabet=letters)
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, pad_token="<pad>", eos_token="<eos>")
    tokenizer.chat_template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    torch.manual_seed(0)
    base = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=384,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=32,
            eos_token_id=1,
            pad_token_id=0,
            bos_token_id=None,
        )
    )
    lora = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
    return PeftModel(base, lora, adapter_name="manage"), tokenizer


def _steps(trainer: Any) -> list[float]:
    """Seconds of the steps, each from the end of the one before: without what is set up ahead of the first."""
    from transformers import PrinterCallback, TrainerCallback

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            ends.append(time.process_time())

    ends: list[float] = []
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Clock())
    trainer.train()
    return [after - before for before, after in pairwise(ends)]


MEASURES = {"training": measures}
