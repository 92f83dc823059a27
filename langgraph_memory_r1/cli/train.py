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
from langgraph_memory_r1.cli.output import FAINT, as_json, console, counted, entry, heading, note, say
from langgraph_memory_r1.errors import MissingDependencyError

if TYPE_CHECKING:
    from langgraph_memory_r1.train.run import TrainedStage
    from langgraph_memory_r1.train.show import Lengths, MemoryUse, StagePlan

_NEEDED = ("accelerate", "datasets", "peft", "torch", "transformers", "trl", "yaml")
_PROMPT = 1500


class _RunFirst(TyperGroup):
    """Without the name of a command, `run` is meant: memory-r1 train --recipe PATH."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = bool(args) and (args[0] in self.commands or args[0] in ("-h", "--help"))
        return list(super().parse_args(ctx, args if named or not args else ["run", *args]))


train = typer.Typer(
    name="train",
    cls=_RunFirst,
    help="Train the Memory Manager and the Answer Agent: memory-r1 train --recipe PATH [key=value ...]",
    no_args_is_help=True,
    rich_markup_mode=None,
)


class TrainedRole(StrEnum):
    """Whose adapter."""

    manage = "manage"
    answer = "answer"


@train.command()
def run(
    recipe: Annotated[str, typer.Option("--recipe", metavar="PATH", help="A recipe in YAML, or the name of ours.")],
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

    told = read_recipe(find_recipe(recipe), changes or [])
    if dry_run:
        from langgraph_memory_r1.train.show import dry_run as look_through

        _show_plans(look_through(told, notify=note), as_data)
        return
    from langgraph_memory_r1.train.run import train as carry_out
    from langgraph_memory_r1.train.show import ShowProgress

    main = os.environ.get("RANK", "0") == "0"  # of several processes that `accelerate launch` has begun, one speaks
    found = carry_out(told, notify=note if main else _say_nothing, callbacks=[ShowProgress(console(stderr=True))])
    if main:
        _show_trained(found, as_data)


@train.command()
def export(
    folder: Annotated[str, typer.Argument(metavar="RUN", help="The output folder of a recipe.")],
    role: Annotated[TrainedRole, typer.Option("--role", help="Whose adapter.")],
    to: Annotated[str, typer.Option("--to", metavar="DIR", help="A folder that is empty or not there yet.")],
    debug: Debug = False,
) -> None:
    """A trained adapter in a folder of its own, with a model card."""
    _check_installed()
    from langgraph_memory_r1.train.cards import export as write

    place = write(folder, role.value, to)
    say(f"{place} holds the adapter; its README.md says how to load it.")


def _say_nothing(sentence: str) -> None:
    pass


def _check_installed() -> None:
    if any(find_spec(package) is None for package in _NEEDED):
        raise MissingDependencyError("pip install 'langgraph-memory-r1[train]' to train")


def _show_plans(plans: Sequence[StagePlan], as_data: bool) -> None:
    if as_data:
        from dataclasses import asdict

        as_json([asdict(one) for one in plans])
        return
    for one in plans:
        _show_plan(one)
    without = "the base" if any(one.estimated for one in plans) else "training"
    heading(f"Everything that can be checked without {without} is in order.")


def _show_plan(one: StagePlan) -> None:
    heading(f"{one.name}: {one.algorithm}")
    entry("rows", f"{one.rows} to learn from, {one.validation} to validate on", width=12)
    for reason, count in one.skipped.items():
        entry("skipped", f"{count}: {reason}", width=12)
    if one.dropped:
        entry("left out", f"{counted(one.dropped, 'row')} of every epoch, which fill no step", width=12)
    about = "about " if one.estimated else ""
    entry("prompts", about + _lengths(one.prompts), width=12)
    known = f"{_lengths(one.replies)} where they are known; " if one.replies else ""
    entry("replies", f"{known}at most {one.longest_reply} tokens", width=12)
    entry("memory", _memory(one.memory), width=12)
    say(("  the first prompt:", FAINT))
    for line in one.prompt[:_PROMPT].splitlines():
        say("    ", line)


def _show_trained(found: Sequence[TrainedStage], as_data: bool) -> None:
    if as_data:
        as_json([{name: _plain(getattr(one, name)) for name in one.__slots__} for one in found])
        return
    for one in found:
        before, after = ("-" if score is None else f"{score:.3f}" for score in (one.before, one.score))
        entry(one.role, f"{one.algorithm}, {counted(one.steps, 'step')}: {before} to {after}", width=8)
        entry("", (str(one.folder), FAINT), width=8)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def _lengths(lengths: Lengths) -> str:
    return f"{lengths.shortest} to {lengths.longest} tokens, {lengths.median} in the middle"


def _memory(told: MemoryUse | None) -> str:
    if told is None:
        return "unknown without the base"
    parts = f"weights {_size(told.weights)}, optimizer {_size(told.trained)}, activations {_size(told.activations)}"
    return f"about {_size(told.total)} ({parts})"


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit in ("B", "kB") else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
