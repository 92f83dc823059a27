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
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from langgraph_memory_r1.train.recipe import Recipe
from langgraph_memory_r1.train.reproduce.arms import Arm, Experiment

TrainingStep = tuple[str, int, int, float | None]
"""The job, its step, how many it has, and the mean reward of the last one."""

EVALUATION = 5
"""So many steps of training take about as long as an evaluation."""


@dataclass(frozen=True, slots=True)
class Job:
    """Work for one process."""

    name: str
    work: Callable[..., None]
    arguments: tuple[Any, ...]
    needs: tuple[str, ...]
    """Names of jobs."""
    file: Path
    """There when the job is done."""
    steps: int
    """How long it takes, in steps of training."""


def jobs_of(experiment: Experiment, folder: Path, seed: int) -> list[Job]:
    """Return the jobs of one seed.

    Args:
        experiment: What is trained and evaluated.
        folder: Of the whole run.
        seed: Of the trainings; the conversations stay the same.
    """
    own, jobs = folder / f"seed{seed}", []
    for name, training in experiment.trainings.items():
        job, recipe, done = f"seed{seed}/{name}", experiment.recipe_of(name, own, seed), own / name / "seconds.txt"
        needs = tuple(f"seed{seed}/{earlier}" for earlier in training.start.values())
        jobs.append(Job(job, run_training, (job, recipe, done), needs, done, training.stage.settings["max_steps"]))
    for arm in experiment.arms:
        needs = tuple(f"seed{seed}/{name}" for name in arm.trainings.values())
        file = outcome_file(folder, arm, seed)
        folders = {role: own / name / "adapters" / role for role, name in arm.trainings.items()}
        arguments = (experiment.recipe, folders, arm, file)
        jobs.append(Job(f"seed{seed}/{arm.name}: {arm.split}", evaluate_arm, arguments, needs, file, EVALUATION))
    return jobs


def outcome_file(folder: Path, arm: Arm, seed: int) -> Path:
    """Return where an arm's outcome is kept."""
    return folder / f"seed{seed}" / "outcomes" / f"{arm.name}.json"


# With these, where the C library is glibc, workers keep the memory of tensors that are gone: taking it anew slows every
# step.
_MEMORY_SETTINGS: Final = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 34)}


def carry_out(
    jobs: Sequence[Job],
    workers: int,
    on_step: Callable[[TrainingStep], None],
    on_finished: Callable[[Job], None],
) -> None:
    """Do all jobs that are not done.

    Args:
        jobs: In any order.
        workers: Processes.
        on_step: Called with every step of a training.
        on_finished: Called with every job that is done now, or was already.
    """
    waiting = {job.name: job for job in by_urgency(jobs)}
    done: set[str] = set()
    for job in [job for job in jobs if job.file.exists()]:
        on_finished(waiting.pop(job.name))
        done.add(job.name)
    # Spawned and not forked: the C library reads its settings when a process begins.
    os.environ.update(_MEMORY_SETTINGS)
    context = multiprocessing.get_context("spawn")
    steps: Any = context.Queue()
    with ProcessPoolExecutor(workers, context, _start_worker, (steps,)) as pool:
        running: dict[Future[None], Job] = {}
        while waiting or running:
            ready = [job for job in waiting.values() if done.issuperset(job.needs)]
            # Never more than can begin at once: what waits in the pool could not be overtaken by a more urgent job.
            for job in ready[: workers - len(running)]:
                running[pool.submit(job.work, *waiting.pop(job.name).arguments)] = job
            # Not until a job ends: the steps of those that run are shown meanwhile.
            over, _ = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
            with suppress(queue.Empty):
                while True:
                    on_step(steps.get_nowait())
            for future in over:
                future.result()
                on_finished(running[future])
                done.add(running.pop(future).name)


def by_urgency(jobs: Sequence[Job]) -> list[Job]:
    """Sort jobs: first the one on which most work waits, one after the other."""
    by_name = {job.name: job for job in jobs}
    steps: dict[str, int] = {}

    def steps_until_the_end(name: str) -> int:
        if name not in steps:
            after = [steps_until_the_end(job.name) for job in jobs if name in job.needs]
            steps[name] = by_name[name].steps + max(after, default=0)
        return steps[name]

    return sorted(jobs, key=lambda job: -steps_until_the_end(job.name))


def run_training(name: str, recipe: Recipe, done: Path) -> None:
    """Carry out a training in a worker, and note how long it took."""
    from transformers import TrainerCallback

    from langgraph_memory_r1.train.run import train

    class SendSteps(TrainerCallback):  # type: ignore[misc]
        """Sends every step to the main process."""

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            _steps.put((name, state.global_step, state.max_steps, (logs or {}).get("reward")))

    start = time.monotonic()
    train(recipe, callbacks=[SendSteps()])
    done.write_text(f"{time.monotonic() - start:.1f}\n")


def evaluate_arm(recipe: Recipe, folders: Mapping[str, Path], arm: Arm, file: Path) -> None:
    """Evaluate an arm in a worker."""
    from langgraph_memory_r1.train.reproduce.outcome import evaluate, stories_for, write_outcome

    write_outcome(file, evaluate(recipe, folders, stories_for(arm.split), reply_prefix=arm.reply_prefix))


_steps: Any = None
"""Of a worker: the queue to the main process."""


def _start_worker(steps: Any) -> None:
    """Set up a new worker."""
    global _steps
    import torch

    _steps = steps
    parent: Any = multiprocessing.parent_process()

    def end_with_parent() -> None:
        # A worker whose run was killed would train on, unseen, in the folder that the next run takes up.
        parent.join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    torch.set_num_threads(1)  # a model this small gains nothing from more, and the other process would wait
    logging.getLogger("langgraph_memory_r1").setLevel(logging.ERROR)  # an untrained agent writes what nobody can read
