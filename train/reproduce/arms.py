"""What is compared, as values: trainings, and arms that name a trained manager and a trained answerer.

vanilla            the base as it is
grpo, ppo          both agents, in rounds
sft                both agents, on right decisions that the others do not see
no-manager, ...    grpo without one of its parts
long-...           managers for conversations of 16 sessions
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from langgraph_memory_r1.evals.personaworld import Difficulty
from langgraph_memory_r1.train.recipe import Data, LoGoSettings, Recipe, Stage, TrainedRole

UNDISTILLED: Final = '{"selected":[],"answer":"'
"""The beginning of a reply that chooses no memories before it answers: without memory distillation."""

LONG: Final = "long16"
_LONG_WORLD: Final = Difficulty(sessions=16)
"""As the split `long16`."""
_LONG_TRAIN: Final = Data(
    source="personaworld", split="train", world=_LONG_WORLD, limit=19, questions=8, link="since"
)  # fmt: skip
"""152 questions here too, but of fewer conversations: most sessions of one would be asked about by none of four."""
_LONG_VALIDATION: Final = Data(
    source="personaworld", split="validation", world=_LONG_WORLD, limit=20, questions=8, link="since"
)  # fmt: skip
_PPO: Final = {"per_device_train_batch_size": 64, "num_generations": 2}
"""Without groups, other prompts teach more than other replies; and the critic learns from all, which takes time."""
_SFT: Final = {"max_steps": 75, "per_device_train_batch_size": 32, "learning_rate": 1e-3, "save_steps": 25}
_LOGO: Final = {  # few steps, but each of a thousand decisions in eight conversations
    "max_steps": 12, "per_device_train_batch_size": 1, "gradient_accumulation_steps": 16, "steps_per_generation": 32,
    "num_generations": 4, "temperature": 0.7, "save_steps": 4,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Training:
    """One stage of a recipe, which several arms may share."""

    name: str
    stage: Stage
    given: Mapping[TrainedRole, str] = field(default_factory=dict)
    """The trainings whose adapters it begins with."""
    train: Data | None = None
    validation: Data | None = None
    """None: as in the recipe."""


@dataclass(frozen=True, slots=True)
class Arm:
    """A pair of agents that is evaluated end to end."""

    name: str
    title: str
    manage: str = ""
    """The training of the manager; none is the base."""
    answer: str = ""
    reply_prefix: str = ""
    """What every answer begins with."""
    split: str = "test"

    @property
    def trainings(self) -> dict[TrainedRole, str]:
        """By role, those that there are."""
        named: dict[TrainedRole, str] = {"manage": self.manage, "answer": self.answer}
        return {role: name for role, name in named.items() if name}


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is trained and evaluated."""

    recipe: Recipe
    trainings: Mapping[str, Training]
    arms: Sequence[Arm]

    def recipe_of(self, name: str, folder: Path, seed: int) -> Recipe:
        """The recipe of one training, in a folder of the run."""
        training = self.trainings[name]
        start = {role: str(folder / given / "adapters" / role) for role, given in training.given.items()}
        return replace(
            self.recipe, output=str(folder / name), stages=[training.stage], start=start, seed=seed,
            train=training.train or self.recipe.train, validation=training.validation or self.recipe.validation,
        )  # fmt: skip

    def only(self, names: Sequence[str]) -> Plan:
        """Some of the arms, and the trainings that they need."""
        arms = [arm for arm in self.arms if arm.name in names]
        needed: dict[str, Training] = {}
        for arm in arms:
            for name in arm.trainings.values():
                self._gather(name, needed)
        return replace(self, arms=arms, trainings={name: needed[name] for name in self.trainings if name in needed})

    def _gather(self, name: str, into: dict[str, Training]) -> None:
        into[name] = self.trainings[name]
        for given in self.trainings[name].given.values():
            self._gather(given, into)


def plan(recipe: Recipe, labels: Path, *, most_steps: int | None = None) -> Plan:
    """All arms.

    Args:
        recipe: GRPO of both agents in rounds; the base, the data and the settings of the others are its own.
        labels: Where the rows with right decisions will be, see `labels.py`.
        most_steps: Cuts every stage short, to try things out.
    """
    stages = [_cut(stage, most_steps) for stage in recipe.stages]
    managing = [stage for stage in stages if stage.role == "manage"]
    grpo = rounds("grpo", stages)
    manager, answerer = last(grpo, "manage"), last(grpo, "answer")
    ppo = rounds("ppo", [replace(stage, algorithm="ppo", settings=stage.settings | _PPO) for stage in stages])
    sft = _imitations(labels, most_steps)
    alone = rounds("manager-alone", managing)
    undistilled = [Training("undistilled", _undistilled(stages), {"manage": manager})]
    long = _long(managing[0], {"manage": manager, "answer": answerer}, most_steps)
    trainings = [*grpo, *ppo, *sft, *alone, *undistilled, *long]
    arms = [
        Arm("vanilla", "vanilla"),
        Arm("grpo", "GRPO, both agents", manager, answerer),
        Arm("ppo", "PPO, both agents", last(ppo, "manage"), last(ppo, "answer")),
        Arm("sft", "SFT on right decisions", last(sft, "manage"), last(sft, "answer")),
        Arm("no-manager", "GRPO, no RL manager", "", grpo[0].name),
        Arm("no-answerer", "GRPO, no RL answerer", last(alone, "manage"), ""),
        Arm("no-distillation", "GRPO, no distillation", manager, "undistilled", UNDISTILLED),
        Arm("long-vanilla", "vanilla, 16 sessions", split=LONG),
        Arm("long-short", "16 sessions, manager of 3", manager, answerer, split=LONG),
        Arm("long-grpo", "16 sessions, GRPO on 16", "long-grpo", answerer, split=LONG),
        Arm("long-logo", "16 sessions, LoGo-GRPO on 16", "long-logo", answerer, split=LONG),
    ]
    return Plan(recipe, {training.name: training for training in trainings}, arms)


def rounds(name: str, stages: Sequence[Stage], given: Mapping[TrainedRole, str] | None = None) -> list[Training]:
    """Stages one after the other, each beginning with the newest adapters of those before."""
    newest: dict[TrainedRole, str] = dict(given or {})
    found = []
    for number, stage in enumerate(stages, 1):
        found.append(Training(f"{name}-{number}-{stage.role}", stage, dict(newest)))
        newest[stage.role] = found[-1].name
    return found


def last(trainings: Sequence[Training], role: TrainedRole) -> str:
    """The last training of a role."""
    return [training.name for training in trainings if training.stage.role == role][-1]


def _cut(stage: Stage, most: int | None) -> Stage:
    if most is None:
        return stage
    return replace(stage, settings=stage.settings | {"max_steps": min(most, stage.settings["max_steps"])})


def _imitations(labels: Path, most: int | None) -> list[Training]:
    roles: tuple[TrainedRole, ...] = ("answer", "manage")
    return [
        Training(
            f"sft-{role}", _cut(Stage(role=role, algorithm="sft", settings=_SFT, eval_every=25), most),
            train=Data(source="rows", path=str(labels / f"{role}.jsonl")),
        )
        for role in roles
    ]  # fmt: skip


def _undistilled(stages: Sequence[Stage]) -> Stage:
    """As many steps as the answerer of the whole arm, over the banks of its manager."""
    answering = [stage for stage in stages if stage.role == "answer"]
    steps = sum(stage.settings["max_steps"] for stage in answering)
    return replace(answering[0], reply_prefix=UNDISTILLED, settings=answering[0].settings | {"max_steps": steps})


def _long(managing: Stage, given: Mapping[TrainedRole, str], most: int | None) -> list[Training]:
    """Managers of long conversations: GRPO on single decisions, and LoGo-GRPO.

    Both begin with the manager of short ones, whose answerer is their judge.
    """
    logo = replace(
        managing, algorithm="logo", settings=managing.settings | _LOGO, logo=LoGoSettings(local_probability=0.25),
        eval_every=4,
    )  # fmt: skip
    stages = {"long-grpo": managing, "long-logo": _cut(logo, most)}
    return [Training(name, stage, given, _LONG_TRAIN, _LONG_VALIDATION) for name, stage in stages.items()]
