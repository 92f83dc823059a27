"""Greedy scores of whole episodes, by real agents: `rules` remembers and answers."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

pytest.importorskip("torch", reason="the extra `train` is not installed")

from langgraph_memory_r1 import scoring
from langgraph_memory_r1.models import RulesChatModel
from langgraph_memory_r1.schemas import Conversation, Question, Turn
from langgraph_memory_r1.train.models import ChatPolicy
from langgraph_memory_r1.train.rewards import FrozenAnswerer
from langgraph_memory_r1.train.rollout import RolePolicy, episodes_of
from langgraph_memory_r1.train.validation import episode_score

AT = datetime(2024, 5, 1, tzinfo=UTC)
TURNS = (
    Turn("Ann", "I adopted a dog called Buddy.", AT, "t1", "s1"),
    Turn("Ann", "I adopted another dog called Scout.", AT, "t2", "s2"),
)
DOGS = Question("How many dogs does Ann have?", "2", id="q1", evidence=("t1", "t2"))
CATS = Question("How many dogs does Ann have?", "3", id="q2", evidence=("t1",))
UNJUDGED = replace(DOGS, id="q3", gold=None)


def score(*questions: Question) -> float | None:
    rules = RolePolicy(ChatPolicy(RulesChatModel()), "full", k=60)
    episodes = episodes_of([Conversation("ann", TURNS, questions)])
    return episode_score(rules, episodes, FrozenAnswerer(rules, scoring.em))


def test_an_episode_is_scored_by_the_bank_at_its_end() -> None:
    assert score(DOGS) == 1.0
    assert score(DOGS, CATS) == 0.5


def test_questions_without_a_right_answer_are_left_out() -> None:
    assert score(DOGS, UNJUDGED) == 1.0
    assert score(UNJUDGED) is None
