from __future__ import annotations

import json
import random
import re
from collections import Counter, defaultdict
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from langgraph_memory_r1.evals.personaworld.names import part_of
from langgraph_memory_r1.prompts import AnswerInput, ManageInput, parse, render
from langgraph_memory_r1.schemas import Add, Delete, Noop, Update
from langgraph_memory_r1.train.tiny import BASE
from langgraph_memory_r1.train.tiny.demonstrations import RELATED_K, TOP_K, Demonstration, demonstrations
from langgraph_memory_r1.train.tiny.habits import right_share
from langgraph_memory_r1.train.tiny.lessons import lessons

made = pytest.mark.skipif(
    not (BASE / "tokenizer.json").exists(),
    reason="the tiny base is not made; run python -m langgraph_memory_r1.train.tiny.pretrain train/tiny/base",
)


pytestmark = pytest.mark.slow  # thousands of demonstrations


@pytest.fixture(scope="module")
def shown() -> list[Demonstration]:
    return list(islice(demonstrations(seed=3), 3000))


def test_every_demonstrated_reply_is_one_that_the_library_reads(shown: list[Demonstration]) -> None:
    for each in shown:
        for reply in (each.reply, each.right):
            assert parse(reply, each.role_input)


def test_prompts_show_no_more_memories_than_the_tokenizer_has_numbers_for(shown: list[Demonstration]) -> None:
    managed = [len(each.role_input.memories) for each in shown if isinstance(each.role_input, ManageInput)]
    answered = [len(each.role_input.memories) for each in shown if isinstance(each.role_input, AnswerInput)]

    assert max(managed) == RELATED_K < max(answered) <= TOP_K


def test_demonstrations_use_no_name_of_a_split(shown: list[Demonstration]) -> None:
    speakers = {memory.speaker for each in shown for memory in each.role_input.memories if memory.speaker}

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
        if isinstance(each.role_input, ManageInput):
            found[each.kind].update(type(operation) for operation in parse(each.right, each.role_input))

    assert found["new"] == {Add} and found["small-talk"] == {Noop}
    for kind, event in kinds.items():
        # Where the bank has lost the memory by an earlier slip, the right thing is to add it anew, or nothing.
        assert event in found[kind] <= {event, Add, Noop}


def test_a_lesson_shows_its_memories_once_and_every_number_in_it_is_of_one_of_them() -> None:
    for most in (3, TOP_K):
        for lesson in islice(lessons(random.Random(4), most), 200):
            (shown, nothing), *exercises = lesson
            numbers = set(re.findall(r"^\[(\d)\] ", shown, re.MULTILINE))
            asked = "".join(text for text, _ in exercises)
            said = "".join(reply for _, reply in exercises)
            assert shown.startswith("Memories:\n[0] ") and not nothing and "Memories:" not in asked
            assert 2 <= len(numbers) <= most
            assert set(re.findall(r'"id":(\d)|"selected":\[(\d)\]|(?:^|>)(\d): ', said)) and numbers >= {
                number for found in re.findall(r'"id":(\d)|"selected":\[(\d)\]', said) for number in found if number
            }


def test_the_replies_of_a_lesson_can_be_read() -> None:
    for lesson in islice(lessons(random.Random(5), drilled=0.0), 50):
        for text, reply in lesson[1:]:
            assert text.endswith("<|assistant|>") and reply.endswith("}<|end|>")
            assert json.loads(reply.removesuffix("<|end|>"))


@pytest.mark.slow
def test_a_base_that_is_made_twice_is_the_same_and_is_loaded_by_its_folder(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from langgraph_memory_r1.models import load_chat_model
    from langgraph_memory_r1.train.tiny import pretrain

    small = pretrain.Pretraining(
        drills=1, growing=1, lessons=1, right=1, habits=1, tokens=300, hidden=32, layers=1, inner=32
    )
    whole = pretrain.make(tmp_path / "whole", small)
    model = load_chat_model(f"hf:{whole}", max_tokens=8)
    said = model.invoke(render(ManageInput((), ()), "compact"))

    again = pretrain.make(tmp_path / "again", small)
    assert (whole / "model.safetensors").read_bytes() == (again / "model.safetensors").read_bytes()
    assert not (whole / "unfinished.pt").exists()
    assert said.usage_metadata is not None and 0 < said.usage_metadata["output_tokens"] <= 8


@pytest.mark.slow
def test_a_recipe_that_was_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from langgraph_memory_r1.train.tiny import pretrain

    small = pretrain.Pretraining(
        drills=2, growing=1, lessons=1, right=1, habits=1, tokens=300, hidden=32, layers=1, inner=32, saved=3
    )
    tokenizer = pretrain.new_tokenizer(small)
    torch.manual_seed(0)
    whole = pretrain.new_model(small, tokenizer)
    stopped = pretrain.new_model(small, tokenizer)
    stopped.load_state_dict(whole.state_dict())

    pretrain.fit(whole, tokenizer, small, tmp_path / "whole.pt")
    pretrain.fit(stopped, tokenizer, small, tmp_path / "stopped.pt", until=5)
    resumed = pretrain.new_model(small, tokenizer)
    pretrain.fit(resumed, tokenizer, small, tmp_path / "stopped.pt")

    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name])


@made
def test_the_base_is_small_enough_for_a_repository() -> None:
    size = sum(path.stat().st_size for path in BASE.iterdir())

    assert 1_000_000 < size < 10_000_000


@made
def test_the_tokenizer_holds_the_compact_instructions_of_this_prompt_version() -> None:
    tokenizer = json.loads((BASE / "tokenizer.json").read_text(encoding="utf-8"))
    whole = {token["content"] for token in tokenizer["added_tokens"]}

    for given in (ManageInput((), ()), AnswerInput("?", ())):
        assert render(given, "compact")[0].content in whole
