"""From answers to the lines of a run's files: scores of each question, what a bank lost, how accuracy moves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import reduce
from operator import add
from statistics import fmean
from typing import Any

import numpy as np

from langgraph_memory_r1.evals.benchmark import Benchmark
from langgraph_memory_r1.evals.call_cache import Cost, metered
from langgraph_memory_r1.evals.cells import Cell, FilledBank, QuestionOutcome
from langgraph_memory_r1.evals.failures import ends_the_run, one_line
from langgraph_memory_r1.evals.judge import Judge
from langgraph_memory_r1.evals.retrieval_only import recall_scores
from langgraph_memory_r1.evals.stops import Stop
from langgraph_memory_r1.evals.systems.system import BankSnapshot, Retrieved
from langgraph_memory_r1.schemas import Memory, Question
from langgraph_memory_r1.scoring import answer_scores, content_tokens, token_coverage

__all__ = ["Scorer", "cost_lines"]

_MOST_SHOWN = 60
"""So many retrieved memories stand in a result, and all that hold evidence."""


class Scorer:
    """Scores what was answered: by counting words, and by a judge where there is one.

    Args:
        benchmark: Whose questions they are.
        split: Which part of it.
        judge: A model that says what is right.
    """

    def __init__(self, benchmark: Benchmark, split: str, judge: Judge | None = None) -> None:
        self.benchmark = benchmark
        self.split = split
        self.judge = judge
        named = benchmark.metric.removeprefix("judge_")
        self.metric = benchmark.metric if judge and named == judge.kind else benchmark.offline_metric
        """What accuracy is measured by."""
        self.judged: dict[str, Cost] = {}
        """What the judge cost, by system."""

    async def lines(self, cell: Cell, remembered: FilledBank, asked: Sequence[QuestionOutcome]) -> list[dict[str, Any]]:
        """A result for each question."""
        if self.judge is not None:
            asked = await self._judged(self.judge, cell, asked)
        bank = remembered.bank if isinstance(remembered.bank, BankSnapshot) else None
        known = _union(bank.memories) if bank else frozenset()
        texts = {turn.id: f"{turn.speaker}: {turn.text}" for turn in cell.conversation.turns}
        return [self._line(cell, bank, known, texts, each) for each in asked]

    def bank_line(self, cell: Cell, remembered: FilledBank) -> dict[str, Any]:
        """What a system remembers of a conversation at the end, and what of it is lost."""
        questions = cell.conversation.questions
        head = {"system": cell.system.name, "conversation": cell.conversation.id, "questions": len(questions)}
        bank = remembered.bank
        if not isinstance(bank, BankSnapshot):
            return {**head, "error": bank.error if bank else "not remembered yet"}
        return {
            **head, "turns": bank.turns, "memories": len(bank.memories), "facts": bank.facts,
            "operations": dict(bank.operations), "calls": bank.cost.calls, "input_tokens": bank.cost.input_tokens,
            "output_tokens": bank.cost.output_tokens, "seconds": bank.seconds,
            "lost_facts": lost_facts(questions, bank.memories) if bank.traced else None,
            "evidence_memories": _evidence_memories(questions, bank.memories) if bank.traced else None,
            **({"file": f"{cell.file.parent.name}/{cell.file.name}"} if cell.system.learns else {}),
        }  # fmt: skip

    def curve_point(
        self, cell: Cell, step: Stop, remembered: FilledBank, results: Sequence[dict[str, Any]]
    ) -> dict[str, Any]:
        """How a memory does at one moment of a conversation."""
        bank = remembered.bank if isinstance(remembered.bank, BankSnapshot) else None
        known = [line["scores"][self.metric] for line in results if line["scores"].get(self.metric) is not None]
        return {
            "system": cell.system.name, "conversation": cell.conversation.id, "session": step.heard,
            "turns": step.turns, "questions": len(results), "metric": self.metric,
            "accuracy": fmean(known) if known else None,
            "lost": lost_facts(step.questions, bank.memories) if bank and bank.traced else None,
            "memories": len(bank.memories) if bank else None,
        }  # fmt: skip

    async def _judged(self, judge: Judge, cell: Cell, asked: Sequence[QuestionOutcome]) -> list[QuestionOutcome]:
        with metered() as meter:
            judged = await asyncio.gather(*(_verdict(judge, cell, each) for each in asked))
        self.judged[cell.system.name] = self.judged.get(cell.system.name, Cost()) + meter.cost
        return judged

    def _line(
        self,
        cell: Cell,
        bank: BankSnapshot | None,
        known: frozenset[str],
        texts: dict[str, str],
        asked: QuestionOutcome,
    ) -> dict[str, Any]:
        question, said = asked.question, asked.said
        found = [bank.memories[place] for place in asked.found.places] if bank and asked.found else []
        return {
            "benchmark": self.benchmark.name, "split": self.split, "system": cell.system.name,
            "conversation": cell.conversation.id, "question_id": question.id, "category": question.category,
            "question": question.text, "gold": question.gold, "evidence": list(question.evidence),
            "evidence_text": [texts[turn] for turn in question.evidence if turn in texts],
            "answer": said.text if said else None, "error": asked.error,
            "selected": [_brief(bank.memories[place]) for place in said.selected] if bank and said else [],
            "looked_at": len(found), "retrieved": _shown(found, question, asked.found),
            "scores": {
                **answer_scores(said.text if said else None, question.gold, question.category),
                **({f"judge_{self.judge.kind}": asked.right} if self.judge else {}),
                **_evidence_scores(question, found, asked.found, bank, known),
            },
            "tokens": said and {
                "input": said.input_tokens, "output": said.output_tokens, "context": said.context_tokens,
                "estimated": said.estimated,
            },
        }  # fmt: skip


async def _verdict(judge: Judge, cell: Cell, asked: QuestionOutcome) -> QuestionOutcome:
    """The answer with the judge's verdict; one that the judge failed on keeps its other scores."""
    job = cell.job
    try:
        async with job.slots:
            verdict = await judge.ajudge(asked.question, asked.said.text if asked.said else None)
    except Exception as error:
        if ends_the_run(error):
            raise
        failed = f"judge: {one_line(error)}"
        job.failures.failure(error, lambda: None)  # asked again by every later run, as a score is no answer
        return replace(asked, error=asked.error or failed)
    job.failures.success()
    job.advance("verdicts", 1, cell.where)
    return replace(asked, right=verdict.score)


def lost_facts(questions: Sequence[Question], memories: Iterable[Memory]) -> float | None:
    """The share of questions none of whose evidence is left in any memory (M-Fail); None without evidence."""
    held = _sources(memories)
    lost = [held.isdisjoint(question.evidence) for question in questions if question.evidence]
    return fmean(lost) if lost else None


def _evidence_scores(
    question: Question, found: Sequence[Memory], how: Retrieved | None, bank: BankSnapshot | None, known: frozenset[str]
) -> dict[str, float | None]:
    traced = bank is not None and bank.traced
    ranked = traced and how is not None and how.ranked
    wanted = content_tokens(question.gold) if question.gold else frozenset()
    gold = question.gold if how else None
    return {
        "coverage": token_coverage(gold, [memory.text for memory in found]) if gold else None,
        "bank_coverage": len(wanted & known) / len(wanted) if wanted and bank else None,
        "evidence_in_bank": _share(question.evidence, _sources(bank.memories)) if bank and traced else None,
        **(recall_scores(found, question.evidence) if ranked else dict.fromkeys(recall_scores((), ()))),
    }


def _evidence_memories(questions: Sequence[Question], memories: Iterable[Memory]) -> int:
    """How many memories hold evidence of some question."""
    needed = {turn for question in questions for turn in question.evidence}
    return sum(not needed.isdisjoint(memory.source) for memory in memories)


def _shown(found: Sequence[Memory], question: Question, how: Retrieved | None) -> list[dict[str, Any]]:
    evidence = frozenset(question.evidence)
    hits = [not evidence.isdisjoint(memory.source) for memory in found]
    most = _MOST_SHOWN if how and how.ranked else 0
    return [
        {**_brief(memory), "speaker": memory.speaker, "at": memory.at and memory.at.isoformat(), "hit": hit}
        for place, (memory, hit) in enumerate(zip(found, hits, strict=True))
        if hit or place < most
    ]


def _brief(memory: Memory) -> dict[str, Any]:
    return {"text": memory.text, "source": list(memory.source)}


def _share(needed: Sequence[str], held: frozenset[str]) -> float | None:
    return fmean(turn in held for turn in needed) if needed else None


def _sources(memories: Iterable[Memory]) -> frozenset[str]:
    return frozenset(turn for memory in memories for turn in memory.source)


def _union(memories: Iterable[Memory]) -> frozenset[str]:
    return frozenset().union(*(content_tokens(memory.text) for memory in memories))


def cost_lines(
    cells: Sequence[tuple[Cell, FilledBank, Sequence[QuestionOutcome]]], judged: Mapping[str, Cost]
) -> list[dict[str, Any]]:
    """A line for each system and stage, in the order of the systems; `judged` is what the judge cost, by system."""
    lines: list[dict[str, Any]] = []
    for name in dict.fromkeys(cell.system.name for cell, _, _ in cells):
        lines += _stage_costs([each for each in cells if each[0].system.name == name], name)
        if name in judged:
            lines.append(_cost_line(name, "judge", judged[name], judged[name].model_seconds))
    return lines


def _stage_costs(
    cells: Sequence[tuple[Cell, FilledBank, Sequence[QuestionOutcome]]], system: str
) -> Iterable[dict[str, Any]]:
    if cells[0][0].system.learns:
        banks = [(cell, remembered.bank) for cell, remembered, _ in cells if isinstance(remembered.bank, BankSnapshot)]
        total = reduce(add, (_ingested(cell, bank) for cell, bank in banks), Cost())
        yield _cost_line(system, "ingest", total, sum(bank.seconds for _, bank in banks))
    asked = [each for _, _, those in cells for each in those]
    said = [(each, each.said) for each in asked if each.said]
    total = reduce(add, (replace(s.cost, cached=s.cost.calls) if a.cached else s.cost for a, s in said), Cost())
    seconds = [s.seconds for _, s in said]
    percentiles = [round(float(each), 6) for each in np.percentile(seconds, [50, 95])] if seconds else [None, None]
    yield _cost_line(system, "answer", total, sum(seconds)) | dict(
        zip(("p50_seconds", "p95_seconds"), percentiles, strict=True)
    )


def _ingested(cell: Cell, bank: BankSnapshot) -> Cost:
    return cell.cost if cell.cost.calls else replace(bank.cost, cached=bank.cost.calls)


def _cost_line(system: str, stage: str, cost: Cost, seconds: float) -> dict[str, Any]:
    told = asdict(cost) | {"model_seconds": round(cost.model_seconds, 3)}
    return {"system": system, "stage": stage, **told, "seconds": round(seconds, 3)}
