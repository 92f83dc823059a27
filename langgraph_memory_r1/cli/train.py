"""`memory-r1 train`: a recipe carried out, looked through beforehand, or what came of it exported."""

from __future__ import annotations

import os
from collections.abc import Sequence
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from langgraph_memory_r1.cli.options import Debug, Json
from langgraph_memory_r1.cli.output import FAINT, console, counted, entry, heading, note, print_json, say
from langgraph_memory_r1.errors import MissingDependencyError

if TYPE_CHECKING:
    from langgraph_memory_r1.train.show import Lengths, StageEstimate

_NEEDED = ("accelerate", "datasets", "peft", "torch", "transformers", "trl", "yaml")
_PROMPT = 1500
_RECIPES = ", ".join(sorted(path.stem for path in (Path(__file__).parents[1] / "train" / "recipes").glob("*.yaml")))


class _RunByDefault(TyperGroup):
    """Without the name of a command, `run` is meant: memory-r1 train --recipe PATH."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        complete = not args or args[0] in self.commands or args[0] in ("-h", "--help")
        return list(super().parse_args(ctx, args if complete else ["run", *args]))


train = typer.Typer(
    name="train",
    cls=_RunByDefault,
    help="Train the Memory Manager and the Answer Agent: memory-r1 train --recipe PATH [key=value ...]\n\n"
    f"Recipes of ours: {_RECIPES}",
    no_args_is_help=True,
    rich_markup_mode=None,
)


class AdapterRole(StrEnum):
    """Whose adapter."""

    manage = "manage"
    answer = "answer"


@train.command()
def run(
    recipe: Annotated[
        str, typer.Option("--recipe", metavar="PATH", help=f"A recipe in YAML, or one of ours: {_RECIPES}.")
    ],
    changes: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Changes what the recipe says.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, show what would be done.")] = False,
    as_data: Json = False,
    debug: Debug = False,
) -> None:
    """Carry out a recipe, or go on where it was stopped."""
    _check_installed()
    from langgraph_memory_r1.train.recipe import find_recipe, read_recipe

    settings = read_recipe(find_recipe(recipe), changes or [])
    if dry_run:
        from langgraph_memory_r1.train.show import dry_run as look_through

        _show_estimates(look_through(settings, notify=note), as_data)
        return
    from langgraph_memory_r1.train.run import train as carry_out
    from langgraph_memory_r1.train.show import ShowProgress

    main = os.environ.get("RANK", "0") == "0"  # of several processes that `accelerate launch` has begun, one speaks
    callbacks = [ShowProgress(console(stderr=True))]
    stages = carry_out(settings, notify=note if main else lambda sentence: None, callbacks=callbacks)
    if main and as_data:
        values = [{name: getattr(stage, name) for name in stage.__slots__} for stage in stages]
        print_json([{name: str(v) if isinstance(v, Path) else v for name, v in stage.items()} for stage in values])
    elif main:
        for stage in stages:
            before, after = ("-" if score is None else f"{score:.3f}" for score in (stage.before, stage.score))
            entry(stage.role, f"{stage.algorithm}, {counted(stage.steps, 'step')}: {before} to {after}", width=8)
            entry("", (str(stage.folder), FAINT), width=8)


@train.command()
def export(
    folder: Annotated[str, typer.Argument(metavar="RUN", help="The output folder of a recipe.")],
    role: Annotated[AdapterRole, typer.Option("--role", help="Whose adapter.")],
    to: Annotated[str, typer.Option("--to", metavar="DIR", help="A folder that is empty or not there yet.")],
    debug: Debug = False,
) -> None:
    """A trained adapter in a folder of its own, with a model card."""
    _check_installed()
    from langgraph_memory_r1.train.cards import export as write

    target = write(folder, role.value, to)
    say(f"{target} holds the adapter; its README.md says how to load it.")


def _check_installed() -> None:
    if any(find_spec(package) is None for package in _NEEDED):
        raise MissingDependencyError("pip install 'langgraph-memory-r1[train]' to train")


def _show_estimates(estimates: Sequence[StageEstimate], as_data: bool) -> None:
    """Print what a recipe would do, stage by stage."""
    if as_data:
        from dataclasses import asdict

        print_json([asdict(stage) for stage in estimates])
        return
    for stage in estimates:
        heading(f"{stage.name}: {stage.algorithm}")
        entry("rows", f"{stage.rows} to learn from, {stage.validation} to validate on", width=12)
        for reason, count in stage.skipped.items():
            entry("skipped", f"{count}: {reason}", width=12)
        if stage.dropped:
            entry("left out", f"{counted(stage.dropped, 'row')} of every epoch, which fill no step", width=12)
        about = "about " if stage.estimated else ""
        entry("prompts", about + _lengths(stage.prompts), width=12)
        lengths = f"{_lengths(stage.replies)} where they are known; " if stage.replies else ""
        entry("replies", f"{lengths}at most {stage.longest_reply} tokens", width=12)
        memory = "unknown without the base"
        if needs := stage.memory:
            activations = f"optimizer {_size(needs.trained)}, activations {_size(needs.activations)}"
            memory = f"about {_size(needs.total)} (weights {_size(needs.weights)}, {activations})"
        entry("memory", memory, width=12)
        say(("  the first prompt:", FAINT))
        for line in stage.prompt[:_PROMPT].splitlines():
            say("    ", line)
    without = "the base" if any(stage.estimated for stage in estimates) else "training"
    heading(f"Everything that can be checked without {without} is in order.")


def _lengths(lengths: Lengths) -> str:
    return f"{lengths.shortest} to {lengths.longest} tokens, {lengths.median} in the middle"


def _size(count: float) -> str:
    """Return a number of bytes as people read it."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit in ("B", "kB") else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
