"""What the page's list of questions is drawn from: a JSON text that may stand in a script block.

Data cannot end the block that holds them: `<`, `>` and `&` are written as escapes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from langgraph_memory_r1.evals.report.diagnosis import DIAGNOSES, diagnose, verdict_of
from langgraph_memory_r1.evals.report.run import Result, Run
from langgraph_memory_r1.evals.report.tables import headline_metrics

__all__ = ["MOST_BYTES", "embedded"]

MOST_BYTES = 12_000_000
"""The text stays below; where it would not, fewer retrieved memories are kept."""

_DEPTHS = (60, 30, 10, 3)
_LONGEST = 4_000
_BESIDE = ("coverage", "evidence_in_bank", "answer_words")
_OUTCOMES = tuple(DIAGNOSES)


def embedded(run: Run, most_bytes: int = MOST_BYTES) -> str:
    """All questions with the answers of all systems."""
    for depth in _DEPTHS:
        text = json.dumps(_page_data(run, depth), ensure_ascii=False, separators=(",", ":"))
        content = text.encode("utf-8", "replace")
        if len(content) < most_bytes:
            break
    return content.decode().replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _page_data(run: Run, depth: int) -> dict[str, Any]:
    metrics = (*headline_metrics(run), *(name for name in _BESIDE if name in run.scored))
    verdict, numbers = verdict_of(run), dict[int, int]()
    answers: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for result in run.results:
        there = answers.setdefault(result.key, {})
        there[result.system] = _answer(result, metrics, _OUTCOMES.index(diagnose(result, verdict)), depth, numbers)
    return {
        "systems": run.systems,
        "categories": run.categories,
        "outcomes": _OUTCOMES,
        "metrics": metrics,
        "questions": [_question(run, result, answers[key]) for key, result in run.questions.items()],
        "memories": [_memory(run, number) for number in numbers],
    }


def _question(run: Run, result: Result, answers: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": result.question_id,
        "category": run.categories.index(result.category),
        "question": result.question,
        "gold": result.gold,
        "evidence": result.evidence,
        "evidence_text": result.evidence_text,
        "answers": [answers.get(system) for system in run.systems],
    }


def _answer(
    result: Result, metrics: Sequence[str], outcome: int, depth: int, numbers: dict[int, int]
) -> dict[str, Any]:
    kept = sorted({*range(min(depth, len(result.retrieved))), *result.hits})
    return {
        "outcome": outcome,
        "said": result.answer[:_LONGEST] if result.answer is not None else None,
        "error": result.error,
        "scores": [_rounded(result.scores.get(name)) for name in metrics],
        "selected": [numbers.setdefault(number, len(numbers)) for number in result.selected],
        "retrieved": [numbers.setdefault(result.retrieved[place], len(numbers)) for place in kept],
        "hits": [kept.index(place) for place in result.hits],
        "looked_at": result.looked_at,
        "context": result.tokens.get("context"),
    }


def _memory(run: Run, number: int) -> tuple[str, str, str, str]:
    seen = run.memories[number]
    return seen.text, seen.speaker, seen.at, ", ".join(seen.source)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
