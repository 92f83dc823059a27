"""`python -m langgraph_memory_r1.train.reproduce`: all arms, the table, the curves; or with --smoke the short round."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from langgraph_memory_r1.errors import InputError, MemoryR1Error
from langgraph_memory_r1.train.recipe import find_recipe, read_recipe
from langgraph_memory_r1.train.reproduce.arms import Plan, plan
from langgraph_memory_r1.train.reproduce.claims import write_report
from langgraph_memory_r1.train.reproduce.curves import draw
from langgraph_memory_r1.train.reproduce.jobs import Job, Step, carry_out, jobs_of, outcome_file
from langgraph_memory_r1.train.reproduce.right_decisions import write_labels
from langgraph_memory_r1.train.tiny import BASE


class Show:
    """One line for each job, and a bar for the whole on a terminal."""

    def __init__(self, console: Console, jobs: Sequence[Job]) -> None:
        self.console = console
        self.bar = Progress(
            BarColumn(), TextColumn("{task.completed}/{task.total} steps"), TimeElapsedColumn(),
            TextColumn("{task.description}"), console=console, transient=True, disable=not console.is_terminal,
        )  # fmt: skip
        self.task: TaskID = self.bar.add_task("", total=sum(job.steps for job in jobs))
        self.at: dict[str, int] = {}

    def step(self, step: Step) -> None:
        """A training has done a step."""
        name, number, _, reward = step
        self.at[name] = number
        told = "" if reward is None else f", reward {reward:.2f}"
        self.bar.update(self.task, completed=sum(self.at.values()), description=f"{name}{told}")

    def finished(self, job: Job) -> None:
        """A job is done."""
        self.at[job.name] = job.steps
        self.bar.update(self.task, completed=sum(self.at.values()))
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
        else:
            _reproduce(base, out, seeds, arms, workers, steps, console)
    except MemoryR1Error as error:
        console.print(f"Error: {error}", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(2) from error


def _reproduce(base: str, out: Path, seeds: int, arms: str, workers: int, steps: int | None, console: Console) -> None:
    recipe = read_recipe(find_recipe("tiny-grpo"), [f"base={base}"])
    whole = plan(recipe, out / "labels", most_steps=steps)
    chosen = whole.only(_named(arms, whole))
    write_labels(recipe, out / "labels")
    jobs = [job for seed in range(seeds) for job in jobs_of(chosen, out, seed)]
    show = Show(console, jobs)
    with show.bar:
        carry_out(jobs, workers, show.step, show.finished)
    report = write_results(whole, out, seeds)
    terminal = sys.stdout.isatty()
    Console().print(Markdown(report) if terminal else report, markup=False, highlight=False, soft_wrap=not terminal)
    console.print(f"{out} holds report.md, report.json and curves.png.", highlight=False)


def write_results(whole: Plan, out: Path, seeds: int) -> str:
    """The report over all arms that have been evaluated in this folder so far, and the picture."""
    from langgraph_memory_r1.train.reproduce.outcome import read_outcome

    files = {arm.name: [outcome_file(out, arm, seed) for seed in range(seeds)] for arm in whole.arms}
    read = {name: [read_outcome(file) for file in found if file.exists()] for name, found in files.items()}
    outcomes = {name: found for name, found in read.items() if found}
    draw(whole, [out / f"seed{seed}" for seed in range(seeds)], out / "curves.png")
    return write_report(out, whole.arms, outcomes, _minutes(whole, out))


def _minutes(whole: Plan, out: Path) -> dict[str, float]:
    """What the trainings of each arm took, with all that they build on."""
    found = {}
    for arm in whole.arms:
        files = [out / "seed0" / name / "seconds.txt" for name in whole.only([arm.name]).trainings]
        found[arm.name] = sum(float(file.read_text()) for file in files if file.exists()) / 60
    return found


def _named(arms: str, whole: Plan) -> list[str]:
    known = [arm.name for arm in whole.arms]
    names = [name.strip() for name in arms.split(",") if name.strip()] or known
    if unknown := [name for name in names if name not in known]:
        raise InputError(f"There is no arm {unknown[0]!r}; there are {', '.join(known)}.")
    return names


if __name__ == "__main__":
    typer.run(main)
