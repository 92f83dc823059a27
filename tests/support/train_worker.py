"""Carries out a recipe in a process of its own, which is killed after some steps.

python train_worker.py RECIPE [KEY=VALUE ...] STEPS

accelerate splits weights among accelerators only; where it is told to do so, the processes pass for some.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType
from transformers import TrainerCallback

from langgraph_memory_r1.train.recipe import read_recipe
from langgraph_memory_r1.train.run import train


class Kill(TrainerCallback):
    """At the end of a step, before it is saved; counted over all stages."""

    def __init__(self, after: int) -> None:
        self.left = after

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)


torch.set_num_threads(1)
if os.environ.get("ACCELERATE_USE_FSDP"):
    PartialState(cpu=True)
    PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
path, changes, steps = sys.argv[1], sys.argv[2:-1], int(sys.argv[-1])
train(read_recipe(path, changes), callbacks=[Kill(steps)])
