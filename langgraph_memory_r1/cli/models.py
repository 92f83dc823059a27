"""`--model` and `--trained`: who plays the roles of a command's graph."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langgraph_memory_r1.errors import InputError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from langgraph_memory_r1.prompts import Role

RULES = "rules"
_SERVED = re.compile(r"vllm:.*@(?P<url>https?://.+)")


@dataclass(frozen=True, slots=True)
class Cast:
    """Who plays the roles of a graph, and how."""

    settings: dict[str, Any]
    """For `create_memory_graph`."""
    manager: str
    """Its name, as it is shown."""
    answerer: str


def cast(model: str, trained: str | None) -> Cast:
    """One model for all roles, or what a run of `memory-r1 train` has trained, with the prompts that it was trained on.

    Args:
        model: As `--model` says it; with `trained` where its base is: `hf:` or `vllm:`, or `rules` for "as trained".
        trained: The output folder of the run.

    Raises:
        InputError: The folder holds no finished run, or the model cannot wear adapters.
    """
    from langgraph_memory_r1.batches import Limits
    from langgraph_memory_r1.models import load_chat_model, model_name

    if trained is None:
        loaded = load_chat_model(model)
        return Cast({"model": loaded}, model_name(loaded), model_name(loaded))
    told = recipe_of(Path(trained))
    base = f"hf:{told['base']}" if model == RULES else model
    manager, answerer = (_player(base, told, Path(trained), role) for role in ("manage", "answer"))
    settings = {name: told[name] for name in ("extractor", "style", "related_k")} | {"k": told["top_k"]}
    limits = Limits.as_trained(told["train"]["source"])
    return Cast(
        {**settings, "manager": manager, "answerer": answerer, "limits": limits},
        model_name(manager), model_name(answerer),
    )  # fmt: skip


def recipe_of(run: Path) -> dict[str, Any]:
    """The recipe that a run has carried out.

    Raises:
        InputError: The folder holds no run, or one that has trained nothing to its end.
    """
    import yaml

    try:
        told = yaml.safe_load((run / "recipe.yaml").read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{run} is no run of `memory-r1 train`; give --trained its output folder.") from error
    if not (run / "adapters").is_dir():
        raise InputError(f"{run} has trained nothing to its end yet; run memory-r1 train again, it goes on.")
    return dict(told)


def _player(base: str, told: dict[str, Any], run: Path, role: Role) -> BaseChatModel:
    """The base with the role's adapter; without one where the run did not train the role."""
    from langgraph_memory_r1.models import load_chat_model

    folder: Path | None = run / "adapters" / role
    if folder is not None and not folder.is_dir():
        folder = None
    how: dict[str, Any] = {"role": role, "max_tokens": told["max_tokens"]}
    if told["lora"] is None and folder is not None:
        return load_chat_model(_whole(base, folder), **how)
    if served := _SERVED.fullmatch(base):
        spec = f"vllm:{role}@{served['url']}" if folder else base
        return load_chat_model(spec, adapter=folder, temperature=0, **how)
    if not base.startswith("hf:"):
        raise InputError(
            f"{base!r} takes no adapters; give --model hf:{told['base']} or vllm:{told['base']}@URL, or leave it out."
        )
    return load_chat_model(base, adapter=folder, **how)


def _whole(base: str, folder: Path) -> str:
    if not base.startswith("hf:"):
        raise InputError(f"This run trained whole models, not adapters; {folder} is one, so leave --model out.")
    return f"hf:{folder}"
