"""The arms of `make reproduce`, what is counted about them, and the smoke run on the real tiny base."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra `train` is not installed")

from langgraph_memory_r1.bank.base import MemoryFork
from langgraph_memory_r1.evals.personaworld import Story, demonstrate, generate
from langgraph_memory_r1.prompts import parse, write
from langgraph_memory_r1.retrieval import Index
from langgraph_memory_r1.schemas import Add, Conversation
from langgraph_memory_r1.train.recipe import Recipe, find_recipe, read_recipe
from langgraph_memory_r1.train.reproduce.arms import Experiment, paper_experiment
from langgraph_memory_r1.train.reproduce.claims import as_markdown, claims
from langgraph_memory_r1.train.reproduce.confusion import DONE, added, confusion
from langgraph_memory_r1.train.reproduce.outcome import ArmOutcome
from langgraph_memory_r1.train.reproduce.right_decisions import answer_rows, manager_rows
from langgraph_memory_r1.train.rollout import Rollout, episodes_of
from langgraph_memory_r1.train.tiny import BASE

NOTHING = {right: dict.fromkeys(DONE, 0) for right in ("ADD", "UPDATE", "DELETE", "NOOP")}


@pytest.fixture(scope="module")
def stories() -> list[Story]:
    return generate("validation", conversations=8)


@pytest.fixture
def whole(tmp_path: Path) -> Experiment:
    return paper_experiment(read_recipe(find_recipe("tiny-grpo")), tmp_path / "labels")


def outcome(em: float) -> ArmOutcome:
    return ArmOutcome(em, {"single-hop": em}, 1, 4, 3.0, NOTHING, 0.1)


def test_every_arm_names_trainings_that_come_before_it_and_train_its_role(whole: Experiment) -> None:
    names = list(whole.trainings)
    for number, training in enumerate(whole.trainings.values()):
        assert all(names.index(earlier) < number for earlier in training.start.values())
        assert all(whole.trainings[name].stage.role == role for role, name in training.start.items())
    for arm in whole.arms:
        assert all(whole.trainings[name].stage.role == role for role, name in arm.trainings.items())


def test_ablations_share_the_trainings_of_the_whole_arm(whole: Experiment) -> None:
    grpo = set(whole.only(["grpo"]).trainings)
    assert set(whole.only(["no-manager"]).trainings) < grpo
    assert set(whole.only(["no-distillation"]).trainings) - grpo == {"undistilled"}
    assert not set(whole.only(["no-answerer"]).trainings) & grpo
    assert not whole.only(["vanilla"]).trainings
    long = [whole.only([name]).trainings for name in ("long-grpo", "long-logo")]
    assert {one.train for found in long for name, one in found.items() if name.startswith("long")} == {
        whole.trainings["long-logo"].train
    }


def test_each_round_begins_with_the_newest_adapters(whole: Experiment, tmp_path: Path) -> None:
    recipe = whole.recipe_of("grpo-4-manage", tmp_path, seed=2)
    assert recipe.start == {
        "answer": str(tmp_path / "grpo-3-answer/adapters/answer"),
        "manage": str(tmp_path / "grpo-2-manage/adapters/manage"),
    }
    assert recipe.seed == 2 and [stage.role for stage in recipe.stages] == ["manage"]


def test_right_decisions_are_rows_that_can_be_imitated(stories: list[Story]) -> None:
    managed = [row for story in stories for row in manager_rows(story, 6)]
    answered = [row for story in stories for row in answer_rows(story, 10)]
    assert {row.kind for row in managed} >= {"new", "additive", "correction", "retraction", "repetition"}
    for row in managed:
        assert row.gold is not None and parse(write(row.gold, row.role_input), row.role_input)
    for row in answered:
        assert row.selected is not None
        if row.kind in ("single-hop", "temporal"):
            assert len(row.selected) == 1


def perfect(stories: Sequence[Story]) -> list[Rollout]:
    rollouts = []
    for story, episode in zip(stories, episodes_of([story.conversation for story in stories]), strict=True):
        bank = MemoryFork(Index())
        before = {step.turn.id: MemoryFork(Index(step.bank)) for step in demonstrate(story, bank)}
        banks = [before.get(step.turns[0].id, bank) for step in episode.steps]
        rollouts.append(Rollout(episode, bank, before=banks))
    return rollouts


def test_a_manager_that_makes_no_mistake_stands_on_the_diagonal() -> None:
    stories = generate("validation", conversations=8)
    # The bank after a step is read off the next step, so every turn has to hold a fact.
    stories = [story for story in stories if all(step.facts for step in episodes_of([story.conversation])[0].steps)]
    assert stories
    matrix = confusion(perfect(stories), stories)
    assert all(matrix[right][done] == 0 for right in matrix for done in DONE if done != right)
    assert all(matrix[right][right] for right in ("ADD", "UPDATE", "NOOP"))
    assert sum(map(sum, (row.values() for row in matrix.values()))) == sum(len(story.events) for story in stories)


def test_what_is_right_depends_on_the_bank_as_it_stands(stories: list[Story]) -> None:
    episodes = episodes_of([story.conversation for story in stories])
    idle = [Rollout(e, MemoryFork(Index()), before=[MemoryFork(Index()) for _ in e.steps]) for e in episodes]
    matrix = confusion(idle, stories)
    assert matrix["UPDATE"] == matrix["DELETE"] == dict.fromkeys(DONE, 0)
    assert matrix["ADD"]["NOOP"] > matrix["NOOP"]["NOOP"] > 0
    assert added([matrix, matrix])["ADD"]["NOOP"] == 2 * matrix["ADD"]["NOOP"]


def test_a_change_of_something_else_has_a_column_of_its_own(stories: list[Story]) -> None:
    [episode] = episodes_of([stories[0].conversation])
    place = next(n for n, event in enumerate(stories[0].events) if event.kind == "new" and episode.steps[n].facts)
    step, bank = replace(episode, steps=episode.steps[place : place + 1]), MemoryFork(Index())
    bank.apply([Add("Somebody's boat: Ark.")])
    matrix = confusion([Rollout(step, MemoryFork(Index()), before=[bank])], stories[:1])
    assert matrix["ADD"]["DELETE of another"] == 1


def test_the_table_says_what_holds_and_what_does_not(whole: Experiment) -> None:
    outcomes = {"vanilla": [outcome(0.4), outcome(0.5)], "grpo": [outcome(0.9), outcome(0.8)], "ppo": [outcome(0.7)]}
    text = as_markdown(whole.arms, outcomes, {"grpo": 3.25})
    assert "| GRPO, both agents | 2 | 0.850 ± 0.071 | 0.85 | - | - | - | 3.2 |" in text
    assert "- yes: GRPO gains at least 0.30 (0.400, limit 0.300)" in text
    assert "- NO: PPO gains at least 0.8 of that (0.250, limit 0.320)" in text
    assert f"{datetime.now(UTC):%Y-%m-%d}" in text and "2 seeds" in text
    assert not [claim for claim in claims(outcomes) if "LoGo" in claim.text]


def arguments(base: str | Path, out: Path, *more: str) -> list[str]:
    module = "langgraph_memory_r1.train.reproduce"
    return [sys.executable, "-m", module, "--base", str(base), "--out", str(out), *more]


def run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


@pytest.fixture(scope="module")
def small_base(tmp_path_factory: pytest.TempPathFactory) -> str:
    from support.taught_model import taught_base

    return str(taught_base(tmp_path_factory.mktemp("base") / "base"))


@pytest.fixture
def recipe(small_base: str) -> Recipe:
    return replace(read_recipe(find_recipe("tiny-grpo"), [f"base={small_base}"]), max_tokens=40)


@pytest.mark.slow
def test_the_evaluation_answers_as_the_graph_does(recipe: Recipe, stories: list[Story], tmp_path: Path) -> None:
    from langgraph_memory_r1 import create_memory_graph, load_chat_model
    from langgraph_memory_r1.batches import Limits
    from langgraph_memory_r1.train.reproduce.outcome import evaluate, play

    told = stories[:2]
    rollouts, answers = play(recipe, {}, told)
    given = iter(answers)
    for number, story in enumerate(told):
        conversation: Conversation = story.conversation
        asked = conversation.questions[0].at or datetime.now(UTC)
        how: dict[str, Any] = {"style": recipe.style, "related_k": recipe.related_k, "k": recipe.k}
        model = load_chat_model(f"hf:{recipe.base}", max_tokens=recipe.max_tokens)
        graph = create_memory_graph(
            str(tmp_path / str(number)), manager=model, answerer=model, limits=Limits(batch_turns=1),
            clock=lambda asked=asked: asked, **how,
        )  # fmt: skip
        graph.invoke({"turns": conversation.turns})
        for question in conversation.questions:
            assert graph.invoke({"question": question.text})["answer"] == next(given).text
    found = evaluate(recipe, {}, told)
    assert found.questions == len(answers) == 8 and 0 <= found.em <= 1
    assert found.memories == sum(len(rollout.bank) for rollout in rollouts) / 2 > 0


@pytest.mark.slow
def test_a_run_that_was_killed_does_nothing_again_that_was_done(small_base: str, tmp_path: Path) -> None:
    command = arguments(small_base, tmp_path, "--steps", "1", "--arms", "vanilla,no-manager", "--workers", "1")
    first = tmp_path / "seed0" / "outcomes" / "vanilla.json"
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    while not list(tmp_path.glob("seed0/*/seconds.txt")) and not first.exists() and process.poll() is None:
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = {file: file.stat().st_mtime_ns for file in [*tmp_path.glob("seed0/*/seconds.txt"), first] if file.exists()}
    again = run(command)
    assert again.returncode == 0, again.stderr[-2000:]
    assert done and all(file.stat().st_mtime_ns == at for file, at in done.items())
    assert "| GRPO, no RL manager | 1 | 0." in again.stdout and "| vanilla | 1 | 0." in again.stdout
    report = json.loads((tmp_path / "report.json").read_text())
    assert [arm["name"] for arm in report["arms"]] == ["vanilla", "no-manager"]
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_without_a_base_or_an_arm_it_says_what_to_do(tmp_path: Path, small_base: str) -> None:
    none = run(arguments(tmp_path / "none", tmp_path / "out", "--arms", "vanilla"))
    assert none.returncode == 2 and "cannot be loaded" in none.stderr
    wrong = run(arguments(small_base, tmp_path / "out", "--arms", "grop"))
    assert wrong.returncode == 2 and "There is no arm 'grop'; there are vanilla, grpo" in wrong.stderr


@pytest.mark.slow
@pytest.mark.skipif(
    not (BASE / "tokenizer.json").exists(),
    reason="the tiny base is not made; run python -m langgraph_memory_r1.train.tiny.pretrain train/tiny/base",
)
def test_ten_steps_of_everything_on_the_tiny_base(tmp_path: Path) -> None:
    done = run(arguments(BASE, tmp_path, "--smoke"))
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert [line.split(",")[0].split(":")[0] for line in lines[:4]] == [
        "GRPO", "GRPO", "PPO", "LoGo-GRPO",
    ]  # fmt: skip
    assert lines[-1] == "The graph with both adapters gives the evaluation's 16 answers."
