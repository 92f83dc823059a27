from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.evals import locomo
from langgraph_memory_r1.evals.benchmark import benchmark
from langgraph_memory_r1.schemas import Conversation, Question, Turn

REAL = Path(__file__).resolve().parents[2] / "shared" / "data" / "locomo" / "locomo10.json"
needs_data = pytest.mark.skipif(not REAL.exists(), reason="needs LoCoMo's data beside the checkout, in ../shared/data")

SAMPLE: dict[str, Any] = {
    "sample_id": "conv-1",
    "conversation": {
        "speaker_a": "Ann",
        "speaker_b": "Bob",
        "session_10_date_time": "12:05 am on 1 June, 2023",
        "session_10": [{"speaker": "Bob", "dia_id": "D10:1", "text": "Late again."}],
        "session_2_date_time": "12:30 pm on 8 May, 2023",
        "session_2": [
            {"speaker": "Ann", "dia_id": "D2:1", "text": "Look! ", "blip_caption": "a red kite", "img_url": ["u"]},
            {"speaker": "Bob", "dia_id": "D2:2", "text": "", "blip_caption": "a dog"},
        ],
        "session_11_date_time": "1:00 pm on 2 June, 2023",
    },
    "qa": [
        {"question": "When?", "answer": 2022, "evidence": ["D2:1"], "category": 2},
        {"question": "Which?", "answer": "kite, dog", "evidence": ["D2:01; D02:2 D10:1", "D2:1"], "category": 1},
        {"question": "Trap?", "adversarial_answer": "yes", "evidence": ["D2:2"], "category": 5},
        {"question": "Real?", "adversarial_answer": "yes", "answer": "No", "evidence": ["D2:2"], "category": 5},
        {"question": "Lost?", "answer": "x", "evidence": ["D", "D:1:2", "D9:9", 7], "category": 4},
        {"question": "Empty?", "answer": "x", "evidence": [], "category": 3},
    ],
}


def load(path: Path, data: Any) -> tuple[list[Conversation], list[str]]:
    skipped: list[str] = []
    file = path / "locomo.json"
    file.write_text(json.dumps(data), "utf-8")
    return locomo.load(file, on_skip=skipped.append), skipped


def changed(change: Callable[[dict[str, Any]], object]) -> list[dict[str, Any]]:
    sample = copy.deepcopy(SAMPLE)
    change(sample)
    return [sample]


def test_turns_come_in_session_order_with_time_and_caption(tmp_path: Path) -> None:
    ((chat,), _) = load(tmp_path, [SAMPLE])
    noon, midnight = datetime(2023, 5, 8, 12, 30, tzinfo=UTC), datetime(2023, 6, 1, 0, 5, tzinfo=UTC)
    assert chat.id == "conv-1"
    assert chat.turns == (
        Turn("Ann", "Look! [shares an image: a red kite]", noon, "D2:1", "session_2"),
        Turn("Bob", "[shares an image: a dog]", noon, "D2:2", "session_2"),
        Turn("Bob", "Late again.", midnight, "D10:1", "session_10"),
    )


def test_questions_are_repaired_and_what_cannot_be_is_reported(tmp_path: Path) -> None:
    ((chat,), skipped) = load(tmp_path, [SAMPLE])
    at = datetime(2023, 6, 2, 0, 5, tzinfo=UTC)  # a day after the last turn
    assert chat.questions == (
        Question("When?", "2022", ("D2:1",), "temporal", "conv-1/0", at),
        Question("Which?", "kite, dog", ("D2:1", "D2:2", "D10:1"), "multi-hop", "conv-1/1", at),
        Question("Trap?", None, ("D2:2",), "adversarial", "conv-1/2", at),
        Question("Real?", "No", ("D2:2",), "adversarial", "conv-1/3", at),
        Question("Lost?", "x", (), "single-hop", "conv-1/4", at),
        Question("Empty?", "x", (), "open-domain", "conv-1/5", at),
    )
    assert skipped == [
        "conv-1/4: evidence names no turn 'D'",
        "conv-1/4: evidence names no turn 'D:1:2'",
        "conv-1/4: evidence names no turn 'D9:9'",
        "conv-1/4: no evidence",
        "conv-1/5: no evidence",
    ]


@pytest.mark.parametrize(
    "item",
    [
        7,
        None,
        {},
        {"question": 5, "answer": "x", "category": 1},
        {"question": "q", "answer": "x", "category": 6},
        {"question": "q", "answer": "x", "category": [1]},
        {"question": "q", "category": 1, "evidence": ["D2:1"]},
    ],
)
def test_a_malformed_question_is_counted_and_left_out(tmp_path: Path, item: Any) -> None:
    ((chat,), skipped) = load(tmp_path, changed(lambda sample: sample.update(qa=[item])))
    assert chat.questions == ()
    assert len(skipped) == 1


@pytest.mark.parametrize("evidence", [None, "D2:1", {"D2:1": 1}])
def test_evidence_that_is_no_list_is_none(tmp_path: Path, evidence: Any) -> None:
    qa = [{"question": "q", "answer": "x", "category": 1, "evidence": evidence}]
    ((chat,), skipped) = load(tmp_path, changed(lambda sample: sample.update(qa=qa)))
    assert chat.questions[0].evidence == ()
    assert skipped == ["conv-1/0: no evidence"]


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda sample: sample.pop("sample_id"), "sample 0: 'sample_id' is missing"),
        (lambda sample: sample.pop("qa"), "sample 0: 'qa' is missing"),
        (lambda sample: sample.update(conversation=[]), "sample 0 conversation: expected dict, found list"),
        (lambda sample: sample["conversation"].pop("session_2_date_time"), "'session_2_date_time' is missing"),
        (lambda sample: sample["conversation"].update(session_2_date_time="soon"), "session_2_date_time: 'soon'"),
        (
            lambda sample: sample["conversation"].update(session_2_date_time="1:00 pm on 31 June, 2023"),
            "31 June, 2023' is no time",
        ),
        (lambda sample: sample["conversation"]["session_2"][1].pop("text"), "session_2 turn 1: 'text' is missing"),
        (lambda sample: sample["conversation"]["session_2"].append("x"), "session_2 turn 2: expected dict, found str"),
    ],
)
def test_a_broken_conversation_is_refused_with_its_place(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], place: str
) -> None:
    with pytest.raises(InputError) as caught:
        load(tmp_path, changed(change))
    assert place in str(caught.value)
    assert "locomo.json" in str(caught.value)


@pytest.mark.parametrize("content", ["", "{", "\ud800", "[" * 100_000])
def test_a_file_that_is_not_json_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "locomo.json"
    file.write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(InputError, match=r"locomo\.json is not JSON"):
        locomo.load(file)


def test_another_shape_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected list, found dict"):
        load(tmp_path, SAMPLE)
    with pytest.raises(InputError, match="sample 0: expected dict"):
        load(tmp_path, [1])
    with pytest.raises(InputError, match="cannot be read"):
        locomo.load(tmp_path / "missing.json")


def test_an_unknown_category_is_counted(tmp_path: Path) -> None:
    file = tmp_path / "locomo.json"
    qa = [{"question": "q", "answer": "x", "category": 6, "evidence": ["D2:1"]}, *SAMPLE["qa"]]
    file.write_text(json.dumps(changed(lambda sample: sample.update(qa=qa, sample_id="conv-26"))), "utf-8")
    data = benchmark("locomo").load(file, "full", allow_modified=True)
    assert data.skipped == {"unknown category": 1, "evidence names no turn": 3, "no evidence": 2}
    assert [question.id for question in data.conversations[0].questions] == [f"conv-26/{n}" for n in range(1, 7)]


def test_data_of_ones_own_is_one_split_and_needs_no_hash(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps([SAMPLE, {**SAMPLE, "sample_id": "Ann and Bob"}]), "utf-8")
    data = benchmark("locomo").load(file)
    assert [chat.id for chat in data.conversations] == ["conv-1", "Ann and Bob"]
    assert (data.split, data.modified) == ("full", True) and "compare with nobody's" in data.notes[0]
    assert len(data.conversations[0].questions) == 6  # the adversarial ones too
    assert benchmark("locomo").load(file, "full", allow_modified=True).conversations == data.conversations
    for split in ("test", "train", "memory-r2/test", "nonsense"):
        with pytest.raises(InputError, match="of your own in locomo's shape, and has no split"):
            benchmark("locomo").load(file, split, allow_modified=True)


def test_official_conversations_keep_the_rule_of_the_hash(tmp_path: Path) -> None:
    file = tmp_path / "mixed.json"
    file.write_text(json.dumps([SAMPLE, {**SAMPLE, "sample_id": "conv-41"}]), "utf-8")
    with pytest.raises(InputError, match="not locomo's published file"):
        benchmark("locomo").load(file)
    assert [chat.id for chat in benchmark("locomo").load(file, allow_modified=True).conversations] == ["conv-41"]
    whole = benchmark("locomo").load(file, "full", allow_modified=True).conversations
    assert [chat.id for chat in whole] == ["conv-1", "conv-41"]


def test_times_and_categories_may_be_written_plainly(tmp_path: Path) -> None:
    def change(sample: dict[str, Any]) -> None:
        sample["conversation"]["session_2_date_time"] = "2023-05-08 12:30"
        sample["qa"] = [{"question": "When?", "answer": 2022, "evidence": ["D2:1"], "category": "temporal"}]

    (chat,), skipped = load(tmp_path, changed(change))
    assert chat.turns[0].at == datetime(2023, 5, 8, 12, 30, tzinfo=UTC)
    assert chat.questions[0].category == "temporal" and not skipped


@needs_data
@pytest.mark.parametrize(
    ("split", "counts"),
    [
        ("test", {"single-hop": 727, "multi-hop": 239, "temporal": 258, "open-domain": 83}),
        ("train", {"single-hop": 70, "multi-hop": 32, "temporal": 37, "open-domain": 13}),
        ("validation", {"single-hop": 44, "multi-hop": 11, "temporal": 26}),
        ("memory-r2/train", {"single-hop": 190, "multi-hop": 51, "temporal": 60, "open-domain": 27}),
        ("memory-r2/validation", {"single-hop": 62, "multi-hop": 30, "temporal": 24, "open-domain": 7}),
        ("memory-r2/test", {"single-hop": 589, "multi-hop": 201, "temporal": 237, "open-domain": 62}),
        (
            "full",
            {"single-hop": 841, "multi-hop": 282, "temporal": 321, "open-domain": 96, "adversarial": 446},
        ),
    ],
)
def test_the_splits_are_those_of_the_papers(split: str, counts: dict[str, int]) -> None:
    data = benchmark("locomo").load(REAL, split)
    questions = [question for chat in data.conversations for question in chat.questions]
    assert Counter(question.category for question in questions) == counts
    assert (data.split, data.sha256, data.modified, data.notes) == (split, locomo.SHA256, False, ())
    assert len({question.id for question in questions}) == len(questions)
    assert set(counts) <= set(benchmark("locomo").categories)


@needs_data
def test_a_question_keeps_its_id_in_every_split() -> None:
    raw = json.loads(REAL.read_bytes())
    full, split = (
        {
            question.id: question
            for chat in benchmark("locomo").load(REAL, name).conversations
            for question in chat.questions
        }
        for name in ("full", "test")
    )
    assert split.items() <= full.items()
    assert full["conv-50/7"].text == raw[9]["qa"][7]["question"]


@needs_data
def test_the_papers_labels_are_a_permutation_that_its_numbers_prove() -> None:
    questions = [q for chat in benchmark("locomo").load(REAL, "test").conversations for q in chat.questions]
    sizes = Counter(locomo.PAPER_LABELS["memory-r1"][str(question.category)] for question in questions)
    printed = {"Single Hop": 35.73, "Multi-Hop": 35.65, "Open Domain": 47.42, "Temporal": 49.86}  # F1 of LLaMA, GRPO
    overall = sum(sizes[label] * score for label, score in printed.items()) / sizes.total()
    assert overall == pytest.approx(45.02, abs=0.01)


@needs_data
def test_the_canonical_file_has_the_published_sizes() -> None:
    skipped: list[str] = []
    chats = locomo.load(REAL, on_skip=skipped.append)
    questions = [question for chat in chats for question in chat.questions]
    sessions = sum(len({turn.session for turn in chat.turns}) for chat in chats)
    assert sha256(REAL.read_bytes()).hexdigest() == locomo.SHA256
    assert (len(chats), sessions, sum(len(chat.turns) for chat in chats)) == (10, 272, 5_882)
    assert Counter(question.category for question in questions) == {
        "multi-hop": 282,
        "temporal": 321,
        "open-domain": 96,
        "single-hop": 841,
        "adversarial": 446,
    }
    assert sum(question.category != "adversarial" and bool(question.evidence) for question in questions) == 1_536
    assert sum(question.gold is None for question in questions) == 444
    assert len(skipped) == 8
    assert set(locomo.TRAIN) <= {chat.id for chat in chats}
