"""The trainers on a random tiny model: what changes, what must not, and what is refused."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl", reason="the extra `train` is not installed")

import torch
from trl import SFTConfig

from langgraph_memory_r1 import InputError
from langgraph_memory_r1.batches import Batch
from langgraph_memory_r1.schemas import Fact, Question, Turn
from langgraph_memory_r1.train.grpo import NodeGRPOTrainer
from langgraph_memory_r1.train.logo import NodeLoGoTrainer
from langgraph_memory_r1.train.models import BASE, LocalPolicy, using_adapter
from langgraph_memory_r1.train.ppo import NodePPOTrainer
from langgraph_memory_r1.train.recipe import LoGoSettings
from langgraph_memory_r1.train.rewards import FrozenAnswerer, RowReward, WeightedReward
from langgraph_memory_r1.train.rollout import Episode, RolePolicy
from langgraph_memory_r1.train.rows import Row
from langgraph_memory_r1.train.sft import NodeSFTTrainer
from support.tiny_model import (
    answer_rows,
    manager_rows,
    save_base,
    settings,
    tiny_base,
    tiny_tokenizer,
    two_adapters,
)

pytestmark = pytest.mark.slow  # TRL alone takes seconds to load

TOKENIZER = tiny_tokenizer()


class Letters(RowReward):
    """How much of a completion is letters: something that a random model can learn at once."""

    def rewards(self, sampled: Sequence[tuple[Row, str]]) -> list[float | None]:
        return [sum(letter.isalpha() for letter in text) / max(1, len(text)) for _, text in sampled]


class Always(RowReward):
    """1, whatever is said."""

    def rewards(self, sampled: Sequence[tuple[Row, str]]) -> list[float | None]:
        return [1.0] * len(sampled)


class Nothing(RowReward):
    """Cannot be computed."""

    def rewards(self, sampled: Sequence[tuple[Row, str]]) -> list[float | None]:
        return [None] * len(sampled)


def trainer(folder: Path, kind: type[NodeGRPOTrainer] = NodeGRPOTrainer, **changed: Any) -> NodeGRPOTrainer:
    rows = manager_rows()
    more = {name: changed.pop(name) for name in ("beta",) if name in changed}
    args = settings(folder, **changed)
    return kind(two_adapters(TOKENIZER), TOKENIZER, rows, [WeightedReward(Letters(rows))], args, **more)


def weights(model: Any, adapter: str) -> dict[str, Any]:
    return {name: value.clone() for name, value in model.state_dict().items() if f".{adapter}." in name}


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def logged(made: Any, name: str) -> list[float]:
    return [entry[name] for entry in made.state.log_history if name in entry]


@pytest.mark.parametrize("kind", [NodeGRPOTrainer, NodePPOTrainer])
def test_only_the_active_adapter_learns(tmp_path: Path, kind: type[NodeGRPOTrainer]) -> None:
    made = trainer(tmp_path, kind, beta=0.1)
    trained, other = weights(made.model, "manage"), weights(made.model, "answer")
    base = {name: value.clone() for name, value in made.model.state_dict().items() if "lora" not in name}
    made.train()
    after = made.model.state_dict()
    assert not same(trained, weights(made.model, "manage"))
    assert same(other, weights(made.model, "answer"))
    assert all(torch.equal(value, after[name]) for name, value in base.items())
    assert logged(made, "kl")[0] > 0  # the adapter was not zero: its divergence from the base shows at once


def test_the_reference_is_the_base_whatever_adapters_there_are(tmp_path: Path) -> None:
    made = trainer(tmp_path, beta=0.1)
    batch = made._generate_and_score_completions([{"prompt": [{"role": "user", "content": "Hi"}], "row_id": "r0"}] * 4)
    tokens = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
    width = batch["completion_ids"].shape[1]
    with torch.no_grad():
        logits = tiny_base(TOKENIZER)(input_ids=tokens, attention_mask=mask).logits[:, -width - 1 : -1]
    expected = logits.log_softmax(-1).gather(2, batch["completion_ids"].unsqueeze(2)).squeeze(2)
    said = batch["completion_mask"].bool()
    torch.testing.assert_close(batch["ref_per_token_logps"][said], expected[said])


class LettersOfSome(Letters):
    """Nothing to learn from every other row."""

    def rewards(self, sampled: Sequence[tuple[Row, str]]) -> list[float | None]:
        found = super().rewards(sampled)
        return [1.0 if int(row.id[1:]) % 2 else reward for (row, _), reward in zip(sampled, found, strict=True)]


def test_samples_that_teach_nothing_are_left_out_without_a_difference(tmp_path: Path) -> None:
    sizes, ends = [], []
    for drops_zero_advantages in (True, False):
        rows = manager_rows()
        args = settings(tmp_path, optim="sgd", learning_rate=1.0, max_steps=1, per_device_train_batch_size=16)
        made = NodeGRPOTrainer(two_adapters(TOKENIZER), TOKENIZER, rows, [WeightedReward(LettersOfSome(rows))], args)
        assert made.drops_zero_advantages
        made.drops_zero_advantages = drops_zero_advantages
        made.train()
        ends.append(weights(made.model, "manage"))
        sizes.append([len(batch["advantages"]) for batch in made._buffered_inputs])
    assert sizes[0][0] < sizes[1][0] == 16
    assert not same(ends[0], weights(two_adapters(TOKENIZER), "manage"))
    for name, value in ends[0].items():
        torch.testing.assert_close(value, ends[1][name], atol=1e-5, rtol=1e-4)


def test_ppo_learns_what_to_expect(tmp_path: Path) -> None:
    rows = manager_rows()
    args = settings(tmp_path, max_steps=30, num_generations=2, per_device_train_batch_size=4, learning_rate=1e-5)
    made = NodePPOTrainer(two_adapters(TOKENIZER), TOKENIZER, rows, [WeightedReward(Always(rows))], args)
    made.train()
    losses = logged(made, "value_loss")
    assert 0.3 < losses[0] <= 0.5  # it begins by expecting nothing, and gets 1 at the end
    assert losses[-1] < 0.5 * losses[0]


def test_a_reward_that_is_learned_rises(tmp_path: Path) -> None:
    how = {"per_device_train_batch_size": 16, "num_generations": 8, "max_completion_length": 4}
    made = trainer(tmp_path, max_steps=12, learning_rate=0.05, **how)
    with torch.no_grad():
        made.model.get_output_embeddings().weight.mul_(20)  # as random as before, but no longer bound to be undecided
    made.train()
    rewards = logged(made, "reward")
    assert sum(rewards[-3:]) > 2 * sum(rewards[:3])


def test_what_teaches_nothing_is_counted_and_what_was_sampled_can_be_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = manager_rows(5)
    args = settings(tmp_path, max_steps=1, num_generations=2, per_device_train_batch_size=4)
    with caplog.at_level(logging.WARNING):
        made = NodeGRPOTrainer(two_adapters(TOKENIZER), TOKENIZER, rows, [WeightedReward(Nothing(rows))], args)
    assert "leaves out 1 of 5 rows" in caplog.text
    before = weights(made.model, "manage")
    made.train()
    assert same(before, weights(made.model, "manage"))
    kept = [json.loads(line) for line in (tmp_path / "completions" / "000000-0.jsonl").read_text().splitlines()]
    assert len(kept) == 4
    assert {line["Nothing"] for line in kept} == {None} and {line["advantage"] for line in kept} == {0.0}


def test_supervised_tuning_learns_only_the_reply(tmp_path: Path) -> None:
    args = SFTConfig(
        output_dir=str(tmp_path), max_steps=8, learning_rate=5e-2, per_device_train_batch_size=4, use_cpu=True,
        bf16=False, activation_checkpointing=False, report_to="none", save_strategy="no", logging_steps=1,
        max_length=None, completion_only_loss=True, disable_tqdm=True,
    )  # fmt: skip
    made = NodeSFTTrainer(two_adapters(TOKENIZER), TOKENIZER, answer_rows(), args)
    batch = next(iter(made.get_train_dataloader()))
    learned = TOKENIZER.decode(batch["input_ids"][0][batch["labels"][0] != -100], skip_special_tokens=True)
    assert json.loads(learned) == {"selected": [0], "answer": "Buddy"}
    other = weights(made.model, "answer")
    made.train()
    assert same(other, weights(made.model, "answer"))
    losses = logged(made, "loss")
    assert losses[-1] < losses[0]


class Counting(FrozenAnswerer):
    """Scores banks by how many memories there are, which needs no model."""

    def scores(self, states: Any) -> list[float | None]:
        return [float(len(bank)) + place % 3 if probes else None for place, (bank, probes) in enumerate(states)]


def episode(name: str) -> Episode:
    turns = [Turn("Ann", f"I have dog {number}.", id=f"t{number}", session=f"s{number // 2}") for number in range(4)]
    steps = tuple(Batch((turn,), (Fact(turn.text, "Ann", None, (turn.id,)),)) for turn in turns)
    return Episode(name, steps, (Question("Which dog?", "1", ("t1",)), Question("And then?", "3", ("t3",))))


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


def test_borrowing_another_adapter_leaves_everything_as_it_was() -> None:
    model = two_adapters(TOKENIZER)
    trained = {name for name, value in model.named_parameters() if value.requires_grad}
    policy = LocalPolicy(model, TOKENIZER, adapter="answer", max_tokens=2)
    policy.reply([])
    for adapter in ("answer", BASE, None):
        with using_adapter(model, adapter):
            pass
        assert model.active_adapter == "manage"
        assert {name for name, value in model.named_parameters() if value.requires_grad} == trained


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"per_device_train_batch_size": 64, "num_generations": 4}, "8 rows are fewer than the 16 prompts"),
        ({"use_vllm": True}, "engine=VLLMServerEngine"),
        ({"beta_in_args": True}, "Give beta to the trainer"),
    ],
)
def test_what_would_train_something_else_is_refused(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    if changed.pop("beta_in_args", False):
        changed = {"beta": 0.1}
    args, rows = settings(tmp_path, **changed), manager_rows()
    with pytest.raises(InputError, match=said):
        NodeGRPOTrainer(two_adapters(TOKENIZER), TOKENIZER, rows, [WeightedReward(Letters(rows))], args)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, where bf16 is right")
def test_half_precision_without_a_gpu_is_refused(tmp_path: Path) -> None:
    args, rows = settings(tmp_path), manager_rows()
    args.bf16 = True  # its own check comes before ours, and says less
    with pytest.raises(InputError, match="set bf16=false"):
        NodeGRPOTrainer(two_adapters(TOKENIZER), TOKENIZER, rows, [WeightedReward(Letters(rows))], args)


def test_a_base_without_a_chat_template_is_refused(tmp_path: Path) -> None:
    from langgraph_memory_r1.train.models import load_base

    folder = save_base(tmp_path / "base")
    (tmp_path / "base" / "chat_template.jinja").unlink()
    with pytest.raises(InputError, match="no chat template"):
        load_base(folder)
    bare = tiny_tokenizer()
    bare.chat_template = None
    rows = manager_rows()
    with pytest.raises(InputError, match="no chat template"):
        NodeGRPOTrainer(tiny_base(bare), bare, rows, [WeightedReward(Letters(rows))], settings(tmp_path))


def test_rows_without_right_decisions_cannot_be_imitated(tmp_path: Path) -> None:
    from dataclasses import replace

    rows = [replace(row, gold=None) for row in manager_rows()]
    args = SFTConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, activation_checkpointing=False)
    with pytest.raises(InputError, match="No row has a right decision"):
        NodeSFTTrainer(two_adapters(TOKENIZER), TOKENIZER, rows, args)
