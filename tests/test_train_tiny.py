from __future__ import annotations

import json
from collections import Counter, defaultdict
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from langgraph_memory_r1.evals.personaworld.words import part_of
from langgraph_memory_r1.prompts import AnswerInput, ManageInput, parse, render
from langgraph_memory_r1.schemas import Add, Delete, Noop, Update
from langgraph_memory_r1.train.tiny import BASE
from langgraph_memory_r1.train.tiny.demonstrations import RELATED_K, TOP_K, Demonstration, demonstrations
from langgraph_memory_r1.train.tiny.habits import right_share


@pytest.fixture(scope="module")
def shown() -> list[Demonstration]:
    return list(islice(demonstrations(seed=3), 3000))


def test_every_demonstrated_reply_is_one_that_the_library_reads(shown: list[Demonstration]) -> None:
    for each in shown:
        for reply in (each.reply, each.right):
            assert parse(reply, each.given)


def test_prompts_show_no_more_memories_than_the_tokenizer_has_numbers_for(shown: list[Demonstration]) -> None:
    managed = [len(each.given.memories) for each in shown if isinstance(each.given, ManageInput)]
    answered = [len(each.given.memories) for each in shown if isinstance(each.given, AnswerInput)]

    assert max(managed) == RELATED_K and max(answered) == TOP_K


def test_demonstrations_use_no_name_of_a_split(shown: list[Demonstration]) -> None:
    speakers = {memory.speaker for each in shown for memory in each.given.memories if memory.speaker}

    assert len(speakers) > 100 and {part_of(name) for name in speakers} == {"base"}


def test_right_things_are_as_frequent_as_the_habits_say_and_never_rare(shown: list[Demonstration]) -> None:
    done: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for each in shown:
        done[each.kind, each.noun].append(each.habit == "right")

    assert {kind for kind, _ in done} >= {"new", "additive", "correction", "retraction", "repetition", "small-talk"}
    for (kind, noun), rights in done.items():
        share = right_share(kind, noun)
        assert share >= 0.2
        if len(rights) >= 40:
            assert sum(rights) / len(rights) == pytest.approx(share, abs=0.22)


def test_the_untrained_manager_lets_a_second_cat_replace_the_first(shown: list[Demonstration]) -> None:
    habits = Counter(each.habit for each in shown if each.kind == "additive" and each.noun == "cat")

    assert habits["overwrite"] > habits["right"] > 0


def test_the_right_operations_are_those_of_their_kind(shown: list[Demonstration]) -> None:
    kinds = {"additive": Update, "correction": Update, "retraction": Delete, "repetition": Noop}
    found: dict[str, set[type[Any]]] = defaultdict(set)
    for each in shown:
        if isinstance(each.given, ManageInput):
            found[each.kind].update(type(operation) for operation in parse(each.right, each.given))

    assert found["new"] == {Add} and found["small-talk"] == {Noop}
    for kind, event in kinds.items():
        # Where the bank has lost the memory by an earlier slip, the right thing is to add it anew, or nothing.
        assert event in found[kind] <= {event, Add, Noop}


def test_the_base_is_small_enough_for_a_repository() -> None:
    size = sum(path.stat().st_size for path in Path(BASE).iterdir())

    assert 1_000_000 < size < 10_000_000


def test_the_tokenizer_holds_the_compact_instructions_of_this_prompt_version() -> None:
    tokenizer = json.loads((Path(BASE) / "tokenizer.json").read_text(encoding="utf-8"))
    whole = {token["content"] for token in tokenizer["added_tokens"]}

    for given in (ManageInput((), ()), AnswerInput("?", ())):
        assert render(given, "compact")[0].content in whole
