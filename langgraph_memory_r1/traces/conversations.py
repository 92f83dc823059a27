"""Decisions as conversations with questions, the format of users' own data.

The turns come from the extractor's prompts, the questions from the answer agent's, their gold from feedback.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.prompts import AnswerInput, ExtractInput
from langgraph_memory_r1.schemas import Conversation, Question, Turn
from langgraph_memory_r1.traces.decision import Decision


def conversations_of(decisions: Iterable[Decision]) -> list[Conversation]:
    """Return one conversation for each bank: all of one owner's turns, and the questions that were asked of it.

    Evidence is what the answer rested on, where feedback says that it was right: a score of 1, thumbs up, or the gold
    answer itself. Decisions under another version of the prompts are left out.
    """
    drafts: dict[str, _ConversationDraft] = {}
    for decision in decisions:
        drafts.setdefault(decision.bank or decision.thread or decision.run_id, _ConversationDraft()).add(decision)
    return [
        Conversation(
            next(iter(draft.threads)) if len(draft.threads) == 1 else key,
            tuple(draft.turns.values()),
            tuple(draft.questions.values()),
        )
        for key, draft in drafts.items()
        if draft.turns or draft.questions
    ]


def is_right(decision: Decision) -> bool:
    """Return whether feedback says that the answer was right."""
    gold, answer = (decision.gold or "").strip().lower(), (decision.answer or "").strip().lower()
    praised = any(feedback.thumbs == "up" or (feedback.score or 0) >= 1 for feedback in decision.feedback)
    return praised or bool(gold and gold == answer)


@dataclass(slots=True)
class _ConversationDraft:
    """One bank's conversation, as it is put together."""

    threads: dict[str, None] = field(default_factory=dict)
    turns: dict[str, Turn] = field(default_factory=dict)
    questions: dict[str, Question] = field(default_factory=dict)
    """By run."""
    sources: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Memory id → the turns that it comes from."""

    def add(self, decision: Decision) -> None:
        """Add the turns and the question of a decision, and where its memories come from."""
        if decision.thread:
            self.threads[decision.thread] = None
        for operation in decision.operations:
            if operation["memory_id"]:
                earlier = self.sources.get(operation["memory_id"], ())
                self.sources[operation["memory_id"]] = tuple(dict.fromkeys([*earlier, *operation["source"]]))
        if decision.role not in ("extract", "answer"):
            return
        try:
            role_input = decision.input()
        except InputError:
            return
        # Without references the turns have no ids of their own but the numbers of the prompt, which every prompt has.
        if isinstance(role_input, ExtractInput) and decision.turns:
            for turn in role_input.turns:
                self.turns.setdefault(turn.id, turn)
        elif isinstance(role_input, AnswerInput):
            selected = decision.selected if is_right(decision) else ()
            evidence = dict.fromkeys(turn for memory in selected for turn in self.sources.get(memory, ()))
            self.questions[decision.run_id] = Question(
                role_input.question, decision.gold, tuple(evidence), id=decision.run_id, at=role_input.at
            )
