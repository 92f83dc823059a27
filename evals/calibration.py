"""How far a judge can be trusted: its verdicts on answers of which it is known whether they are right.

    items = synthetic_items(questions) + read_labelled_items("predictions.json")
    calibrate(judge, items)

The known answers are made from the questions themselves, without a model: the gold answer (must pass), the gold answer
of another question, the gold answer with its number or date changed, a vague remark on the topic, and a refusal (must
not pass). Vague answers are what separates judges: under a lenient rubric most of them passed in a public audit.
"""

from __future__ import annotations

import os
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from statistics import mode
from typing import Any, Literal, TypeAlias

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.evals.data_file import parse_json, read_bytes, required, typed
from langgraph_memory_r1.evals.intervals import wilson
from langgraph_memory_r1.evals.judge import Judge, Verdict
from langgraph_memory_r1.evals.locomo import CATEGORIES
from langgraph_memory_r1.evals.rubrics import is_unanswerable
from langgraph_memory_r1.schemas import Question
from langgraph_memory_r1.scoring import content_tokens

__all__ = [
    "Agreement",
    "Calibration",
    "CalibrationItem",
    "PassRate",
    "calibrate",
    "synthetic_items",
    "read_labelled_items",
    "sample_items",
]

Kind: TypeAlias = Literal["gold", "another's", "changed", "vague", "refusal", "labelled"]

REFUSAL = "I don't know."

_TRIES = 50
"""Other questions, drawn by chance, whose gold answers are looked at for one without common words."""
_SHORT = 6
"""Words of the longest gold answer in which a detail is changed."""
_DIGITS = re.compile(r"\d+")
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_MONTHS = "January February March April May June July August September October November December".split()
_ROUNDS = (
    _MONTHS,
    "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split(),
    "two three four five six seven eight nine ten eleven twelve".split(),
    ["yes", "no"],
)
_NEXT = {word: words[(number + 1) % len(words)] for words in _ROUNDS for number, word in enumerate(words)}
_NEXT |= {word.capitalize(): other.capitalize() for word, other in _NEXT.items()}
_NO_TOPIC = frozenset(
    "a about after an and any are as at be been before being besides both by can could did do does doing during for "
    "from had has have he her hers him his how in instead into is it its kind kinds likely many might more most much "
    "not of on or other out over s she since so some someone something still than that the their them then they this "
    "to type up was were what when where whether which while who whom whose why will with would you your".split()
)


@dataclass(frozen=True, slots=True)
class CalibrationItem:
    """An answer of which it is known whether it is right."""

    question: Question
    answer: str
    right: bool
    kind: Kind


@dataclass(frozen=True, slots=True)
class PassRate:
    """How many answers of a kind the judge called right."""

    kind: Kind
    right: bool | None
    """Whether it should have; None where they are of both sorts."""
    n: int
    passed: int
    unreadable: int
    """Further answers on which the judge gave no verdict."""
    low: float
    """The 95 % interval of the share that passed."""
    high: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """How the judge's verdicts compare with given labels."""

    n: int
    agreed: int
    passed_wrong: int
    """Called right, labelled wrong."""
    failed_right: int
    kappa: float | None
    """Cohen's: 0 is chance; None where either side gave one answer only."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far a judge can be trusted."""

    judge: Mapping[str, str | None]
    passed: tuple[PassRate, ...]
    agreement: Agreement | None
    """With the labels of answers that others have judged, where there are any."""

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values, for JSON."""
        return asdict(self)


def synthetic_items(questions: Iterable[Question], *, seed: int = 0) -> list[CalibrationItem]:
    """Return right and wrong answers to every question that has a gold answer."""
    asked = [question for question in questions if question.gold and not is_unanswerable(question)]
    items = []
    for question in asked:
        gold, chance = str(question.gold), random.Random(f"{seed} {question.text}")
        answers: dict[Kind, str | None] = {
            "gold": gold,
            "refusal": REFUSAL,
            "another's": another_answer(question, asked, chance),
            "changed": changed_answer(gold),
            "vague": vague_answer(question),
        }
        for kind, answer in answers.items():
            if answer is not None:
                items.append(CalibrationItem(question, answer, kind == "gold", kind))
    return items


def sample_items(items: Sequence[CalibrationItem], per_kind: int, *, seed: int = 0) -> list[CalibrationItem]:
    """Draw at most so many items of each kind by chance."""
    chosen: list[CalibrationItem] = []
    for kind in dict.fromkeys(item.kind for item in items):
        of_kind = [item for item in items if item.kind == kind]
        chosen += random.Random(seed).sample(of_kind, min(per_kind, len(of_kind)))
    return chosen


def read_labelled_items(path: str | os.PathLike[str]) -> list[CalibrationItem]:
    """Read answers to LoCoMo that others have judged, in the format of the public audit; its labels' majority counts.

    Raises:
        InputError: The file cannot be read, or is of another format; the message names the place.
    """
    content = read_bytes(path, "a predictions file of the audit of LoCoMo")
    users = required(typed(parse_json(content, str(path)), dict, str(path)), "detailed_results", dict, str(path))
    items = []
    for user in users:
        for number, raw in enumerate(required(users, user, list, str(path))):
            location = f"{path} {user} answer {number}"
            row = typed(raw, dict, location)
            text, gold, answer = (
                required(row, key, str, location) for key in ("question", "golden_answer", "generated_answer")
            )
            labels = [typed(label, bool, location) for label in required(row, "llm_judgments", dict, location).values()]
            category_number = str(row.get("category"))
            category = CATEGORIES.get(int(category_number)) if category_number.isdecimal() else None
            if not labels or category is None:
                raise InputError(f"{location}: an answer needs labels and a category of LoCoMo")
            question = Question(text, gold, (), category, str(row.get("question_id", "")))
            items.append(CalibrationItem(question, answer, mode(labels), "labelled"))
    return items


def calibrate(
    judge: Judge, items: Sequence[CalibrationItem], *, concurrency: int = 8, on_done: Callable[[], None] | None = None
) -> Calibration:
    """Let the judge mark all items, and count its verdicts.

    Args:
        judge: The judge in question.
        items: Answers of which it is known whether they are right.
        concurrency: Most calls at the same time.
        on_done: Called after each verdict, for a progress bar.

    Raises:
        InputError: There are no items.
    """
    if not items:
        raise InputError("there is nothing to judge; give questions with gold answers, or labelled answers")
    verdicts = _verdicts(judge, items, concurrency, on_done or (lambda: None))
    marked = [(item, verdicts[number].correct) for number, item in enumerate(items)]
    rates = []
    for kind in dict.fromkeys(item.kind for item in items):
        passed = [correct for item, correct in marked if item.kind == kind and correct is not None]
        expected = {item.right for item in items if item.kind == kind}
        low, high = wilson(sum(passed), len(passed)) if passed else (0.0, 1.0)
        unreadable = sum(item.kind == kind and correct is None for item, correct in marked)
        right = expected.pop() if len(expected) == 1 else None
        rates.append(PassRate(kind, right, len(passed), sum(passed), unreadable, low, high))
    labelled = [(item.right, correct) for item, correct in marked if item.kind == "labelled" and correct is not None]
    return Calibration(judge.as_dict(), tuple(rates), _agreement(labelled) if labelled else None)


def _verdicts(
    judge: Judge, items: Sequence[CalibrationItem], concurrency: int, on_done: Callable[[], None]
) -> dict[int, Verdict]:
    """Return the judge's verdicts by the number of their item."""
    verdicts: dict[int, Verdict] = {}
    with ThreadPoolExecutor(concurrency) as threads:
        futures = {threads.submit(judge.judge, item.question, item.answer): i for i, item in enumerate(items)}
        try:
            for future in as_completed(futures):
                verdicts[futures[future]] = future.result()
                on_done()
        finally:
            threads.shutdown(wait=False, cancel_futures=True)  # after a failure, nothing further is asked
    return verdicts


def _agreement(pairs: Sequence[tuple[bool, bool]]) -> Agreement:
    """Compare labels with verdicts, given in pairs.

    Cohen's kappa (Cohen, 1960) is (p_o - p_e) / (1 - p_e): p_o is the share of pairs that agree, p_e the share that
    would if labels and verdicts were independent.
    """
    counts, n = Counter(pairs), len(pairs)
    agreed = counts[True, True] + counts[False, False]
    labelled, called = (sum(pair[side] for pair in pairs) / n for side in (0, 1))
    chance = labelled * called + (1 - labelled) * (1 - called)
    kappa = (agreed / n - chance) / (1 - chance) if 0 < labelled < 1 and 0 < called < 1 else None
    return Agreement(n, agreed, counts[False, True], counts[True, False], kappa)


def another_answer(question: Question, asked: Sequence[Question], chance: random.Random) -> str | None:
    """Return the gold answer of another question, where possible a similar one; None if none is without common words.

    It is a definite, plausible answer to the wrong question.
    """
    gold_tokens = content_tokens(str(question.gold))
    alike = [other for other in asked if other.gold and other.category == question.category]
    nearest = [other for other in alike if _first_word(other) == _first_word(question)]
    for others in (nearest, alike):
        for other in chance.sample(others, min(_TRIES, len(others))):
            if not gold_tokens & content_tokens(str(other.gold)):
                return str(other.gold)
    return None


def changed_answer(gold: str) -> str | None:
    """Return the gold answer with its month changed to the next one, else its first number, weekday or yes.

    A month goes first: the 27th in place of the 28th would not make "the week before 28 June" wrong. Nor would a
    changed detail make a long answer wrong. None where nothing can be changed.
    """
    if len(gold.split()) > _SHORT:
        return None
    words = [match for match in _WORD.finditer(gold) if match[0] in _NEXT]
    months = [match for match in words if match[0] in _MONTHS]
    details = months or sorted([*words, *_DIGITS.finditer(gold)], key=lambda match: match.start())
    if not details:
        return None
    first = details[0]
    other = _NEXT.get(first[0]) or str(int(first[0]) + 1)
    return gold[: first.start()] + other + gold[first.end() :]


def vague_answer(question: Question) -> str | None:
    """Return a remark on the question's topic that answers nothing.

    None for a yes or no, which any remark seems to imply.
    """
    gold_tokens = content_tokens(str(question.gold))
    if gold_tokens & {"yes", "no"}:
        return None
    words = dict.fromkeys(word for word in _WORD.findall(question.text) if word.lower() not in _NO_TOPIC)
    topic = [word for word in words if not gold_tokens & content_tokens(word)]
    return (
        f"They talked about it, something to do with {' and '.join(topic[:3]) or 'that'}, and it meant a lot to them."
    )


def _first_word(question: Question) -> str:
    return question.text.partition(" ")[0].lower()
