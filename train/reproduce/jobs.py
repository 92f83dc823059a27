"""Trainings and evaluations in processes side by side, each as soon as what it needs is there.

A job that is done has left a file, and is not done again; a training that was broken off goes on from its checkpoint.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from langgraph_memory_r1.train.recipe import Recipe
from langgraph_memory_r1.train.reproduce.arms import Arm, Plan

Step = tuple[str, int, int, float | None]
"""The job, its step, how many it has, and the mean reward of the last one."""
Hear = Callable[[Step], None]

EVALUATION = 5
"""So many steps of training take about as long as an evaluation."""


@dataclass(frozen=True, slots=True)
class Job:
    """Work for one process."""

    name: str
    work: Callable[..., None]
    given: tuple[Any, ...]
    needs: tuple[str, ...]
    file: Path
    """There when the job is done."""
    steps: int
    """How long it takes, in steps of training."""


def jobs_of(plan: Plan, folder: Path, seed: int) -> list[Job]:
    """The jobs of one seed.

    Args:
        plan: What is trained and evaluated.
        folder: Of the whole run.
        seed: Of the trainings; the conversations stay the same.
    """
    place = folder / f"seed{seed}"
    found = []
    for name, training in plan.trainings.items():
        recipe = plan.recipe_of(name, place, seed)
        needs = tuple(f"seed{seed}/{given}" for given in training.given.values())
        done = place / name / "seconds.txt"
        steps = training.stage.settings["max_steps"]
        found.append(Job(f"seed{seed}/{name}", learn, (f"seed{seed}/{name}", recipe, done), needs, done, steps))
    for arm in plan.arms:
        needs = tuple(f"seed{seed}/{name}" for name in arm.trainings.values())
        file = outcome_file(folder, arm, seed)
        folders = {role: place / name / "adapters" / role for role, name in arm.trainings.items()}
        given = (plan.recipe, folders, arm, file)
        found.append(Job(f"seed{seed}/{arm.name}: {arm.split}", judge, given, needs, file, EVALUATION))
    return found


def outcome_file(folder: Path, arm: Arm, seed: int) -> Path:
    """Where an arm's outcome is kept."""
    return folder / f"seed{seed}" / "outcomes" / f"{arm.name}.json"


_KEEPING: Final = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 34)}
"""Workers keep the memory of tensors that are gone, where the C library is glibc: taking it anew slows every step."""


def carry_out(jobs: Sequence[Job], workers: int, hear: Hear, finished: Callable[[Job], None]) -> None:
    """Do all jobs that are not done.

    Args:
        jobs: In any order.
        workers: Processes.
        hear: Is told every step of a training.
        finished: Is told every job that is done now, or was already.
    """
    waiting = {job.name: job for job in _by_urgency(jobs)}
    done: set[str] = set()
    for job in [job for job in jobs if job.file.exists()]:
        finished(waiting.pop(job.name))
        done.add(job.name)
    os.environ.update(_KEEPING)
    context = multiprocessing.get_context("spawn")
    steps: Any = context.Queue()
    with ProcessPoolExecutor(workers, context, _begin, (steps,)) as pool:
        running: dict[Future[None], Job] = {}
        while waiting or running:
            ready = [job for job in waiting.values() if done.issuperset(job.needs)]
            for job in ready[: workers - len(running)]:
                running[pool.submit(job.work, *waiting.pop(job.name).given)] = job
            over, _ = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
            for step in _heard(steps):
                hear(step)
            for future in over:
                future.result()
                finished(running[future])
                done.add(running.pop(future).name)


def learn(name: str, recipe: Recipe, done: Path) -> None:
    """Carry out a training, and note how long it took."""
    from langgraph_memory_r1.train.run import train

    start = time.monotonic()
    train(recipe, callbacks=[_reporter(name)])
    done.write_text(f"{time.monotonic() - start:.1f}\n")


def judge(recipe: Recipe, folders: Mapping[str, Path], arm: Arm, file: Path) -> None:
    """Evaluate an arm."""
    from langgraph_memory_r1.train.reproduce.outcome import evaluate, stories_for, write_outcome

    write_outcome(file, evaluate(recipe, folders, stories_for(arm.split), reply_prefix=arm.reply_prefix))


def _by_urgency(jobs: Sequence[Job]) -> list[Job]:
    """First the job on which most work waits, one after the other."""
    left: dict[str, int] = {}

    def work(name: str) -> int:
        if name not in left:
            after = [work(job.name) for job in jobs if name in job.needs]
            left[name] = known[name].steps + max(after, default=0)
        return left[name]

    known = {job.name: job for job in jobs}
    return sorted(jobs, key=lambda job: -work(job.name))


_steps: Any = None
"""Of a worker: where its steps are told."""


def _begin(steps: Any) -> None:
    """In a new worker."""
    global _steps
    import torch

    _steps = steps
    threading.Thread(target=_end_with, args=(multiprocessing.parent_process(),), daemon=True).start()
    torch.set_num_threads(1)  # a model this small gains nothing from more, and the other process would wait
    logging.getLogger("langgraph_memory_r1").setLevel(logging.ERROR)  # an untrained agent writes what nobody can read


def _end_with(parent: Any) -> None:
    """A worker whose run was killed would train on, unseen, in the folder that the next run takes up."""
    parent.join()
    os._exit(1)


def _reporter(name: str) -> Any:
    from transformers import TrainerCallback

    class Report(TrainerCallback):  # type: ignore[misc]
        """Tells every step to the main process."""

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            _steps.put((name, state.global_step, state.max_steps, (logs or {}).get("reward")))

    return Report()


def _heard(steps: Any) -> Iterator[Step]:
    while True:
        try:
            yield steps.get_nowait()
        except queue.Empty:
            return
