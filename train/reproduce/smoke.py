"""A few steps of everything, with checks: `make reproduce-smoke`, in about two minutes.

GRPO of the answerer and then of the manager, which is killed in the middle and goes on, PPO and LoGo-GRPO; the reward
has risen; both adapters answer in the graph as they do in the evaluation.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping
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
# Checkpoints come after every second step, and the kill just before that of this one: 5 and 6 are done again.
_KILLED_AFTER = 6
_COUNTED = 4
"""Steps at the beginning and at the end whose mean rewards are compared."""


class SmokeError(MemoryR1Error, AssertionError):
    """A check of the smoke run failed."""


def run(base: str, folder: Path, notify: Callable[[str], None]) -> None:
    """Train a little of everything and check it.

    Args:
        base: The folder of the tiny base.
        folder: For all that is written; it has to be empty or not there yet, or hold a smoke run.
        notify: Called with what was checked, a sentence each.

    Raises:
        SmokeError: A check failed.
    """
    import torch

    torch.set_num_threads(1)
    # The same few questions again and again: with others in every step, chance would hide what was learned.
    few = Data(source="personaworld", split="train", limit=5)
    recipe = read_recipe(find_recipe("tiny-grpo"), [f"base={base}"])
    recipe = replace(recipe, train=few, validation=replace(few, split="validation"))
    answerer = _trained(recipe, _stage("answer", "grpo"), folder / "grpo-answer", {})
    notify(f"GRPO, answerer: {_check_risen(folder / 'grpo-answer' / '1-answer')}")

    stage, start = _stage("manage", "grpo"), {"answer": answerer}
    own = folder / "grpo-manage" / "1-manage"
    if not (own / "done.json").exists():
        killed = multiprocessing.get_context("spawn").Process(
            target=train_until_killed, args=(_with_stage(recipe, stage, folder / "grpo-manage", start),)
        )
        killed.start()
        killed.join()
        _check(killed.exitcode == -signal.SIGKILL, f"killed by SIGKILL, not ended with {killed.exitcode}")
        _check(not (own / "done.json").exists(), "killed before the end")
    manager = _trained(recipe, stage, folder / "grpo-manage", start)
    steps = [log["step"] for log in _logs(own)]
    _check(steps == list(range(1, STEPS + 1)), f"every step once, not {steps}")
    notify(f"GRPO, manager, killed in step {_KILLED_AFTER} and gone on with: {_check_risen(own)}")

    for algorithm, name in (("ppo", "PPO"), ("logo", "LoGo-GRPO")):
        _trained(recipe, _stage("manage", algorithm), folder / f"{algorithm}-manage", start)
        logs = _logs(folder / f"{algorithm}-manage" / "1-manage")
        rewards = [log["reward"] for log in logs]
        _check(any(log["grad_norm"] > 0 for log in logs), f"{name} has learned something")
        _check(len(rewards) >= 1 and all(0 <= reward <= 1 for reward in rewards), f"rewards between 0 and 1: {rewards}")
        notify(f"{name}, manager: {len(rewards)} steps, reward {rewards[0]:.2f} to {rewards[-1]:.2f}")
    notify(_check_in_the_graph(recipe, {"manage": manager, "answer": answerer}, generate("test", conversations=4)))


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

    [trained] = train(_with_stage(recipe, stage, folder, start))
    return trained.folder


def _with_stage(recipe: Recipe, stage: Stage, folder: Path, start: Mapping[Any, Path]) -> Recipe:
    return replace(
        recipe, stages=[stage], output=str(folder), start={role: str(adapter) for role, adapter in start.items()}
    )


def train_until_killed(recipe: Recipe) -> None:
    """Carry out a recipe in a process of its own, which kills itself in the middle."""
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


def _logs(stage: Path) -> list[dict[str, Any]]:
    """What was logged for the steps of a stage."""
    lines = (stage / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [log for log in map(json.loads, lines) if "reward" in log]


def _check_risen(stage: Path) -> str:
    rewards = [log["reward"] for log in _logs(stage)]
    first, last = mean(rewards[:_COUNTED]), mean(rewards[-_COUNTED:])
    _check(last > first, f"the reward rises: {first:.3f} in the first {_COUNTED} steps, {last:.3f} in the last")
    return f"{len(rewards)} steps, mean reward of the first {_COUNTED} {first:.2f}, of the last {last:.2f}"


def _check_in_the_graph(recipe: Recipe, folders: Mapping[str, Path], stories: list[Story]) -> str:
    """The adapters answer in the graph what they answer in the evaluation."""
    from langgraph_memory_r1 import create_memory_graph, load_chat_model
    from langgraph_memory_r1.batches import Limits
    from langgraph_memory_r1.train.reproduce.outcome import play

    def model(role: Any) -> Any:
        return load_chat_model(f"hf:{recipe.base}", adapter=folders[role], role=role, max_tokens=recipe.max_tokens)

    answers = [answer.text for answer in play(recipe, folders, stories, salvage=True)[1]]
    graph_answers = []
    for story in stories:
        questions = story.conversation.questions
        now = questions[0].at or datetime.now(UTC)

        def clock(now: datetime = now) -> datetime:
            return now

        with TemporaryDirectory() as bank:
            graph = create_memory_graph(
                bank, manager=model("manage"), answerer=model("answer"), style=recipe.style,
                related_k=recipe.related_k, k=recipe.k, limits=Limits(batch_turns=1), clock=clock,
            )  # fmt: skip
            graph.invoke({"turns": story.conversation.turns})
            graph_answers += [graph.invoke({"question": question.text})["answer"] for question in questions]
    _check(graph_answers == answers, f"the graph answers {graph_answers}, the evaluation {answers}")
    return f"The graph with both adapters gives the evaluation's {len(answers)} answers."


def _check(holds: bool, text: str) -> None:
    if not holds:
        raise SmokeError(f"The smoke run fell short: {text}.")
