"""Calibrating a judge: known answers that are what they claim, and counts worked out by hand."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import BaseMessage

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.evals.calibration import (
    CalibrationItem,
    another_answer,
    calibrate,
    changed_answer,
    read_labelled_items,
    sample_items,
    synthetic_items,
    vague_answer,
)
from langgraph_memory_r1.evals.judge import Judge
from langgraph_memory_r1.schemas import Question
from langgraph_memory_r1.scoring import em, f1_locomo
from langgraph_memory_r1.testing import ScriptedChatModel

PREDICTIONS = Path(__file__).parents[1] / "../shared/data/locomo_audit/predictions_gpt-4.1-mini_5word.json"

QUESTIONS = [
    Question("When did Ana adopt Miso?", "4 March 2024", (), "temporal"),
    Question("When did Ben move?", "June 2023", (), "temporal"),
    Question("What did Ana paint?", "a lighthouse", (), "single-hop"),
    Question("What did Ben bake?", "rye bread", (), "single-hop"),
    Question("Has Ben seen the sea?", "no", (), "single-hop"),
    Question("What did Ana lose?", None, (), "adversarial"),
]


def _answer(messages: list[BaseMessage]) -> str:
    return messages[-1].text.rpartition("Answer to be marked: ")[2]


def test_known_answers_are_right_or_wrong_as_they_say() -> None:
    items = synthetic_items(QUESTIONS)
    assert {item.kind for item in items} == {"gold", "another's", "changed", "vague", "refusal"}
    assert len([item for item in items if item.kind == "gold"]) == 5  # the adversarial question has no answer
    assert len([item for item in items if item.kind == "vague"]) == 4  # a yes or no has no vague answer
    for item in items:
        assert em(item.answer, str(item.question.gold)) == float(item.right)
    assert items == synthetic_items(QUESTIONS)


@pytest.mark.parametrize(
    ("gold", "other"),
    [
        ("4 March 2024", "4 April 2024"),
        ("The week before 27 December 2023", "The week before 27 January 2023"),
        ("2022", "2023"),
        ("Two dogs", "Three dogs"),
        ("on a Sunday", "on a Monday"),
        ("yes", "no"),
        ("a lighthouse", None),
        ("she may come", None),
        ("a long list of seven things that would stay right with 1 changed", None),
    ],
)
def test_changed(gold: str, other: str | None) -> None:
    assert changed_answer(gold) == other


def test_a_vague_answer_does_not_hold_the_gold_answer() -> None:
    asked = Question("Did Ana choose the red or the blue kayak?", "blue", (), "single-hop")
    assert (
        vague_answer(asked)
        == "They talked about it, something to do with Ana and choose and red, and it meant a lot to them."
    )


def test_another_answer_shares_no_word() -> None:
    chance = random.Random(0)
    asked = [Question("What pet?", "a red cat"), Question("What car?", "a red car"), Question("Who?", "Ben")]
    assert another_answer(asked[0], asked, chance) == "Ben"
    assert another_answer(asked[0], asked[:2], chance) is None


def test_calibrate_counts_by_kind_and_agreement() -> None:
    """A judge that passes all but refusals: gold 2 of 2, vague 1 of 1, refusal 0 of 1; labels: 3 of 4 agree."""
    asked = QUESTIONS[2]
    items = [
        CalibrationItem(asked, "a lighthouse", True, "gold"),
        CalibrationItem(QUESTIONS[3], "rye bread", True, "gold"),
        CalibrationItem(asked, "something nice", False, "vague"),
        CalibrationItem(asked, "I don't know.", False, "refusal"),
        CalibrationItem(asked, "lighthouse", True, "labelled"),
        CalibrationItem(asked, "the lighthouse", True, "labelled"),
        CalibrationItem(asked, "a ship", False, "labelled"),
        CalibrationItem(asked, "don't know", False, "labelled"),
        CalibrationItem(asked, "mumble", True, "labelled"),
    ]
    done: list[int] = []

    def reply(messages: list[BaseMessage]) -> str:
        answer = _answer([message for message in messages if "Answer to be marked" in message.text])
        return "?" if answer == "mumble" else "no" if "know" in answer else "yes"

    found = calibrate(Judge(ScriptedChatModel(reply), "strict"), items, on_done=lambda: done.append(1))
    assert len(done) == 9
    rates = {each.kind: (each.right, each.n, each.passed, each.unreadable) for each in found.passed}
    assert rates == {
        "gold": (True, 2, 2, 0),
        "vague": (False, 1, 1, 0),
        "refusal": (False, 1, 0, 0),
        "labelled": (None, 4, 3, 1),
    }
    assert found.agreement is not None
    assert (found.agreement.n, found.agreement.agreed) == (4, 3)
    assert (found.agreement.passed_wrong, found.agreement.failed_right) == (1, 0)
    # by chance 2/4 * 3/4 + 2/4 * 1/4 = 1/2 agree, so that kappa is (3/4 - 1/2) / (1/2)
    assert found.agreement.kappa == pytest.approx(0.5)
    assert found.as_dict()["judge"]["kind"] == "strict"
    json.dumps(found.as_dict())


def test_a_failing_model_ends_the_calibration() -> None:
    model = ScriptedChatModel([RuntimeError("down")] * 50)
    with pytest.raises(RuntimeError, match="down"):
        calibrate(Judge(model), synthetic_items(QUESTIONS), concurrency=1)
    assert len(model.calls) < 5
    with pytest.raises(InputError, match="nothing to judge"):
        calibrate(Judge(model), [])


def test_sample_takes_as_many_of_each_kind() -> None:
    chosen = sample_items(synthetic_items(QUESTIONS), 2)
    kinds = [item.kind for item in chosen]
    assert {kind: kinds.count(kind) for kind in kinds} == dict.fromkeys(kinds, 2)
    assert chosen == sample_items(synthetic_items(QUESTIONS), 2)


def _written(tmp_path: Path, row: dict[str, Any]) -> Path:
    path = tmp_path / "predictions.json"
    path.write_text(json.dumps({"detailed_results": {"user_0": [row]}}), "utf-8")
    return path


ROW: dict[str, Any] = {
    "question_id": "q1", "question": "When?", "golden_answer": "2022", "generated_answer": "in 2022", "category": "2",
    "llm_judgments": {"judgment_1": True, "judgment_2": False, "judgment_3": True},
}  # fmt: skip


def test_read_labelled(tmp_path: Path) -> None:
    (item,) = read_labelled_items(_written(tmp_path, ROW))
    assert item == CalibrationItem(Question("When?", "2022", (), "temporal", "q1"), "in 2022", True, "labelled")


@pytest.mark.parametrize(
    "change", [{"category": "9"}, {"llm_judgments": {}}, {"golden_answer": 2022}, {"question": None}]
)
def test_read_labelled_names_the_broken_place(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="user_0 answer 0"):
        read_labelled_items(_written(tmp_path, {**ROW, **change}))


@pytest.mark.skipif(not PREDICTIONS.exists(), reason=f"needs {PREDICTIONS}: published predictions with labels")
def test_the_published_predictions() -> None:
    items = read_labelled_items(PREDICTIONS)
    assert (len(items), sum(item.right for item in items)) == (1540, 1264)
    known = synthetic_items(item.question for item in items[:300])
    assert not [
        item
        for item in known
        if not item.right and f1_locomo(item.answer, str(item.question.gold), item.question.category) == 1
    ]
