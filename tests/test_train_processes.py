"""Training in several processes: what accelerate is told, and two of them on this machine's CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("trl", reason="the extra `train` is not installed")

import torch
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.utils import DistributedType
from safetensors.torch import load_file
from tiny_model import save_base

pytestmark = pytest.mark.slow  # TRL alone takes seconds to load, here in several processes

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = {
    "ddp": DistributedType.MULTI_GPU, "fsdp": DistributedType.FSDP, "deepspeed": DistributedType.DEEPSPEED,
}  # fmt: skip
RECIPE = """
base: {base}
output: {output}
builder: rules
metric: f1_mem0
max_tokens: 6
related_k: 4
top_k: 4
lora: {{r: 4, alpha: 8}}
train: {{source: personaworld, split: train, limit: 2}}
validation: {{source: personaworld, split: validation, limit: 1}}
stages:
- role: manage
  beta: 0.01
  eval_every: 1
  settings: {{max_steps: 4, per_device_train_batch_size: 4, num_generations: 4, steps_per_generation: 2, save_steps: 1,
             learning_rate: 0.01, entropy_coef: 0.1}}  # a random model earns no reward, but entropy teaches it too
"""


def test_accelerate_reads_our_configurations() -> None:
    files = sorted((ROOT / "train" / "accelerate").glob("*.yaml"))
    assert {file.stem for file in files} == set(CONFIGS)
    for file in files:
        config = load_config_from_file(str(file))  # refuses keys that it does not know
        assert (config.distributed_type, config.mixed_precision, config.num_processes) == (
            CONFIGS[file.stem],
            "bf16",
            4,
        )


def in_two(program: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "",
    }  # fmt: skip
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run([*launch, *program], cwd=folder, env=environment, capture_output=True, text=True)


def test_two_processes_train_one_adapter_and_go_on_after_a_kill_to_the_same_weights(tmp_path: Path) -> None:
    """Killed between two steps that share their samples, of which every process has its own."""
    base = save_base(tmp_path / "base")
    for name in ("whole", "broken"):
        (tmp_path / f"{name}.yaml").write_text(RECIPE.format(base=base, output=tmp_path / name))
    command = ["-m", "langgraph_memory_r1", "train", "--recipe"]
    done = in_two([*command, "whole.yaml"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("grpo, 4 steps") == done.stderr.count("step 4/4") == 1  # one of them speaks
    place = tmp_path / "whole" / "1-manage"
    sampled = [place / "completions" / f"000000-{process}.jsonl" for process in (0, 1)]
    assert [len(file.read_text().splitlines()) for file in sampled] == [8, 8]
    assert sampled[0].read_text() != sampled[1].read_text()
    killed = in_two([str(ROOT / "tests" / "train_worker.py"), "broken.yaml", "4"], tmp_path)
    assert killed.returncode != 0 and not (tmp_path / "broken" / "1-manage" / "done.json").exists()
    again = in_two([*command, "broken.yaml"], tmp_path)
    assert again.returncode == 0, again.stderr
    last = Path("1-manage") / "checkpoint-4" / "manage" / "adapter_model.safetensors"
    one, other = load_file(tmp_path / "whole" / last), load_file(tmp_path / "broken" / last)
    assert one.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in one.items())
    before = load_file(tmp_path / "whole" / "1-manage" / "checkpoint-3" / "manage" / "adapter_model.safetensors")
    assert any(not torch.equal(value, one[key]) for key, value in before.items())
