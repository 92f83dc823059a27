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

from langgraph_memory_r1.cli.models import RULES, recipe_of
from langgraph_memory_r1.errors import InputError

if TYPE_CHECKING:
    from langgraph_memory_r1.evals.answerer import Answerer
    from langgraph_memory_r1.evals.model_loader import ModelLoader, ModelSpec
    from langgraph_memory_r1.evals.systems.system import System

ROLES: Final = ("extractor", "manager", "answerer")
_TRAINED_AS: Final = {"manager": "manage", "answerer": "answer"}
_BARE: Final = "base"


@dataclass(frozen=True, kw_only=True)
class WantedModels:
    """What was said on the command line about models; None is not said."""

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
class Casting:
    """Who plays the roles, and how."""

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


def casting(wanted: WantedModels) -> Casting:
    """What is wanted, and for the rest what the run of `--trained` was trained with, or the defaults.

    Raises:
        InputError: There is no such style, or no such run.
    """
    from langgraph_memory_r1.prompts import Style

    told = _trained(wanted) if wanted.trained else {}
    model = told.get("model", wanted.model)
    style = wanted.style or told.get("style", "full")
    if style not in get_args(Style):
        raise InputError(f"There is no style {style!r}; give one of: {', '.join(get_args(Style))}.")
    named = {role: getattr(wanted, f"{role}_adapter") or told.get(f"{role}_adapter") for role in ROLES}
    heat = {} if wanted.temperature is None else {"temperature": wanted.temperature}
    return Casting(
        models={role: getattr(wanted, role) or told.get(role, model) for role in ROLES},
        adapters={role: path for role, path in named.items() if path is not None},
        style=style,
        k=wanted.k or told.get("top_k", 60),
        related_k=wanted.related_k or told.get("related_k", 10),
        batch_turns=wanted.batch_turns or told.get("batch_turns", 10),
        embedder=None if wanted.embedder == "none" else wanted.embedder,
        settings=heat | told.get("settings", {}),
    )


def contenders(names: Sequence[str], cast: Casting, models: ModelLoader) -> list[tuple[System, Answerer]]:
    """The systems of these names, each with who answers from its memory.

    Raises:
        InputError: There is no such system, or no such row of it.
    """
    embedder = models.embedder(cast.embedder)
    return [_contender(name, cast, models, embedder) for name in dict.fromkeys(names)]


def _contender(name: str, cast: Casting, models: ModelLoader, embedder: Any) -> tuple[System, Answerer]:
    from langgraph_memory_r1.batches import Limits
    from langgraph_memory_r1.evals.answerer import Answerer
    from langgraph_memory_r1.evals.systems import Parts, systems

    kind, colon, suffix = name.partition(":")
    worn = _worn(name, suffix, cast) if colon else ROLES
    parts = Parts(
        extractor=models.chat(_chosen("extractor", cast, worn), "extract"),
        manager=models.chat(_chosen("manager", cast, worn), "manage"),
        embedder=embedder,
        style=cast.style,
        related_k=cast.related_k,
        limits=Limits(batch_turns=cast.batch_turns),
    )
    [system] = systems([kind], parts)
    answerer = Answerer(models.chat(_chosen("answerer", cast, worn), "answer"), cast.style)
    told = f"with the adapter of the {suffix} only" if worn else "without adapters"
    return (system.as_row(suffix, told) if colon else system), answerer


def _worn(name: str, suffix: str, cast: Casting) -> Sequence[str]:
    """The roles that wear their adapter in a row."""
    if not cast.adapters:
        raise InputError(f"{name} is a row without some adapters, and none is named; add --manager-adapter DIR.")
    if suffix not in (_BARE, *cast.adapters):
        raise InputError(
            f"There is no row {name!r}; after the colon comes one of: {', '.join([_BARE, *cast.adapters])}."
        )
    return () if suffix == _BARE else (suffix,)


def _chosen(role: str, cast: Casting, worn: Sequence[str]) -> ModelSpec:
    from langgraph_memory_r1.evals.model_loader import ModelSpec

    return ModelSpec(cast.models[role], cast.adapters.get(role) if role in worn else None, cast.settings)


def _trained(wanted: WantedModels) -> dict[str, Any]:
    """What a run of `memory-r1 train` says about models, by the names of `Casting` and of the recipe."""
    from langgraph_memory_r1.batches import Limits

    run = Path(str(wanted.trained))
    told = recipe_of(run)
    base = f"hf:{told['base']}" if wanted.model == RULES else wanted.model
    if told["lora"] is None or not base.startswith("hf:"):
        raise InputError(
            f"--trained takes a run with adapters on hf:NAME, not {base}; name its models by --manager and --answerer."
        )
    found = {f"{role}_adapter": run / "adapters" / name for role, name in _TRAINED_AS.items()}
    return {
        **{name: path for name, path in found.items() if path.is_dir()},
        **{name: told[name] for name in ("extractor", "style", "related_k", "top_k")},
        "model": base,
        "batch_turns": Limits.as_trained(told["train"]["source"]).batch_turns,
        "settings": {"max_tokens": told["max_tokens"]},
    }
