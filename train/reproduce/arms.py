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

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.evals.personaworld import Difficulty
from langgraph_memory_r1.train.recipe import Data, LoGoSettings, Recipe, Stage, TrainedRole

UNDISTILLED: Final = '{"selected":[],"answer":"'
"""The beginning of a reply that chooses no memories before it answers: without memory distillation."""

LONG: Final = "long16"
_LONG_WORLD: Final = Difficulty(sessions=16)
"""As the split `long16`."""
# 152 questions, as in the recipe's own data, but of fewer conversations: with four questions about each, as there, most
# of its 16 sessions would be asked about by none.
_LONG_TRAIN: Final = Data(
    source="personaworld", split="train", world=_LONG_WORLD, limit=19, questions=8, link="since"
)  # fmt: skip
_LONG_VALIDATION: Final = Data(
    source="personaworld", split="validation", world=_LONG_WORLD, limit=20, questions=8, link="since"
)  # fmt: skip
# PPO compares no group: other prompts teach it more than other replies to the same one. Its managers sample half as
# much as those of GRPO, since the critic learns from all of it, which takes time.
_PPO: Final = {"per_device_train_batch_size": 64, "num_generations": 2}
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
    start: Mapping[TrainedRole, str] = field(default_factory=dict)
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
class Experiment:
    """All that is trained and evaluated."""

    recipe: Recipe
    trainings: Mapping[str, Training]
    arms: Sequence[Arm]

    def recipe_of(self, name: str, folder: Path, seed: int) -> Recipe:
        """Return the recipe of one training, in a folder of the run."""
        training = self.trainings[name]
        start = {role: str(folder / earlier / "adapters" / role) for role, earlier in training.start.items()}
        return replace(
            self.recipe, output=str(folder / name), stages=[training.stage], start=start, seed=seed,
            train=training.train or self.recipe.train, validation=training.validation or self.recipe.validation,
        )  # fmt: skip

    def only(self, names: Sequence[str]) -> Experiment:
        """Return some of the arms, and the trainings that they need.

        Raises:
            InputError: There is no such arm.
        """
        if unknown := [name for name in names if name not in {arm.name for arm in self.arms}]:
            raise InputError(f"There is no arm {unknown[0]!r}; there are {', '.join(arm.name for arm in self.arms)}.")
        arms = [arm for arm in self.arms if arm.name in names]
        needed: set[str] = set()
        new = [name for arm in arms for name in arm.trainings.values()]
        while new:
            name = new.pop()
            needed.add(name)
            new += self.trainings[name].start.values()
        return replace(
            self, arms=arms, trainings={name: self.trainings[name] for name in self.trainings if name in needed}
        )


def paper_experiment(recipe: Recipe, labels: Path, *, most_steps: int | None = None) -> Experiment:
    """Return all arms.

    Args:
        recipe: GRPO of both agents in rounds; the base, the data and the settings of the others are its own.
        labels: Where the rows with right decisions will be, see `right_decisions.py`.
        most_steps: Cuts every stage short, to try things out.
    """

    def cut(stage: Stage) -> Stage:
        if most_steps is None:
            return stage
        return replace(stage, settings=stage.settings | {"max_steps": min(most_steps, stage.settings["max_steps"])})

    stages = [cut(stage) for stage in recipe.stages]
    managing = [stage for stage in stages if stage.role == "manage"]
    answering = [stage for stage in stages if stage.role == "answer"]
    grpo = rounds("grpo", stages)
    manager, answerer = last(grpo, "manage"), last(grpo, "answer")
    ppo = rounds("ppo", [replace(stage, algorithm="ppo", settings=stage.settings | _PPO) for stage in stages])
    roles: tuple[TrainedRole, ...] = ("answer", "manage")
    sft = [
        Training(
            f"sft-{role}", cut(Stage(role=role, algorithm="sft", settings=_SFT, eval_every=25)),
            train=Data(source="rows", path=str(labels / f"{role}.jsonl")),
        )
        for role in roles
    ]  # fmt: skip
    alone = rounds("manager-alone", managing)
    # As many steps as the answerer of the whole arm, over the banks of its manager.
    steps = sum(stage.settings["max_steps"] for stage in answering)
    prefixed = replace(
        answering[0], reply_prefix=UNDISTILLED, settings=answering[0].settings | {"max_steps": steps}
    )  # fmt: skip
    undistilled = Training("undistilled", prefixed, {"manage": manager})
    # Managers of long conversations begin with the manager of short ones, whose answerer is their judge.
    logo = replace(
        managing[0], algorithm="logo", settings=managing[0].settings | _LOGO, logo=LoGoSettings(local_probability=0.25),
        eval_every=4,
    )  # fmt: skip
    start: dict[TrainedRole, str] = {"manage": manager, "answer": answerer}
    long = [
        Training(name, stage, start, _LONG_TRAIN, _LONG_VALIDATION)
        for name, stage in {"long-grpo": managing[0], "long-logo": cut(logo)}.items()
    ]
    arms = [
        Arm("vanilla", "vanilla"),
        Arm("grpo", "GRPO, both agents", manager, answerer),
        Arm("ppo", "PPO, both agents", last(ppo, "manage"), last(ppo, "answer")),
        Arm("sft", "SFT on right decisions", last(sft, "manage"), last(sft, "answer")),
        Arm("no-manager", "GRPO, no RL manager", "", grpo[0].name),
        Arm("no-answerer", "GRPO, no RL answerer", last(alone, "manage"), ""),
        Arm("no-distillation", "GRPO, no distillation", manager, undistilled.name, UNDISTILLED),
        Arm("long-vanilla", "vanilla, 16 sessions", split=LONG),
        Arm("long-short", "16 sessions, manager of 3", manager, answerer, split=LONG),
        Arm("long-grpo", "16 sessions, GRPO on 16", "long-grpo", answerer, split=LONG),
        Arm("long-logo", "16 sessions, LoGo-GRPO on 16", "long-logo", answerer, split=LONG),
    ]
    trainings = [*grpo, *ppo, *sft, *alone, undistilled, *long]
    return Experiment(recipe, {training.name: training for training in trainings}, arms)


def rounds(name: str, stages: Sequence[Stage]) -> list[Training]:
    """Return stages as trainings, each beginning with the newest adapters of those before."""
    newest: dict[TrainedRole, str] = {}
    trainings = []
    for number, stage in enumerate(stages, 1):
        trainings.append(Training(f"{name}-{number}-{stage.role}", stage, dict(newest)))
        newest[stage.role] = trainings[-1].name
    return trainings


def last(trainings: Sequence[Training], role: TrainedRole) -> str:
    """Return the name of the last training of a role."""
    return [training.name for training in trainings if training.stage.role == role][-1]
