"""The public audit of LoCoMo's labels, laid over a loaded split: wrong gold answers dropped or corrected.

Data: `errors.json` of https://github.com/dial481/locomo-audit, CC BY-NC 4.0. Of its 156 findings 99 concern the gold
answer or the question; the other 57 only say that the evidence is cited wrongly, which is corrected either way.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, Literal

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.evals.benchmark import Dataset, Source
from langgraph_memory_r1.evals.data_file import parse_json, read_bytes, required, typed
from langgraph_memory_r1.evals.locomo import CONVERSATIONS
from langgraph_memory_r1.schemas import Conversation

__all__ = ["AUDIT", "audited"]

AUDIT: Final = Source(
    "errors.json",
    "f298ef46263fada20688a1d672be37d4f488c6da3b19343eea55ae5c1b5fe55e",
    150_552,
    "https://raw.githubusercontent.com/dial481/locomo-audit/9493fb4b4af4256ed17a18e8fd0b3cfdeec29539/errors.json",
)

_CITATION_ONLY = "WRONG_CITATION"
_ID = re.compile(r"locomo_(\d+)_qa(\d+)")


def audited(
    dataset: Dataset,
    path: str | os.PathLike[str],
    how: Literal["drop", "correct"] = "drop",
    *,
    allow_modified: bool = False,
) -> Dataset:
    """Return a split of LoCoMo without the labels that the audit found wrong.

    Args:
        dataset: What `LoCoMo().load` returned.
        path: Where the audit's `errors.json` lies.
        how: Leave the questions with a wrong answer out, or replace the answer by the audit's. Many of the latter are
            explanations rather than answers, which suits a judge but no token metric.
        allow_modified: Accept an audit of another content.

    Raises:
        InputError: It is no split of LoCoMo, or the file is missing, has another content, or is no such audit.
    """
    if dataset.benchmark != "locomo":
        raise InputError(f"the audit is about LoCoMo, not {dataset.benchmark}; leave --audit out")
    content = read_bytes(path, "the audit's errors.json")
    digest = hashlib.sha256(content).hexdigest()
    if digest != AUDIT.sha256 and not allow_modified:
        raise InputError(
            f"{path} is not the published audit (sha256 {digest[:12]}...); accept it with --allow-modified"
        )
    findings = _findings(content, str(path))
    counts: Counter[str] = Counter()
    conversations = tuple(_overlay(each, findings, how, counts) for each in dataset.conversations)
    label = "dropped" if how == "drop" else "corrected"
    note = f"audited labels: {counts['answer']} questions {label}, {counts['citation']} citations corrected"
    return replace(
        dataset,
        sha256=hashlib.sha256(f"{dataset.sha256} {digest} {how}".encode()).hexdigest(),
        modified=dataset.modified or digest != AUDIT.sha256,
        conversations=conversations,
        skipped=dataset.skipped + Counter({"finding about another question": counts["other"]}),
        notes=(*dataset.notes, note),
    )


def _findings(content: bytes, location: str) -> Mapping[str, dict[str, Any]]:
    """Return the findings by the id of their question."""
    findings = {}
    for number, raw in enumerate(typed(parse_json(content, location), list, location)):
        where = f"{location}: finding {number}"
        finding = typed(raw, dict, where)
        match = _ID.fullmatch(required(finding, "question_id", str, where))
        if match is None or int(match[1]) >= len(CONVERSATIONS):
            raise InputError(f"{where}: {finding['question_id']!r} names no question of LoCoMo")
        findings[f"{CONVERSATIONS[int(match[1])]}/{int(match[2])}"] = finding
    return findings


def _overlay(
    conversation: Conversation, findings: Mapping[str, dict[str, Any]], how: str, counts: Counter[str]
) -> Conversation:
    """Return a conversation whose questions have the audit's labels; what the findings were about is counted."""
    turn_ids = {turn.id for turn in conversation.turns}
    questions = []
    for question in conversation.questions:
        finding = findings.get(question.id)
        if finding is None:
            questions.append(question)
            continue
        if finding.get("question") != question.text:  # a file of another content may have others in the same places
            counts["other"] += 1
            questions.append(question)
            continue
        kind = "citation" if finding.get("error_type") == _CITATION_ONLY else "answer"
        counts[kind] += 1
        if kind == "answer" and how == "drop":
            continue
        cited = finding.get("correct_evidence")
        evidence = tuple(each for each in cited if each in turn_ids) if isinstance(cited, list) else ()
        gold = str(finding.get("correct_answer")) if kind == "answer" else question.gold
        questions.append(replace(question, gold=gold, evidence=evidence or question.evidence))
    return replace(conversation, questions=tuple(questions))
