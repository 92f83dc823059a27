"""How far a judge can be trusted: its verdicts on answers of which it is known whether they are right.

    items = known_answers(questions) + read_labelled("predictions.json")
    calibrate(judge, items)

The known answers are made from the questions themselves, without a model: the gold answer (must pass), the gold answer
of another question, the gold answer with its number or date changed, a vague remark on the topic, and a refusal (must
not pass). Vague answers are what separates judges: under a lenient rubric most of them passed in a public audit.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from statistics import mode
from typing import Any, Literal, TypeAlias

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.evals.fields import contents, decoded, required, typed
from langgraph_memory_r1.evals.intervals import wilson
from langgraph_memory_r1.evals.judge import Judge, Verdict
from langgraph_memory_r1.evals.locomo import CATEGORIES
from langgraph_memory_r1.evals.rubrics import is_unanswerable
from langgraph_memory_r1.evals.wrong import another, changed, vague
from langgraph_memory_r1.schemas import Question

__all__ = ["Agreement", "Calibration", "Known", "Passed", "calibrate", "known_answers", "read_labelled", "sample"]

Kind: TypeAlias = Literal["gold", "another's", "changed", "vague", "refusal", "labelled"]

REFUSAL = "I don't know."


@dataclass(frozen=True, slots=True)
class Known:
    """An answer of which it is known whether it is right."""

    question: Question
    answer: str
    right: bool
    kind: Kind


@dataclass(frozen=True, slots=True)
class Passed:
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
    """What is known about a judge."""

    judge: Mapping[str, str | None]
    passed: tuple[Passed, ...]
    agreement: Agreement | None
    """With the labels of answers that others have judged, where there are any."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def known_answers(questions: Iterable[Question], *, seed: int = 0) -> list[Known]:
    """Right and wrong answers to every question that has a gold answer."""
    asked = [question for question in questions if question.gold and not is_unanswerable(question)]
    return [known for question in asked for known in _known(question, asked, random.Random(f"{seed} {question.text}"))]


def sample(items: Sequence[Known], per_kind: int, *, seed: int = 0) -> list[Known]:
    """At most so many items of each kind, drawn by chance."""
    chosen: list[Known] = []
    for kind in dict.fromkeys(item.kind for item in items):
        of_kind = [item for item in items if item.kind == kind]
        chosen += random.Random(seed).sample(of_kind, min(per_kind, len(of_kind)))
    return chosen


def read_labelled(path: str | os.PathLike[str]) -> list[Known]:
    """Answers to LoCoMo that others have judged, in the format of the public audit; the majority of its labels counts.

    Raises:
        InputError: The file cannot be read, or is of another format; the message names the place.
    """
    place = str(path)
    raw = typed(decoded(contents(path, "a predictions file of the audit of LoCoMo"), place), dict, place)
    users = required(raw, "detailed_results", dict, place)
    return [
        _labelled(typed(row, dict, f"{place} {user} answer {number}"), f"{place} {user} answer {number}")
        for user in users
        for number, row in enumerate(required(users, user, list, place))
    ]


def calibrate(
    judge: Judge, items: Sequence[Known], *, concurrency: int = 8, on_done: Callable[[], None] | None = None
) -> Calibration:
    """Let the judge mark all items, and count.

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
    kinds = dict.fromkeys(item.kind for item in items)
    labelled = [(item.right, found) for item, found in marked if item.kind == "labelled" and found is not None]
    return Calibration(
        judge.as_dict(),
        tuple(_passed(kind, [each for each in marked if each[0].kind == kind]) for kind in kinds),
        _agreement(labelled) if labelled else None,
    )


def _verdicts(
    judge: Judge, items: Sequence[Known], concurrency: int, on_done: Callable[[], None]
) -> dict[int, Verdict]:
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


def _known(question: Question, asked: Sequence[Question], chance: random.Random) -> Iterator[Known]:
    gold = str(question.gold)
    yield Known(question, gold, True, "gold")
    yield Known(question, REFUSAL, False, "refusal")
    made: dict[Kind, str | None] = {
        "another's": another(question, asked, chance),
        "changed": changed(gold),
        "vague": vague(question),
    }
    for kind, answer in made.items():
        if answer is not None:
            yield Known(question, answer, False, kind)


def _labelled(row: dict[str, Any], place: str) -> Known:
    question, gold, answer = (
        required(row, key, str, place) for key in ("question", "golden_answer", "generated_answer")
    )
    labels = [typed(label, bool, place) for label in required(row, "llm_judgments", dict, place).values()]
    number = str(row.get("category"))
    category = CATEGORIES.get(int(number)) if number.isdecimal() else None
    if not labels or category is None:
        raise InputError(f"{place}: an answer needs labels and a category of LoCoMo")
    named = Question(question, gold, (), category, str(row.get("question_id", "")))
    return Known(named, answer, mode(labels), "labelled")


def _passed(kind: Kind, marked: Sequence[tuple[Known, bool | None]]) -> Passed:
    found = [verdict for _, verdict in marked if verdict is not None]
    rights = {item.right for item, _ in marked}
    low, high = wilson(sum(found), len(found)) if found else (0.0, 1.0)
    right = rights.pop() if len(rights) == 1 else None
    return Passed(kind, right, len(found), sum(found), len(marked) - len(found), low, high)


def _agreement(pairs: Sequence[tuple[bool, bool]]) -> Agreement:
    """From pairs of a label and a verdict."""
    counts, n = Counter(pairs), len(pairs)
    agreed = counts[True, True] + counts[False, False]
    labelled, called = (sum(pair[side] for pair in pairs) / n for side in (0, 1))
    chance = labelled * called + (1 - labelled) * (1 - called)
    kappa = (agreed / n - chance) / (1 - chance) if 0 < labelled < 1 and 0 < called < 1 else None
    return Agreement(n, agreed, counts[False, True], counts[True, False], kappa)
