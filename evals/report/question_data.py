"""What the page's list of questions is drawn from: a JSON text that may stand in a script block.

Data cannot end the block that holds them: `<`, `>` and `&` are written as escapes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from langgraph_memory_r1.evals.report.diagnosis import DIAGNOSES, diagnose, verdict_metric
from langgraph_memory_r1.evals.report.result_tables import headline_metrics
from langgraph_memory_r1.evals.report.results import MOST_SHOWN, Result, Run

__all__ = ["MOST_BYTES", "questions_json"]

MOST_BYTES = 12_000_000
"""The text stays below; where it would not, fewer retrieved memories and shorter texts are kept."""

_LEVELS = ((60, 4_000), (60, 800), (30, 400), (10, 400), (3, 200))
"""How many retrieved memories of an answer are kept, and how many characters of a text, until all fits."""

_BESIDE = ("coverage", "evidence_in_bank", "answer_words")
_OUTCOMES = tuple(DIAGNOSES)


def questions_json(run: Run, most_bytes: int = MOST_BYTES) -> str:
    """All questions with the answers of all systems."""
    for depth, longest in _LEVELS:
        text = json.dumps(_Embedding(run, depth, longest).data(), ensure_ascii=False, separators=(",", ":"))
        content = text.encode("utf-8", "replace")
        if len(content) < most_bytes:
            break
    return content.decode().replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


class _Embedding:
    """The data of the page, with so many memories of an answer and so many characters of a text."""

    def __init__(self, run: Run, depth: int, longest: int) -> None:
        self._run, self._depth, self._longest = run, depth, longest
        self._metrics = (*headline_metrics(run), *(name for name in _BESIDE if name in run.scored))
        self._numbers: dict[int, int] = {}

    def data(self) -> dict[str, Any]:
        run, verdict = self._run, verdict_metric(self._run)
        answers: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
        for result in run.results:
            outcome = _OUTCOMES.index(diagnose(result, verdict))
            answers.setdefault(result.key, {})[result.system] = {"outcome": outcome, **self._answer(result)}
        return {
            "systems": run.systems,
            "categories": run.categories,
            "outcomes": _OUTCOMES,
            "metrics": self._metrics,
            "questions": [self._question(result, answers[key]) for key, result in run.questions.items()],
            "memories": [self._memory(number) for number in self._numbers],
        }

    def _question(self, result: Result, answers: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": result.question_id,
            "category": self._run.categories.index(result.category),
            "question": self._cut(result.question),
            "gold": self._cut(result.gold),
            "evidence": result.evidence,
            "evidence_text": [self._cut(text) for text in result.evidence_text],
            "answers": [answers.get(system) for system in self._run.systems],
        }

    def _answer(self, result: Result) -> dict[str, Any]:
        kept = sorted({*range(min(self._depth, len(result.retrieved))), *result.hits})
        return {
            "said": self._cut(result.answer),
            "error": self._cut(result.error),
            "scores": [_rounded(result.scores.get(name)) for name in self._metrics],
            "selected": self._numbered(result.selected),
            "retrieved": self._numbered(result.retrieved[place] for place in kept),
            "hits": [kept.index(place) for place in result.hits],
            "later": [place + 1 if place < MOST_SHOWN else None for place in kept if place >= self._depth],
            "looked_at": result.looked_at,
            "context": result.tokens.get("context"),
        }

    def _numbered(self, numbers: Iterable[int]) -> list[int]:
        return [self._numbers.setdefault(number, len(self._numbers)) for number in numbers]

    def _memory(self, number: int) -> tuple[str | None, str, str, str]:
        seen = self._run.memories[number]
        return self._cut(seen.text), seen.speaker, seen.at, ", ".join(seen.source)

    def _cut(self, text: str | None) -> str | None:
        return f"{text[: self._longest]}…" if text is not None and len(text) > self._longest else text


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
