"""`--model`, `--trained` and `--traces`: which models play the roles of a command's graph, and what records them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langgraph_memory_r1.errors import InputError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from langgraph_memory_r1.bank import MemoryBank
    from langgraph_memory_r1.flow import OnError
    from langgraph_memory_r1.graph import MemoryGraph
    from langgraph_memory_r1.prompts import Role
    from langgraph_memory_r1.traces import TraceRecorder

RULES = "rules"
_SERVED = re.compile(r"vllm:.*@(?P<url>https?://.+)")


@dataclass(frozen=True, slots=True)
class GraphModels:
    """The models that play the roles of a graph, and how they play them."""

    settings: dict[str, Any]
    """Keyword arguments of `create_memory_graph`."""
    manager: str
    """The manager's name, as it is shown."""
    answerer: str

    def graph(
        self, bank: MemoryBank, recorder: TraceRecorder | None, thread: str, on_error: OnError = "raise"
    ) -> MemoryGraph:
        """Return the memory graph of a bank, its decisions recorded under a thread if there is a recorder."""
        from langgraph_memory_r1.graph import create_memory_graph

        graph = create_memory_graph(bank, on_error=on_error, **self.settings)
        if recorder is None:
            return graph
        return graph.with_config(callbacks=[recorder], metadata={"thread_id": thread})


def load_graph_models(model: str, trained: str | None) -> GraphModels:
    """Load one model for all roles, or what a run of `memory-r1 train` has trained, with the prompts of its training.

    Args:
        model: As `--model` says it; with `trained` where its base is: `hf:` or `vllm:`, or `rules` for "as trained".
        trained: The output folder of the run.

    Raises:
        InputError: The folder holds no finished run, or the model takes no adapters.
    """
    from langgraph_memory_r1.batches import Limits
    from langgraph_memory_r1.models import load_chat_model, model_name

    if trained is None:
        loaded = load_chat_model(model)
        return GraphModels({"model": loaded}, model_name(loaded), model_name(loaded))
    run = Path(trained)
    recipe = read_run_recipe(run)
    base = f"hf:{recipe['base']}" if model == RULES else model
    manager, answerer = (_load_role(base, recipe, run, role) for role in ("manage", "answer"))
    settings: dict[str, Any] = {name: recipe[name] for name in ("extractor", "style", "related_k")}
    settings |= {"k": recipe["k"], "limits": Limits.as_trained(recipe["train"]["source"])}
    settings |= {"manager": manager, "answerer": answerer}
    return GraphModels(settings, model_name(manager), model_name(answerer))


def read_run_recipe(run: Path) -> dict[str, Any]:
    """Read the recipe that a run has carried out.

    Raises:
        InputError: The folder holds no run, or one that has trained nothing to its end.
    """
    import yaml

    from langgraph_memory_r1.train.recipe import with_present_keys

    try:
        recipe = yaml.safe_load((run / "recipe.yaml").read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{run} is no run of `memory-r1 train`; give --trained its output folder.") from error
    if not (run / "adapters").is_dir():
        raise InputError(f"{run} has trained nothing to its end yet; run memory-r1 train again, it goes on.")
    return dict(with_present_keys(recipe))


def _load_role(base: str, recipe: dict[str, Any], run: Path, role: Role) -> BaseChatModel:
    """Load the base with the role's adapter; without one where the run did not train the role."""
    from langgraph_memory_r1.models import load_chat_model

    adapter = run / "adapters" / role
    folder = adapter if adapter.is_dir() else None
    options: dict[str, Any] = {"role": role, "max_tokens": recipe["max_tokens"]}
    if recipe["lora"] is None and folder is not None:
        if not base.startswith("hf:"):
            raise InputError(f"This run trained whole models, not adapters; {folder} is one, so leave --model out.")
        return load_chat_model(f"hf:{folder}", **options)
    if server := _SERVED.fullmatch(base):
        spec = f"vllm:{role}@{server['url']}" if folder else base
        return load_chat_model(spec, adapter=folder, temperature=0, **options)
    if not base.startswith("hf:"):
        trained = recipe["base"]
        raise InputError(
            f"{base!r} takes no adapters; give --model hf:{trained} or vllm:{trained}@URL, or leave it out."
        )
    return load_chat_model(base, adapter=folder, **options)


def open_recorder(traces: str | None) -> TraceRecorder | None:
    """Return the recorder of a folder; None where nothing is to be recorded."""
    from langgraph_memory_r1.traces import TraceRecorder

    return None if traces is None else TraceRecorder(traces)
