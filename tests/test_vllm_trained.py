"""What is trained here on a real vLLM server: it samples for the trainer, and serves the adapters; `make test-vllm`."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from support.command import Command
from support.vllm_served import Served, needs_vllm, tell

pytest.importorskip("trl", reason="the extra `train` is not installed")

import torch
from peft import PeftModel

from langgraph_memory_r1 import LanceDBStore, MemoryBank, create_memory_graph, load_chat_model, prompts
from langgraph_memory_r1.batches import Limits
from langgraph_memory_r1.conversations import write_conversations
from langgraph_memory_r1.evals.personaworld import Story, generate
from langgraph_memory_r1.graph import MemoryGraph
from langgraph_memory_r1.models import Manifest, write_manifest
from langgraph_memory_r1.train.cards import export
from langgraph_memory_r1.train.engines import VLLMServerEngine
from langgraph_memory_r1.train.models import load_base, load_role_models, lora_config, prompt_ids
from langgraph_memory_r1.train.recipe import Recipe, find_recipe, read_recipe
from langgraph_memory_r1.train.rows import read_rows
from langgraph_memory_r1.train.run import train

pytestmark = [pytest.mark.slow, needs_vllm]

STEPS = 3
STAGE = """{{role: {role}, engine: "{url}", eval_every: 3, settings: {{max_steps: 3, per_device_train_batch_size: 32,
num_generations: 8, learning_rate: 2.0e-3, lr_scheduler_type: constant}}}}"""
NOISE = {"answer": 0.15, "manage": 1.0}
"""Of the adapters that training begins with: the base is sure of itself, and decides otherwise only with these."""
ROUNDING = 1e-3
"""Log-probabilities of a server and a trainer in 32 bits differ less than this."""


@dataclass(frozen=True)
class Run:
    recipe: Recipe
    exported: dict[str, Path]

    @property
    def folder(self) -> Path:
        return Path(self.recipe.output)

    def model(self, spec: str, role: str) -> Any:
        known: Any = role
        return load_chat_model(spec, self.exported[role], role=known, max_tokens=self.recipe.max_tokens)

    def graph(self, bank: Path, story: Story, manager: Any, answerer: Any) -> MemoryGraph:
        asked = story.conversation.questions[0].at
        assert asked is not None
        return create_memory_graph(
            str(bank), manager=manager, answerer=answerer, style=self.recipe.style, related_k=self.recipe.related_k,
            k=self.recipe.k, limits=Limits(batch_turns=1), clock=lambda: asked,
        )  # fmt: skip


@pytest.fixture(scope="module")
def run(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Both roles, a few steps each, sampled by the server."""
    folder = tmp_path_factory.mktemp("trained")
    stages = ", ".join(STAGE.format(role=role, url=served.url) for role in NOISE)
    few = ["builder=rules", "train.limit=5", "validation.limit=3"]
    recipe = read_recipe(find_recipe("tiny-grpo"), [f"output={folder / 'run'}", *few, f"stages=[{stages}]"])
    recipe = replace(recipe, start={role: noisy(folder / "start", role, recipe) for role in NOISE})
    start = time.perf_counter()
    found = train(recipe)
    tell(f"two stages of {STEPS} GRPO steps on the server in {time.perf_counter() - start:.0f} s")
    return Run(recipe, {one.role: export(recipe.output, one.role, folder / one.role) for one in found})


def noisy(folder: Path, role: Any, recipe: Recipe) -> str:
    """An adapter that changes what the base decides, and leaves it readable."""
    assert recipe.lora is not None
    config = lora_config(recipe.lora)
    config.init_lora_weights = False
    torch.manual_seed(0)
    model = PeftModel(load_base(recipe.base)[0], config, adapter_name=role)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.mul_(NOISE[role])
    model.save_pretrained(folder, selected_adapters=[role])
    write_manifest(folder / role, Manifest(base=recipe.base, role=role, data="none", rank=recipe.lora.r))
    return str(folder / role)


@pytest.mark.parametrize("stage", ["1-answer", "2-manage"])
def test_samples_of_every_step_have_the_probabilities_that_the_trainer_gives_them(run: Run, stage: str) -> None:
    log = [json.loads(line) for line in (run.folder / stage / "log.jsonl").read_text().splitlines()]
    apart = [entry["sampling/sampling_logp_difference/max"] for entry in log if "reward" in entry]
    tell(f"{stage}: log-probabilities of server and trainer at most {max(apart):.1e} apart")
    assert len(apart) == STEPS and 0 < max(apart) < ROUNDING
    assert all(entry["grad_norm"] == entry["grad_norm"] for entry in log if "grad_norm" in entry)  # not NaN


def test_nothing_of_the_run_is_left_on_the_server(served: Served, run: Run) -> None:
    assert served.names() == ["base", "keeper", "teller"]
    assert [list((run.folder / stage / "published").iterdir()) for stage in ("1-answer", "2-manage")] == [[], []]


@pytest.mark.parametrize("stage", ["1-answer", "2-manage"])
def test_the_adapter_that_was_published_last_is_the_one_that_generates(
    served: Served, run: Run, tmp_path: Path, stage: str
) -> None:
    role: Any = stage[2:]
    actors = load_role_models(run.recipe, role, run.exported)
    rows = list(read_rows(run.folder / stage / "rows.jsonl", strict=True))[:16]
    given = [prompt_ids(actors.tokenizer, prompts.render(row.role_input, run.recipe.style)) for row in rows]
    weights = [parameter for name, parameter in actors.model.named_parameters() if f"lora_B.{role}" in name]
    engine = VLLMServerEngine(served.url, role=role, folder=tmp_path)
    said: dict[int, tuple[list[list[int]], list[list[float]]]] = {}
    own: dict[tuple[int, int], list[float]] = {}
    for step, factor in enumerate((1.0, 0.0)):  # as trained, then without effect
        for weight in weights:
            weight.data.mul_(factor)
        engine.publish(actors.model, step)
        said[step] = engine.generate(given, temperature=1.0, max_tokens=run.recipe.max_tokens)
        own |= {(step, place): logps(actors.model, given, said[place][0]) for place in said}
    engine.close()
    theirs = {step: torch.tensor([value for each in found for value in each]) for step, (_, found) in said.items()}
    apart = {(step, place): float((torch.tensor(own[step, place]) - theirs[place]).abs().max()) for step, place in own}
    tell(f"{role}: under the published weights {apart[0, 0]:.1e} and {apart[1, 1]:.1e} apart, else {apart[1, 0]:.2f}")
    assert max(apart[0, 0], apart[1, 1]) < ROUNDING < 0.05 < apart[1, 0]


def logps(model: Any, given: Sequence[list[int]], said: Sequence[list[int]]) -> list[float]:
    """What the model in this process thinks of every token that was said."""
    found: list[float] = []
    model.eval()
    for prompt, ids in zip(given, said, strict=True):
        with torch.no_grad():
            logits = model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1]
        found += logits.log_softmax(-1).gather(1, torch.tensor(ids).unsqueeze(1)).squeeze(1).tolist()
    return found


async def test_the_graph_decides_and_answers_on_the_server_as_in_this_process(
    served: Served, run: Run, tmp_path: Path
) -> None:
    stories = list(generate("test", conversations=5))
    names = {"manager": "manage", "answerer": "answer"}
    here = {name: run.model(f"hf:{run.recipe.base}", role) for name, role in names.items()}
    with served.using_adapter(**run.exported):
        there = {name: run.model(f"vllm:{role}@{served.url}", role) for name, role in names.items()}
        start = time.perf_counter()
        served_answers = await asyncio.gather(
            *(play(run.graph(tmp_path / "there" / story.conversation.id, story, **there), story) for story in stories)
        )
        spent = time.perf_counter() - start
    calls = sum(count for _, count in served_answers)
    got = [answer for answers, _ in served_answers for answer in answers]
    expected: list[str] = []
    for story in stories:
        expected += (await play(run.graph(tmp_path / "here" / story.conversation.id, story, **here), story))[0]
    banks = [[kept(tmp_path / where / story.conversation.id) for story in stories] for where in ("there", "here")]
    same = sum(one == other for one, other in zip(got, expected, strict=True))
    tell(f"{same} of {len(expected)} answers and {sum(map(list.__eq__, *banks))} of {len(stories)} banks are the same")
    tell(f"{calls} calls for {len(stories)} conversations at once: {calls / spent:.0f} requests/s")
    assert len(expected) == 20 and calls >= 60 and same >= 18  # all, but for ties
    assert len(set(expected)) > 3


async def play(graph: MemoryGraph, story: Story) -> tuple[list[str], int]:
    """The answers to the questions of a conversation, and the calls of models that they and the bank took."""
    turns = story.conversation.turns
    told = await graph.ainvoke({"turns": turns})
    done = [await graph.ainvoke({"question": question.text}) for question in story.conversation.questions]
    return [state["answer"] for state in done], sum(state["usage"]["calls"] for state in (told, *done)) - len(turns)


def kept(bank: Path, owner: str = "default") -> list[str]:
    return [memory.text for memory in MemoryBank(LanceDBStore(str(bank)), owner).all()]


def test_the_command_line_plays_a_run_on_the_server(
    served: Served, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (story,) = generate("test", conversations=1)
    file, said, banks = tmp_path / "told.jsonl", {}, {}
    write_conversations(file, [story.conversation])
    with served.using_adapter(**run.exported):
        for where, model in (("there", ["--model", f"vllm:base@{served.url}"]), ("here", [])):
            (tmp_path / where).mkdir()
            cli = Command(tmp_path / where, monkeypatch, capsys)
            playing = ["--trained", str(run.folder), *model]
            told = cli("remember", str(file), *playing)
            assert told.code == 0, told.err
            asked = cli("ask", str(file), "--json", *playing)
            assert asked.code == 0, asked.err
            said[where] = [json.loads(line) for line in asked.out.splitlines()]
            banks[where] = [memory.text for memory in cli.bank().all()]
    same = sum(one["answer"] == other["answer"] for one, other in zip(said["there"], said["here"], strict=True))
    tell(f"memory-r1 ask --trained: {same} of {len(said['here'])} answers are the same on the server and here")
    assert banks["there"] == banks["here"] != [] and same >= 3
    assert {line["model"] for line in said["there"]} == {"vllm:answer"}
