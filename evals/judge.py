"""A language model as judge: whether an answer is right, where counting words cannot tell.

    judge = Judge("openai:gpt-4o-mini", "strict")
    judge.judge(question, "in May 2022")    Verdict(correct=True, reason="...", judge="openai:gpt-4o-mini strict-1")

Published scores of much the same answers lie 12 points apart by the judge alone. So every verdict names its judge, and
a run never holds verdicts of two: neither of two kinds or models (`assert_same`), nor of a model that its provider
replaced in the middle of the run. A verdict that cannot be read is asked for once more, then it is None: no guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage

from langgraph_memory_r1.errors import InputError, ModelError, OutputError
from langgraph_memory_r1.evals.rubrics import (
    JUDGE_VERSION,
    KINDS,
    JudgeKind,
    is_unanswerable,
    read_verdict,
    render_verdict,
)
from langgraph_memory_r1.models import load_chat_model, model_name
from langgraph_memory_r1.prompts import retry
from langgraph_memory_r1.schemas import Question
from langgraph_memory_r1.steps import Agent, CallModel, run_async, run_sync
from langgraph_memory_r1.turns import text_of

__all__ = ["Judge", "JudgeKind", "Verdict"]

TRIES = 2
"""Replies of the judge, the first included, before there is no verdict."""
_SHOWN = 200
"""Characters that are shown of a reply that cannot be read."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judge's decision."""

    correct: bool | None
    """None: there was no answer, or the judge's reply could not be read."""
    reason: str
    judge: str
    """Which judge; see `Judge.id`."""

    @property
    def score(self) -> float | None:
        """As a score among others."""
        return None if self.correct is None else float(self.correct)


class Judge:
    """A model that marks answers by one rubric."""

    def __init__(
        self, model: BaseChatModel | str, kind: JudgeKind = "generous", *, snapshot: str | None = None
    ) -> None:
        """Prepare the judge; a string loads the model with temperature 0.

        Args:
            model: A chat model, or a string that `load_chat_model` knows.
            kind: The rubric: "generous", "strict" or "longmemeval".
            snapshot: What the model's server called it when the run began; another name from it is refused.

        Raises:
            InputError: No such kind, or a model that cannot judge.
        """
        if kind not in KINDS:
            raise InputError(f"no judge is of the kind {kind!r}; give one of: {', '.join(KINDS)}")
        if model == "rules":
            raise InputError(_NO_RULES)
        loaded = load_chat_model(model, temperature=0) if isinstance(model, str) else model
        if model_name(loaded) == "rules":
            raise InputError(_NO_RULES)
        self.kind: JudgeKind = kind
        self.model = model_name(loaded)
        self.snapshot = snapshot
        """What the server calls the model, with the version where it tells it; None before the first reply."""
        self._agent = Agent("judge", loaded, self.model)

    @property
    def id(self) -> str:
        """Names the judge: its model, its rubric and the rubric's version."""
        return f"{self.model} {self.kind}-{JUDGE_VERSION}"

    def as_dict(self) -> dict[str, str | None]:
        """Return what a run's manifest says of the judge."""
        return {
            "id": self.id,
            "kind": self.kind,
            "model": self.model,
            "version": JUDGE_VERSION,
            "served": self.snapshot,
        }

    def assert_same(self, recorded: Mapping[str, Any]) -> None:
        """Refuse to go on with verdicts that another judge gave.

        Args:
            recorded: `as_dict` of the judge of the verdicts that are there already.

        Raises:
            InputError: It is another one; the message names both.
        """
        if recorded.get("id") != self.id:
            raise InputError(
                f"the verdicts there are from the judge {recorded.get('id')!r}, not {self.id!r}; "
                "judge with that one, or give another --out"
            )
        self._recognise(recorded.get("served"))

    def judge(self, question: Question, answer: str | None) -> Verdict:
        """Judge whether the answer to this question is right."""
        return run_sync(self._judge(question, answer))

    async def ajudge(self, question: Question, answer: str | None) -> Verdict:
        """Judge whether the answer to this question is right."""
        return await run_async(self._judge(question, answer))

    async def _judge(self, question: Question, answer: str | None) -> Verdict:
        if answer is None:
            return Verdict(None, "there is no answer", self.id)
        if not answer.strip() and not is_unanswerable(question):
            return Verdict(False, "the answer is empty", self.id)
        prompt = messages = render_verdict(self.kind, question, answer)
        text = ""
        for _ in range(TRIES):
            reply = await CallModel(self._agent, messages)
            metadata = reply.response_metadata if isinstance(reply, AIMessage) else {}
            name = metadata.get("model_name") or metadata.get("model")
            self._recognise(name if isinstance(name, str) else None)
            text, _skipped = text_of(reply.content)
            try:
                return Verdict(*read_verdict(text), self.id)
            except OutputError as error:
                messages = retry(prompt, text, str(error))
        return Verdict(None, f"the judge's reply cannot be read: {text[:_SHOWN]!r}", self.id)

    def _recognise(self, snapshot: str | None) -> None:
        if snapshot and self.snapshot and snapshot != self.snapshot:
            raise ModelError(
                f"the judge {self.model} was {self.snapshot!r} and is now {snapshot!r}; name the version in --judge, "
                "so that one judge gives all verdicts"
            )
        self.snapshot = self.snapshot or snapshot


_NO_RULES = "the rules cannot judge; name a model, such as 'openai:gpt-4o-mini', or leave the judge out"
