"""`memory-r1 train`: looked through, carried out and exported, as somebody at a terminal does it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("yaml", reason="the extra `train` is not installed")

from langgraph_memory_r1 import InputError, load_chat_model
from langgraph_memory_r1.train.bases import SHAPES
from langgraph_memory_r1.train.recipe import find_recipe, read_recipe
from support.command import Command

ROOT = Path(__file__).resolve().parents[1]
OURS = sorted(file.stem for file in (ROOT / "train" / "recipes").glob("*.yaml"))
RECIPE = """
base: base
output: {output}
builder: rules
max_tokens: 6
related_k: 4
k: 4
lora: {{r: 4, alpha: 8}}
train: {{source: personaworld, split: train, limit: 2}}
validation: {{source: personaworld, split: validation, limit: 1}}
stages:
- role: manage
  beta: 0.01
  settings: {{max_steps: 2, per_device_train_batch_size: 4, num_generations: 2}}
"""


@pytest.fixture
def base(tmp_path: Path) -> str:
    tiny_model = pytest.importorskip(
        "support.tiny_model", reason="the extra `train` is not installed", exc_type=ImportError
    )
    return str(tiny_model.save_base(tmp_path / "base"))


@pytest.fixture
def recipe(cli: Command, tmp_path: Path) -> str:
    return cli.file("recipe.yaml", RECIPE.format(output=tmp_path / "run"))


def test_help_loads_no_torch() -> None:
    code = """
import sys
sys.argv = ["memory-r1", "train", "--help"]
from langgraph_memory_r1.cli import main
try:
    main()
finally:
    assert not {"torch", "transformers"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "export" in done.stdout and "--recipe" in done.stdout


def test_mistakes_are_one_sentence(cli: Command, recipe: str) -> None:
    for arguments, said in [
        (("--recipe", recipe, "sead=1"), "unknown key 'sead'; did you mean 'seed'?"),
        (("--recipe", "tiny"), "There is no recipe 'tiny'; give a file, or one of ours"),
        (("export", "nowhere", "--role", "manage", "--to", "x"), "nowhere holds no finished adapter for 'manage'"),
    ]:
        done = cli("train", *arguments)
        assert done.code == 1 and done.out == ""
        assert done.err.startswith("Error: ") and said in " ".join(done.err.split()), done.err


@pytest.mark.slow
def test_a_run_from_looking_at_it_to_the_exported_adapter(cli: Command, base: str, recipe: str, tmp_path: Path) -> None:
    looked = cli("train", "--recipe", recipe, "--dry-run")
    assert looked.code == 0, looked.err
    assert "1-manage: grpo" in looked.out and "assistant:" in looked.out and "in order" in looked.out
    assert not (tmp_path / "run").exists()
    (told,) = cli("train", "--recipe", recipe, "--dry-run", "--json").data
    assert told["rows"] > 0 and told["prompts"]["shortest"] <= told["prompts"]["longest"]
    (trained,) = cli("train", "--recipe", recipe, "--json").data
    assert trained["steps"] == 2 and trained["role"] == "manage"
    again = cli("train", "--recipe", recipe)
    assert again.code == 0 and "2 steps" in again.out  # done already: nothing is trained twice
    to = tmp_path / "given"
    assert cli("train", "export", str(tmp_path / "run"), "--role", "manage", "--to", str(to)).code == 0
    card = (to / "README.md").read_text()
    assert "# Memory Manager for" in card and "| steps | 2 |" in card and "load_chat_model(" in card
    assert "| 2 |" in card and "--max-lora-rank 16 --lora-modules manage=THIS_FOLDER" in card
    assert load_chat_model(f"hf:{base}", adapter=to, role="manage") is not None
    taken = cli("train", "export", str(tmp_path / "run"), "--role", "manage", "--to", str(to))
    assert taken.code == 1 and "is not empty" in taken.err


@pytest.mark.slow
@pytest.mark.parametrize("name", OURS)
def test_every_recipe_of_ours_can_be_looked_through(name: str, base: str) -> None:
    """With a tiny base and PersonaWorld in the place of what has to be downloaded."""

    data = "{{source: personaworld, split: {}, limit: 2}}"
    told = read_recipe(find_recipe(name))
    changes = [f"base={base}", f"train={data.format('train')}", f"validation={data.format('validation')}"]
    changes += ["builder=rules", "judge=null", "max_tokens=16"]
    for place, stage in enumerate(told.stages):
        batch = stage.settings.get("num_generations", 2)
        changes += [f"stages.{place}.settings.per_device_train_batch_size={batch}", f"stages.{place}.train=null"]
        changes += [f"stages.{place}.settings.gradient_accumulation_steps=2"]
    from langgraph_memory_r1.train.show import dry_run

    plans = dry_run(read_recipe(find_recipe(name), changes))
    assert [one.algorithm for one in plans] == [stage.algorithm for stage in told.stages]
    assert all(one.rows and one.validation and one.prompt for one in plans)


@pytest.mark.slow
def test_the_curriculum_can_be_looked_through(base: str) -> None:
    """Of three times the same role, on longer and longer conversations; only the base is another one."""
    from langgraph_memory_r1.train.show import dry_run

    changes = [f"base={base}", "builder=rules", "validation.limit=2"]
    for place in range(4):
        changes += [f"stages.{place}.settings.per_device_train_batch_size=8"]
        changes += [f"stages.{place}.train.limit=4"] if place else ["train.limit=4"]
    plans = dry_run(read_recipe(find_recipe("tiny-curriculum"), changes))
    assert [one.name for one in plans] == ["1-answer", "2-manage", "3-manage", "4-manage"]
    assert all(one.rows and one.validation == plans[-1].validation for one in plans[1:])
    assert plans[1].prompts.median < plans[3].prompts.median


@pytest.mark.slow
def test_looking_a_recipe_through_asks_no_model(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Banks that the run's own manager will build took minutes, for a plan that a fresh adapter cannot make better."""
    from transformers import GenerationMixin

    from langgraph_memory_r1.train.show import dry_run

    def generate(*args: object, **options: object) -> None:
        raise AssertionError("a dry run generates nothing")

    monkeypatch.setattr(GenerationMixin, "generate", generate)
    changes = [f"base={base}", "validation.limit=2", "train.limit=4"]
    for place in range(4):
        changes += [f"stages.{place}.settings.per_device_train_batch_size=8"]
        changes += [f"stages.{place}.train.limit=4"] if place else []
    assert len(dry_run(read_recipe(find_recipe("tiny-curriculum"), changes))) == 4


def test_help_names_the_recipes(cli: Command) -> None:
    for arguments in (("train", "--help"), ("train", "run", "--help")):
        out = "".join(cli(*arguments).out.split())
        assert "tiny-grpo" in out and "memory-r1-qwen2.5-7b-grpo" in out


@pytest.mark.slow
def test_prompts_that_the_base_cannot_hold_are_refused_beforehand(base: str, recipe: str) -> None:

    config = Path(base) / "config.json"
    config.write_text(config.read_text().replace("32768", "64"))
    from langgraph_memory_r1.train.show import dry_run

    with pytest.raises(InputError, match="the base holds 64"):
        dry_run(read_recipe(recipe))


def test_shapes_have_the_sizes_that_their_names_say() -> None:
    """The numbers of parameters as the models' cards state them."""
    told = {"3B": 3.09e9, "7B": 7.61e9, "14B": 14.7e9, "8B": 8.03e9}
    for name, shape in SHAPES.items():
        (size,) = [count for part, count in told.items() if f"-{part}-" in name]
        assert shape.parameters == pytest.approx(size, rel=0.01), name
    assert SHAPES["Qwen/Qwen2.5-7B-Instruct"].adapter(16) == 40_370_176  # as PEFT counts them, on all linear layers


@pytest.mark.slow
def test_without_weights_and_network_recipes_of_the_paper_are_looked_through(data_dir: Path, tmp_path: Path) -> None:
    """As somebody sees it who has the benchmark's data and no way to the hub."""
    code = """
import json, sys
from dataclasses import asdict
from langgraph_memory_r1.train.show import dry_run
from langgraph_memory_r1.train.bases import SHAPES
from langgraph_memory_r1.train.recipe import find_recipe, read_recipe
told, names = sys.argv[1], sys.argv[2:]
changes = [f"train.path={told}", f"validation.path={told}"]
print(json.dumps([[asdict(one) for one in dry_run(read_recipe(find_recipe(name), changes))] for name in names]))
"""
    names = ["memory-r1-qwen2.5-3b-grpo", "memory-r1-llama3.1-8b-ppo"]  # the others have the same data
    file = str(data_dir / "locomo" / "locomo10.json")
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code, file, *names], capture_output=True, text=True, env=environment, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    for name, (answer, manage) in zip(names, json.loads(done.stdout), strict=True):
        assert (answer["rows"], answer["validation"]) == (152, 81), name
        assert manage["rows"] > 100 and manage["skipped"]["a part of the evidence lies before the window"] > 0
        assert 1_000 < answer["prompts"]["median"] < 4_000 and answer["estimated"] and manage["estimated"]
        size = float(re.findall(r"-(\d+)b", name)[0])
        assert 1.9e9 < answer["memory"]["weights"] / size < 2.2e9
        assert manage["memory"]["trained"] < 0.1 * manage["memory"]["weights"]
        assert answer["prompt"].startswith("system: You answer a question")
    assert list(tmp_path.iterdir()) == []
