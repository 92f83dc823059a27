"""What was trained does in the graph what it did in training: the same scores, to the digit, with and without it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl", reason="the extra `train` is not installed")

from langgraph_memory_r1 import Conversation, LanceDBStore, MemoryBank, create_memory_graph, load_chat_model
from langgraph_memory_r1.evals.personaworld import generate
from langgraph_memory_r1.graph import MemoryGraph
from langgraph_memory_r1.scoring import f1_mem0
from langgraph_memory_r1.train.actors import load_actors
from langgraph_memory_r1.train.construction import probe_of
from langgraph_memory_r1.train.episodes import Deciding, ask, episodes_of, remember
from langgraph_memory_r1.train.recipe import Recipe, read_recipe
from langgraph_memory_r1.train.rows import ManagerRow, Probe, read_rows
from langgraph_memory_r1.turns import Limits

pytestmark = pytest.mark.slow  # TRL alone takes seconds to load

RECIPE = """
base: {folder}/base
output: {folder}/run
builder: rules
judge: rules
metric: f1_mem0
max_tokens: 24
related_k: 6
top_k: 10
lora: {{r: 4, alpha: 8}}
train: {{source: personaworld, split: train, limit: 8}}
validation: {{source: personaworld, split: validation, limit: 5}}
stages:
- role: answer
  eval_every: 2
  settings: &settings
    max_steps: 12
    per_device_train_batch_size: 32
    num_generations: 8
    learning_rate: 0.03
    lr_scheduler_type: constant
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
    found: list[Any]
    conversations: list[Conversation]

    def model(self, role: str, *, tuned: bool) -> Any:
        adapter = next(one.folder for one in self.found if one.role == role) if tuned else None
        known: Any = role
        return load_chat_model(f"hf:{self.recipe.base}", adapter, role=known, max_tokens=self.recipe.max_tokens)

    def graph(self, bank: Path, clock: Clock, **models: Any) -> MemoryGraph:
        recipe = self.recipe
        return create_memory_graph(
            str(bank), style=recipe.style, related_k=recipe.related_k, top_k=recipe.top_k,
            limits=Limits(batch_turns=1), clock=clock, **models,
        )  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    from taught_model import taught_base

    from langgraph_memory_r1.train.run import train

    folder = tmp_path_factory.mktemp("trained")
    taught_base(folder / "base")
    path = folder / "recipe.yaml"
    path.write_text(RECIPE.format(folder=folder))
    recipe = read_recipe(path)
    told = [story.conversation for story in generate("validation", conversations=5)]
    return Trained(recipe, train(recipe), told)


def scores(graph: MemoryGraph, clock: Clock, probes: Iterable[Probe]) -> list[float]:
    found = []
    for probe in probes:
        assert probe.at is not None
        clock.at = probe.at
        found.append(f1_mem0(graph.invoke({"question": probe.question})["answer"], probe.gold))
    return found


@pytest.mark.parametrize("tuned", [False, True])
def test_the_answer_adapter_scores_in_the_graph_as_in_training(trained: Trained, tmp_path: Path, tuned: bool) -> None:
    answer = trained.found[0]
    clock, answerer = Clock(), trained.model("answer", tuned=tuned)
    found: list[float] = []
    for one in trained.conversations:
        graph = trained.graph(tmp_path / one.id, clock, manager="rules", answerer=answerer)
        graph.invoke({"turns": one.turns})
        found += scores(graph, clock, map(probe_of, one.questions))
    assert sum(found) / len(found) == (answer.score if tuned else answer.before)
    assert answer.before < answer.score < 1


@pytest.mark.parametrize("tuned", [False, True])
def test_the_manager_adapter_scores_in_the_graph_as_in_training(trained: Trained, tmp_path: Path, tuned: bool) -> None:
    manage = trained.found[1]
    told = {one.id: one.turns for one in trained.conversations}
    clock, manager = Clock(), trained.model("manage", tuned=tuned)
    found: list[float] = []
    for row in read_rows(Path(trained.recipe.output) / "2-manage" / "validation.jsonl", strict=True):
        assert isinstance(row, ManagerRow)
        before, now = told[row.episode][: row.step], told[row.episode][row.step]
        trained.graph(tmp_path / row.id, clock, manager="rules").invoke({"turns": before})
        graph = trained.graph(tmp_path / row.id, clock, manager=manager, answerer="rules")
        graph.invoke({"turns": [now]})
        row_scores = scores(graph, clock, row.probes)
        found.append(sum(row_scores) / len(row_scores))
    assert sum(found) / len(found) == (manage.score if tuned else manage.before)
    assert 0 < manage.before < manage.score < 1


def test_both_adapters_together_do_in_the_graph_what_they_do_in_batches(trained: Trained, tmp_path: Path) -> None:
    recipe = trained.recipe
    actors = load_actors(recipe, "manage", {one.role: one.folder for one in trained.found})
    banks = remember(episodes_of(trained.conversations), Deciding(actors.manage, recipe.style, recipe.related_k))
    asked = [(bank, each) for bank, one in zip(banks, trained.conversations, strict=True) for each in one.questions]
    expected = [answer.text for answer in ask(asked, Deciding(actors.answer, recipe.style, recipe.top_k))]
    clock = Clock()
    models = {"manager": trained.model("manage", tuned=True), "answerer": trained.model("answer", tuned=True)}
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
