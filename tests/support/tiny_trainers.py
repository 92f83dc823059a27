"""What the tests of the trainers share: rewards that a random tiny model can learn, and trainers of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from langgraph_memory_r1.batches import Batch
from langgraph_memory_r1.schemas import Fact, Question, Turn
from langgraph_memory_r1.train.grpo import NodeGRPOTrainer
from langgraph_memory_r1.train.rewards import FrozenAnswerer, RowReward, WeightedReward
from langgraph_memory_r1.train.rollout import Episode
from langgraph_memory_r1.train.rows import Row
from support.tiny_model import (
    manager_rows,
    settings,
    tiny_tokenizer,
    two_adapters,
)

TOKENIZER = tiny_tokenizer()


class Letters(RowReward):
    """How much of a completion is letters: something that a random model can learn at once."""

    def rewards(self, sampled: Sequence[tuple[Row, str]]) -> list[float | None]:
        return [sum(letter.isalpha() for letter in text) / max(1, len(text)) for _, text in sampled]


class Always(RowReward):
    """1, whatever is said."""

    def rewards(self, sampled: Sequence[tuple[Row, str]]) -> list[float | None]:
        return [1.0] * len(sampled)


class Nothing(RowReward):
    """Cannot be computed."""

    def rewards(self, sampled: Sequence[tuple[Row, str]]) -> list[float | None]:
        return [None] * len(sampled)


class LettersOfSome(Letters):
    """Nothing to learn from every other row."""

    def rewards(self, sampled: Sequence[tuple[Row, str]]) -> list[float | None]:
        found = super().rewards(sampled)
        return [1.0 if int(row.id[1:]) % 2 else reward for (row, _), reward in zip(sampled, found, strict=True)]


class Counting(FrozenAnswerer):
    """Scores banks by how many memories there are, which needs no model."""

    def scores(self, states: Any) -> list[float | None]:
        return [float(len(bank)) + place % 3 if probes else None for place, (bank, probes) in enumerate(states)]


def episode(name: str) -> Episode:
    turns = [Turn("Ann", f"I have dog {number}.", id=f"t{number}", session=f"s{number // 2}") for number in range(4)]
    steps = tuple(Batch((turn,), (Fact(turn.text, "Ann", None, (turn.id,)),)) for turn in turns)
    return Episode(name, steps, (Question("Which dog?", "1", ("t1",)), Question("And then?", "3", ("t3",))))


def trainer(folder: Path, kind: type[NodeGRPOTrainer] = NodeGRPOTrainer, **changed: Any) -> NodeGRPOTrainer:
    rows = manager_rows()
    more = {name: changed.pop(name) for name in ("beta",) if name in changed}
    args = settings(folder, **changed)
    return kind(two_adapters(TOKENIZER), TOKENIZER, rows, [WeightedReward(Letters(rows))], args, **more)


def weights(model: Any, adapter: str) -> dict[str, Any]:
    return {name: value.clone() for name, value in model.state_dict().items() if f".{adapter}." in name}


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def logged(made: Any, name: str) -> list[float]:
    return [entry[name] for entry in made.state.log_history if name in entry]
