"""What the page's list of questions is drawn from: a JSON text that may stand in a script block.

Data cannot end the block that holds them: `<`, `>` and `&` are written as escapes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from langgraph_memory_r1.evals.report.diagnosis import DIAGNOSES, diagnose, verdict_metric
from langgraph_memory_r1.evals.report.result_tables import headline_metrics
from langgraph_memory_r1.evals.report.results import MOST_SHOWN, BenchmarkRun, Result

__all__ = ["MOST_BYTES", "questions_json"]

MOST_BYTES = 12_000_000
"""The text stays below; where it would not, fewer retrieved memories and shorter texts are kept."""

_LEVELS = ((60, 4_000), (60, 800), (30, 400), (10, 400), (3, 200))
"""How many retrieved memories of an answer are kept, and how many characters of a text, until all fits."""

_BESIDE = ("coverage", "evidence_in_bank", "answer_words")
_OUTCOMES = tuple(DIAGNOSES)


def questions_json(run: BenchmarkRun, most_bytes: int = MOST_BYTES) -> str:
    """Return all questions with the answers of all systems."""
    for depth, longest in _LEVELS:
        text = json.dumps(_QuestionData(run, depth, longest).as_dict(), ensure_ascii=False, separators=(",", ":"))
        content = text.encode("utf-8", "replace")
        if len(content) < most_bytes:
            break
    return content.decode().replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


class _QuestionData:
    """The data of the page, with so many memories of an answer and so many characters of a text."""

    def __init__(self, run: BenchmarkRun, depth: int, longest: int) -> None:
        self._run, self._depth, self._longest = run, depth, longest
        self._metrics = (*headline_metrics(run), *(name for name in _BESIDE if name in run.scored))
        self._numbers: dict[int, int] = {}

    def as_dict(self) -> dict[str, Any]:
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
            "questions": [
                {
                    "id": result.question_id,
                    "category": run.categories.index(result.category),
                    "question": self._cut(result.question),
                    "gold": self._cut(result.gold),
                    "evidence": result.evidence,
                    "evidence_text": [self._cut(text) for text in result.evidence_text],
                    "answers": [answers[key].get(system) for system in run.systems],
                }
                for key, result in run.questions.items()
            ],
            "memories": [
                (self._cut(memory.text), memory.speaker, memory.at, ", ".join(memory.source))
                for memory in (run.memories[number] for number in self._numbers)
            ],
        }

    def _answer(self, result: Result) -> dict[str, Any]:
        ranks = sorted({*range(min(self._depth, len(result.retrieved))), *result.hits})
        scores = [result.scores.get(name) for name in self._metrics]
        return {
            "said": self._cut(result.answer),
            "error": self._cut(result.error),
            "scores": [None if score is None else round(score, 3) for score in scores],
            "selected": self._numbered(result.selected),
            "retrieved": self._numbered(result.retrieved[rank] for rank in ranks),
            "hits": [ranks.index(rank) for rank in result.hits],
            "later": [rank + 1 if rank < MOST_SHOWN else None for rank in ranks if rank >= self._depth],
            "looked_at": result.looked_at,
            "context": result.tokens.get("context"),
        }

    def _numbered(self, numbers: Iterable[int]) -> list[int]:
        """Number the memories anew, in the order in which the page first needs them: what is cut away takes no room."""
        return [self._numbers.setdefault(number, len(self._numbers)) for number in numbers]

    def _cut(self, text: str | None) -> str | None:
        return f"{text[: self._longest]}…" if text is not None and len(text) > self._longest else text
