"""A training run as a value: what a YAML file says, checked before any work starts.

    recipe = read_recipe("train/recipes/tiny.yaml", ["seed=1", "stages.0.settings.max_steps=10"])

Unknown keys are refused, with the ones that exist. Settings of TRL stand under `settings` by TRL's names.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from dataclasses import asdict, field, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, field_validator
from pydantic.dataclasses import dataclass

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.evals.personaworld import Difficulty
from langgraph_memory_r1.prompts import Style
from langgraph_memory_r1.scoring import METRICS
from langgraph_memory_r1.train.sources import Link

TrainedRole: TypeAlias = Literal["manage", "answer"]
Algorithm: TypeAlias = Literal["sft", "grpo", "ppo", "logo"]

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Data:
    """Where rows come from."""

    source: Literal["personaworld", "locomo", "conversations", "rows", "traces"]
    path: str | None = None
    """A file or folder; none for `personaworld`."""
    split: str = "train"
    """Of `personaworld`."""
    world: Difficulty | None = None
    """How hard the conversations of `personaworld` are, as in `{sessions: 16}`; none is its default."""
    questions: int | None = None
    """About each conversation of `personaworld`; none is its default."""
    sessions: int | None = None
    """The first ones of a conversation, with the questions that they answer; none is all."""
    seed: int = 0
    limit: int | None = None
    """Conversations at most."""
    only: list[str] | None = None
    """The ids of the conversations that are taken; none takes all."""
    window: int | None = None
    """Steps that a manager row's bank is built from; none is all before."""
    link: Link = "last"

    def __post_init__(self) -> None:
        for name in ("world", "questions"):
            if getattr(self, name) is not None and self.source != "personaworld":
                raise InputError(f"{name} is for the source personaworld, not for {self.source}; leave it out.")
        if self.sessions is not None and self.source == "personaworld":
            raise InputError(f"personaworld invents its sessions; say how many: world: {{sessions: {self.sessions}}}.")


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Lora:
    """Low-rank adapters, in PEFT's words."""

    r: int = 16
    alpha: int = 32
    dropout: float = 0.0
    target_modules: str | list[str] = "all-linear"


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class PPOSettings:
    """What PPO has beyond GRPO; the values are ours where the paper names none."""

    critic_learning_rate: float = 1e-3
    """Of the head; the paper's 1e-5 is for a critic of the policy's size."""
    value_coef: float = 0.5
    value_clip: float = 0.2
    gamma: float = 1.0
    lam: float = 0.95
    hidden: int = 256
    """Width of the head."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class LoGoSettings:
    """What LoGo-GRPO has beyond GRPO; the values are those of Memory-R2's released code."""

    local_span: Literal["session", "step"] = "session"
    """What is re-rolled and judged at a time. A step is a single decision, as in plain GRPO."""
    local_probability: float = 0.5
    """Of a session or step to be re-rolled."""
    local_rolls: int = 4
    local_probes: int = 16
    """Most questions that a re-roll is judged by."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Stage:
    """One role, trained by one algorithm."""

    role: TrainedRole
    algorithm: Algorithm = "grpo"
    settings: dict[str, Any] = field(default_factory=dict)
    """TRL's GRPOConfig or SFTConfig."""
    train: Data | None = None
    """What this stage learns from, where it is not the run's: longer conversations, say."""
    curriculum: bool = False
    """Rows of small banks first, in place of a shuffled order."""
    beta: float = 0.0
    """Weight of the KL divergence from the base."""
    format_weight: float = 0.0
    size_weight: float = 0.0
    ppo: PPOSettings = field(default_factory=PPOSettings)
    logo: LoGoSettings = field(default_factory=LoGoSettings)
    eval_every: int = 10
    """Steps between greedy evaluations on the validation split."""
    patience: int | None = None
    """Evaluations without a better score before the stage ends."""
    begun: str = ""
    """What every reply of the trained role begins with; only the rest of it is chosen."""
    engine: str | None = None
    """`http://HOST:PORT` of a vLLM server that generates; none generates in the process."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Recipe:
    """A training run."""

    base: str
    """A model on the hub, or its folder."""
    output: str
    train: Data
    stages: list[Stage]
    """In order; a role may come again."""
    validation: Data | None = None
    """None: a part of what is learned from is held out."""
    held_out: float = Field(default=0.2, gt=0, lt=1)
    """That part: whole owners or conversations, or of a single one its newest rows."""
    start: dict[TrainedRole, str] = field(default_factory=dict)
    """What the roles have before the first stage: folders of adapters, or of whole models where all weights are
    trained."""
    lora: Lora | None = field(default_factory=Lora)
    """None trains all weights."""
    judge: str | None = None
    """The frozen Answer Agent that managers are judged by, as for `load_chat_model`; none: this run's own."""
    builder: str = "own"
    """Builds the banks that rows start from: `own`, this run's manager, or a model as for `load_chat_model`."""
    extractor: str = "rules"
    metric: str = "em"
    style: Style = "compact"
    related_k: int = 10
    top_k: int = 60
    max_tokens: int = 256
    """Longest reply."""
    seed: int = 0
    report_to: str = "none"
    notes: str = ""
    """Where the settings come from."""

    @field_validator("metric")
    @classmethod
    def _known(cls, metric: str) -> str:
        if metric not in METRICS:
            raise InputError(f"there is no {metric!r}; there are {', '.join(METRICS)}")
        return metric


_RECIPE = TypeAdapter(Recipe)
_PARTS: dict[int | str, Any] = {
    "train": Data, "validation": Data, "world": Difficulty, "stages": Stage, "lora": Lora, "ppo": PPOSettings,
    "logo": LoGoSettings,
}  # fmt: skip


def find_recipe(name: str) -> str:
    """The path of a recipe, which may be the name of one that comes with the library: `tiny-grpo`.

    Raises:
        InputError: There is neither.
    """
    ours = Path(__file__).parent / "recipes"
    if Path(name).is_file():
        return name
    if (ours / f"{name}.yaml").exists():
        return str(ours / f"{name}.yaml")
    known = ", ".join(sorted(path.stem for path in ours.glob("*.yaml")))
    raise InputError(f"There is no recipe {name!r}; give a file, or one of ours: {known}.")


def read_recipe(path: str | os.PathLike[str], changes: Sequence[str] = ()) -> Recipe:
    """The recipe in a YAML file.

    Args:
        path: The file; a model folder named in it relatively is looked for beside it.
        changes: `key=value`, with dots for what lies deeper and numbers for places in a list.

    Raises:
        InputError: The file cannot be read, or a key or value is wrong; the message names it.
    """
    try:
        told = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); name a recipe in YAML") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(told, dict):
        raise InputError(f"{path} is not a recipe: it has to be a mapping that names base, output, train ...")
    told = _apart(told)
    for change in changes:
        _change(told, change)
    try:
        recipe = _RECIPE.validate_python(told)
    except ValidationError as error:
        raise InputError(f"{path}: {_complaint(error)}") from error
    for place, stage in enumerate(recipe.stages):
        if wrong := _contradiction(stage, stage.train or recipe.train):
            raise InputError(f"{path}: stages.{place}: {wrong}")
    return recipe if not _beside(path, recipe.base) else _with_base(recipe, _beside(path, recipe.base))


def as_dict(recipe: Recipe) -> dict[str, Any]:
    """The recipe as YAML writes it."""
    return asdict(recipe)


def _apart(value: Any) -> Any:
    """The same without shared parts: what YAML's anchors repeat may be changed in one place only."""
    if isinstance(value, dict):
        return {key: _apart(item) for key, item in value.items()}
    return [_apart(item) for item in value] if isinstance(value, list) else value


def _change(told: dict[str, Any], change: str) -> None:
    key, equals, value = change.partition("=")
    if not equals or not key:
        raise InputError(f"{change!r} changes nothing; write key=value, as stages.0.settings.max_steps=10")
    *path, last = key.split(".")
    place: Any = told
    for part in path:
        place = _inside(place, part, key)
    if isinstance(place, list):
        _inside(place, last, key)
        place[int(last)] = yaml.safe_load(value)
    else:
        place[last] = yaml.safe_load(value)


def _inside(place: Any, part: str, key: str) -> Any:
    if isinstance(place, list) and part.isdecimal() and int(part) < len(place):
        return place[int(part)]
    if isinstance(place, dict):
        return place.setdefault(part, {})
    raise InputError(f"There is no {key!r} in the recipe; {part!r} leads nowhere.")


def _contradiction(stage: Stage, data: Data) -> str:
    """What of a stage does not go together; said before the stages ahead of it are trained."""
    if stage.algorithm == "logo" and (stage.role != "manage" or stage.engine is not None):
        return "LoGo-GRPO trains the role 'manage', in this process: leave engine out."
    if stage.algorithm == "logo" and data.source in ("rows", "traces"):
        return "LoGo-GRPO rolls out conversations; give it conversations, not rows or traces."
    if stage.algorithm == "sft" and stage.engine is not None:
        return "supervised fine-tuning samples nothing: leave engine out."
    return ""


def _complaint(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"]))
    if first["type"] == "unexpected_keyword_argument":
        known = _known(first["loc"])
        close = difflib.get_close_matches(str(first["loc"][-1]), known, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}."
        return f"unknown key {where!r}; {hint}"
    if first["type"] == "value_error":
        return f"{where}: {first['ctx']['error']}"
    return f"{where}: {first['msg']}" + (f", not {first['input']!r}" if first["type"] != "missing" else "")


def _known(place: tuple[int | str, ...]) -> list[str]:
    named = [_PARTS[part] for part in place[:-1] if part in _PARTS]
    return [item.name for item in fields(named[-1] if named else Recipe)]


def _beside(path: str | os.PathLike[str], base: str) -> str:
    folder = os.path.normpath(Path(path).parent / base)
    return folder if Path(folder, "config.json").exists() else ""


def _with_base(recipe: Recipe, base: str) -> Recipe:
    return _RECIPE.validate_python({**asdict(recipe), "base": base})
