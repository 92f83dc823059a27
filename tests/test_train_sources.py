"""From what a recipe names to rows: how long conversations are."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra `train` is not installed")

from langgraph_memory_r1 import InputError
from langgraph_memory_r1.conversations import write_conversations
from langgraph_memory_r1.evals.personaworld import Difficulty, generate
from langgraph_memory_r1.models import RulesChatModel
from langgraph_memory_r1.prompts import render
from langgraph_memory_r1.schemas import Conversation, Fact, Memory, Noop, Question, Turn
from langgraph_memory_r1.train.models import ChatPolicy
from langgraph_memory_r1.train.recipe import Data, Recipe, Stage
from langgraph_memory_r1.train.rollout import RolePolicy
from langgraph_memory_r1.train.rows import AnswerRow, ManagerRow, Probe, Row, write_rows
from langgraph_memory_r1.train.sources import first_sessions, training_data

RULES = RolePolicy(ChatPolicy(RulesChatModel()), "full")


def recipe(data: Data) -> Recipe:
    return Recipe(base="none", output="none", train=data, stages=[Stage(role="manage")])


def test_the_first_sessions_with_the_questions_that_they_answer() -> None:
    turns = tuple(Turn("Ann", f"I have cat {n}.", id=f"t{n}", session=f"s{n // 2}") for n in range(6))
    asked = (
        Question("Early?", "0", ("t0",)), Question("Both?", "2", ("t1", "t5")), Question("Late?", "4", ("t4",)),
        Question("Whenever?", "1"),
    )  # fmt: skip
    short = first_sessions(Conversation("c", turns, asked), 2)
    assert [turn.id for turn in short.turns] == ["t0", "t1", "t2", "t3"]
    assert [question.text for question in short.questions] == ["Early?"]
    assert first_sessions(Conversation("c", turns, asked[:3]), 9) == Conversation("c", turns, asked[:3])


def test_questions_of_ones_own_conversations_have_a_time(tmp_path: Path) -> None:
    """As the prompt of a deployed graph always has."""
    turns = (Turn("Ann", "I have a cat called Tom.", datetime(2024, 5, 1, 12, tzinfo=UTC), "t0", "s"),)
    write_conversations(tmp_path / "c.jsonl", [Conversation("c", turns, (Question("Which cat?", "Tom", ("t0",)),))])
    data = Data(source="conversations", path=str(tmp_path / "c.jsonl"))
    (row,) = training_data(data, recipe(data), "answer", RULES).rows
    assert "\nNow: Thu 2024-05-02 12:00\n" in str(render(row.role_input, "compact")[-1].content)


def test_broken_lines_of_ones_own_conversations_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    turns = (Turn("Ann", "I have a cat called Tom.", id="t0", session="s"),)
    file = tmp_path / "c.jsonl"
    write_conversations(file, [Conversation(name, turns, (Question("Which cat?", "Tom", ("t0",)),)) for name in "ab"])
    file.write_bytes(file.read_bytes()[:-20])
    data = Data(source="conversations", path=str(file), only=["a"], limit=1)
    found = training_data(data, recipe(data), "answer", RULES)
    assert len(found.rows) == 1 and found.skipped == {"broken lines": 1}
    assert "c.jsonl:2" in caplog.text


def test_rows_that_nothing_can_be_judged_by_are_named(tmp_path: Path) -> None:
    """Also those of a file that somebody else has written."""
    memory, fact = Memory("m", "Ann has a dog."), Fact("Ann has a cat.", "Ann")
    probes = (Probe("Which pet?", "cat"), Probe("Which bird?", " "))
    rows: list[Row] = [
        ManagerRow("a", (fact,), (memory,), (memory,), probes), ManagerRow("b", (fact,), (), (), probes[1:]),
        ManagerRow("c", (fact,), (), (), (), gold=(Noop(),)), AnswerRow("d", "Which pet?", "", (memory,)),
        AnswerRow("e", "Which pet?", "dog", (memory,)),
    ]  # fmt: skip
    write_rows(tmp_path / "rows.jsonl", rows)
    data = Data(source="rows", path=str(tmp_path / "rows.jsonl"))
    found = training_data(data, recipe(data), "manage", RULES)
    assert [(row.id, row.probes) for row in found.rows if isinstance(row, ManagerRow)] == [("a", probes[:1]), ("c", ())]
    assert found.skipped == {"no gold answer": 2, "no question that can be judged": 1}
    answers = training_data(data, recipe(data), "answer", RULES)
    assert ([row.id for row in answers.rows], answers.skipped) == (["e"], {"no gold answer": 1})


def test_a_curriculum_goes_from_short_conversations_to_long_ones(tmp_path: Path) -> None:
    """Of one's own conversations as of PersonaWorld's: banks grow, and what is left out is counted."""
    stories = generate("train", conversations=4, questions=8, difficulty=Difficulty(sessions=8))
    write_conversations(tmp_path / "mine.jsonl", [story.conversation for story in stories])
    mine, counts = str(tmp_path / "mine.jsonl"), (2, 4, 8)
    for curriculum in (
        [Data(source="conversations", path=mine, sessions=count) for count in counts],
        [Data(source="personaworld", limit=4, world=Difficulty(sessions=count)) for count in counts],
    ):
        largest, left_out = [], []
        for data, sessions in zip(curriculum, counts, strict=True):
            found = training_data(data, recipe(data), "manage", RULES)
            assert all(len(set(episode.sessions)) <= sessions for episode in found.episodes)
            largest.append(max(len(row.bank) for row in found.rows if isinstance(row, ManagerRow)))
            left_out.append(found.skipped["questions about later sessions"])
        assert largest[0] < largest[1] < largest[2]
        assert left_out[-1] == 0 and (left_out[0] > left_out[1] or curriculum[0].path is None)


def test_the_world_of_a_recipe_is_as_hard_as_it_says() -> None:
    """As a long split is told, in the words of another one."""
    data = Data(source="personaworld", split="validation", world=Difficulty(sessions=16, attributes=12), limit=1)
    (episode,) = training_data(data, recipe(data), "manage", RULES).episodes
    assert len(dict.fromkeys(episode.sessions)) == 16
    with pytest.raises(InputError, match="long16 says itself how hard it is"):
        training_data(replace(data, split="long16"), recipe(data), "manage", RULES)


def locomo(path: Path) -> str:
    """A file of LoCoMo's shape: one question of each of three categories, and an adversarial one that has an answer."""
    turns = [{"speaker": "Ann", "dia_id": f"D1:{n}", "text": f"I have a dog called Dog{n}."} for n in (1, 2)]
    asked = [
        {"question": f"Which dog of category {category}?", "answer": "Dog1", "evidence": ["D1:1"], "category": category}
        for category in (1, 2, 4, 5)
    ]
    chat = {"speaker_a": "Ann", "session_1": turns, "session_1_date_time": "1:56 pm on 8 May, 2023"}
    path.write_text(json.dumps([{"sample_id": "conv-26", "conversation": chat, "qa": asked}]))
    return str(path)


def test_locomos_adversarial_questions_are_not_learned_from(tmp_path: Path) -> None:
    """Two of conv-26's have an answer in the file; the paper's 152 questions are those without them."""
    data = Data(source="locomo", path=locomo(tmp_path / "l.json"), only=["conv-26"], link="any", allow_modified=True)
    categories = {row.kind for row in training_data(data, recipe(data), "answer", RULES).rows}
    assert categories == {"multi-hop", "temporal", "single-hop"}


def test_another_file_than_locomos_is_refused_unless_the_recipe_takes_it(tmp_path: Path) -> None:
    data = Data(source="locomo", path=locomo(tmp_path / "l.json"), only=["conv-26"])
    with pytest.raises(InputError, match=r"not locomo's published file .* accept it with allow_modified: true"):
        training_data(data, recipe(data), "answer", RULES)


@pytest.mark.parametrize(("name", "count"), [("conv-26", 152), ("conv-30", 81)])
def test_locomo_gives_the_papers_numbers_of_questions(name: str, count: int, data_dir: Path) -> None:
    data = Data(source="locomo", path=str(data_dir / "locomo" / "locomo10.json"), only=[name], link="any")
    found = training_data(data, recipe(data), "answer", RULES)
    assert sum(len(episode.questions) for episode in found.episodes) == count
