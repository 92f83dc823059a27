"""Checkpoints from which a run goes on as if it had never stopped.

TRL and transformers save the weights, the optimizer and the random numbers. In `rest.pt` stands what they leave out:
samples that are not used up yet, a critic, and what the frozen answerer has answered. It is written last and whole, so
that it also tells a finished checkpoint from one that a kill cut short.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import torch

from langgraph_memory_r1.errors import InputError

_CHECKPOINT = re.compile(r"checkpoint-(\d+)")


def last_checkpoint(folder: Path) -> str | None:
    """Return the newest finished checkpoint in a folder; those that a kill cut short are removed."""
    finished: dict[int, Path] = {}
    for path in folder.glob("checkpoint-*"):
        step = _CHECKPOINT.fullmatch(path.name)
        if step is None:
            continue
        if _extra_file(path, 0).exists():
            finished[int(step[1])] = path
        else:  # the kill came between TRL's part and ours
            shutil.rmtree(path)
    return str(finished[max(finished)]) if finished else None


def save_extra_state(checkpoint: Path, state: dict[str, Any], accelerator: Any) -> None:
    """Write what TRL leaves out into its checkpoint; every process writes a file of its own.

    Args:
        checkpoint: Where TRL has written its part.
        state: Tensors, and plain values of Python.
        accelerator: Of the trainer.
    """
    process = accelerator.process_index
    target = _extra_file(checkpoint, process)
    if process == 0:
        # The file of the first process says that the checkpoint is finished: it comes when all others are there.
        accelerator.wait_for_everyone()
    draft = target.with_suffix(f".{os.getpid()}.part")
    torch.save(state, draft)
    draft.replace(target)
    if process != 0:
        accelerator.wait_for_everyone()


def load_extra_state(checkpoint: Path, accelerator: Any) -> dict[str, Any]:
    """Read what `save_extra_state` wrote in this process.

    Raises:
        InputError: The run had fewer processes then, and this one's samples are in no file.
    """
    file = _extra_file(checkpoint, accelerator.process_index)
    if not file.exists():
        raise InputError(f"{file.parent} was saved by fewer processes; go on with as many as it was begun with.")
    # `weights_only`: a checkpoint from somewhere else runs no code.
    state: dict[str, Any] = torch.load(file, weights_only=True)
    return state


def _extra_file(checkpoint: Path, process: int) -> Path:
    return checkpoint / (f"rest-{process}.pt" if process else "rest.pt")
