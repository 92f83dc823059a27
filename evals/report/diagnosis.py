"""Where an answer went wrong: in the bank, in retrieval, or in reading what was retrieved."""

from __future__ import annotations

from collections import Counter

from langgraph_memory_r1.evals.report.results import BenchmarkRun, Result

__all__ = ["DIAGNOSES", "diagnose", "count_diagnoses", "verdict_metric"]

RIGHT = 0.5

DIAGNOSES = {
    "right": "the answer is right",
    "lost": "no memory in the bank comes from an evidence turn",
    "not retrieved": "the bank has the evidence, but none of it was retrieved",
    "partly retrieved": "only a part of the evidence was retrieved",
    "misread": "wrong, although all of the evidence was retrieved",
    "wrong": "wrong, and the question names no evidence to look for",
    "found": "all of the evidence was retrieved, and nothing was answered or scored in this run",
    "not scored": "not answered in this run, or not scored",
    "error": "the system failed; the question counts in no mean",
}
"""What can become of a question, with its meaning; a run shows those that occur."""


def verdict_metric(run: BenchmarkRun) -> str:
    """Return the metric that decides between right and wrong: a judge where there is one, else the official metric."""
    judges = [name for name in run.scored if name.startswith("judge")]
    return run.headline if run.headline in judges or not judges else judges[0]


def diagnose(result: Result, verdict: str) -> str:
    """Return what became of a question: one of `DIAGNOSES`."""
    if result.error is not None:
        return "error"
    score = None if result.answer is None else result.scores.get(verdict)
    if score is not None and score >= RIGHT:
        return "right"
    if result.evidence_share is None:
        return "not scored" if score is None else "wrong"
    if result.scores.get("evidence_in_bank") == 0:
        return "lost"
    if result.evidence_share < 1:
        return "partly retrieved" if result.evidence_share else "not retrieved"
    return "found" if score is None else "misread"


def count_diagnoses(run: BenchmarkRun) -> dict[str, Counter[str]]:
    """Count how often each one occurs, by system."""
    verdict = verdict_metric(run)
    counts: dict[str, Counter[str]] = {system: Counter() for system in run.systems}
    for result in run.results:
        counts[result.system][diagnose(result, verdict)] += 1
    return counts
