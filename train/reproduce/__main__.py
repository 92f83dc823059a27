"""`python -m langgraph_memory_r1.train.reproduce`: all arms, the table, the curves; or with --smoke the short round."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from langgraph_memory_r1.errors import MemoryR1Error
from langgraph_memory_r1.train.recipe import find_recipe, read_recipe
from langgraph_memory_r1.train.reproduce.arms import Experiment, paper_experiment
from langgraph_memory_r1.train.reproduce.claims import write_report
from langgraph_memory_r1.train.reproduce.curves import draw
from langgraph_memory_r1.train.reproduce.jobs import Job, TrainingStep, carry_out, jobs_of, outcome_file
from langgraph_memory_r1.train.reproduce.right_decisions import write_labels
from langgraph_memory_r1.train.tiny import BASE

if TYPE_CHECKING:
    from langgraph_memory_r1.train.reproduce.outcome import ArmOutcome


class JobProgress:
    """One line for each job, and a bar for the whole on a terminal."""

    def __init__(self, console: Console, jobs: Sequence[Job]) -> None:
        self.bar = Progress(
            BarColumn(), TextColumn("{task.completed}/{task.total} steps"), TimeElapsedColumn(),
            TextColumn("{task.description}"), console=console, transient=True, disable=not console.is_terminal,
        )  # fmt: skip
        self.task: TaskID = self.bar.add_task("", total=sum(job.steps for job in jobs))
        self.steps: dict[str, int] = {}

    def on_step(self, step: TrainingStep) -> None:
        """Show that a training has done a step."""
        name, number, _, reward = step
        self.steps[name] = number
        reward_text = "" if reward is None else f", reward {reward:.2f}"
        self.bar.update(self.task, completed=sum(self.steps.values()), description=f"{name}{reward_text}")

    def on_finished(self, job: Job) -> None:
        """Show that a job is done."""
        self.steps[job.name] = job.steps
        self.bar.update(self.task, completed=sum(self.steps.values()))
        self.bar.console.print(f"done: {job.name}", highlight=False)


def main(
    base: Annotated[str, typer.Option(help="The folder of the tiny base.")] = str(BASE),
    out: Annotated[Path, typer.Option(help="Where everything goes; a run that was broken off goes on.")] = Path(
        "runs/reproduce"
    ),
    seeds: Annotated[int, typer.Option(min=1, help="Trainings from different random numbers; the mean is shown.")] = 1,
    arms: Annotated[str, typer.Option(help="Names of arms, with commas; all of them if it is empty.")] = "",
    workers: Annotated[int, typer.Option(min=1, help="Processes side by side, each on one core.")] = 2,
    steps: Annotated[int | None, typer.Option(min=1, help="Cuts every stage short, to try things out.")] = None,
    smoke: Annotated[bool, typer.Option("--smoke", help="A few steps of everything, with checks.")] = False,
) -> None:
    """The paper's claims in miniature, on the tiny base and PersonaWorld."""
    console = Console(stderr=True)
    try:
        if smoke:
            from langgraph_memory_r1.train.reproduce.smoke import run

            run(base, out / "smoke", lambda line: Console().print(line, highlight=False, markup=False, soft_wrap=True))
            return
        recipe = read_recipe(find_recipe("tiny-grpo"), [f"base={base}"])
        experiment = paper_experiment(recipe, out / "labels", most_steps=steps)
        names = [name.strip() for name in arms.split(",") if name.strip()]
        chosen = experiment.only(names or [arm.name for arm in experiment.arms])
        write_labels(recipe, out / "labels")
        jobs = [job for seed in range(seeds) for job in jobs_of(chosen, out, seed)]
        progress = JobProgress(console, jobs)
        with progress.bar:
            carry_out(jobs, workers, progress.on_step, progress.on_finished)
        report = write_results(experiment, out, seeds)
        terminal = sys.stdout.isatty()
        Console().print(Markdown(report) if terminal else report, markup=False, highlight=False, soft_wrap=not terminal)
        console.print(f"{out} holds report.md, report.json and curves.png.", highlight=False)
    except MemoryR1Error as error:
        console.print(f"Error: {error}", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(2) from error


def write_results(experiment: Experiment, out: Path, seeds: int) -> str:
    """Write the report over all arms that have been evaluated in this folder so far, and the picture."""
    from langgraph_memory_r1.train.reproduce.outcome import read_outcome

    outcomes: dict[str, list[ArmOutcome]] = {}
    minutes: dict[str, float] = {}
    for arm in experiment.arms:
        files = [outcome_file(out, arm, seed) for seed in range(seeds)]
        if evaluated := [read_outcome(file) for file in files if file.exists()]:
            outcomes[arm.name] = evaluated
        # What the trainings of the arm took, with all that they build on.
        clocks = [out / "seed0" / name / "seconds.txt" for name in experiment.only([arm.name]).trainings]
        minutes[arm.name] = sum(float(clock.read_text()) for clock in clocks if clock.exists()) / 60
    draw(experiment, [out / f"seed{seed}" for seed in range(seeds)], out / "curves.png")
    return write_report(out, experiment.arms, outcomes, minutes)


if __name__ == "__main__":
    typer.run(main)
