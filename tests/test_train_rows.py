"""What is held out where a recipe names no data for validation."""

from __future__ import annotations

from collections import Counter

import pytest

pytest.importorskip("torch", reason="the extra `train` is not installed")

from langgraph_memory_r1 import InputError, Memory
from langgraph_memory_r1.train.cards import as_markdown, card_of
from langgraph_memory_r1.train.rows import AnswerRow, Episode, Row, TrainingData, check_splits, hold_out


def rows(episode: str, count: int) -> list[Row]:
    memory = Memory("m", f"{episode} has a dog.")
    return [AnswerRow(f"{episode}{n}", f"Question {n}?", "dog", (memory,), None, episode) for n in range(count)]


def ids(material: TrainingData) -> list[str]:
    return [row.id for row in material.rows]


def test_whole_owners_are_held_out_and_all_stages_agree_on_them() -> None:
    names = [f"owner{number}" for number in range(10)]
    found = TrainingData([row for name in names for row in rows(name, 3)], [Episode(name, ()) for name in names])
    learned, held = hold_out(found, 0.2)
    chosen = {row.episode for row in held.rows}
    assert len(chosen) == 2 and len(held.rows) == 6 and len(learned.rows) == 24
    assert {episode.id for episode in held.episodes} == chosen
    assert {episode.id for episode in learned.episodes} == set(names) - chosen
    other, again = hold_out(TrainingData([row for name in reversed(names) for row in rows(name, 1)]), 0.2)
    assert {row.episode for row in again.rows} == chosen and ids(other) == [
        f"{n}0" for n in names[::-1] if n not in chosen
    ]


def test_of_a_single_owner_the_newest_rows_are_and_the_card_says_so() -> None:
    learned, held = hold_out(TrainingData(rows("ann", 5), skipped=Counter(why=1)), 0.2)
    assert (ids(learned), ids(held), learned.skipped["why"]) == (["ann0", "ann1", "ann2", "ann3"], ["ann4"], 1)
    splits = {"train": learned.rows, "validation": held.rows}
    with pytest.raises(InputError, match="share 1 episode"):
        check_splits(splits)
    check_splits(splits, by_time=True)
    assert "- one episode, split by time" in as_markdown(card_of(splits))
    leak = {**splits, "validation": [*held.rows, learned.rows[0]]}
    with pytest.raises(InputError, match="share the content of 1 row"):
        check_splits(leak, by_time=True)
    several = {"train": [*learned.rows, *rows("bob", 1)], "validation": held.rows}
    with pytest.raises(InputError, match="share 1 episode"):
        check_splits(several, by_time=True)


@pytest.mark.parametrize(("count", "share", "held"), [(2, 0.01, 1), (2, 0.99, 1), (10, 0.35, 4)])
def test_something_is_always_left_on_both_sides(count: int, share: float, held: int) -> None:
    assert len(hold_out(TrainingData(rows("ann", count)), share)[1].rows) == held


def test_one_row_is_too_few() -> None:
    with pytest.raises(InputError, match="label more questions"):
        hold_out(TrainingData(rows("ann", 1)), 0.2)
