"""From recorded runs and feedback to rows; what is left out is counted; the data card tells all of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from langgraph_memory_r1 import InputError, LanceDBStore, Memory, MemoryBank, TraceRecorder, create_memory_graph
from langgraph_memory_r1.schemas import Add, Fact, Update
from langgraph_memory_r1.traces import read_traces
from langgraph_memory_r1.traces.decision import Decision, Feedback, to_line
from langgraph_memory_r1.train.cards import as_markdown, card_of
from langgraph_memory_r1.train.from_traces import rows_from_traces
from langgraph_memory_r1.train.rows import (
    AnswerRow,
    ManagerRow,
    Probe,
    Row,
    check_splits,
    deduplicated,
    fingerprint,
    leaks,
)

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


class Talk:
    """Somebody who talks to a memory that is recorded."""

    def __init__(self, folder: Path, user: str = "ann", model: Any = "rules") -> None:
        self.traces = folder / "traces"
        self.recorder = TraceRecorder(self.traces)
        self.graph = create_memory_graph(str(folder / "bank"), model=model, clock=lambda: NOW)
        self.settings: Any = {
            "callbacks": [self.recorder],
            "configurable": {"user_id": user, "thread_id": f"of-{user}"},
        }

    def say(self, *words: str) -> None:
        self.graph.invoke({"messages": [("user", text) for text in words]}, self.settings)

    def ask(self, question: str, gold: str | None = None) -> str:
        said = self.graph.invoke({"question": question}, self.settings)["answer"]
        if gold is not None:
            self.recorder.feedback(self.recorder.last_run, gold=gold)
        return str(said)


@pytest.fixture
def talk(tmp_path: Path) -> Talk:
    return Talk(tmp_path)


def managers(talk: Talk) -> list[ManagerRow]:
    return [row for row in rows_from_traces(talk.traces, "manage").rows if isinstance(row, ManagerRow)]


def test_a_right_answer_makes_an_answer_row_and_a_probe_at_its_last_turn(talk: Talk, tmp_path: Path) -> None:
    talk.say("I adopted a dog called Buddy.")
    talk.say("I moved to Denver.")
    talk.say("I adopted another dog, Scout!")
    assert talk.ask("How many dogs do I have?", gold="2") == "2"
    (answer,) = rows_from_traces(talk.traces, "answer").rows
    (manage,) = managers(talk)
    assert isinstance(answer, AnswerRow)
    assert (answer.question, answer.gold, answer.episode) == ("How many dogs do I have?", "2", manage.episode)
    dogs = [place for place, memory in enumerate(answer.memories) if "Buddy" in memory.text]
    assert answer.selected == tuple(dogs)
    assert [fact.text for fact in manage.facts] == ["User adopted another dog, Scout!"]
    assert (manage.step, manage.kind) == (2, "UPDATE")
    assert [(probe.question, probe.gold) for probe in manage.probes] == [("How many dogs do I have?", "2")]
    assert set(manage.facts[0].source) <= set(manage.probes[0].evidence)
    assert sorted(memory.text for memory in manage.bank) == [
        "User adopted a dog called Buddy.",
        "User moved to Denver.",
    ]


def test_the_bank_before_a_decision_is_as_the_bank_itself_tells_it(talk: Talk, tmp_path: Path) -> None:
    talk.say("I adopted a dog called Buddy.", "I play the guitar.")
    talk.say("I stopped playing the guitar.")
    talk.say("I adopted another dog, Scout!")
    talk.ask("How many dogs do I have?", gold="2")
    (row,) = managers(talk)
    decision = next(each for each in read_traces(talk.traces) if each.id == row.id)
    with LanceDBStore(tmp_path / "bank") as store:
        then = MemoryBank(store, "ann").as_of(decision.at or NOW)
    expected = [(each.id, each.text, each.speaker, each.source, each.session, each.rev) for each in then]
    found = [(each.id, each.text, each.speaker, each.source, each.session, each.rev) for each in row.bank]
    assert found == expected
    assert [each.id for each in row.shown] == list(decision.retrieved)


def test_what_was_there_before_or_changed_by_hand_is_learnt_from_prompts(talk: Talk, tmp_path: Path) -> None:
    with LanceDBStore(tmp_path / "bank") as store:
        bank = MemoryBank(store, "ann")
        bank.apply([Add("User has a cat called Miso.", at=NOW)])
        talk.say("I adopted a dog called Buddy.")
        dog = next(memory for memory in bank.all() if "Buddy" in memory.text)
        bank.apply([Update(dog.id, "User adopted a dog called Bud.")])
        talk.say("I adopted another dog, Scout!")
        talk.ask("How many dogs do I have?", gold="2")
    (row,) = [row for row in managers(talk) if row.step == 1]
    assert {memory.text for memory in row.bank} >= {"User adopted a dog called Bud."}
    assert next(memory for memory in row.bank if memory.id == dog.id).source == dog.source


def test_a_wrong_answer_rests_on_the_newest_fact_that_holds_the_gold(talk: Talk) -> None:
    talk.say("I adopted a dog called Buddy.")
    talk.say("My sister Clara lives in Oslo.")
    assert talk.ask("Where is the sister at home?", gold="Oslo Norway") != "Oslo Norway"
    assert managers(talk) == []
    talk.ask("In which town is Clara?", gold="Oslo")
    (row,) = managers(talk)
    assert [fact.text for fact in row.facts] == ["User's sister Clara lives in Oslo."]


def test_what_gives_no_row_is_counted(talk: Talk) -> None:
    talk.say("I adopted a dog called Buddy.")
    talk.ask("Which dog?")
    blank = Feedback(str(talk.recorder.last_run), "  ")
    talk.ask("Who is king?", gold="Nobody knows")
    old = Decision(id="x", run_id="y", role="manage", prompt_version="0", messages=())
    unread = Decision(
        id="z", run_id="z", role="manage", prompt_version="1", messages=({"role": "user", "content": "?"},)
    )
    with (talk.traces / "feedback.jsonl").open("ab") as file:  # as add_feedback would not write it
        file.write(to_line(Feedback("nobody", "x")) + to_line(blank))
    (talk.traces / "other.jsonl").write_bytes(to_line(old) + to_line(unread) + b"{half")
    assert dict(rows_from_traces(talk.traces, "manage").skipped) == {
        "broken lines": 1,
        "feedback on what is not recorded here": 1,
        "recorded under prompt version 0": 1,
        "a prompt that cannot be read": 1,
        "questions without a gold answer": 1,
        "questions whose evidence is in no recorded turn": 1,
        "decisions that no later question rests on": 1,
    }


def test_a_question_to_an_agent_is_a_probe_too(tmp_path: Path) -> None:
    from langchain.agents import create_agent

    from langgraph_memory_r1 import MemoryMiddleware, load_chat_model

    recorder = TraceRecorder(tmp_path / "traces")
    agent = create_agent(load_chat_model("rules"), middleware=[MemoryMiddleware(tmp_path / "bank")])
    settings: Any = {"callbacks": [recorder], "configurable": {"user_id": "ann", "thread_id": "t"}}
    agent.invoke({"messages": "I adopted a dog called Buddy."}, settings)
    agent.invoke({"messages": "What is the dog called?"}, settings)
    recorder.feedback(recorder.last_run, gold="Buddy")
    (row,) = rows_from_traces(tmp_path / "traces", "manage").rows
    assert isinstance(row, ManagerRow)
    assert [probe.question for probe in row.probes] == ["What is the dog called?"]


def test_owners_do_not_mix(tmp_path: Path) -> None:
    ann, bob = Talk(tmp_path, "ann"), Talk(tmp_path, "bob")
    ann.say("I adopted a dog called Buddy.")
    bob.say("I adopted a dog called Rex.")
    bob.ask("What is the dog called?", gold="Rex")
    ann.ask("What is the dog called?", gold="Buddy")
    rows = managers(ann)
    assert {row.facts[0].text: row.probes[0].gold for row in rows} == {
        "User adopted a dog called Buddy.": "Buddy",
        "User adopted a dog called Rex.": "Rex",
    }
    assert len({row.episode for row in rows}) == 2


def test_of_two_tries_the_last_one_is_the_row(tmp_path: Path) -> None:
    from langgraph_memory_r1.testing import ScriptedChatModel

    script = [
        '{"facts":[{"text":"Ann has a dog called Buddy.","turns":[0]}]}', "hm",
        '{"operations":[{"event":"ADD","fact":0,"text":"Ann has a dog called Buddy."}]}',
        '{"selected":[0],"answer":"Buddy"}',
    ]  # fmt: skip
    talk = Talk(tmp_path, model=ScriptedChatModel(script))
    talk.say("I have a dog called Buddy.")
    talk.ask("What is the dog called?", gold="Buddy")
    (row,) = managers(talk)
    assert (row.kind, row.step, row.bank) == ("ADD", 0, ())


def manager_row(key: str, episode: str = "e1", text: str = "Ann has a dog.", gold: str = "dog") -> ManagerRow:
    probe = Probe("Which pet?", gold)
    memory = Memory("m1", "Ann lives in Oslo.", "Ann")
    return ManagerRow(key, (Fact(text, "Ann"),), (memory,), (memory,), (probe,), episode, kind="ADD")


def test_rows_that_show_the_same_are_one() -> None:
    first, same, other = manager_row("a"), manager_row("b"), manager_row("c", text="Ann has a cat.")
    kept, removed = deduplicated([first, same, other])
    assert ([row.id for row in kept], removed) == (["a", "c"], 1)
    assert fingerprint([first, other]) == fingerprint([same, other]) != fingerprint([other, first])


def test_a_row_with_another_bank_is_another_row() -> None:
    row = manager_row("a")
    kept, _ = deduplicated([row, replace(row, id="b", bank=(*row.bank, Memory("m2", "Ann sings.")))])
    assert len(kept) == 2


def test_splits_that_leak_are_refused() -> None:
    train: list[Row] = [manager_row("a"), manager_row("b", "e2", "Ann has a cat.")]
    held: list[Row] = [manager_row("c", "e2", "Ann has a bird."), manager_row("d", "e3", "Ann has a cat.")]
    assert leaks({"train": train, "test": held}) == [
        "train and test share 1 episode(s): e2",
        "train and test share the content of 1 row(s): b",
    ]
    with pytest.raises(InputError, match="The splits leak: train and test share 1 episode"):
        check_splits({"train": train, "test": held})
    check_splits({"train": train, "test": [manager_row("e", "e4", "Ann has a fish.")]})


def test_the_card_tells_counts_and_what_was_left_out() -> None:
    answer = AnswerRow("q", "Which pet?", "a small dog", (Memory("m1", "Ann has a dog."),), episode="e1")
    splits: dict[str, list[Row]] = {"train": [manager_row("a"), answer], "test": [manager_row("b", "e2", "Bob sings.")]}
    card = card_of(splits, {"no gold answer": 3, "nothing": 0}, duplicates=2)
    assert card.splits["train"].rows == {"manage": 1, "answer": 1}
    assert (card.splits["train"].episodes, card.splits["train"].gold_words) == (1, 2.0)
    assert card.shared_questions == {"train, test": 1}
    told = as_markdown(card)
    for line in (
        "| train | manage 1, answer 1 | 1 | 2 | 1, 1 | 2.0 |",
        "- 3: no gold answer",
        "- 2: the same as another row",
        "- train, test: 1 questions with the same answer",
        f"- test: `{fingerprint(splits['test'])}`",
    ):
        assert line in told.splitlines()
    assert "nothing" not in told
