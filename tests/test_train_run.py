"""Recipes carried out: rounds, what is kept, going on after a kill."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl", reason="the extra `train` is not installed")

import torch
from safetensors.torch import load_file

from langgraph_memory_r1 import InputError
from langgraph_memory_r1.train.recipe import read_recipe
from langgraph_memory_r1.train.rows import write_rows
from langgraph_memory_r1.train.run import train
from support.tiny_model import answer_rows, manager_rows, save_base

pytestmark = pytest.mark.slow  # TRL alone takes seconds to load

RECIPE = """
base: {base}
output: {output}
builder: rules
metric: f1_mem0
max_tokens: 8
related_k: 6
k: 4
lora: {{r: 4, alpha: 8}}
train: {{source: personaworld, split: train, limit: 2}}
validation: {{source: personaworld, split: validation, limit: 1}}
stages:
- role: answer
  algorithm: {first}
  eval_every: 2
  settings: &settings
    {{max_steps: 4, per_device_train_batch_size: 4, num_generations: 2, save_steps: 1, learning_rate: 0.01}}
- role: manage
  algorithm: {algorithm}
  beta: 0.01
  eval_every: 2
  settings: *settings
"""
SETTINGS = "stages.{}.settings.{}"


def recipe(folder: Path, algorithm: str = "grpo") -> Path:
    base = folder / "base"
    if not base.exists():
        save_base(base)
    first = "grpo" if algorithm == "logo" else algorithm  # LoGo-GRPO is for managers
    path = folder / f"{algorithm}.yaml"
    path.write_text(RECIPE.format(base=base, output=folder / algorithm, algorithm=algorithm, first=first))
    return path


def weights(run: Path, role: str) -> dict[str, Any]:
    return dict(load_file(run / "adapters" / role / "adapter_model.safetensors"))


def steps_of(stage: Path, role: str) -> dict[int, dict[str, Any]]:
    """The weights of the checkpoints that are there, by step; the best ones may be those that it began with."""
    files = stage.glob(f"checkpoint-*/{role}/adapter_model.safetensors")
    return {int(file.parts[-3].removeprefix("checkpoint-")): dict(load_file(file)) for file in files}


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def killed(path: Path, changes: list[str], steps: int) -> None:
    worker = str(Path(__file__).parent / "support" / "train_worker.py")
    done = subprocess.run([sys.executable, worker, str(path), *changes, str(steps)], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    assert not re.search("FutureWarning|Loading weights|Writing model", done.stderr)  # of no use to anybody


def test_supervised_tuning_that_was_killed_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    """Over more than an epoch, in batches that the rows do not fill."""
    rows = tmp_path / "rows.jsonl"
    write_rows(rows, [replace(row, question=f"Which dog of {row.id}?") for row in answer_rows(9)])
    settings = "{max_steps: 7, per_device_train_batch_size: 2, save_steps: 2, learning_rate: 0.01}"
    changes = [
        f"train={{source: rows, path: {rows}}}", "validation=null", "lora.dropout=0.1",
        f"stages=[{{role: answer, algorithm: sft, eval_every: 3, settings: {settings}}}]",
    ]  # fmt: skip
    path = recipe(tmp_path, "sft")
    (whole,) = train(read_recipe(path, changes))
    broken = [*changes, f"output={tmp_path / 'broken'}"]
    for kill_after in (3, 4):  # between two checkpoints, and in the second epoch
        killed(path, broken, kill_after)
    (again,) = train(read_recipe(path, broken))
    assert (again.score, again.before, again.steps) == (whole.score, whole.before, whole.steps) and whole.steps == 7
    one, other = (steps_of(tmp_path / run / "1-answer", "answer") for run in ("sft", "broken"))
    assert same(one[7], other[7]) and not same(one[6], one[7])


@pytest.mark.parametrize("algorithm", ["grpo", "ppo", "logo"])
def test_a_run_that_was_killed_goes_on_to_the_same_weights(tmp_path: Path, algorithm: str) -> None:
    path = recipe(tmp_path, algorithm)
    # One generation for two steps: a kill between them leaves samples that are still to be learned from.
    changes = [f"{SETTINGS.format(stage, 'steps_per_generation')}=2" for stage in (0, 1)]
    if algorithm == "logo":  # which has two conversations to roll out
        changes += [f"{SETTINGS.format(1, 'per_device_train_batch_size')}=2"]
    if algorithm != "ppo":  # a random model earns no reward, but entropy teaches it too
        changes += [f"{SETTINGS.format(stage, 'entropy_coef')}=0.1" for stage in (0, 1)]
    whole = train(read_recipe(path, changes))
    broken = [*changes, f"output={tmp_path / 'broken'}"]
    for kill_after in (4, 2, 2):  # the end of the first stage, then the second
        killed(path, broken, kill_after)
    again = train(read_recipe(path, broken))
    assert [(one.score, one.before, one.steps) for one in again] == [(o.score, o.before, o.steps) for o in whole]
    for number, role in enumerate(("answer", "manage"), 1):
        assert same(weights(tmp_path / algorithm, role), weights(tmp_path / "broken", role))
        one, other = (steps_of(tmp_path / run / f"{number}-{role}", role) for run in (algorithm, "broken"))
        assert one.keys() == other.keys() == {3, 4}
        assert all(same(saved, other[step]) for step, saved in one.items())
        assert not same(one[3], one[4])  # else the same would be no wonder


def test_a_run_leaves_what_people_read_and_refuses_another_recipe(tmp_path: Path) -> None:
    path = recipe(tmp_path)
    found = train(read_recipe(path, ["stages.1.settings.max_steps=1", "stages.0.settings.max_steps=1"]))
    run = tmp_path / "grpo"
    assert [one.role for one in found] == ["answer", "manage"]
    manifest = json.loads((run / "adapters" / "manage" / "manifest.json").read_text())
    assert manifest["rank"] == 4 and manifest["role"] == "manage" and len(manifest["data"]) == 64
    assert "# Training rows" in (run / "1-answer" / "data.md").read_text()
    assert len((run / "1-answer" / "completions" / "000000-0.jsonl").read_text().splitlines()) == 4
    assert json.loads((run / "2-manage" / "scores.json").read_text()).keys() == {"0", "1"}
    with pytest.raises(InputError, match="another recipe"):
        train(read_recipe(path))


def test_what_was_recorded_is_counted_before_anything_is_trained(tmp_path: Path) -> None:
    """A stage that cannot begin is no surprise after hours of another; and a first try does not keep its folder."""
    asked = [replace(row, question=f"Which dog of {row.id}?") for row in answer_rows(8)]
    rows, held = tmp_path / "rows.jsonl", tmp_path / "held.jsonl"
    write_rows(rows, [*asked, *manager_rows(1)])
    told = "{{source: rows, path: {}}}".format
    changes = [f"train={told(rows)}", "validation=null", "stages.0.settings.max_steps=1"]
    path = recipe(tmp_path)
    with pytest.raises(InputError, match=r"has no setting .max_step.; did you mean .max_steps."):
        train(read_recipe(path, ["stages.1.settings={max_step: 1}"]))
    with pytest.raises(InputError, match="There is only one row"):
        train(read_recipe(path, changes))
    changes.append(f"validation={told(held)}")
    write_rows(held, [replace(row, id=f"h{row.id}", question="And now?") for row in answer_rows(1)])
    with pytest.raises(InputError, match=r"held\.jsonl gives no rows for 'manage'"):
        train(read_recipe(path, changes))
    write_rows(held, [replace(row, id=f"h{row.id}", facts=()) for row in manager_rows(1)])
    with pytest.raises(InputError, match="stage 2, 'manage': 1 rows are fewer than the 2 prompts"):
        train(read_recipe(path, [*changes, "stages.0.train={source: personaworld}", "stages.0.role=manage"]))
    assert not (tmp_path / "grpo").exists()


def test_a_folder_in_which_nothing_was_trained_yet_gives_way_to_another_recipe(tmp_path: Path) -> None:
    path = recipe(tmp_path)
    with pytest.raises(InputError, match="but the base holds 32768"):
        train(read_recipe(path, ["max_tokens=40000"]))
    assert (tmp_path / "grpo" / "1-answer" / "rows.jsonl").exists()
    one = ["stages.1.settings.max_steps=1", "stages.0.settings.max_steps=1", "seed=3"]
    assert [found.steps for found in train(read_recipe(path, one))] == [1, 1]
    heard: list[str] = []
    train(read_recipe(path, one), notify=heard.append)
    assert heard[0] == "1-answer: done before; to train anew, give another output="
