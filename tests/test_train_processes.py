"""Training in several processes: what accelerate is told, and two of them on this machine's CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl", reason="the extra `train` is not installed")

import torch
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.utils import DeepSpeedPlugin, DistributedType, FullyShardedDataParallelPlugin
from safetensors.torch import load_file

from langgraph_memory_r1 import InputError
from langgraph_memory_r1.models.adapters import read_manifest
from langgraph_memory_r1.train.sharded import check_deepspeed, check_fsdp, with_unrounded_outputs
from support.tiny_model import save_base

pytestmark = pytest.mark.slow  # TRL alone takes seconds to load, here in several processes

ROOT = Path(__file__).resolve().parents[1]
COMMAND = ["-m", "langgraph_memory_r1", "train", "--recipe"]
WORKER = str(ROOT / "tests" / "support" / "train_worker.py")
CONFIGURATIONS = ROOT / "train" / "accelerate"
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
k: 4
lora: {{r: 4, alpha: 8}}
train: {{source: personaworld, split: train, limit: 2}}
validation: {{source: personaworld, split: validation, limit: 1}}
stages:
- role: manage
  beta: 0.01
  eval_every: 1
  settings: {{max_steps: 4, per_device_train_batch_size: 4, num_generations: 4, steps_per_generation: 2, save_steps: 1,
             learning_rate: 0.01, entropy_coef: 0.1,  # a random model earns no reward, but entropy teaches it too
             accelerator_config: {{use_configured_state: {configured}}}}}
"""


def test_accelerate_reads_our_configurations() -> None:
    files = sorted(CONFIGURATIONS.glob("*.yaml"))
    assert {file.stem for file in files} == set(CONFIGS)
    for file in files:
        config = load_config_from_file(str(file))  # refuses keys that it does not know
        assert (config.distributed_type, config.mixed_precision, config.num_processes) == (
            CONFIGS[file.stem],
            "bf16",
            4,
        )


def in_two(program: list[str], folder: Path, *, split: bool = False) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "",
    }  # fmt: skip
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    if split:
        launch = [
            sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(CONFIGURATIONS / "fsdp.yaml"),
            "--num_processes", "2", "--mixed_precision", "no", "--main_process_port", "0",
        ]  # fmt: skip
    return subprocess.run([*launch, *program], cwd=folder, env=environment, capture_output=True, text=True)


def adapter(run: Path, step: int) -> dict[str, torch.Tensor]:
    return load_file(run / "1-manage" / f"checkpoint-{step}" / "manage" / "adapter_model.safetensors")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a base, and with the run `whole` of it, in two processes that were never stopped."""
    folder = tmp_path_factory.mktemp("processes")
    write_recipe(folder, "whole", save_base(folder / "base"))
    done = in_two([*COMMAND, "whole.yaml"], folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("grpo, 4 steps") == done.stderr.count("step 4/4") == 1  # one of them speaks
    return folder


def write_recipe(folder: Path, name: str, base: str | Path, *, split: bool = False) -> None:
    told = RECIPE.format(base=base, output=folder / name, configured=str(split).lower())
    (folder / f"{name}.yaml").write_text(told)


def test_two_processes_train_one_adapter_and_go_on_after_a_kill_to_the_same_weights(whole: Path) -> None:
    """Killed between two steps that share their samples, of which every process has its own."""
    sampled = [whole / "whole" / "1-manage" / "completions" / f"000000-{process}.jsonl" for process in (0, 1)]
    assert [len(file.read_text().splitlines()) for file in sampled] == [8, 8]
    assert sampled[0].read_text() != sampled[1].read_text()
    write_recipe(whole, "broken", whole / "base")
    killed = in_two([WORKER, "broken.yaml", "4"], whole)
    assert killed.returncode != 0 and not (whole / "broken" / "1-manage" / "done.json").exists()
    again = in_two([*COMMAND, "broken.yaml"], whole)
    assert again.returncode == 0, again.stderr
    one, other = adapter(whole / "whole", 4), adapter(whole / "broken", 4)
    assert one.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in one.items())
    assert any(not torch.equal(value, one[key]) for key, value in adapter(whole / "whole", 3).items())


def test_weights_that_fsdp_splits_become_the_same_after_a_kill_too(whole: Path) -> None:
    """Generation, the judge, validation and saving need whole weights; all of them are in a run."""
    write_recipe(whole, "split", whole / "base", split=True)
    killed = in_two([WORKER, "split.yaml", "4"], whole, split=True)
    assert killed.returncode != 0 and not (whole / "split" / "1-manage" / "done.json").exists()
    again = in_two([WORKER, "split.yaml", "99"], whole, split=True)
    assert again.returncode == 0, again.stderr
    assert (whole / "split" / "1-manage" / "checkpoint-4" / "pytorch_model_fsdp.bin").exists()  # they were split
    torch.testing.assert_close(adapter(whole / "split", 4), adapter(whole / "whole", 4))
    best = whole / "split" / "adapters" / "manage"
    kept = load_file(whole / "whole" / "adapters" / "manage" / "adapter_model.safetensors")
    torch.testing.assert_close(load_file(best / "adapter_model.safetensors"), kept)
    assert read_manifest(best).role == "manage"


@pytest.mark.parametrize("wrong", [{"reshard_after_forward": True}, {"cpu_ram_efficient_loading": True}, {}])
def test_fsdp_that_leaves_a_process_without_whole_weights_is_refused(
    wrong: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FSDP_CPU_RAM_EFFICIENT_LOADING", "false")  # the plugin writes it
    told = load_config_from_file(str(CONFIGURATIONS / "fsdp.yaml")).fsdp_config
    names = ("reshard_after_forward", "cpu_ram_efficient_loading")
    ours = {"fsdp_version": told["fsdp_version"], **{name: told[f"fsdp_{name}"] for name in names}}
    plugin = FullyShardedDataParallelPlugin(**ours | wrong)
    with pytest.raises(InputError, match=f"set fsdp_{next(iter(wrong))}: false") if wrong else nullcontext():
        check_fsdp(plugin)


def test_half_precision_does_not_round_what_a_split_model_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FSDP_CPU_RAM_EFFICIENT_LOADING", "false")
    plugin = FullyShardedDataParallelPlugin(fsdp_version=2)
    assert with_unrounded_outputs(plugin.mixed_precision_policy) is None
    plugin.set_mixed_precision("bf16")
    assert plugin.mixed_precision_policy.output_dtype == torch.bfloat16  # else nothing has to be done any more
    kept = with_unrounded_outputs(plugin.mixed_precision_policy)
    assert kept is not None and (kept.param_dtype, kept.output_dtype) == (torch.bfloat16, None)


def test_zero_3_is_refused() -> None:
    told = load_config_from_file(str(CONFIGURATIONS / "deepspeed.yaml")).deepspeed_config
    check_deepspeed(DeepSpeedPlugin(zero_stage=told["zero_stage"]))
    with pytest.raises(InputError, match="zero_stage: 2"):
        check_deepspeed(DeepSpeedPlugin(zero_stage=3))
