"""Episodes run side by side do what the graph does one by one; rows are cut out of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra `train` is not installed")

from langchain_core.messages import BaseMessage, HumanMessage
from langgraph.store.memory import InMemoryStore

from langgraph_memory_r1 import (
    Conversation,
    InputError,
    MemoryBank,
    Question,
    TraceRecorder,
    Turn,
    create_memory_graph,
    read_traces,
)
from langgraph_memory_r1.batches import Limits
from langgraph_memory_r1.evals.personaworld import generate
from langgraph_memory_r1.models import RulesChatModel
from langgraph_memory_r1.prompts import render
from langgraph_memory_r1.steps import Agent, CallModel
from langgraph_memory_r1.testing import ScriptedChatModel
from langgraph_memory_r1.train.models import ChatPolicy, Completion
from langgraph_memory_r1.train.rollout import (
    RolePolicy,
    answer_questions,
    episodes_of,
    final_banks,
    roll_out,
    run_batched,
)
from langgraph_memory_r1.train.rows import Row, read_rows, write_rows
from langgraph_memory_r1.train.sources import answer_rows, manager_rows

RULES = RolePolicy(ChatPolicy(RulesChatModel()), "full", k=6)
ANSWERS = replace(RULES, k=10)


@pytest.fixture(scope="module")
def conversations() -> list[Conversation]:
    return [story.conversation for story in generate("train", conversations=3)]


def test_banks_and_answers_are_those_of_the_graph(conversations: list[Conversation]) -> None:
    episodes = episodes_of(conversations)
    banks = final_banks(episodes, RULES)
    asked = [(bank, question) for bank, told in zip(banks, conversations, strict=True) for question in told.questions]
    answers = iter(answer_questions(asked, ANSWERS))
    store = InMemoryStore()
    for conversation, bank in zip(conversations, banks, strict=True):
        graph = create_memory_graph(MemoryBank(store, conversation.id), related_k=6, k=10, limits=Limits(batch_turns=1))
        graph.invoke({"turns": list(conversation.turns)})
        assert [memory.text for memory in MemoryBank(store, conversation.id).all()] == [m.text for m in bank.all()]
        for question in conversation.questions:
            assert graph.invoke({"question": question.text})["answer"] == next(answers).text


def test_rows_show_what_the_graph_shows(conversations: list[Conversation], tmp_path: Path) -> None:
    episodes, moment = episodes_of(conversations), [datetime(2024, 1, 1, tzinfo=UTC)]
    rows = [*manager_rows(episodes, RULES)[0], *answer_rows(episodes, RULES, k=10)[0]]
    recorder = TraceRecorder(tmp_path)
    for conversation in conversations:
        graph = create_memory_graph(
            MemoryBank(InMemoryStore(), conversation.id), related_k=6, k=10, limits=Limits(batch_turns=1),
            clock=lambda: moment[0],
        ).with_config(callbacks=[recorder])  # fmt: skip
        graph.invoke({"turns": list(conversation.turns)})
        for question in conversation.questions:
            moment[0] = question.at or moment[0]
            graph.invoke({"question": question.text})
    shown = {tuple(message["content"] for message in decision.messages) for decision in read_traces(tmp_path)}
    prompts = {row.id: tuple(message.text for message in render(row.role_input, "full")) for row in rows}
    assert len(prompts) == len(rows) > 20
    assert not {name for name, prompt in prompts.items() if prompt not in shown}
    assert all("\nNow: " in prompts[row.id][-1] for row in rows if row.node == "answer")


def test_all_that_is_asked_at_a_step_is_asked_in_one_batch(conversations: list[Conversation]) -> None:
    class Batches(ChatPolicy):
        sizes: list[int] = []  # noqa: RUF012

        def reply(self, prompts: Sequence[Sequence[BaseMessage]], *, temperature: float = 0.0) -> list[Completion]:
            self.sizes.append(len(prompts))
            return super().reply(prompts, temperature=temperature)

    episodes = episodes_of(conversations)
    final_banks(episodes, replace(RULES, policy=Batches(RulesChatModel())))
    assert len(Batches.sizes) <= max(len(episode.steps) for episode in episodes)
    assert max(Batches.sizes) == len(conversations)


def test_a_session_can_be_rolled_again_from_the_bank_before_it(conversations: list[Conversation]) -> None:
    [episode] = episodes_of(conversations[:1])
    [whole] = roll_out([episode], RULES)
    last = episode.sessions[-1]
    before = whole.before[episode.sessions.index(last)]
    [again] = roll_out([episode.within(last)], RULES, [before])
    assert [memory.text for memory in again.bank.all()] == [memory.text for memory in whole.bank.all()]
    assert len(before) <= len(whole.bank)


def test_a_manager_row_holds_the_bank_before_its_turn_and_the_questions_about_it(
    conversations: list[Conversation],
) -> None:
    episodes = episodes_of(conversations)
    rows, skipped = manager_rows(episodes, RULES)
    linked = sum(len(row.probes) for row in rows)
    assert linked + sum(skipped.values()) == sum(len(episode.questions) for episode in episodes)
    for row in rows:
        told = {turn for probe in row.probes for turn in probe.evidence}
        assert told & {turn for fact in row.facts for turn in fact.source}
        assert not {turn for fact in row.facts for turn in fact.source} & {t for m in row.bank for t in m.source}
        assert set(row.shown) <= set(row.bank)


def test_a_window_forgets_what_lies_before_it(conversations: list[Conversation]) -> None:
    episodes = episodes_of(conversations)
    whole, skipped = manager_rows(episodes, RULES)
    window, skipped_too = manager_rows(episodes, RULES, window=2)
    assert {row.id for row in window} < {row.id for row in whole}
    lost = sum(len(row.probes) for row in whole) - sum(len(row.probes) for row in window)
    assert lost and skipped_too == skipped + Counter({"a part of the evidence lies before the window": lost})
    assert all(len(row.bank) <= 2 for row in window)
    assert any(len(row.bank) > 2 for row in whole)


def test_a_question_can_be_asked_after_every_turn_from_its_last_evidence_on() -> None:
    told = ("I adopted a dog called Rex.", "I slept badly.", "I adopted a cat called Tom.", "I need a coffee.")
    turns = tuple(Turn("Ann", text, id=f"t{n}", session="s") for n, text in enumerate(told))
    questions = (Question("Which dog?", "Rex", ("t0",)), Question("Which cat?", "Tom", ("t2",)))
    [episode] = episodes_of([Conversation("c", turns, questions)])
    rows = manager_rows([episode], RULES, link="since")[0]
    assert {row.step: [probe.gold for probe in row.probes] for row in rows} == {
        0: ["Rex"], 1: ["Rex"], 2: ["Rex", "Tom"], 3: ["Rex", "Tom"],
    }  # fmt: skip


@pytest.mark.parametrize(("window", "asked"), [(2, [2]), (3, [2, 3]), (None, [2, 3])])
def test_a_question_is_not_asked_of_a_window_that_begins_after_its_evidence(
    window: int | None, asked: list[int]
) -> None:
    """With a window of 2 the last turn's bank knows turns 1 and 2, and nobody could say what turn 0 told."""
    turns = tuple(Turn("Ann", f"I adopted a dog called Dog{n}.", id=f"t{n}", session="s") for n in range(4))
    [episode] = episodes_of([Conversation("c", turns, (Question("Which?", "Dog0", ("t0", "t2", "t3")),))])
    rows, skipped = manager_rows([episode], RULES, window=window, link="any")
    assert [row.step for row in rows] == [0, *asked]
    assert sum(skipped.values()) == 2 - len(asked)


def test_what_gives_no_row_is_counted_by_reason() -> None:
    turns = (Turn("Ann", "I adopted a dog called Buddy.", id="1", session="s"),)
    questions = (
        Question("Which dog?", "Buddy", ("1",)),
        Question("Which cat?", " ", ("1",)),
        Question("Why?", "because", ()),
        Question("Where?", "there", ("99",)),
    )
    [episode] = episodes_of([Conversation("c", turns, questions)])
    rows, skipped = manager_rows([episode], RULES)
    assert [probe.question for row in rows for probe in row.probes] == ["Which dog?"]
    assert skipped == {"no gold answer": 1, "no evidence": 1, "the evidence lies outside the conversation": 1}
    assert answer_rows([episode], RULES)[1] == {"no gold answer": 1}


def test_rows_are_read_as_they_were_written(conversations: list[Conversation], tmp_path: Path) -> None:
    episodes = episodes_of(conversations)
    rows: list[Row] = [*manager_rows(episodes, RULES)[0], *answer_rows(episodes, RULES)[0]]
    file = tmp_path / "rows.jsonl"
    assert write_rows(file, rows) == len(rows)
    assert list(read_rows(file)) == rows
    with file.open("a") as more:
        more.write('{"node": "manage", "id": "half\n')
    broken: list[InputError] = []
    assert list(read_rows(file, on_skip=broken.append)) == rows
    assert f"rows.jsonl:{len(rows) + 1}" in str(broken[0])
    with pytest.raises(InputError, match=r"rows\.jsonl"):
        list(read_rows(file, strict=True))


def test_a_batch_that_fails_leaves_no_role_unawaited() -> None:
    ended: list[int] = []
    nobody = Agent("extract", ScriptedChatModel([]))

    async def role(number: int) -> str:
        try:
            return (await CallModel(nobody, [HumanMessage(str(number))])).text
        finally:
            ended.append(number)

    def ready(prompts: Any) -> dict[int, str]:
        raise OSError("the engine is down")

    with pytest.raises(OSError, match="engine"):  # a warning of a coroutine that was never awaited would fail the test
        run_batched([role(0), role(1)], ready)
    assert ended == [0, 1]
    assert run_batched([role(2)], lambda prompts: dict.fromkeys(prompts, "yes")) == ["yes"]
