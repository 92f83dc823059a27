from __future__ import annotations

import re
from collections import Counter
from itertools import combinations

import pytest

from langgraph_memory_r1.bank.base import MemoryFork
from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.evals.personaworld import (
    CATEGORIES,
    UNKNOWN,
    Difficulty,
    Story,
    demonstrate,
    generate,
    memory_text,
)
from langgraph_memory_r1.evals.retrieval_only import memory_of
from langgraph_memory_r1.retrieval import Index
from langgraph_memory_r1.rules import answer, extract_facts
from langgraph_memory_r1.schemas import Add, Delete, Noop, Update
from langgraph_memory_r1.scoring import em

SPLITS = ("train", "validation", "test")
RIGHT = {
    "new": Add,
    "additive": Update,
    "correction": Update,
    "retraction": Delete,
    "repetition": Noop,
    "small-talk": Noop,
}


def values(stories: list[Story]) -> set[str]:
    people = {turn.speaker for story in stories for turn in story.conversation.turns}
    return people | {value for story in stories for event in story.events for value in event.values}


def frames(stories: list[Story]) -> set[str]:
    """The turns with a gap in place of every name."""
    found = set()
    for story in stories:
        names = sorted(values([story]), key=len, reverse=True)
        gap = re.compile(rf"\b(?:{'|'.join(names)})\b(?: and (?:{'|'.join(names)})\b)?")
        found |= {gap.sub("_", turn.text) for turn in story.conversation.turns}
    return found


def test_the_default_train_split_has_the_152_questions_of_the_paper() -> None:
    counts = {split: sum(len(story.conversation.questions) for story in generate(split)) for split in SPLITS}

    assert counts == {"train": 152, "validation": 200, "test": 400}


def test_splits_share_no_name_no_value_and_no_frame_whatever_the_seed() -> None:
    stories = {split: generate(split) + generate(split, seed=1, conversations=60) for split in SPLITS}

    for one, other in combinations(SPLITS, 2):
        assert not values(stories[one]) & values(stories[other])
        assert not frames(stories[one]) & frames(stories[other])
    assert len(frames(stories["train"])) > 300


def test_the_same_seed_tells_the_same_stories_and_another_one_others() -> None:
    assert generate("test", conversations=5) == generate("test", conversations=5)
    assert generate("test", conversations=5)[0] != generate("test", conversations=5, seed=1)[0]


@pytest.mark.parametrize("split", SPLITS)
def test_all_six_kinds_of_turns_and_all_categories_of_questions_occur(split: str) -> None:
    stories = generate(split)

    kinds = Counter(event.kind for story in stories for event in story.events)
    asked = Counter(question.category for story in stories for question in story.conversation.questions)

    assert set(kinds) == set(RIGHT) and min(kinds.values()) >= 20
    assert set(asked) == set(CATEGORIES) and min(asked.values()) >= 15


@pytest.mark.parametrize("split", SPLITS)
def test_the_rules_extractor_finds_one_fact_in_every_turn(split: str) -> None:
    for story in generate(split):
        for turn in story.conversation.turns:
            [fact] = extract_facts([turn])
            assert turn.speaker in fact.text


def test_the_evidence_of_a_question_holds_its_answer() -> None:
    for story in generate("test"):
        told = {turn.id: turn for turn in story.conversation.turns}
        for question in story.conversation.questions:
            said = [told[mark] for mark in question.evidence]
            assert said and len(set(question.evidence)) == len(question.evidence)
            if question.category == "temporal":
                assert question.gold in {str(turn.at.date()) for turn in said if turn.at}
            elif question.gold != UNKNOWN:
                for value in (question.gold or "").split(" and "):
                    assert any(value in turn.text for turn in said)


@pytest.mark.parametrize("split", SPLITS)
def test_a_manager_without_mistakes_ends_with_a_bank_that_holds_every_gold_answer(split: str) -> None:
    for story in generate(split):
        bank = MemoryFork(Index())
        steps = list(demonstrate(story, bank))

        for step in steps:
            assert [type(operation) for operation in step.operations] == [RIGHT[step.event.kind]]
        texts = {memory.text for memory in bank.all()}
        now = {(event.owner, event.attribute): event for event in story.events if event.attribute}
        right = {memory_text(e.owner, e.attribute, e.values) for e in now.values() if e.attribute and e.values}
        assert texts == right
        for question in story.conversation.questions:
            if question.category in ("single-hop", "multi-hop"):
                assert any(text.endswith(f": {question.gold}.") for text in texts)


def test_facts_in_a_demonstration_are_those_of_its_turn() -> None:
    for step in demonstrate(generate("train")[0]):
        assert step.facts and {mark for fact in step.facts for mark in fact.source} == {step.turn.id}
        assert all(operation.source == (step.turn.id,) for operation in step.operations)


def test_long_conversations_have_8_16_and_32_sessions() -> None:
    stories = generate("long", conversations=2)

    lengths = [len({turn.session for turn in story.conversation.turns}) for story in stories]
    assert lengths == [8, 8, 16, 16, 32, 32]
    for story in stories:
        times = [turn.at for turn in story.conversation.turns if turn.at]
        assert times == sorted(times) and len(times) == len(story.conversation.turns)


def test_harder_conversations_have_more_speakers_and_more_to_remember() -> None:
    easy = generate("test", conversations=10)
    hard = generate("test", conversations=10, difficulty=Difficulty(sessions=6, speakers=4, attributes=10))

    def size(stories: list[Story]) -> float:
        banks = [MemoryFork(Index()) for _ in stories]
        for story, bank in zip(stories, banks, strict=True):
            list(demonstrate(story, bank))
        return sum(map(len, banks)) / len(banks)

    assert len({turn.speaker for turn in hard[0].conversation.turns}) == 4
    assert size(hard) > 1.5 * size(easy)


def test_without_hops_and_times_every_question_asks_for_a_value() -> None:
    stories = generate("test", conversations=30, difficulty=Difficulty(hops=0.0, times=0.0))

    asked = [question for story in stories for question in story.conversation.questions]
    assert {question.category for question in asked} == {"single-hop", "multi-hop", "retracted"}
    assert all(" and " in (q.gold or "") for q in asked if q.category == "multi-hop")


def test_an_unknown_split_and_too_short_conversations_are_refused() -> None:
    with pytest.raises(InputError, match="no split 'dev'"):
        generate("dev")
    with pytest.raises(InputError, match="give more turns"):
        generate("test", difficulty=Difficulty(sessions=1, turns=2))


def test_rules_find_most_names_in_the_evidence() -> None:
    """The baseline with the oracle's turns: it got next to none, for the words around a question and around a name."""
    scores = []
    for story in generate("test", conversations=20):
        turns = {turn.id: turn for turn in story.conversation.turns}
        for question in story.conversation.questions:
            if question.category == "single-hop" and question.gold is not None:
                reply, _ = answer(question.text, [memory_of(turns[turn]) for turn in question.evidence])
                scores.append(em(reply, question.gold))
    assert len(scores) > 20 and sum(scores) / len(scores) > 0.7
