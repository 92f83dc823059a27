"""Models that FSDP 2 has split among the processes: their weights whole for a while, to generate, judge and save.

    with gathered(model):  # every process enters and leaves it together
        model.generate(...)  # and in between none waits for another

For that `fsdp_reshard_after_forward` has to be false: then a forward pass leaves the weights whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from torch import Tensor
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy

from langgraph_memory_r1.errors import InputError


@contextmanager
def gathered(model: Any) -> Iterator[None]:
    """Gather all weights of a model in every process for a while; a model that is not split stays as it is.

    Replies differ in length from process to process. Were the weights gathered layer by layer, each process would wait
    in every forward pass for the others, and for ever for one that has finished its replies.
    """
    parts = [module for module in model.modules() if isinstance(module, FSDPModule)]
    for part in parts:
        part.unshard()
    try:
        yield
    finally:
        for part in parts:
            part.reshard()


def whole_weights(model: Any) -> dict[str, Tensor] | None:
    """Return what to save of a split model within `gathered`: its `state_dict` would split it again. Else None."""
    if not isinstance(model, FSDPModule):
        return None
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def with_unrounded_outputs(policy: MixedPrecisionPolicy | None) -> MixedPrecisionPolicy | None:
    """Return a policy that leaves alone what a model returns: accelerate's rounds log-probabilities to half precision.

    TRL's models return log-probabilities. In bfloat16 they have 8 bits, and the ratio that PPO and GRPO clip at 0.2 is
    the exponential of the difference of two of them.
    """
    return None if policy is None else replace(policy, output_dtype=None)


def check_deepspeed(plugin: Any) -> None:
    """Refuse to have DeepSpeed split weights, which then no process holds whole.

    Raises:
        InputError: With the key of accelerate's file to change.
    """
    if plugin.zero_stage == 3:
        raise InputError("Every process generates and judges with whole weights, which ZeRO 3 splits; set "
                         "zero_stage: 2, or take train/accelerate/fsdp.yaml.")  # fmt: skip


def check_fsdp(plugin: Any) -> None:
    """Refuse other ways to split a model than the one that `gathered` knows.

    Raises:
        InputError: With the keys of accelerate's file to change.
    """
    required = {"fsdp_version": 2, "reshard_after_forward": False, "cpu_ram_efficient_loading": False}
    wrong = [name for name, value in required.items() if getattr(plugin, name) != value]
    if wrong:
        keys = ", ".join(f"fsdp_{name.removeprefix('fsdp_')}: {str(required[name]).lower()}" for name in wrong)
        raise InputError(f"Every process generates and judges with whole weights; set {keys} in accelerate's file, "
                         "as train/accelerate/fsdp.yaml does.")  # fmt: skip
