"""The bundled conversation shows what it promises."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import BaseMessage
from langgraph.store.memory import InMemoryStore

from langgraph_memory_r1 import LanceDBStore, MemoryBank
from langgraph_memory_r1.demo import AnswerScene, BankScene, Scene, TurnScene, UndoScene, conversation, play
from langgraph_memory_r1.models import RulesChatModel
from langgraph_memory_r1.prompts import ManageInput, read
from langgraph_memory_r1.testing import ScriptedChatModel


@pytest.fixture(params=["lancedb", "in-memory"], scope="module")
def played(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemoryBank]:
    if request.param == "in-memory":
        yield MemoryBank(InMemoryStore(), "demo")
        return
    with LanceDBStore(tmp_path_factory.mktemp("demo") / "bank") as opened:
        yield MemoryBank(opened, "demo")


@pytest.fixture(scope="module")
def scenes(played: MemoryBank) -> list[Scene]:
    """The whole play; the tests look at it, and change nothing."""
    return list(play(played))


def test_with_a_model_that_copies_its_prompt_the_demo_ends_with_every_fact() -> None:
    extractor = RulesChatModel()

    def small(messages: list[BaseMessage]) -> str:
        # As a model of half a billion parameters did: whatever the facts are, a line of the prompt.
        if isinstance(read(messages), ManageInput):
            return '{"operations":[{"event":"UPDATE","fact":0,"id":0,"text":"..."}]}'
        return str(extractor.invoke(messages).text)

    bank = MemoryBank(InMemoryStore(), "demo")
    play_through = list(play(bank, ScriptedChatModel(small)))
    texts = " ".join(memory.text for memory in bank.all())
    assert all(word in texts for word in ("Buddy", "Scout", "Denver", "guitar", "marathon")), texts
    operations = [op for scene in play_through if isinstance(scene, TurnScene) for op in scene.operations]
    assert {op["event"] for op in operations} == {"ADD", "NOOP"}
    assert {op["reason"].partition(":")[0] for op in operations if op["event"] == "ADD"} == {"undecided"}


def said(scenes: list[Scene], words: str) -> list[dict[str, Any]]:
    """The operations of the turn that holds these words."""
    (found,) = [scene for scene in scenes if isinstance(scene, TurnScene) and words in scene.turn.text]
    return list(found.operations)


def test_conversation_has_three_sessions_of_two_speakers() -> None:
    turns = conversation().turns
    assert len(turns) == 12
    assert list(dict.fromkeys(turn.session for turn in turns)) == ["s1", "s2", "s3"]
    assert {turn.speaker for turn in turns} == {"Maya", "Leo"}
    assert len({turn.id for turn in turns}) == len(turns)


def test_another_dog_is_an_update_that_keeps_both(scenes: list[Scene]) -> None:
    (operation,) = said(scenes, "Scout")
    assert operation["event"] == "UPDATE"
    assert "Buddy" in operation["before"] and "Scout" not in operation["before"]
    assert "Buddy" in operation["after"] and "Scout" in operation["after"]


def test_moving_supersedes_the_old_home(scenes: list[Scene]) -> None:
    (operation,) = said(scenes, "Denver")
    assert operation["event"] == "UPDATE"
    assert "Boston" in operation["before"]
    assert "Denver" in operation["after"] and "Boston" not in operation["after"]


@pytest.mark.parametrize(("words", "gone"), [("stopped playing", "guitar"), ("forget", "marathon")])
def test_retractions_delete(scenes: list[Scene], words: str, gone: str) -> None:
    (operation,) = said(scenes, words)
    assert (operation["event"], operation["after"]) == ("DELETE", None)
    assert gone in operation["before"]


@pytest.mark.parametrize("words", ["great news", "Haha", "No worries"])
def test_small_talk_is_a_noop_with_a_reason(scenes: list[Scene], words: str) -> None:
    (operation,) = said(scenes, words)
    assert operation["event"] == "NOOP" and operation["reason"]


def test_questions_are_answered_from_the_turns_that_hold_the_answer(scenes: list[Scene]) -> None:
    answered = [scene for scene in scenes if isinstance(scene, AnswerScene)]
    assert len(answered) == len(conversation().questions)
    for scene in answered:
        used = {turn for memory in scene.selected for turn in memory["source"]}
        assert set(scene.question.evidence) <= used, scene.question.text
        assert scene.text == (scene.question.gold or "I don't know."), scene.question.text


def test_one_operation_is_undone_and_the_bank_shows_it(scenes: list[Scene]) -> None:
    before, after = [scene.memories for scene in scenes if isinstance(scene, BankScene)]
    (undone,) = [scene for scene in scenes if isinstance(scene, UndoScene)]
    assert undone.operation.event == "DELETE" and undone.change.undoes == undone.operation.id
    assert {memory.text for memory in after} - {memory.text for memory in before} == {
        "Maya plays the guitar in a small band."
    }


def test_history_is_complete_and_names_the_model(played: MemoryBank, scenes: list[Scene]) -> None:
    operations = [operation for scene in scenes if isinstance(scene, TurnScene) for operation in scene.operations]
    history = played.history()
    assert [change.id for change in history[:-1]] == [operation["op_id"] for operation in operations]
    assert {change.model for change in history[:-1]} == {"rules"}
    assert history[-1].undoes is not None
