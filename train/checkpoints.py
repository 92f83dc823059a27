"""Checkpoints from which a run goes on as if it had never stopped.

TRL and transformers save the weights, the optimizer and the random numbers. Here stands what they leave out: samples
that are not used up yet, a critic, and what the judge has answered. It is written last and whole, so that it also tells
a finished checkpoint from one that a kill cut short.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import torch

from langgraph_memory_r1.errors import InputError

_FILE = "rest.pt"
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")


class Resumable:
    """A trainer of transformers, by inheritance beside it, that also saves `rest`."""

    memo: dict[str, str] | None = None
    """`Judge.memo` where there is a judge: asked again beside other prompts, a model may round to another answer."""

    def rest(self) -> dict[str, Any]:
        """What else has to be known to go on: tensors, and plain values of Python."""
        return {"memo": dict(self.memo or {})}

    def take_up(self, rest: dict[str, Any]) -> None:
        """Go on from what `rest` has returned."""
        if self.memo is not None:
            self.memo.update(rest["memo"])

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        trainer: Any = super()
        trainer._save_checkpoint(*args, **kwargs)
        _write(self, self.rest())

    def _load_optimizer_and_scheduler(self, checkpoint: str) -> None:
        # Where the weights are loaded depends on who shares them out; this is the step that is always taken.
        trainer: Any = super()
        trainer._load_optimizer_and_scheduler(checkpoint)
        this: Any = self
        self.take_up(_read(Path(checkpoint) / _name(this.args.process_index)))


def last_checkpoint(folder: Path) -> str | None:
    """The newest finished checkpoint in a folder; those that a kill cut short are removed."""
    found: dict[int, Path] = {}
    for path in folder.glob("checkpoint-*"):
        step = _CHECKPOINT.fullmatch(path.name)
        if step is None:
            continue
        if (path / _FILE).exists():
            found[int(step[1])] = path
        else:
            shutil.rmtree(path)
    return str(found[max(found)]) if found else None


def _name(process: int) -> str:
    """The file of a process; that of the first one is written last."""
    return f"rest-{process}.pt" if process else _FILE


def _read(file: Path) -> dict[str, Any]:
    if not file.exists():
        raise InputError(f"{file.parent} was saved by fewer processes; go on with as many as it was begun with.")
    rest: dict[str, Any] = torch.load(file, weights_only=True)
    return rest


def _write(trainer: Any, rest: dict[str, Any]) -> None:
    process = trainer.args.process_index
    target = Path(trainer.args.output_dir) / f"checkpoint-{trainer.state.global_step}" / _name(process)
    if process == 0:
        trainer.accelerator.wait_for_everyone()
    draft = target.with_suffix(f".{os.getpid()}.part")
    torch.save(rest, draft)
    draft.replace(target)
    if process != 0:
        trainer.accelerator.wait_for_everyone()
