"""The Answer Agent that all systems share: a question and what was found for it in, a short answer out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from langgraph_memory_r1.evals.call_cache import CachedChatModel, Cost, key_of, metered
from langgraph_memory_r1.models import model_name
from langgraph_memory_r1.prompts import PROMPT_VERSION, AnswerInput, Style, clean, render
from langgraph_memory_r1.schemas import Memory, Question
from langgraph_memory_r1.steps import Agent, RunMonitor, Unreadable, call_role, run_async

__all__ = ["Answerer", "MeteredAnswer", "tokens_in"]

DONT_KNOW = "I don't know."
_LONGEST = 2_000
_CHARS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class MeteredAnswer:
    """An answer, and what it took."""

    text: str
    selected: tuple[int, ...]
    """Places of the memories that it rests on, among those that it was given."""
    input_tokens: int
    output_tokens: int
    estimated: bool
    """Whether the model did not count its tokens, so that they are taken from the length of the text."""
    context_tokens: int
    """What the memories take up, estimated for every model alike."""
    cost: Cost
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """As it is kept."""
        return asdict(self)

    @classmethod
    def from_dict(cls, kept: dict[str, Any]) -> MeteredAnswer:
        """The inverse of `as_dict`."""
        return cls(**{**kept, "selected": tuple(kept["selected"]), "cost": Cost(**kept["cost"])})


class Answerer:
    """Asks one model, with the library's own prompt."""

    def __init__(self, model: CachedChatModel, style: Style = "full") -> None:
        self.model = model
        self.label = model_name(model)
        self._agent = Agent("answer", model, self.label, style)

    @cached_property
    def identity(self) -> list[str]:
        """What determines its answers, beside the prompt."""
        return [self.model.identity, self._agent.style, PROMPT_VERSION]

    def prompt(self, question: Question, memories: Sequence[Memory]) -> str:
        """A name for the prompt: the same prompt has the same."""
        return key_of([message.text for message in render(_given(question, memories), self._agent.style)])

    async def answer(self, question: Question, memories: Sequence[Memory]) -> MeteredAnswer:
        """Answer from these memories, which are in time order."""
        given = _given(question, memories)
        monitor, start = RunMonitor(), time.perf_counter()
        with metered() as meter:
            output = await run_async(call_role(self._agent, given, monitor))
        seconds = time.perf_counter() - start
        text, selected = _read(output)
        counted = meter.cost.input_tokens > 0
        shown = render(given, self._agent.style)
        return MeteredAnswer(
            text=text,
            selected=selected,
            input_tokens=meter.cost.input_tokens if counted else sum(tokens_in(message.text) for message in shown),
            output_tokens=meter.cost.output_tokens if counted else tokens_in(text),
            estimated=not counted,
            context_tokens=sum(tokens_in(memory.text) for memory in memories),
            cost=meter.cost,
            seconds=round(seconds, 6),
        )


def tokens_in(text: str) -> int:
    """About how many tokens a text has."""
    return -(-len(text) // _CHARS_PER_TOKEN)


def _given(question: Question, memories: Sequence[Memory]) -> AnswerInput:
    return AnswerInput(question.text, tuple(memories), question.at)


def _read(output: Any) -> tuple[str, tuple[int, ...]]:
    if isinstance(output, Unreadable):
        return clean(output.text[:_LONGEST]) or DONT_KNOW, ()
    text, chosen = output
    return text, chosen
