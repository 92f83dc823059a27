"""What was trained does in the graph what it did in training: the same scores, to the digit, with and without it.

But for one thing: about a fact on which no decision can be read training changes nothing, and the graph adds the fact.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from support.command import Command

pytest.importorskip("trl", reason="the extra `train` is not installed")

import torch
from safetensors.torch import load_file, save_file

from langgraph_memory_r1 import Conversation, LanceDBStore, MemoryBank, create_memory_graph, load_chat_model, roles
from langgraph_memory_r1.batches import Limits
from langgraph_memory_r1.evals.personaworld import generate
from langgraph_memory_r1.graph import MemoryGraph
from langgraph_memory_r1.models import RulesChatModel
from langgraph_memory_r1.scoring import f1_mem0
from langgraph_memory_r1.train.models import ChatPolicy, load_role_models
from langgraph_memory_r1.train.recipe import Recipe, read_recipe
from langgraph_memory_r1.train.rewards import AnswerReward, FrozenAnswerer, ManagerReward
from langgraph_memory_r1.train.rollout import RolePolicy, answer_questions, episodes_of, final_banks
from langgraph_memory_r1.train.rows import Probe, probe_of, read_rows
from langgraph_memory_r1.train.validation import greedy_score

pytestmark = pytest.mark.slow  # TRL alone takes seconds to load

RECIPE = """
base: {folder}/base
output: {folder}/run
builder: rules
judge: rules
metric: f1_mem0
max_tokens: 24
related_k: 6
k: 10
lora: {{r: 4, alpha: 8}}
train: {{source: personaworld, split: train, limit: 8}}
validation: {{source: personaworld, split: validation, limit: 5}}
stages:
- role: answer
  eval_every: 2
  settings: &settings
    max_steps: 4
    per_device_train_batch_size: 32
    num_generations: 8
    learning_rate: 0.03
- role: manage
  eval_every: 2
  settings: *settings
"""


@dataclass
class Clock:
    """Stands at the moment at which a question is asked."""

    at: datetime = datetime(2024, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at


@dataclass(frozen=True)
class Trained:
    recipe: Recipe
    found: dict[str, Any]
    conversations: list[Conversation]

    def model(self, role: str, which: str) -> Any:
        """The base as it is, with the adapter that was trained, or with one that surely decides in another way."""
        known: Any = role
        adapter = {"base": None, "trained": self.found[role].folder, "noise": self.noise(role)}[which]
        return load_chat_model(f"hf:{self.recipe.base}", adapter, role=known, max_tokens=self.recipe.max_tokens)

    def noise(self, role: str) -> Path:
        return Path(self.recipe.output) / "noise" / role

    def rows(self, role: str) -> list[Any]:
        stage = {"answer": "1-answer", "manage": "2-manage"}[role]
        return list(read_rows(Path(self.recipe.output) / stage / "validation.jsonl", strict=True))

    def score(self, role: str, which: str) -> Any:
        """What training says, or would say."""
        if which != "noise":
            return self.found[role].score if which == "trained" else self.found[role].before
        known: Any = role
        policy = load_role_models(self.recipe, known, {role: self.noise(role)}).policy(known)
        rules = RolePolicy(ChatPolicy(RulesChatModel()), "full", self.recipe.k)
        judged = ManagerReward(self.rows(role), FrozenAnswerer(rules, f1_mem0))
        reward = AnswerReward(self.rows(role), f1_mem0) if role == "answer" else judged
        return greedy_score(RolePolicy(policy, self.recipe.style), self.rows(role), reward)

    def graph(self, bank: Path, clock: Clock, **models: Any) -> MemoryGraph:
        recipe = self.recipe
        return create_memory_graph(
            str(bank), style=recipe.style, related_k=recipe.related_k, k=recipe.k,
            limits=Limits(batch_turns=1), clock=clock, **models,
        )  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    from langgraph_memory_r1.train.run import train
    from support.taught_model import taught_base

    folder = tmp_path_factory.mktemp("trained")
    taught_base(folder / "base")
    path = folder / "recipe.yaml"
    path.write_text(RECIPE.format(folder=folder))
    recipe = read_recipe(path)
    told = [story.conversation for story in generate("validation", conversations=5)]
    made = Trained(recipe, {one.role: one for one in train(recipe)}, told)
    for role, one in made.found.items():
        weights = made.noise(role) / "adapter_model.safetensors"
        shutil.copytree(one.folder, made.noise(role))
        save_file({name: torch.randn_like(value) for name, value in load_file(weights).items()}, weights)
    return made


@pytest.fixture(autouse=True)
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """The graph takes a reply whole or not at all, as training does, which must not reward what was made of it."""
    monkeypatch.setattr(roles, "ask_manager", roles.ask_manager_strictly)


def scores(graph: MemoryGraph, clock: Clock, probes: Iterable[Probe]) -> list[float]:
    found = []
    for probe in probes:
        assert probe.at is not None
        clock.at = probe.at
        found.append(f1_mem0(graph.invoke({"question": probe.question})["answer"], probe.gold))
    return found


@pytest.mark.parametrize("which", ["base", "trained", "noise"])
def test_the_answer_adapter_scores_in_the_graph_as_in_training(trained: Trained, tmp_path: Path, which: str) -> None:
    clock, answerer = Clock(), trained.model("answer", which)
    found: list[float] = []
    for one in trained.conversations:
        graph = trained.graph(tmp_path / one.id, clock, manager="rules", answerer=answerer)
        graph.invoke({"turns": one.turns})
        found += scores(graph, clock, map(probe_of, one.questions))
    assert sum(found) / len(found) == trained.score("answer", which)
    assert 0 < trained.found["answer"].score < 1


@pytest.mark.parametrize("which", ["base", "trained", "noise"])
def test_the_manager_adapter_scores_in_the_graph_as_in_training(trained: Trained, tmp_path: Path, which: str) -> None:
    told = {one.id: one.turns for one in trained.conversations}
    clock, manager = Clock(), trained.model("manage", which)
    found: list[float] = []
    for row in trained.rows("manage"):
        before, now = told[row.episode][: row.step], told[row.episode][row.step]
        trained.graph(tmp_path / row.id, clock, manager="rules").invoke({"turns": before})
        graph = trained.graph(tmp_path / row.id, clock, manager=manager, answerer="rules")
        graph.invoke({"turns": [now]})
        row_scores = scores(graph, clock, row.probes)
        found.append(sum(row_scores) / len(row_scores))
    assert sum(found) / len(found) == trained.score("manage", which)
    assert 0 < trained.found["manage"].score < 1


def test_both_adapters_together_do_in_the_graph_what_they_do_in_batches(trained: Trained, tmp_path: Path) -> None:
    recipe = trained.recipe
    actors = load_role_models(recipe, "manage", {role: one.folder for role, one in trained.found.items()})
    banks = final_banks(episodes_of(trained.conversations), RolePolicy(actors.manage, recipe.style, recipe.related_k))
    asked = [(bank, each) for bank, one in zip(banks, trained.conversations, strict=True) for each in one.questions]
    expected = [answer.text for answer in answer_questions(asked, RolePolicy(actors.answer, recipe.style, recipe.k))]
    clock = Clock()
    models = {"manager": trained.model("manage", "trained"), "answerer": trained.model("answer", "trained")}
    got: list[str] = []
    for one, bank in zip(trained.conversations, banks, strict=True):
        graph = trained.graph(tmp_path / one.id, clock, **models)
        graph.invoke({"turns": one.turns})
        kept = MemoryBank(LanceDBStore(str(tmp_path / one.id)), "default")
        assert [memory.text for memory in kept.all()] == [memory.text for memory in bank.all()]
        for question in one.questions:
            assert question.at is not None
            clock.at = question.at
            got.append(graph.invoke({"question": question.text})["answer"])
    assert got == expected


def test_rows_with_and_without_each_adapter_stand_in_one_report(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ["memory-r1", "memory-r1:base", "memory-r1:manager", "memory-r1:answerer"]
    out = tmp_path / "evaluated"
    cli = Command(tmp_path, monkeypatch, capsys)
    done = cli(
        "eval", "personaworld", "--split", "validation", "--world", "conversations=5", "--out", str(out),
        "--trained", trained.recipe.output, "--systems", ",".join(rows),
        "--manager-adapter", str(trained.noise("manage")), "--answerer-adapter", str(trained.noise("answer")),
    )  # fmt: skip
    assert done.code == 0, done.err
    results = [json.loads(line) for line in (out / "results.jsonl").read_text("utf-8").splitlines()]
    answers = {name: [line["answer"] for line in results if line["system"] == name] for name in rows}
    assert [len(said) for said in answers.values()] == [20] * 4
    banks = [json.loads(line) for line in (out / "banks.jsonl").read_text("utf-8").splitlines()]
    kept = {name: [line["operations"] for line in banks if line["system"] == name] for name in rows}
    assert kept["memory-r1"] == kept["memory-r1:manager"] != kept["memory-r1:base"] == kept["memory-r1:answerer"]
    assert answers["memory-r1:answerer"] != answers["memory-r1:base"]
    manifest = json.loads((out / "manifest.json").read_text("utf-8"))
    assert (manifest["k"], manifest["related_k"], manifest["batch_turns"], manifest["style"]) == (10, 6, 1, "compact")
    report = (out / "report.md").read_text("utf-8")
    assert "with the adapter of the manager only" in report and "without adapters" in report
    compared = cli("eval", "compare", str(out), "--system", "memory-r1:base,memory-r1")
    assert compared.code == 0 and "memory-r1:base" in compared.out, compared.err
