"""The history of a bank: what happened, how it was at a time, what changed between two, and taking one thing back."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from langgraph_memory_r1 import (
    Add,
    Change,
    ConflictError,
    Delete,
    LanceDBStore,
    MemoryBank,
    Noop,
    UnknownMemoryError,
    Update,
)


@pytest.fixture
def owner() -> tuple[str, ...]:
    return ("users", "ann")


def one(bank: MemoryBank, operation: Add | Update | Delete | Noop) -> Change:
    """Apply one operation a little later than what came before it; its change."""
    time.sleep(0.002)
    (change,) = bank.apply([operation])
    return change


def moment(change: Change) -> datetime:
    assert change.at is not None
    return change.at


def all_texts(bank: MemoryBank) -> list[str]:
    return sorted(memory.text for memory in bank.all())


@pytest.fixture
def story(bank: MemoryBank) -> list[Change]:
    """A dog is adopted, another one too, a city is given and retracted, somebody says hello."""
    first = one(bank, Add("Ann has a dog, Buddy.", source=("D1:1",)))
    second = one(bank, Add("Ann lives in Rome.", source=("D1:2",)))
    third = one(bank, Update(first.memory_id or "", "Ann has two dogs, Buddy and Scout.", source=("D2:1",)))
    fourth = one(bank, Noop("a greeting", source=("D2:2",)))
    fifth = one(bank, Delete(second.memory_id or "", source=("D2:3",), reason="she moved away"))
    return [first, second, third, fourth, fifth]


def test_history_is_complete_and_in_order(bank: MemoryBank, story: list[Change]) -> None:
    assert bank.history() == story
    assert [change.event for change in story] == ["ADD", "ADD", "UPDATE", "NOOP", "DELETE"]
    moments = [moment(change) for change in story]
    assert moments == sorted(moments)
    assert all(at.utcoffset() is not None and timedelta(0) <= datetime.now(UTC) - at < timedelta(60) for at in moments)
    assert len({change.id for change in story}) == 5


def test_history_of_one_memory(bank: MemoryBank, story: list[Change]) -> None:
    assert bank.history(story[0].memory_id) == [story[0], story[2]]
    assert bank.history(story[1].memory_id) == [story[1], story[4]]
    assert bank.history("nothing") == []


def test_each_change_starts_where_the_last_one_ended(story: list[Change]) -> None:
    assert story[2].before == story[0].after
    assert story[4].before == story[1].after
    assert (story[3].memory_id, story[3].before, story[3].after) == (None, None, None)


def test_operation_ids_name_memory_and_revision(story: list[Change]) -> None:
    assert [story[0].id, story[2].id] == [f"{story[0].memory_id}.1", f"{story[0].memory_id}.2"]
    assert story[3].id.startswith("noop-")


def test_history_survives_reopening(tmp_path: Path) -> None:
    with LanceDBStore(str(tmp_path / "db")) as store:
        bank = MemoryBank(store, "ann")
        one(bank, Update(one(bank, Add("one")).memory_id or "", "two"))
        one(bank, Noop("hello"))
        before = (bank.all(), bank.history())
    with LanceDBStore(str(tmp_path / "db")) as store:
        assert (MemoryBank(store, "ann").all(), MemoryBank(store, "ann").history()) == before


# ---- as of


def test_as_of_shows_every_past_state(bank: MemoryBank, story: list[Change]) -> None:
    expected = [
        ["Ann has a dog, Buddy."],
        ["Ann has a dog, Buddy.", "Ann lives in Rome."],
        ["Ann has two dogs, Buddy and Scout.", "Ann lives in Rome."],
        ["Ann has two dogs, Buddy and Scout.", "Ann lives in Rome."],
        ["Ann has two dogs, Buddy and Scout."],
    ]
    assert [sorted(memory.text for memory in bank.as_of(moment(change))) for change in story] == expected
    assert bank.as_of(moment(story[0]) - timedelta(microseconds=1)) == []
    assert bank.as_of(datetime.now(UTC) + timedelta(1)) == bank.all()


def test_as_of_gives_the_memory_as_it_was(bank: MemoryBank, story: list[Change]) -> None:
    (memory,) = bank.as_of(moment(story[0]))
    assert memory == story[0].after


def test_diff_between_two_times(bank: MemoryBank, story: list[Change]) -> None:
    diff = bank.diff(moment(story[0]), moment(story[4]))
    assert (diff.added, diff.removed) == ((), ())
    ((before, after),) = diff.updated
    assert (before, after) == (story[2].before, story[2].after)
    diff = bank.diff(moment(story[0]), moment(story[2]))
    assert [memory.text for memory in diff.added] == ["Ann lives in Rome."]
    diff = bank.diff(moment(story[3]), moment(story[4]))
    assert [memory.text for memory in diff.removed] == ["Ann lives in Rome."]
    diff = bank.diff(moment(story[2]), moment(story[3]))
    assert (diff.added, diff.updated, diff.removed) == ((), (), ())


# ---- undo


def test_undo_of_an_add_removes_it(bank: MemoryBank) -> None:
    change = one(bank, Add("one"))
    back = bank.undo(change.id)
    assert bank.all() == []
    assert (back.event, back.undoes, back.memory_id) == ("DELETE", change.id, change.memory_id)
    assert bank.history() == [change, back]


def test_undo_of_an_update_brings_the_old_text_back(bank: MemoryBank) -> None:
    first = one(bank, Add("one", source=("D1:1",)))
    second = one(bank, Update(first.memory_id or "", "two", source=("D1:2",)))
    back = bank.undo(second.id)
    assert all_texts(bank) == ["one"]
    (memory,) = bank.all()
    assert (memory.id, memory.rev, memory.source) == (first.memory_id, 3, ("D1:1",))
    assert (back.event, back.undoes, back.after) == ("UPDATE", second.id, memory)


def test_undo_of_a_delete_brings_the_memory_back(bank: MemoryBank) -> None:
    first = one(bank, Add("one", speaker="Ann", source=("D1:1",)))
    second = one(bank, Delete(first.memory_id or ""))
    back = bank.undo(second.id)
    (memory,) = bank.all()
    assert (memory.id, memory.text, memory.speaker, memory.source) == (first.memory_id, "one", "Ann", ("D1:1",))
    assert back.undoes == second.id
    assert [hit.memory.text for hit in bank.search("one")] == ["one"]


def test_an_undo_can_be_undone(bank: MemoryBank) -> None:
    first = one(bank, Add("one"))
    second = one(bank, Update(first.memory_id or "", "two"))
    back = bank.undo(second.id)
    bank.undo(back.id)
    assert all_texts(bank) == ["two"]


def test_undo_is_refused_where_something_later_builds_on_it(bank: MemoryBank) -> None:
    first = one(bank, Add("one"))
    second = one(bank, Update(first.memory_id or "", "two"))
    third = one(bank, Update(first.memory_id or "", "three"))
    for change in (first, second):
        with pytest.raises(ConflictError, match=third.id.replace(".", r"\.")):
            bank.undo(change.id)
    assert all_texts(bank) == ["three"]
    assert len(bank.history()) == 3


def test_nothing_is_undone_twice(bank: MemoryBank) -> None:
    change = one(bank, Add("one"))
    back = bank.undo(change.id)
    with pytest.raises(ConflictError, match=back.id.replace(".", r"\.")):
        bank.undo(change.id)
    assert len(bank.history()) == 2


def test_undo_without_an_id_goes_back_step_by_step(bank: MemoryBank) -> None:
    first = one(bank, Add("one"))
    one(bank, Update(first.memory_id or "", "two"))
    one(bank, Noop("small talk"))
    one(bank, Delete(first.memory_id or ""))
    texts = []
    for _ in range(3):
        bank.undo()
        texts.append(all_texts(bank))
    assert texts == [["two"], ["one"], []]
    with pytest.raises(UnknownMemoryError, match="nothing to take back"):
        bank.undo()


def test_what_was_done_again_can_be_undone_again(bank: MemoryBank) -> None:
    first = one(bank, Add("one"))
    second = one(bank, Update(first.memory_id or "", "two"))
    bank.undo(bank.undo(second.id).id)
    bank.undo(second.id)
    assert all_texts(bank) == ["one"]
    bank.undo(first.id)
    assert all_texts(bank) == []


def test_undo_leaves_other_memories_alone(bank: MemoryBank, story: list[Change]) -> None:
    one(bank, Add("Ann drinks tea."))
    bank.undo(story[4].id)
    assert all_texts(bank) == ["Ann drinks tea.", "Ann has two dogs, Buddy and Scout.", "Ann lives in Rome."]


@pytest.mark.parametrize("wrong", ["nothing", "nothing.1", "", "noop-", "x.y.z"])
def test_undo_of_what_never_was(bank: MemoryBank, story: list[Change], wrong: str) -> None:
    with pytest.raises(UnknownMemoryError):
        bank.undo(wrong)
    assert bank.history() == story


def test_undo_of_a_revision_that_never_was(bank: MemoryBank) -> None:
    change = one(bank, Add("one"))
    with pytest.raises(UnknownMemoryError):
        bank.undo(f"{change.memory_id}.9")


def test_a_noop_has_nothing_to_undo(bank: MemoryBank, story: list[Change]) -> None:
    with pytest.raises((ValueError, LookupError)):
        bank.undo(story[3].id)
    assert bank.history() == story


def test_a_fork_has_a_history_of_its_own(bank: MemoryBank, story: list[Change]) -> None:
    fork = bank.fork()
    (change,) = fork.apply([Add("only here")])
    assert change in fork.history()
    fork.undo(change.id)
    assert sorted(memory.text for memory in fork.all()) == all_texts(bank)
    assert bank.history() == story
