"""From answers to the lines of a run's files: scores of each question, what a bank lost, how accuracy moves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
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
        kind = benchmark.metric.removeprefix("judge_")
        self.metric = benchmark.metric if judge and kind == judge.kind else benchmark.offline_metric
        """What accuracy is measured by."""
        self.judge_costs: dict[str, Cost] = {}
        """By system."""

    async def lines(self, cell: Cell, filled: FilledBank, asked: Sequence[QuestionOutcome]) -> list[dict[str, Any]]:
        """Return a result for each question."""
        if self.judge is not None:
            with metered() as meter:
                asked = await asyncio.gather(*(_judge(self.judge, cell, each) for each in asked))
            self.judge_costs[cell.system.name] = self.judge_costs.get(cell.system.name, Cost()) + meter.cost
        bank = filled.bank if isinstance(filled.bank, BankSnapshot) else None
        memories = bank.memories if bank else ()
        bank_tokens = frozenset[str]().union(*(content_tokens(memory.text) for memory in memories))
        texts = {turn.id: f"{turn.speaker}: {turn.text}" for turn in cell.conversation.turns}
        return [self._line(cell, bank, bank_tokens, texts, each) for each in asked]

    def bank_line(self, cell: Cell, filled: FilledBank) -> dict[str, Any]:
        """Return what a system remembers of a conversation at the end, and what of it is lost."""
        questions = cell.conversation.questions
        head = {"system": cell.system.name, "conversation": cell.conversation.id, "questions": len(questions)}
        bank = filled.bank
        if not isinstance(bank, BankSnapshot):
            return {**head, "error": bank.error if bank else "not remembered yet"}
        evidence = {turn for question in questions for turn in question.evidence}
        with_evidence = sum(not evidence.isdisjoint(memory.source) for memory in bank.memories)
        return {
            **head, "turns": bank.turns, "memories": len(bank.memories), "facts": bank.facts,
            "operations": dict(bank.operations), "calls": bank.cost.calls, "input_tokens": bank.cost.input_tokens,
            "output_tokens": bank.cost.output_tokens, "seconds": bank.seconds,
            "lost_facts": lost_facts(questions, bank.memories) if bank.traced else None,
            "evidence_memories": with_evidence if bank.traced else None,
            **({"file": f"{cell.file.parent.name}/{cell.file.name}"} if cell.system.learns else {}),
        }  # fmt: skip

    def curve_point(
        self, cell: Cell, stop: Stop, filled: FilledBank, results: Sequence[dict[str, Any]]
    ) -> dict[str, Any]:
        """Return how a memory does at one stop of a conversation."""
        bank = filled.bank if isinstance(filled.bank, BankSnapshot) else None
        scores = [line["scores"][self.metric] for line in results if line["scores"].get(self.metric) is not None]
        return {
            "system": cell.system.name, "conversation": cell.conversation.id, "session": stop.sessions_so_far,
            "turns": stop.turns_so_far, "questions": len(results), "metric": self.metric,
            "accuracy": fmean(scores) if scores else None,
            "lost": lost_facts(stop.questions, bank.memories) if bank and bank.traced else None,
            "memories": len(bank.memories) if bank else None,
        }  # fmt: skip

    def _line(
        self,
        cell: Cell,
        bank: BankSnapshot | None,
        bank_tokens: frozenset[str],
        texts: Mapping[str, str],
        outcome: QuestionOutcome,
    ) -> dict[str, Any]:
        """Return the line of `results.jsonl` for a question; `texts` are those of the turns, by id."""
        question, answer = outcome.question, outcome.answer
        text = answer.text if answer else None
        retrieved = (
            [bank.memories[number] for number in outcome.retrieved.positions] if bank and outcome.retrieved else []
        )
        most_shown = _MOST_SHOWN if outcome.retrieved and outcome.retrieved.ranked else 0
        evidence = frozenset(question.evidence)
        hits = [not evidence.isdisjoint(memory.source) for memory in retrieved]
        return {
            "benchmark": self.benchmark.name, "split": self.split, "system": cell.system.name,
            "conversation": cell.conversation.id, "question_id": question.id, "category": question.category,
            "question": question.text, "gold": question.gold, "evidence": list(question.evidence),
            "evidence_text": [texts[turn] for turn in question.evidence if turn in texts],
            "answer": text, "error": outcome.error,
            "selected": [_brief(bank.memories[number]) for number in answer.selected] if bank and answer else [],
            "looked_at": len(retrieved),
            "retrieved": [
                {**_brief(memory), "speaker": memory.speaker, "at": memory.at and memory.at.isoformat(), "hit": hit}
                for rank, (memory, hit) in enumerate(zip(retrieved, hits, strict=True))
                if hit or rank < most_shown
            ],
            "scores": {
                **answer_scores(
                    text, question.gold, question.category, unanswerable=self.benchmark.unanswerable(question)
                ),
                **({f"judge_{self.judge.kind}": outcome.verdict} if self.judge else {}),
                **_retrieval_scores(question, retrieved, outcome.retrieved, bank, bank_tokens),
            },
            "tokens": answer and {
                "input": answer.input_tokens, "output": answer.output_tokens, "context": answer.context_tokens,
                "estimated": answer.estimated,
            },
        }  # fmt: skip


async def _judge(judge: Judge, cell: Cell, outcome: QuestionOutcome) -> QuestionOutcome:
    """Return the outcome with the judge's verdict; one that the judge failed on keeps its other scores."""
    job = cell.job
    try:
        async with job.slots:
            verdict = await judge.ajudge(outcome.question, outcome.answer.text if outcome.answer else None)
    except Exception as error:  # a judge's model may fail in any way; what must end the run does
        if ends_the_run(error):
            raise
        failed = f"judge: {one_line(error)}"
        job.failures.failure(error, lambda: None)  # asked again by every later run, as a score is no answer
        return replace(outcome, error=outcome.error or failed)
    job.failures.success()
    job.advance("verdicts", 1, cell.where)
    return replace(outcome, verdict=verdict.score)


def lost_facts(questions: Sequence[Question], memories: Iterable[Memory]) -> float | None:
    """Return the share of questions none of whose evidence is left in any memory (M-Fail); None without evidence."""
    sources = _sources(memories)
    lost = [sources.isdisjoint(question.evidence) for question in questions if question.evidence]
    return fmean(lost) if lost else None


def _retrieval_scores(
    question: Question,
    memories: Sequence[Memory],
    retrieved: Retrieved | None,
    bank: BankSnapshot | None,
    bank_tokens: frozenset[str],
) -> dict[str, float | None]:
    """Return how much of the gold answer and of the evidence stands in the memories and in the bank.

    None is what cannot be computed: shares of the evidence where memories do not know their turns or the question
    names none, recall after a cut where the order says nothing.
    """
    traced = bank is not None and bank.traced
    gold_tokens = content_tokens(question.gold) if question.gold else frozenset()
    gold = question.gold if retrieved else None
    in_bank = None
    if bank and traced and question.evidence:
        sources = _sources(bank.memories)
        in_bank = fmean(turn in sources for turn in question.evidence)
    ranked = traced and retrieved is not None and retrieved.ranked
    return {
        "coverage": token_coverage(gold, [memory.text for memory in memories]) if gold else None,
        "bank_coverage": len(gold_tokens & bank_tokens) / len(gold_tokens) if gold_tokens and bank else None,
        "evidence_in_bank": in_bank,
        **(recall_scores(memories, question.evidence) if ranked else dict.fromkeys(recall_scores((), ()))),
    }


def _brief(memory: Memory) -> dict[str, Any]:
    return {"text": memory.text, "source": list(memory.source)}


def _sources(memories: Iterable[Memory]) -> frozenset[str]:
    """Return the turns that some memory comes from."""
    return frozenset(turn for memory in memories for turn in memory.source)


def cost_lines(
    cells: Sequence[tuple[Cell, FilledBank, Sequence[QuestionOutcome]]], judge_costs: Mapping[str, Cost]
) -> list[dict[str, Any]]:
    """Return the cost of each system and stage: calls, tokens and time, also of what earlier runs had done already.

    Args:
        cells: What was done, in the order of the systems.
        judge_costs: What the judge cost, by system.
    """
    lines: list[dict[str, Any]] = []
    for name in dict.fromkeys(cell.system.name for cell, _, _ in cells):
        own = [each for each in cells if each[0].system.name == name]
        if own[0][0].system.learns:
            total, spent = Cost(), sum(f.bank.seconds for _, f, _ in own if isinstance(f.bank, BankSnapshot))
            for cell, filled, _ in own:
                if isinstance(filled.bank, BankSnapshot):
                    # Without a call in this run the bank is an earlier run's, and so are all its calls.
                    reused = replace(filled.bank.cost, cached=filled.bank.cost.calls)
                    total += cell.cost if cell.cost.calls else reused
            lines.append(_cost_line(name, "ingest", total, spent))
        total, seconds = Cost(), []
        for outcome in (each for _, _, outcomes in own for each in outcomes):
            if outcome.answer:
                cost = outcome.answer.cost
                total += replace(cost, cached=cost.calls) if outcome.cached else cost
                seconds.append(outcome.answer.seconds)
        p50, p95 = (round(float(each), 6) for each in np.percentile(seconds, [50, 95])) if seconds else (None, None)
        answered = _cost_line(name, "answer", total, sum(seconds))
        lines.append({**answered, "p50_seconds": p50, "p95_seconds": p95})
        if name in judge_costs:
            lines.append(_cost_line(name, "judge", judge_costs[name], judge_costs[name].model_seconds))
    return lines


def _cost_line(system: str, stage: str, cost: Cost, seconds: float) -> dict[str, Any]:
    numbers = asdict(cost) | {"model_seconds": round(cost.model_seconds, 3)}
    return {"system": system, "stage": stage, **numbers, "seconds": round(seconds, 3)}
