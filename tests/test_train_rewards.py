"""Rewards, with a real frozen answerer (`rules`) and with a scripted one that is counted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

pytest.importorskip("torch", reason="the extra `train` is not installed")

from langchain_core.messages import BaseMessage

from langgraph_memory_r1 import Fact, InputError, Memory, scoring
from langgraph_memory_r1.bank.base import MemoryFork
from langgraph_memory_r1.models import RulesChatModel
from langgraph_memory_r1.prompts import read
from langgraph_memory_r1.retrieval import Index
from langgraph_memory_r1.train.models import ChatPolicy, Completion
from langgraph_memory_r1.train.rewards import (
    AnswerReward,
    FormatReward,
    FrozenAnswerer,
    ManagerReward,
    SizeReward,
)
from langgraph_memory_r1.train.rollout import RolePolicy
from langgraph_memory_r1.train.rows import AnswerRow, ManagerRow, Probe

BUDDY = Memory("b", "Ann adopted a dog called Buddy.", "Ann", datetime(2024, 5, 1, tzinfo=UTC))
SCOUT = Fact("Ann adopted another dog called Scout.", "Ann", datetime(2024, 6, 1, tzinfo=UTC), ("t2",))
DOGS = Probe("How many dogs does Ann have?", "2")
ROW = ManagerRow("r", (SCOUT,), (BUDDY,), (BUDDY,), (DOGS,))

ADD = json.dumps({"operations": [{"event": "ADD", "fact": 0, "text": SCOUT.text}]})
OVERWRITE = json.dumps({"operations": [{"event": "UPDATE", "fact": 0, "id": 0, "text": "Ann has a dog called Scout."}]})
UNREADABLE = "I would rather not say."


class Counted:
    """Answers with the number of memories that it is shown, and counts what it is asked."""

    label = "counted"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def reply(self, prompts: Sequence[Sequence[BaseMessage]], *, temperature: float = 0.0) -> list[Completion]:
        given = [read(prompt) for prompt in prompts]
        self.asked += [str(one) for one in given]
        return [Completion(json.dumps({"selected": [], "answer": str(len(one.memories))})) for one in given]  # type: ignore[union-attr]


def rules() -> FrozenAnswerer:
    return FrozenAnswerer(RolePolicy(ChatPolicy(RulesChatModel()), "full", k=60))


def rewards(reward: ManagerReward | AnswerReward | FormatReward | SizeReward, *texts: str) -> list[float | None]:
    key = next(iter(reward.rows))
    chats = [[{"role": "assistant", "content": text}] for text in texts]
    return reward(chats, [key] * len(texts), prompts=[], trainer_state=None)


def test_keeping_both_dogs_is_rewarded_and_overwriting_one_is_not() -> None:
    assert rewards(ManagerReward([ROW], rules()), ADD, OVERWRITE, UNREADABLE) == [1.0, 0.0, 0.0]


def test_the_bank_of_a_row_stays_as_it_is_whatever_is_sampled() -> None:
    reward = ManagerReward([ROW], FrozenAnswerer(RolePolicy(Counted(), k=60)))
    first = rewards(reward, ADD, ADD)
    assert rewards(reward, ADD, UNREADABLE) == [first[0], 0.0]


def test_equal_states_are_asked_once() -> None:
    answerer = Counted()
    frozen_answerer = FrozenAnswerer(RolePolicy(answerer, k=60))
    reward = ManagerReward([ROW], frozen_answerer)
    rewards(reward, *[ADD] * 8, *[UNREADABLE] * 8)
    assert len(answerer.asked) == 2
    rewards(reward, ADD, UNREADABLE, OVERWRITE)
    assert len(answerer.asked) == 3
    assert frozen_answerer.asked == frozen_answerer.answered_before + 3


def test_a_row_whose_probes_cannot_be_scored_has_no_reward() -> None:
    assert rewards(ManagerReward([ManagerRow("r", (SCOUT,), (), (), ())], rules()), ADD) == [None]


def test_probes_are_averaged() -> None:
    row = ManagerRow("r", (SCOUT,), (BUDDY,), (BUDDY,), (DOGS, Probe("How many dogs does Ann have?", "7")))
    assert rewards(ManagerReward([row], rules()), ADD) == [0.5]


def test_the_answerer_reads_what_it_says_and_is_judged_by_the_metric() -> None:
    row = AnswerRow("a", "Which dog?", "Buddy", (BUDDY,))
    said = ['{"selected":[0],"answer":"Buddy."}', '{"selected":[0],"answer":"a cat"}', "Buddy", ""]
    assert rewards(AnswerReward([row]), *said) == [1.0, 0.0, 1.0, 0.0]


def test_the_terms_beside_the_outcome() -> None:
    assert rewards(FormatReward([ROW]), ADD, UNREADABLE) == [1.0, 0.0]
    longer = json.dumps({"operations": [{"event": "ADD", "fact": 0, "text": f"{SCOUT.text} {SCOUT.text}"}]})
    small, large, none = rewards(SizeReward([ROW]), OVERWRITE, longer, UNREADABLE)
    assert small == 0
    assert none == 0
    # six words were said; twelve are added, 0.7 of six are free
    assert large == pytest.approx(-(12 - 0.7 * 6) / 6)


def test_a_metric_that_gives_no_number_is_refused_and_none_is_kept_apart() -> None:
    row = AnswerRow("a", "Which dog?", "Buddy", (BUDDY,))
    with pytest.raises(InputError, match="None"):
        rewards(AnswerReward([row], lambda answer, gold: float("nan")), "Buddy")
    assert rewards(AnswerReward([row], lambda answer, gold: None), "Buddy") == [None]
    frozen_answerer = FrozenAnswerer(RolePolicy(Counted()), lambda answer, gold: float("inf"))
    with pytest.raises(InputError, match="A metric gave inf"):
        frozen_answerer.scores([(MemoryFork(Index([BUDDY])), [DOGS])])


def test_a_frozen_answerer_is_greedy() -> None:
    with pytest.raises(InputError, match="greedy"):
        FrozenAnswerer(RolePolicy(Counted(), temperature=1.0), scoring.em)
