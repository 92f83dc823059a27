"""The card of a trained adapter says how to load it, in words that this version understands."""

from __future__ import annotations

import inspect
import json
import logging
import re
from pathlib import Path
from typing import get_args

import pytest
import yaml

from langgraph_memory_r1 import create_memory_graph, steps
from langgraph_memory_r1.models import Manifest, write_manifest
from langgraph_memory_r1.train.cards import model_card
from langgraph_memory_r1.train.recipe import Data, Recipe, Stage, TrainedRole, as_dict


@pytest.mark.parametrize("role", get_args(TrainedRole))
@pytest.mark.parametrize("source", ["personaworld", "traces"])
def test_a_card_loads_by_the_graphs_own_arguments(role: TrainedRole, source: str, tmp_path: Path) -> None:
    data = Data(source=source) if source == "personaworld" else Data(source=source, path=str(tmp_path))
    recipe = Recipe(base="base", output=str(tmp_path), train=data, stages=[Stage(role=role)])
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(as_dict(recipe)), encoding="utf-8")
    (tmp_path / "adapters" / role).mkdir(parents=True)
    write_manifest(tmp_path / "adapters" / role, Manifest(base="base", role=role, data="none", rank=4))
    stage = tmp_path / f"1-{role}"
    stage.mkdir()
    done = {"algorithm": "grpo", "steps": 2, "rows": 8, "before": 0.5, "score": None}
    (stage / "done.json").write_text(json.dumps(done))
    (stage / "log.jsonl").write_text("")
    card = model_card(tmp_path, role, stage)
    call = re.search(r"create_memory_graph\((.*)\)", card)
    assert call is not None
    names = re.findall(r"(\w+)=", re.sub(r"Limits\([^)]*\)", "", call[1]))
    assert set(names) <= set(inspect.signature(create_memory_graph).parameters)
    assert {"answerer", "k"} <= set(names) if role == "answer" else {"manager", "related_k"} <= set(names)


@pytest.mark.slow  # TRL takes seconds to load
def test_training_is_silent_about_unreadable_replies_and_about_nothing_else() -> None:
    from langgraph_memory_r1.train.stage import unreadable_replies_expected

    with unreadable_replies_expected():
        assert not steps.log.isEnabledFor(logging.WARNING)
        assert logging.getLogger("langgraph_memory_r1.roles").isEnabledFor(logging.WARNING)
    assert steps.log.isEnabledFor(logging.WARNING)
