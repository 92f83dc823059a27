"""A training run as a value: what a YAML file says, checked before any work starts.

    recipe = read_recipe("train/recipes/tiny.yaml", ["seed=1", "stages.0.settings.max_steps=10"])

Unknown keys are refused, with the ones that exist. Settings of TRL stand under `settings` by TRL's names; on which
defaults, `grpo_config` and `sft_config` say. TRL is imported by those two only: it takes seconds to load.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from dataclasses import asdict, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, field_validator
from pydantic.dataclasses import dataclass

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.evals.personaworld import Difficulty
from langgraph_memory_r1.models.openai_api import CHAT_TEMPLATE_KWARGS
from langgraph_memory_r1.prompts import Style
from langgraph_memory_r1.scoring import METRICS

if TYPE_CHECKING:
    from trl import GRPOConfig, SFTConfig

C = TypeVar("C", "GRPOConfig", "SFTConfig")

TrainedRole: TypeAlias = Literal["manage", "answer"]
Algorithm: TypeAlias = Literal["sft", "grpo", "ppo", "logo"]
Link: TypeAlias = Literal["any", "last", "since"]
"""Which turns a question is linked to: every evidence turn (the paper); the last one, from which on it can be answered;
or that one and every later turn, none of which may spoil the answer: so repetitions and small talk are judged too."""

_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Data:
    """Where rows come from."""

    source: Literal["personaworld", "locomo", "conversations", "rows", "traces"]
    path: str | None = None
    """A file or folder; none for `personaworld`."""
    split: str = "train"
    """Of `personaworld`; of `locomo` its conversations are named by `only`."""
    allow_modified: bool = False
    """Take a file of `locomo` that is not the published one, as `memory-r1 eval --allow-modified` does."""
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
        if self.allow_modified and self.source != "locomo":
            raise InputError(f"allow_modified is for the source locomo, not for {self.source}; leave it out.")
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

    local_probability: float = 0.5
    """Of a session to be re-rolled."""
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
    reply_prefix: str = ""
    """What every reply of the trained role begins with; only what follows is chosen."""
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
    """Memories that are compared with each fact, as in `create_memory_graph`."""
    k: int = 60
    """Memories that an answer may be chosen from (Memory-R1, section 4.1), as in `create_memory_graph`."""
    max_tokens: int = 256
    """Longest reply."""
    seed: int = 0
    report_to: str = "none"
    notes: str = ""
    """Where the settings come from."""

    @field_validator("metric")
    @classmethod
    def _check_metric(cls, metric: str) -> str:
        if metric not in METRICS:
            raise InputError(f"there is no {metric!r}; there are {', '.join(METRICS)}")
        return metric


_RECIPE = TypeAdapter(Recipe)
_SECTIONS: dict[int | str, Any] = {
    "train": Data, "validation": Data, "world": Difficulty, "stages": Stage, "lora": Lora, "ppo": PPOSettings,
    "logo": LoGoSettings,
}  # fmt: skip


def find_recipe(name: str) -> str:
    """Return the path of a recipe, which may be the name of one that comes with the library: `tiny-grpo`.

    Raises:
        InputError: There is neither.
    """
    ours = Path(__file__).parent / "recipes"
    if Path(name).is_file():
        return name
    if (ours / f"{name}.yaml").exists():
        return str(ours / f"{name}.yaml")
    names = ", ".join(sorted(path.stem for path in ours.glob("*.yaml")))
    raise InputError(f"There is no recipe {name!r}; give a file, or one of ours: {names}.")


def read_recipe(path: str | os.PathLike[str], changes: Sequence[str] = ()) -> Recipe:
    """Read the recipe in a YAML file.

    Args:
        path: The file; a model folder named in it relatively is looked for beside it.
        changes: `key=value`, with dots for what lies deeper and numbers for positions in a list.

    Raises:
        InputError: The file cannot be read, or a key or value is wrong; the message names it.
    """
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); name a recipe in YAML") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise InputError(f"{path} is not a recipe: it has to be a mapping that names base, output, train ...")
    values = _unshared(values)
    for change in changes:
        _change(values, change)
    try:
        recipe = _RECIPE.validate_python(values)
    except ValidationError as error:
        raise InputError(f"{path}: {_first_problem(error)}") from error
    for number, stage in enumerate(recipe.stages):
        if problem := _contradiction(stage, stage.train or recipe.train):
            raise InputError(f"{path}: stages.{number}: {problem}")
    # Ours name `../tiny/base`, which has to be found from wherever the command is started.
    base = os.path.normpath(Path(path).parent / recipe.base)
    return replace(recipe, base=base) if Path(base, "config.json").exists() else recipe


def as_dict(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe as YAML writes it."""
    return asdict(recipe)


def is_recipe_of(values: Any, recipe: Recipe) -> bool:
    """Return whether the values of a run folder's `recipe.yaml` say the same as a recipe.

    Keys that have come since have their defaults.
    """
    try:
        values = with_present_keys(values)
        return bool(_RECIPE.validate_python(values) == recipe)
    except (ValidationError, TypeError, KeyError, AttributeError):  # somebody has written into it
        return False


def with_present_keys(values: Any) -> Any:
    """Return the values of a run folder's `recipe.yaml` with the keys of today, so that runs of then can go on.

    `top_k` is now `k`, and a stage's `begun` is `reply_prefix`; of `logo.local_span` only `session` is left.
    """
    values = _unshared(values)
    if "top_k" in values:
        values["k"] = values.pop("top_k")
    for stage in values.get("stages") or []:
        if "begun" in stage:
            stage["reply_prefix"] = stage.pop("begun")
        if (stage.get("logo") or {}).get("local_span") == "session":
            del stage["logo"]["local_span"]
    return values


def _unshared(value: Any) -> Any:
    """A deep copy: what YAML's anchors repeat is one object, of which a change would reach every stage."""
    if isinstance(value, dict):
        return {key: _unshared(item) for key, item in value.items()}
    return [_unshared(item) for item in value] if isinstance(value, list) else value


def _change(values: dict[str, Any], change: str) -> None:
    """Carry out `key=value` in the values of a recipe."""
    key, equals, value = change.partition("=")
    if not equals or not key:
        raise InputError(f"{change!r} changes nothing; write key=value, as stages.0.settings.max_steps=10")
    *path, last = key.split(".")

    def check_position(items: list[Any], part: str) -> int:
        if not part.isdecimal() or int(part) >= len(items):
            raise InputError(f"There is no {key!r} in the recipe; {part!r} leads nowhere.")
        return int(part)

    section: Any = values
    for part in path:
        if isinstance(section, list):
            section = section[check_position(section, part)]
        elif isinstance(section, dict):
            section = section.setdefault(part, {})
        else:
            raise InputError(f"There is no {key!r} in the recipe; {part!r} leads nowhere.")
    if isinstance(section, list):
        section[check_position(section, last)] = yaml.safe_load(value)
    else:
        section[last] = yaml.safe_load(value)


def _contradiction(stage: Stage, data: Data) -> str:
    """What of a stage does not go together; said before the stages ahead of it are trained."""
    if stage.algorithm == "logo" and (stage.role != "manage" or stage.engine is not None):
        return "LoGo-GRPO trains the role 'manage', in this process: leave engine out."
    if stage.algorithm == "logo" and data.source in ("rows", "traces"):
        return "LoGo-GRPO rolls out conversations; give it conversations, not rows or traces."
    if stage.algorithm == "sft" and stage.engine is not None:
        return "supervised fine-tuning samples nothing: leave engine out."
    return ""


def _first_problem(error: ValidationError) -> str:
    """The first thing that pydantic refuses, as a sentence that names what there is instead."""
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"]))
    if first["type"] == "unexpected_keyword_argument":
        sections = [_SECTIONS[part] for part in first["loc"][:-1] if part in _SECTIONS]
        names = [item.name for item in fields(sections[-1] if sections else Recipe)]
        close = difflib.get_close_matches(str(first["loc"][-1]), names, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(names)}."
        return f"unknown key {where!r}; {hint}"
    if first["type"] == "value_error":
        return f"{where}: {first['ctx']['error']}"
    return f"{where}: {first['msg']}" + (f", not {first['input']!r}" if first["type"] != "missing" else "")


def grpo_config(recipe: Recipe, stage: Stage, folder: Path) -> GRPOConfig:
    """Return TRL's settings of a stage of GRPO, PPO or LoGo-GRPO.

    Raises:
        InputError: TRL has no such setting, or refuses its value.
    """
    from trl import GRPOConfig

    ours: dict[str, Any] = {
        "max_completion_length": recipe.max_tokens,
        "temperature": 1.0,
        # As the graph's nodes have their prompts rendered, or another prompt would be learned than is deployed.
        "chat_template_kwargs": dict(CHAT_TEMPLATE_KWARGS),
    }
    if stage.curriculum:
        ours["shuffle_dataset"] = False
    return _trl_config(GRPOConfig, ours, recipe, stage, folder)


def sft_config(recipe: Recipe, stage: Stage, folder: Path) -> SFTConfig:
    """Return TRL's settings of a stage of supervised fine-tuning: only the reply is learned, and nothing is cut off.

    Raises:
        InputError: TRL has no such setting, or refuses its value.
    """
    from trl import SFTConfig

    return _trl_config(SFTConfig, {"completion_only_loss": True, "max_length": None}, recipe, stage, folder)


def _trl_config(kind: type[C], ours: dict[str, Any], recipe: Recipe, stage: Stage, folder: Path) -> C:
    """TRL's settings: the recipe's, else ours for an algorithm, else what suits this machine."""
    import torch

    names = {item.name for item in fields(kind)}
    for name in stage.settings:
        if name not in names:
            close = difflib.get_close_matches(name, names, 1)
            hint = f"; did you mean {close[0]!r}?" if close else "."
            raise InputError(f"{kind.__name__} has no setting {name!r}{hint}")
    cuda = torch.cuda.is_available()
    # transformers has renamed it.
    checkpointing = "activation_checkpointing" if "activation_checkpointing" in names else "gradient_checkpointing"
    machine = {
        "output_dir": str(folder), "seed": recipe.seed, "report_to": recipe.report_to, "logging_steps": 1,
        "save_strategy": "steps", "save_steps": 10, "save_total_limit": 2,
        "disable_tqdm": True,  # its bars would stand across ours
        # TRL's default is bf16 whatever the machine, and refuses a CPU then.
        "use_cpu": not cuda, "bf16": cuda, checkpointing: cuda,
    }  # fmt: skip
    try:
        return kind(**{**machine, **ours, **stage.settings})
    except (ValueError, TypeError) as error:
        raise InputError(f"{kind.__name__} refuses the settings: {' '.join(str(error).split())}") from error
