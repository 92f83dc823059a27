"""How training goes, for a person: a bar on a terminal, some lines in a pipe."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

_LINES = 20
"""In a pipe, so many for a stage."""


class ShowProgress(TrainerCallback):  # type: ignore[misc]
    """Step, reward, KL, the share of groups that teach nothing, and the time that is left.

    Args:
        console: Where to; a bar if it is a terminal.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._begun, self._first = 0.0, 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Starts the clock."""
        self._begun, self._first = time.monotonic(), state.global_step
        if self.console.is_terminal and state.is_world_process_zero:
            self._bar = Progress(
                TextColumn("step {task.completed}/{task.total}"), BarColumn(), TextColumn("{task.description}"),
                console=self.console, transient=True,
            )  # fmt: skip
            self._task = self._bar.add_task("", total=state.max_steps, completed=state.global_step)
            self._bar.start()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Shows what was logged for a step."""
        if not logs or "train_runtime" in logs or not state.is_world_process_zero:
            return
        told = ", ".join([*describe(logs), f"{_clock(self._left(state))} left"])
        if self._bar is not None:
            self._bar.update(self._task, completed=state.global_step, description=told)
        elif state.global_step % max(1, state.max_steps // _LINES) == 0 or state.global_step == state.max_steps:
            self.console.print(f"step {state.global_step}/{state.max_steps}: {told}", soft_wrap=True)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _left(self, state: TrainerState) -> float:
        done = int(state.global_step) - self._first
        return (time.monotonic() - self._begun) / max(1, done) * int(state.max_steps - state.global_step)


def describe(logs: dict[str, Any]) -> list[str]:
    """The numbers that matter, of what TRL logs."""
    shown = [("reward", "reward", ".3f"), ("kl", "KL", ".2g"), ("frac_reward_zero_std", "without variance", ".0%"),
             ("value_loss", "value loss", ".2g")]  # fmt: skip
    found = [f"{name} {logs[key]:{how}}" for key, name, how in shown if logs.get(key) is not None]
    return found or [f"loss {float(logs['loss']):.3f}"] if "loss" in logs else found


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"
