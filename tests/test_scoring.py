"""Metrics: values worked out by hand, gold answers at 1.0 however awkward, known numbers on real answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.scoring import (
    METRICS,
    abstained,
    answer_scores,
    answer_words,
    bleu1_mem0,
    content_tokens,
    em,
    f1_locomo,
    f1_mem0,
    f1_squad,
    recall_at,
    token_coverage,
)
from langgraph_memory_r1.scoring.bleu import treebank_words

DATA = Path(__file__).parents[1] / "../shared/data"
CATEGORIES = ("multi-hop", "temporal", "open-domain", "single-hop", "adversarial")

NONE = dict.fromkeys(("em", "f1_mem0", "f1_locomo", "bleu1_mem0", "abstained", "answer_words"))

AWKWARD = [
    "The", "A", "and", "an, the", "?!", "...", ",", ";", "; because", "yes, ", " a, b,", ",,", "No; she is adopting",
    "7 May, 2023", "May 7, 2023", "$10", "C++", "3.5", "1,000", "\"Charlotte's Web\"", "“the”", "rock'n'roll", "can't",
    "日本語", "İstanbul", "straße", "🐕", "a\nb", "x" * 5000, "self-care is important", "'", "`", "cannot", "No",
]  # fmt: skip


@pytest.mark.parametrize("gold", AWKWARD)
def test_a_gold_answer_scores_one(gold: str) -> None:
    assert {name: metric(gold, gold) for name, metric in METRICS.items()} == dict.fromkeys(METRICS, 1.0)
    assert [f1_locomo(gold, gold, category) for category in CATEGORIES] == [1.0] * 5


@pytest.mark.parametrize("wrong", ["", "Sapporo", "something else entirely", "!"])
def test_a_wrong_answer_does_not(wrong: str) -> None:
    for gold in AWKWARD:
        assert em(wrong, gold) == 0.0
        assert max(metric(wrong, gold) for metric in METRICS.values()) < 0.5
        assert max(f1_locomo(wrong, gold, category) for category in CATEGORIES) < 0.5


@settings(max_examples=50)
@given(st.text(), st.text())
def test_scores_lie_between_zero_and_one(prediction: str, gold: str) -> None:
    for metric in METRICS.values():
        assert 0.0 <= metric(prediction, gold) <= 1.0
        assert metric(gold, gold) == 1.0


@pytest.mark.parametrize(
    ("prediction", "gold", "score"),
    [
        ("the Adoption Agency.", "adoption agency", 1.0),
        ("7 May, 2023", "7 may 2023", 1.0),
        ("1,000 yen", "1000 yen", 1.0),
        ("6 p.m.", "6 PM", 1.0),
        ("café", "cafe\u0301", 1.0),
        ("Mother’s Day", "Mother's day", 1.0),
        ("35", "3.5", 0.0),
        ("5", "-5", 0.0),
        ("56", "5-6", 0.0),
        ("1030", "10:30", 0.0),
        ("not adoption agency", "adoption agency", 0.0),
        ("agency adoption", "adoption agency", 0.0),
    ],
)
def test_exact_match(prediction: str, gold: str, score: float) -> None:
    assert em(prediction, gold) == score


def test_f1_mem0_compares_sets_and_keeps_quotes() -> None:
    assert f1_mem0("In 2022", "2022") == 2 / 3
    assert f1_mem0("cats cats dogs", "cats") == 2 / 3  # {cats, dogs}
    assert f1_mem0("Charlotte's Web", '"Charlotte\'s Web"') == 0.0
    assert f1_mem0("beach, park!", "Park beach") == 1.0
    assert f1_mem0("the beach", "beach") == 2 / 3  # articles count


def test_f1_squad_compares_multisets_without_articles_and_punctuation() -> None:
    assert f1_squad("The beach.", "beach") == 1.0
    assert f1_squad("cats cats dogs", "cats") == 0.5  # precision 1/3, recall 1
    assert f1_squad("salt and pepper", "salt pepper") == 0.8


def test_f1_locomo_stems_and_drops_and() -> None:
    assert f1_locomo("salt and peppers", "Salt, pepper", "single-hop") == 1.0
    assert f1_locomo("camping trips", "camped", "temporal") == 2 / 3
    assert f1_locomo("s", "is", "single-hop") == 0.0


def test_f1_locomo_of_a_list_has_no_price_for_further_parts() -> None:
    assert f1_locomo("pottery, camping, painting, swimming", "painting, pottery", "multi-hop") == 1.0
    assert f1_locomo("pottery", "painting, pottery", "multi-hop") == 0.5
    assert f1_locomo("7 May 2023", "May 7, 2023", "multi-hop") == pytest.approx((4 / 5 + 1 / 2) / 2)
    assert f1_locomo("pottery", "painting, pottery", "single-hop") == 2 / 3


def test_f1_locomo_of_an_open_question_asks_for_no_reason() -> None:
    gold = "No; she is in the process of adopting"
    assert f1_locomo("no", gold, "open-domain") == 1.0
    assert f1_locomo(gold, gold, "open-domain") == 1.0
    assert f1_locomo("no", gold, "single-hop") == pytest.approx(2 / 8)


def test_f1_locomo_of_an_adversarial_question_wants_a_refusal() -> None:
    assert f1_locomo("That is not mentioned in the conversation.", None, "adversarial") == 1.0
    assert f1_locomo("No information available", "No", "adversarial") == 1.0
    assert f1_locomo("self-care is important", None, "adversarial") == 0.0
    assert f1_locomo("No", "No", "adversarial") == 1.0  # two of them do have an answer
    assert f1_locomo("Yes", "No", "adversarial") == 0.0


def test_f1_locomo_takes_the_numbers_of_the_file_and_other_categories() -> None:
    assert f1_locomo("pottery", "painting, pottery", 1) == f1_locomo("pottery", "painting, pottery", "1") == 0.5
    assert f1_locomo("pottery", "painting, pottery", "knowledge-update") == 2 / 3
    assert f1_locomo("pottery", "painting, pottery", None) == 2 / 3


def test_bleu1_is_clipped_precision_with_a_brevity_penalty() -> None:
    assert bleu1_mem0("2022.", "2022") == 0.5
    assert bleu1_mem0("cats cats", "cats") == 0.5
    assert bleu1_mem0("cats", "cats and dogs") == pytest.approx(2.718281828459045**-2)
    assert bleu1_mem0("dogs", "cats") == 0.0


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("they'll say it's $3.88, can't they?", "they 'll say it 's $ 3.88 , ca n't they ?"),
        ("good. she left.", "good. she left ."),
        ('he read "charlotte\'s web".', "he read `` charlotte 's web '' ."),
        (
            "at 10:30: the dogs' park (3,000 people) ... yes--cannot!",
            "at 10:30 : the dogs ' park ( 3,000 people ) ... yes -- can not !",
        ),
        ("i gotta, 'tis more'n that", "i got ta , ' tis more 'n that"),
    ],
)
def test_treebank_words(text: str, tokens: str) -> None:
    assert treebank_words(text) == tokens.split()


def test_gold_answers_may_be_numbers_or_several() -> None:
    assert em("2022", 2022) == f1_mem0("2022", 2022) == f1_locomo("2022", 2022, "temporal") == 1.0
    assert em("two", ["2", "two"]) == 1.0
    assert f1_squad("two dogs", ["2", "two"]) == 2 / 3
    for metric in (em, f1_mem0, f1_locomo, f1_squad, bleu1_mem0):
        with pytest.raises(InputError, match="gold answer is missing"):
            metric("two", [])


def test_a_score_that_cannot_be_computed_is_none() -> None:
    assert answer_scores(None, "2022") == NONE
    assert answer_scores("in 2022", " ") == NONE | {"answer_words": 2}
    assert answer_scores("in 2022", None) == NONE | {"answer_words": 2, "abstained": 0.0}
    zero = {"em": 0.0, "f1_mem0": 0.0, "f1_locomo": 0.0, "bleu1_mem0": 0.0, "answer_words": 0}
    assert answer_scores("", "2022") == NONE | zero
    assert answer_scores("2022", "2022", "temporal") == NONE | dict.fromkeys(zero, 1.0)


def test_a_question_without_an_answer_wants_abstention() -> None:
    """The library's own refusal is one, but not in the words that LoCoMo's scorer knows."""
    own = answer_scores("I don't know.", None, "adversarial")
    assert (own["abstained"], own["f1_locomo"], own["em"]) == (1.0, 0.0, None)
    theirs = answer_scores("Not mentioned in the conversation", None, "adversarial")
    assert (theirs["abstained"], theirs["f1_locomo"]) == (1.0, 1.0)
    assert answer_scores("a kayak", None, "adversarial")["abstained"] == 0.0


@pytest.mark.parametrize("reply", ["I don't know.", "That was not mentioned.", "There is no information about a cat."])
def test_where_the_gold_answer_is_why_there_is_none_abstaining_is_right(reply: str) -> None:
    gold = "You did not mention this. You adopted a dog, and not a cat."
    metrics = ("em", "f1_mem0", "f1_locomo", "bleu1_mem0", "abstained")
    scores = answer_scores(reply, gold, "multi-session", unanswerable=True)
    assert {scores[metric] for metric in metrics} == {1.0}
    wrong = answer_scores("You adopted a cat.", gold, "multi-session", unanswerable=True)
    assert {wrong[metric] for metric in metrics} == {0.0}


def test_answer_words() -> None:
    assert answer_words("  in May,\n2022 ") == 3


@pytest.mark.parametrize(
    "text",
    ["I don't know.", "Not mentioned", "No information available.", "", "She doesn’t say.", "It cannot be determined"],
)
def test_abstained(text: str) -> None:
    assert abstained(text)


@pytest.mark.parametrize("text", ["No", "In Knoxville", "Nothing Else Matters", "She knows nobody there"])
def test_an_answer_is_no_abstention(text: str) -> None:
    assert not abstained(text)


def test_recall_at() -> None:
    ranked = [("D1:1",), ("D1:2", "D1:3"), (), ("D1:4",)]
    assert recall_at(ranked, ["D1:3", "D1:4"], 1) == 0.0
    assert recall_at(ranked, ["D1:3", "D1:4"], 2) == 0.5
    assert recall_at(ranked, ["D1:3", "D1:4"], 2, "any") == 1.0
    assert recall_at(ranked, ["D1:3", "D1:4"], 2, "all") == 0.0
    assert recall_at(ranked, ["D1:3", "D1:4"], 60, "all") == 1.0
    assert recall_at(["D1:1", "D1:2"], ["D1:2", "D1:2"], 2) == 1.0  # an item that is one id
    assert recall_at(ranked, [], 10) is None
    assert recall_at([], ["D1:3"], 10) == 0.0
    with pytest.raises(InputError, match="at least 1"):
        recall_at(ranked, ["D1:3"], 0)
    with pytest.raises(InputError, match="'mean', 'any' or 'all'"):
        recall_at(ranked, ["D1:3"], 1, "some")  # type: ignore[arg-type]


def test_token_coverage() -> None:
    texts = ["Ana adopted two dogs", "the dogs are called Rex and Bo"]
    assert token_coverage("Rex and Bo", texts) == 1.0
    assert token_coverage("a dog, Rex", texts[:1]) == 0.5
    assert token_coverage("Rex", []) == 0.0
    assert token_coverage("it is", ["it was"]) == 0.5  # nothing but function words
    assert token_coverage("", texts) is None
    assert content_tokens("She found the well-being of 3,000 cats") == {"found", "well", "3000", "cat"}


TABLE = {  # F1 and BLEU-1 x 100 as measured with the original programs
    "predictions_gpt-4.1-mini_5word.json": {
        "f1_locomo": 60.7, "f1_squad": 58.5, "f1_mem0": 57.4, "bleu1_mem0": 49.6, "answer_words": 4.8,
    },
    "predictions_gpt-4o-mini_cot.json": {
        "f1_locomo": 22.9, "f1_squad": 21.0, "f1_mem0": 21.5, "bleu1_mem0": 13.3, "answer_words": 33.7,
    },
}  # fmt: skip


def _predictions(name: str) -> list[dict[str, Any]]:
    path = DATA / "locomo_audit" / name
    if not path.exists():
        pytest.skip(f"needs {path}: the predictions that the public audit of LoCoMo published")
    users = json.loads(path.read_text("utf-8"))["detailed_results"].values()
    return [row for user in users for row in user]


@pytest.mark.parametrize("name", TABLE)
def test_real_predictions_score_as_with_the_original_programs(name: str) -> None:
    rows = _predictions(name)
    assert len(rows) == 1540
    totals = dict.fromkeys(TABLE[name], 0.0)
    for row in rows:
        answer, gold = row["generated_answer"], row["golden_answer"]
        scores = {**answer_scores(answer, gold, row["category"]), "f1_squad": f1_squad(answer, gold)}
        totals = {key: total + (scores[key] or 0.0) for key, total in totals.items()}
    for key, expected in TABLE[name].items():
        measured = totals[key] / len(rows) * (1 if key == "answer_words" else 100)
        assert measured == pytest.approx(expected, abs=0.055), key


def test_locomos_own_gold_answers_score_one() -> None:
    for row in _predictions("predictions_gpt-4.1-mini_5word.json"):
        gold = row["golden_answer"]
        scores = answer_scores(gold, gold, row["category"])
        assert [scores[key] for key in ("em", "f1_mem0", "f1_locomo", "bleu1_mem0")] == [1.0] * 4, gold
