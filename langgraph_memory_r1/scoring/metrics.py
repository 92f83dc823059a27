"""How well an answer agrees with the gold answer, by each of the field's metrics."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TypeAlias

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.scoring import bleu, words

__all__ = [
    "METRICS", "Gold", "Metric", "abstained", "answer_scores", "answer_words", "bleu1_mem0", "em", "f1_locomo",
    "f1_mem0", "f1_squad",
]  # fmt: skip

Gold: TypeAlias = str | int | float | Sequence[str | int | float]
"""A gold answer, or several of which the best counts; benchmark files also write numbers."""

Metric: TypeAlias = Callable[[str, str], float]
"""From an answer and its gold answer to a number from 0 to 1."""

_LOCOMO_NUMBERS = {"1": "multi-hop", "2": "temporal", "3": "open-domain", "4": "single-hop", "5": "adversarial"}
_LOCOMO_REFUSALS = ("no information available", "not mentioned")
_REFUSAL = re.compile(
    r"\b(?:(?:do|does|did)(?:n['’]?t| not) (?:know|mention|say|specify|have (?:any |enough )?information)"
    r"|(?:not|never|isn['’]?t|wasn['’]?t) (?:been )?(?:mentioned|specified|stated|known|answerable|provided|discussed)"
    r"|no (?:relevant |specific )?(?:information|mention|memory|memories|record)|(?:not|n['’]t) enough information"
    r"|unknown|unanswerable|cannot be (?:answered|determined)|insufficient information)\b",
    re.IGNORECASE,
)


def em(prediction: str, gold: Gold) -> float:
    """Exact match: 1.0 for the same words in the same order.

    Case, punctuation, articles and the commas of thousands do not count; a sign or a decimal point does.

    Example:
        >>> em("The 7 May, 2023.", "7 may 2023"), em("35", "3.5")
        (1.0, 0.0)
    """
    return _best(lambda answer, one: float(words.exact_words(answer) == words.exact_words(one)), prediction, gold)


def f1_mem0(prediction: str, gold: Gold) -> float:
    """F1 over sets of tokens, as in A-Mem, mem0's evaluation and Memory-R1.

    Example:
        >>> f1_mem0("In 2022", "2022"), f1_mem0("'2022'", "2022")
        (0.6666666666666666, 0.0)
    """

    def f1(answer: str, one: str) -> float:
        tokens, expected = words.mem0_words(answer), words.mem0_words(one)
        return 2 * len(tokens & expected) / (len(tokens) + len(expected)) if tokens or expected else 1.0

    return _best(f1, prediction, gold)


def f1_squad(prediction: str, gold: Gold) -> float:
    """F1 over multisets of tokens without punctuation and articles, as in SQuAD."""
    return _best(lambda answer, one: _f1(words.squad_words(answer), words.squad_words(one)), prediction, gold)


def f1_locomo(prediction: str, gold: Gold | None, category: str | int | None = None) -> float:
    """F1 over multisets of stems, with the rules of LoCoMo's own scorer for its categories.

    A multi-hop answer is a list with commas: each gold part counts with the best part of the answer. Of an open-domain
    gold answer the part after ";" is the reason and not asked for. An adversarial question has no answer: 1.0 for a
    refusal in one of the two wordings that LoCoMo's scorer knows (`abstained` knows more). In any category an answer
    that is the gold answer scores 1.0.

    Args:
        prediction: The answer.
        gold: The gold answer; None is allowed for an adversarial question.
        category: A name or number of LoCoMo's categories; any other scores without a rule.
    """
    kind = _LOCOMO_NUMBERS.get(str(category), category)
    if kind == "adversarial" and any(refusal in prediction.lower() for refusal in _LOCOMO_REFUSALS):
        return 1.0
    if gold is None and kind == "adversarial":
        return 0.0
    return _best(partial(_f1_locomo, kind=kind), prediction, gold)


def bleu1_mem0(prediction: str, gold: Gold) -> float:
    """BLEU-1 with brevity penalty, as in A-Mem, mem0's evaluation and Memory-R1.

    Example:
        >>> bleu1_mem0("2022.", "2022")
        0.5
    """
    return _best(bleu.bleu1, prediction, gold)


def abstained(prediction: str) -> bool:
    """Return whether an answer says that the answer is not known."""
    return not prediction.strip() or _REFUSAL.search(prediction) is not None


def answer_words(text: str) -> int:
    """Count the words of an answer. F1 falls with their number and a judge's score rises, so it belongs beside both."""
    return len(text.split())


METRICS: Mapping[str, Metric] = MappingProxyType(
    {"em": em, "f1_mem0": f1_mem0, "f1_locomo": f1_locomo, "bleu1_mem0": bleu1_mem0, "f1_squad": f1_squad}
)
"""Every metric that needs an answer and its gold answer only."""


def answer_scores(
    prediction: str | None, gold: Gold | None, category: str | None = None, *, unanswerable: bool = False
) -> dict[str, float | None]:
    """Return all scores of one answer; None where there is no answer (it failed) or no gold answer to compare it with.

    A question that has no answer (its gold is None) is scored by `abstained`, and by LoCoMo's rule if it is one of its
    adversarial questions. Where the gold text only says why there is none (`unanswerable`, as in LongMemEval), every
    metric is whether the answer abstains: "I don't know" is right, and shares no word with the reason.
    """
    names = ("em", "f1_mem0", "f1_locomo", "bleu1_mem0", "abstained", "answer_words")
    scores: dict[str, float | None] = dict.fromkeys(names)
    if prediction is None:
        return scores
    scores["answer_words"] = answer_words(prediction)
    if gold is None:
        scores["abstained"] = float(abstained(prediction))
        scores["f1_locomo"] = f1_locomo(prediction, None, category) if category == "adversarial" else None
    elif unanswerable:
        right = max(em(prediction, gold), float(abstained(prediction)))
        scores.update(dict.fromkeys(("em", "f1_mem0", "f1_locomo", "bleu1_mem0", "abstained"), right))
    elif any(text.strip() for text in _texts(gold)):
        scores.update(em=em(prediction, gold), f1_mem0=f1_mem0(prediction, gold))
        scores.update(f1_locomo=f1_locomo(prediction, gold, category), bleu1_mem0=bleu1_mem0(prediction, gold))
    return scores


def _best(metric: Metric, prediction: str, gold: Gold | None) -> float:
    """Return the metric against the gold answer that fits best."""
    if isinstance(gold, str):
        return metric(str(prediction), gold)
    return max(metric(str(prediction), text) for text in _texts(gold))


def _texts(gold: Gold | None) -> list[str]:
    texts = [str(item) for item in (gold if isinstance(gold, list | tuple) else [gold])]
    if gold is None or not texts:
        raise InputError("the gold answer is missing, so that there is nothing to compare with; leave the question out")
    return texts


def _f1(tokens: list[str], expected: list[str]) -> float:
    common = (Counter(tokens) & Counter(expected)).total()
    return 2 * common / (len(tokens) + len(expected)) if tokens or expected else 1.0


def _f1_locomo(prediction: str, gold: str, kind: str | int | None) -> float:
    stems, expected = words.locomo_words(prediction), words.locomo_words(gold)
    if kind == "multi-hop" and (gold_parts := [part for part in map(words.locomo_words, gold.split(",")) if part]):
        parts = [words.locomo_words(part) for part in prediction.split(",")]
        return sum(max(_f1(part, gold_part) for part in parts) for gold_part in gold_parts) / len(gold_parts)
    if kind == "open-domain" and stems != expected:  # an answer that is the gold one, reason and all, scores 1.0
        expected = words.locomo_words(gold.split(";")[0].strip() or gold)
    return _f1(stems, expected)
