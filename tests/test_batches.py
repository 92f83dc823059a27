"""New turns in batches: how many a model call sees, and what becomes of a huge one."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import pytest

from langgraph_memory_r1 import Limits, Turn
from langgraph_memory_r1.batches import batch_turns, pieces
from langgraph_memory_r1.turns import NewTurns

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)


def test_turns_are_grouped_by_number_and_by_size() -> None:
    turns = tuple(Turn("Ana", "x" * 10, id=str(number)) for number in range(7))
    new = NewTurns(turns, (None,) * 7)
    assert [len(batch.turns) for batch in batch_turns(new, Limits(batch_turns=3))] == [3, 3, 1]
    assert [len(batch.turns) for batch in batch_turns(new, Limits(batch_chars=45))] == [4, 3]
    assert batch_turns(NewTurns(), Limits()) == []


def test_a_huge_turn_is_cut_up_and_its_end_left_out_loudly(caplog: pytest.LogCaptureFixture) -> None:
    turn = Turn("Ana", "word " * 200_000, NOW, "t1")
    with caplog.at_level(logging.WARNING):
        parts = pieces(turn, Limits())
    assert "1000000 characters" in caplog.text
    assert [part.id for part in parts] == ["t1", *(f"t1#{number}" for number in range(2, len(parts) + 1))]
    assert all(0 < len(part.text) <= Limits().batch_chars for part in parts)
    assert " ".join(part.text for part in parts) == turn.text[: Limits().turn_chars]
    assert pieces(Turn("Ana", "short", id="t2"), Limits()) == [Turn("Ana", "short", id="t2")]
    assert all(part.text for part in pieces(Turn("Ana", "x" * 20_000, id="t3"), Limits()))
