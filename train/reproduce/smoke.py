"""A few steps of everything, with checks: `make reproduce-smoke`, in about two minutes.

GRPO of the answerer and then of the manager, which is killed in the middle and goes on, PPO and LoGo-GRPO; the reward
has risen; both adapters answer in the graph as they do in the evaluation.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Any

from langgraph_memory_r1.errors import MemoryR1Error
from langgraph_memory_r1.evals.personaworld import Story, generate
from langgraph_memory_r1.train.recipe import Data, Recipe, Stage, find_recipe, read_recipe

STEPS = 10
_KILLED_AFTER = 6
_COUNTED = 4
"""Steps at the beginning and at the end whose mean rewards are compared."""

Tell = Callable[[str], None]


class SmokeError(MemoryR1Error, AssertionError):
    """A check of the smoke run failed."""


def run(base: str, folder: Path, tell: Tell) -> None:
    """Train a little of everything and check it.

    Args:
        base: The folder of the tiny base.
        folder: For all that is written; it has to be empty or not there yet, or hold a smoke run.
        tell: Hears what was checked.

    Raises:
        SmokeError: A check failed.
    """
    import torch

    torch.set_num_threads(1)
    recipe = _recipe(base)
    answerer = _trained(recipe, _stage("answer", "grpo"), folder / "grpo-answer", {})
    tell(f"GRPO, answerer: {_risen(folder / 'grpo-answer' / '1-answer')}")
    manager = _killed_and_trained(recipe, folder / "grpo-manage", answerer, tell)
    _trained(recipe, _stage("manage", "ppo"), folder / "ppo-manage", {"answer": answerer})
    tell(f"PPO, manager: {_log(folder / 'ppo-manage' / '1-manage')}")
    _trained(recipe, _stage("manage", "logo"), folder / "logo-manage", {"answer": answerer})
    tell(f"LoGo-GRPO, manager: {_log(folder / 'logo-manage' / '1-manage')}")
    tell(_in_the_graph(recipe, {"manage": manager, "answer": answerer}, generate("test", conversations=4)))


def _recipe(base: str) -> Recipe:
    recipe = read_recipe(find_recipe("tiny-grpo"), [f"base={base}"])
    # The same few questions again and again: with others in every step, chance would hide what was learned.
    few = Data(source="personaworld", split="train", limit=5)
    return replace(recipe, train=few, validation=replace(few, split="validation"))


def _stage(role: Any, algorithm: Any) -> Stage:
    settings: dict[str, Any] = {
        "max_steps": STEPS, "per_device_train_batch_size": 64, "num_generations": 8, "save_steps": 2,
        "learning_rate": 2e-3, "lr_scheduler_type": "constant",
    }  # fmt: skip
    if algorithm == "logo":
        settings |= {"max_steps": 2, "per_device_train_batch_size": 8, "num_generations": 4}
    if algorithm == "ppo":
        settings |= {"per_device_train_batch_size": 32, "num_generations": 2}
    return Stage(role=role, algorithm=algorithm, settings=settings, eval_every=STEPS)


def _trained(recipe: Recipe, stage: Stage, folder: Path, start: Mapping[Any, Path]) -> Path:
    """The adapter of a stage."""
    from langgraph_memory_r1.train.run import train

    [found] = train(_of(recipe, stage, folder, start))
    return found.folder


def _of(recipe: Recipe, stage: Stage, folder: Path, start: Mapping[Any, Path]) -> Recipe:
    return replace(
        recipe, stages=[stage], output=str(folder), start={role: str(place) for role, place in start.items()}
    )


def _killed_and_trained(recipe: Recipe, folder: Path, answerer: Path, tell: Tell) -> Path:
    """The manager, by a process that is killed and another one that goes on."""
    stage, start = _stage("manage", "grpo"), {"answer": answerer}
    place = folder / "1-manage"
    if not (place / "done.json").exists():
        doomed = multiprocessing.get_context("spawn").Process(
            target=_train_until_killed, args=(_of(recipe, stage, folder, start),)
        )
        doomed.start()
        doomed.join()
        _check(doomed.exitcode == -signal.SIGKILL, f"killed by SIGKILL, not ended with {doomed.exitcode}")
        _check(not (place / "done.json").exists(), "killed before the end")
    manager = _trained(recipe, stage, folder, start)
    steps = [entry["step"] for entry in _entries(place)]
    _check(steps == list(range(1, STEPS + 1)), f"every step once, not {steps}")
    tell(f"GRPO, manager, killed in step {_KILLED_AFTER} and gone on with: {_risen(place)}")
    return manager


def _train_until_killed(recipe: Recipe) -> None:
    import torch
    from transformers import TrainerCallback

    from langgraph_memory_r1.train.run import train

    class Kill(TrainerCallback):  # type: ignore[misc]
        """At the end of a step, before it is saved."""

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == _KILLED_AFTER:
                os.kill(os.getpid(), signal.SIGKILL)

    torch.set_num_threads(1)
    train(recipe, callbacks=[Kill()])


def _entries(place: Path) -> list[dict[str, Any]]:
    """What was logged for the steps of a stage."""
    lines = (place / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [entry for entry in map(json.loads, lines) if "reward" in entry]


def _log(place: Path) -> str:
    entries = _entries(place)
    rewards = [entry["reward"] for entry in entries]
    _check(any(entry["grad_norm"] > 0 for entry in entries), f"{place} has learned something")
    _check(len(rewards) >= 1 and all(0 <= reward <= 1 for reward in rewards), f"rewards between 0 and 1: {rewards}")
    return f"{len(rewards)} steps, reward {rewards[0]:.2f} to {rewards[-1]:.2f}"


def _risen(place: Path) -> str:
    rewards = [entry["reward"] for entry in _entries(place)]
    first, last = mean(rewards[:_COUNTED]), mean(rewards[-_COUNTED:])
    _check(last > first, f"the reward rises: {first:.3f} in the first {_COUNTED} steps, {last:.3f} in the last")
    return f"{len(rewards)} steps, mean reward of the first {_COUNTED} {first:.2f}, of the last {last:.2f}"


def _in_the_graph(recipe: Recipe, folders: Mapping[str, Path], stories: list[Story]) -> str:
    """The adapters answer in the graph what they answer in the evaluation."""
    from langgraph_memory_r1.train.reproduce.outcome import play

    answers = [answer.text for answer in play(recipe, folders, stories)[1]]
    with ExitStack() as stack:
        graph_answers = [
            text
            for story in stories
            for text in _asked(recipe, folders, story, stack.enter_context(TemporaryDirectory()))
        ]
    _check(graph_answers == answers, f"the graph answers {graph_answers}, the evaluation {answers}")
    return f"The graph with both adapters gives the evaluation's {len(answers)} answers."


def _asked(recipe: Recipe, folders: Mapping[str, Path], story: Story, place: str) -> Iterator[str]:
    """The graph's answers about a conversation."""
    from langgraph_memory_r1 import create_memory_graph, load_chat_model
    from langgraph_memory_r1.batches import Limits

    def model(role: Any) -> Any:
        return load_chat_model(f"hf:{recipe.base}", adapter=folders[role], role=role, max_tokens=recipe.max_tokens)

    questions = story.conversation.questions
    asked = questions[0].at or datetime.now(UTC)
    graph = create_memory_graph(
        place, manager=model("manage"), answerer=model("answer"), style=recipe.style, related_k=recipe.related_k,
        k=recipe.top_k, limits=Limits(batch_turns=1), clock=lambda: asked,
    )  # fmt: skip
    graph.invoke({"turns": story.conversation.turns})
    yield from (graph.invoke({"question": question.text})["answer"] for question in questions)


def _check(holds: bool, text: str) -> None:
    if not holds:
        raise SmokeError(f"The smoke run fell short: {text}.")
