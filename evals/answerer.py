"""The Answer Agent that all systems share: a question and what was found for it in, a short answer out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from langgraph_memory_r1.evals.call_cache import CachedChatModel, Cost, metered
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
        """Return it as it is kept, of plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> MeteredAnswer:
        """Return the answer of which `as_dict` gave this."""
        return cls(**{**value, "selected": tuple(value["selected"]), "cost": Cost(**value["cost"])})


class Answerer:
    """Asks one model, with the library's own prompt."""

    def __init__(self, model: CachedChatModel, style: Style = "full") -> None:
        self.model = model
        self._agent = Agent("answer", model, model_name(model), style)

    @property
    def identity(self) -> list[str]:
        """What determines its answers, beside the prompt."""
        return [self.model.identity, self._agent.style, PROMPT_VERSION]

    async def answer(self, question: Question, memories: Sequence[Memory]) -> MeteredAnswer:
        """Answer from these memories, which are in time order."""
        role_input = AnswerInput(question.text, tuple(memories), question.at)
        start = time.perf_counter()
        with metered() as meter:
            output = await run_async(call_role(self._agent, role_input, RunMonitor()))
        seconds = time.perf_counter() - start
        if isinstance(output, Unreadable):  # scored as it is: an answer in the wrong form is the model's fault
            output = clean(output.text[:_LONGEST]) or DONT_KNOW, ()
        text, selected = output
        counted = meter.cost.input_tokens > 0
        prompt = render(role_input, self._agent.style)
        return MeteredAnswer(
            text=text,
            selected=selected,
            input_tokens=meter.cost.input_tokens if counted else sum(tokens_in(message.text) for message in prompt),
            output_tokens=meter.cost.output_tokens if counted else tokens_in(text),
            estimated=not counted,
            context_tokens=sum(tokens_in(memory.text) for memory in memories),
            cost=meter.cost,
            seconds=round(seconds, 6),
        )


def tokens_in(text: str) -> int:
    """Estimate how many tokens a text has, at four characters each."""
    return -(-len(text) // _CHARS_PER_TOKEN)
