"""Who remembers and who answers in each row of an evaluation's report.

--systems memory-r1,bm25                     with all adapters that are named
--systems memory-r1:base,memory-r1:manager   without any, and with the manager's only
--trained RUN                                base, adapters, prompts and numbers as that run was trained with them
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

from langgraph_memory_r1.cli.models import RULES, read_run_recipe
from langgraph_memory_r1.errors import InputError

if TYPE_CHECKING:
    from langgraph_memory_r1.evals.answerer import Answerer
    from langgraph_memory_r1.evals.model_loader import ModelLoader
    from langgraph_memory_r1.evals.systems.system import System

ROLES: Final = ("extractor", "manager", "answerer")
_TRAINED_AS: Final = {"manager": "manage", "answerer": "answer"}
_BARE: Final = "base"


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """The options of the command line about models; None where one was not given."""

    model: str
    trained: str | None
    extractor: str | None
    manager: str | None
    answerer: str | None
    extractor_adapter: Path | None
    manager_adapter: Path | None
    answerer_adapter: Path | None
    temperature: float | None
    style: str | None
    embedder: str | None
    k: int | None
    related_k: int | None
    batch_turns: int | None


@dataclass(frozen=True, slots=True)
class RoleSettings:
    """Which models play the roles, and how."""

    models: dict[str, str]
    """By role, as for `load_chat_model`."""
    adapters: dict[str, Path]
    style: Any
    k: int
    related_k: int
    batch_turns: int
    embedder: str | None
    settings: dict[str, Any] = field(default_factory=dict)
    """Of the models, such as a temperature."""


def role_settings(options: ModelOptions) -> RoleSettings:
    """Return what the options say, and for the rest what the run of `--trained` was trained with, or the defaults.

    Raises:
        InputError: There is no such style, or no such run.
    """
    from langgraph_memory_r1.prompts import Style

    training = _training_settings(options.trained, options.model) if options.trained else {}
    model = training.get("model", options.model)
    style = options.style or training.get("style", "full")
    if style not in get_args(Style):
        raise InputError(f"There is no style {style!r}; give one of: {', '.join(get_args(Style))}.")
    adapters = {role: getattr(options, f"{role}_adapter") or training.get(f"{role}_adapter") for role in ROLES}
    temperature = {} if options.temperature is None else {"temperature": options.temperature}
    return RoleSettings(
        models={role: getattr(options, role) or training.get(role, model) for role in ROLES},
        adapters={role: path for role, path in adapters.items() if path is not None},
        style=style,
        k=options.k or training.get("k", 60),
        related_k=options.related_k or training.get("related_k", 10),
        batch_turns=options.batch_turns or training.get("batch_turns", 10),
        embedder=None if options.embedder == "none" else options.embedder,
        settings=temperature | training.get("settings", {}),
    )


def _training_settings(trained: str, model: str) -> dict[str, Any]:
    """Return what a run of `memory-r1 train` says about models, by the names of `RoleSettings` and of the recipe."""
    from langgraph_memory_r1.batches import Limits

    run = Path(trained)
    recipe = read_run_recipe(run)
    base = f"hf:{recipe['base']}" if model == RULES else model
    if recipe["lora"] is None or not base.startswith("hf:"):
        raise InputError(
            f"--trained takes a run with adapters on hf:NAME, not {base}; name its models by --manager and --answerer."
        )
    adapters = {f"{role}_adapter": run / "adapters" / name for role, name in _TRAINED_AS.items()}
    return {
        **{name: path for name, path in adapters.items() if path.is_dir()},
        **{name: recipe[name] for name in ("extractor", "style", "related_k", "k")},
        "model": base,
        "batch_turns": Limits.as_trained(recipe["train"]["source"]).batch_turns,
        "settings": {"max_tokens": recipe["max_tokens"]},
    }


def contenders(names: Sequence[str], roles: RoleSettings, models: ModelLoader) -> list[tuple[System, Answerer]]:
    """Return the systems of these names, each with who answers from its memory.

    Raises:
        InputError: There is no such system, or no such row of it.
    """
    from langgraph_memory_r1.batches import Limits
    from langgraph_memory_r1.evals.answerer import Answerer
    from langgraph_memory_r1.evals.model_loader import ModelSpec
    from langgraph_memory_r1.evals.systems import Parts, systems

    embedder = models.embedder(roles.embedder)
    pairs = []
    for name in dict.fromkeys(names):
        kind, colon, row = name.partition(":")
        if colon and not roles.adapters:
            raise InputError(f"{name} is a row without some adapters, and none is named; add --manager-adapter DIR.")
        if colon and row not in (_BARE, *roles.adapters):
            rows = ", ".join([_BARE, *roles.adapters])
            raise InputError(f"There is no row {name!r}; after the colon comes one of: {rows}.")
        adapters = {role: path for role, path in roles.adapters.items() if not colon or role == row}
        specs = {role: ModelSpec(roles.models[role], adapters.get(role), roles.settings) for role in ROLES}
        parts = Parts(
            extractor=models.chat(specs["extractor"], "extract"),
            manager=models.chat(specs["manager"], "manage"),
            embedder=embedder,
            style=roles.style,
            related_k=roles.related_k,
            limits=Limits(batch_turns=roles.batch_turns),
        )
        [system] = systems([kind], parts)
        if colon:
            system = system.as_row(row, f"with the adapter of the {row} only" if adapters else "without adapters")
        pairs.append((system, Answerer(models.chat(specs["answerer"], "answer"), roles.style)))
    return pairs
