"""Decisions as conversations with questions, the format of users' own data.

What was said comes from the extractor's prompts, the questions from the answer agent's, their gold from feedback.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.prompts import AnswerInput, ExtractInput
from langgraph_memory_r1.schemas import Conversation, Question, Turn
from langgraph_memory_r1.traces.decision import Decision


@dataclass(slots=True)
class _Told:
    """One bank's conversation, as it is put together."""

    threads: dict[str, None] = field(default_factory=dict)
    turns: dict[str, Turn] = field(default_factory=dict)
    questions: dict[str, Question] = field(default_factory=dict)
    sources: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Memory id → the turns that it comes from."""


def conversations_of(decisions: Iterable[Decision]) -> list[Conversation]:
    """One conversation for each bank: all of one owner's turns, and the questions that were asked of it.

    Evidence is what the answer rested on, where somebody said that it was right: a score of 1, thumbs up, or the gold
    answer itself. Decisions under another version of the prompts are left out.
    """
    banks: dict[str, _Told] = {}
    for decision in decisions:
        told = banks.setdefault(decision.bank or decision.thread or decision.run_id, _Told())
        if decision.thread:
            told.threads[decision.thread] = None
        _add(told, decision)
    return [_conversation(key, told) for key, told in banks.items() if told.turns or told.questions]


def is_right(decision: Decision) -> bool:
    """Whether somebody said that the answer was right."""
    gold, said = (decision.gold or "").strip().lower(), (decision.answer or "").strip().lower()
    praised = any(told.thumbs == "up" or (told.score or 0) >= 1 for told in decision.feedback)
    return praised or bool(gold and gold == said)


def _add(told: _Told, decision: Decision) -> None:
    for operation in decision.operations:
        if operation["memory_id"]:
            earlier = told.sources.get(operation["memory_id"], ())
            told.sources[operation["memory_id"]] = tuple(dict.fromkeys([*earlier, *operation["source"]]))
    if decision.role not in ("extract", "answer"):
        return
    try:
        given = decision.input()
    except InputError:
        return
    if isinstance(given, ExtractInput) and decision.turns:
        for turn in given.turns:
            told.turns.setdefault(turn.id, turn)
    elif isinstance(given, AnswerInput):
        told.questions[decision.run_id] = _question(given, decision, told)


def _question(given: AnswerInput, decision: Decision, told: _Told) -> Question:
    rests_on = decision.selected if is_right(decision) else ()
    evidence = dict.fromkeys(turn for memory in rests_on for turn in told.sources.get(memory, ()))
    return Question(given.question, decision.gold, tuple(evidence), id=decision.run_id, at=given.at)


def _conversation(key: str, told: _Told) -> Conversation:
    name = next(iter(told.threads)) if len(told.threads) == 1 else key
    return Conversation(name, tuple(told.turns.values()), tuple(told.questions.values()))
