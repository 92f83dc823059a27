"""Recipes: what is refused and how it is said; ours can all be read."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("yaml", reason="the extra `train` is not installed")

from langgraph_memory_r1 import InputError
from langgraph_memory_r1.train.recipe import as_dict, find_recipe, is_recipe_of, read_recipe

ROOT = Path(__file__).resolve().parents[1]
RECIPE = """
base: some/model
output: runs/x
train: {source: rows, path: a.jsonl}
validation: {source: rows, path: b.jsonl}
stages:
- {role: answer, settings: {max_steps: 5}}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "recipe.yaml"
    file.write_text(RECIPE)
    return file


def test_changes_reach_into_the_recipe(path: Path) -> None:
    changes = ["seed=3", "stages.0.settings.max_steps=7", "lora=null", "stages.0.ppo.gamma=0.9", "train.only=[a, b]"]
    recipe = read_recipe(path, changes)
    assert recipe.seed == 3
    assert recipe.stages[0].settings == {"max_steps": 7}
    assert recipe.lora is None
    assert recipe.stages[0].ppo.gamma == 0.9
    assert recipe.train.only == ["a", "b"]


def test_a_change_of_one_stage_leaves_the_others_that_share_its_settings(tmp_path: Path) -> None:
    path = tmp_path / "shared.yaml"
    path.write_text(RECIPE.replace("settings: {", "settings: &same {") + "- {role: manage, settings: *same}\n")
    recipe = read_recipe(path, ["stages.0.settings.max_steps=9"])
    assert [stage.settings["max_steps"] for stage in recipe.stages] == [9, 5]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("sead=1", "unknown key 'sead'; did you mean 'seed'?"),
        ("stages.0.algoritm=ppo", "unknown key 'stages.0.algoritm'; did you mean 'algorithm'?"),
        ("stages.0.ppo.gama=1", "unknown key 'stages.0.ppo.gama'; did you mean 'gamma'?"),
        ("lora.rank=8", "unknown key 'lora.rank'; there are r, alpha"),
        ("stages.0.algorithm=dpo", "stages.0.algorithm: "),
        ("seed=many", "seed: "),
        ("metric=exact_match", "metric: there is no 'exact_match'; there are em, "),
        ("held_out=1", "held_out: "),
        ("train={source: personaworld, world: {atributes: 2}}", "unknown key 'train.world.atributes'; did you mean"),
        ("train={source: personaworld, world: {hops: 2}}", "train.world: hops=2.0 is out of range; give 0 to 1."),
        ("train={source: personaworld, sessions: 16}", "train: personaworld invents its sessions; say how many: "),
        ("train={source: locomo, world: {turns: 2}}", "train: world is for the source personaworld, not for locomo"),
        ("train={source: locomo, questions: 2}", "train: questions is for the source personaworld, not for locomo"),
        ("train={source: personaworld, allow_modified: true}", "train: allow_modified is for the source locomo"),
        ("stages.0.logo.local_span=step", "unknown key 'stages.0.logo.local_span'"),
        ("stages.0.algorithm=logo", "stages.0: LoGo-GRPO trains the role 'manage', in this process: leave engine out"),
        ("stages=[{role: manage, algorithm: logo}]", "stages.0: LoGo-GRPO rolls out conversations"),
        ("stages=[{role: manage, algorithm: logo, engine: 'http://x'}]", "leave engine out"),
        ("stages=[{role: answer, algorithm: sft, engine: 'http://x'}]", "samples nothing: leave engine out"),
        ("seed", "'seed' changes nothing; write key=value"),
        ("stages.4.role=answer", "There is no 'stages.4.role' in the recipe"),
    ],
)
def test_what_is_wrong_is_named(path: Path, change: str, said: str) -> None:
    with pytest.raises(InputError) as refused:
        read_recipe(path, [change])
    assert said in str(refused.value)


def test_what_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_recipe(tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(InputError, match="is not a recipe"):
        read_recipe(tmp_path / "list.yaml")
    (tmp_path / "torn.yaml").write_text("{a: ")
    with pytest.raises(InputError, match="is not YAML"):
        read_recipe(tmp_path / "torn.yaml")
    with pytest.raises(InputError, match=r"give a file, or one of ours: .*tiny-grpo"):
        find_recipe("tiny-gpro")


def test_a_run_of_before_some_keys_is_still_the_run_of_its_recipe(path: Path) -> None:
    recipe = read_recipe(path, ["stages.0.reply_prefix=So"])
    assert is_recipe_of(as_dict(recipe), recipe) and not is_recipe_of(as_dict(recipe), read_recipe(path))
    old = as_dict(recipe)
    old["stages"][0]["begun"] = old["stages"][0].pop("reply_prefix")
    old["stages"][0]["logo"]["local_span"] = "session"
    del old["train"]["allow_modified"]
    old["top_k"] = old.pop("k")
    assert is_recipe_of(old, recipe)
    old["stages"][0]["logo"]["local_span"] = "step"
    assert not is_recipe_of(old, recipe)
    assert not is_recipe_of(None, recipe) and not is_recipe_of({"stages": 1}, recipe)


@pytest.mark.parametrize("name", sorted(file.stem for file in (ROOT / "train" / "recipes").glob("*.yaml")))
def test_ours_can_be_read(name: str) -> None:
    assert read_recipe(find_recipe(name)).stages
