"""PersonaWorld as a benchmark: made on the spot, the same everywhere, and run by `memory-r1 eval` like the others."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from langgraph_memory_r1 import scoring
from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.evals.benchmark import Dataset, benchmark
from langgraph_memory_r1.evals.personaworld import LONG, SPLITS, UNKNOWN, Difficulty
from langgraph_memory_r1.evals.personaworld.world import PersonaWorld
from support.command import Command, Done


def evaluate(cli: Command, *options: str, systems: str = "memory-r1,oracle,no-memory") -> Done:
    return cli(
        "eval", "personaworld", "--model", "rules", "--systems", systems, "--out", str(cli.folder / "run"), *options
    )


def small(split: str = "test", seed: int = 0) -> Dataset:
    return PersonaWorld(seed=seed, conversations=3).load(None, split)


@pytest.mark.parametrize("split", [*SPLITS, *LONG])
def test_gold_answers_score_one_and_wrong_ones_do_not(split: str) -> None:
    data = benchmark("personaworld").load(None, split)
    asked = [question for each in data.conversations for question in each.questions]
    for question in asked:
        assert question.gold and scoring.em(question.gold, question.gold) == 1.0
        assert scoring.em("zebra xylophone", question.gold) == 0.0
    assert {question.category for question in asked} <= set(PersonaWorld.categories)
    assert len({question.id for question in asked}) == len(asked)


def test_every_question_is_asked_a_day_after_the_conversation() -> None:
    for split in (*SPLITS, *LONG):
        for each in small(split).conversations:
            moments = [turn.at for turn in each.turns if turn.at is not None]
            assert len(moments) == len(each.turns)
            assert {question.at for question in each.questions} == {max(moments) + timedelta(days=1)}


def test_evidence_names_turns_and_what_was_taken_back_is_unanswerable() -> None:
    world = benchmark("personaworld")
    unknown = 0
    for each in world.load(None).conversations:
        turns = {turn.id for turn in each.turns}
        assert all(question.evidence and turns.issuperset(question.evidence) for question in each.questions)
        assert all(world.unanswerable(question) == (question.gold == UNKNOWN) for question in each.questions)
        unknown += sum(map(world.unanswerable, each.questions))
    assert 0 < unknown < 200


def test_a_seed_makes_the_same_world_and_another_one_another() -> None:
    assert small() == small()
    assert small(seed=1).sha256 != small().sha256
    assert small(seed=1).notes == ("the world is not the default one: seed=1, conversations=3",)
    assert benchmark("personaworld").load(None).notes == ()
    names = {each.id for each in small(seed=1).conversations}
    assert not names & {each.id for each in small().conversations}


def test_difficulty_is_told_by_arguments_or_by_words() -> None:
    told = PersonaWorld(seed=2, conversations=2, difficulty=Difficulty(sessions=5, hops=0.0)).load(None)
    assert PersonaWorld.of(["seed=2", "conversations=2", "sessions=5", "hops=0"]).load(None) == told
    assert {turn.session for turn in told.conversations[0].turns} == {f"session_{n}" for n in range(1, 6)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("session=4", r"no 'session' to set; did you mean sessions\?"),
        ("colour=4", r"no 'colour' to set; there are: seed, conversations"),
        ("seed", "seed is a whole number, not ''; write seed="),
        ("turns=many", "turns is a whole number, not 'many'; write turns=4"),
        ("hops=often", "hops is a share from 0 to 1, not 'often'"),
        ("hops=1.5", "hops=1.5 is out of range; give 0 to 1"),
        ("questions=0", "questions=0 is out of range; give 1 to any number"),
        ("sessions=999", "sessions=999 is out of range; give 1 to 360"),
    ],
)
def test_a_wrong_change_is_named(change: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        PersonaWorld.of([change])


@pytest.mark.parametrize("change", ["sessions=4", "sessions=3", "attributes=5", "small_talk=0"])
def test_a_long_split_says_itself_how_hard_it_is(change: str) -> None:
    """Also where the change is what other splits have by default."""
    with pytest.raises(InputError, match=r"long8 says itself .* test with sessions=8\."):
        PersonaWorld.of([change]).load(None, "long8")


@pytest.mark.slow
def test_one_command_writes_a_report_offline(cli: Command) -> None:
    done = evaluate(cli, "--world", "conversations=3", "--batch-turns", "1", "--related-k", "6", "--k", "10")
    assert done.code == 0, done.err
    assert "em (official)" in done.out and "invented" in done.err.lower()
    folder = cli.folder / "run"
    results = [json.loads(line) for line in (folder / "results.jsonl").read_text("utf-8").splitlines()]
    assert len(results) == 3 * 12
    nothing = [line for line in results if line["system"] == "no-memory"]
    assert all(line["scores"]["em"] == float(line["gold"] == UNKNOWN) for line in nothing)
    oracle = [line for line in results if line["system"] == "oracle"]
    assert {line["scores"]["recall@60"] for line in oracle} == {1.0}
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    assert (manifest["related_k"], manifest["batch_turns"], manifest["data"]["path"]) == (6, 1, None)
    assert manifest["data"]["sha256"] == PersonaWorld(conversations=3).load(None).sha256
    assert "The world is not the default one: conversations=3" in (folder / "report.md").read_text("utf-8")
    assert (folder / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize("options", [("--data", "world.json"), ("--download",), ("--data", __file__)])
def test_there_is_no_data_file(cli: Command, options: tuple[str, ...]) -> None:
    done = evaluate(cli, *options)
    assert (done.code, done.err.count("Error:")) == (1, 1)
    assert "personaworld is made on the spot and has no data file; leave --data and --download out" in done.err


def test_only_personaworld_can_be_made_otherwise(cli: Command) -> None:
    done = cli("eval", "locomo", "--data", __file__, "--world", "seed=1")
    assert done.code == 1 and "--world changes PersonaWorld; locomo is as it was published" in done.err
