"""The no-model baseline as a chat model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable

from langgraph_memory_r1 import prompts, rules
from langgraph_memory_r1.prompts.extract import MOST_FACTS
from langgraph_memory_r1.prompts.recall import read_recalled
from langgraph_memory_r1.rules.sentences import is_question


class RulesChatModel(BaseChatModel):
    """The no-model baseline as a chat model: it reads a role's prompt, applies rules and writes a reply.

    As the model of an agent it answers questions from the memories in its system message, and notes the rest.
    """

    @property
    def _llm_type(self) -> str:
        return "rules"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        reply = _play(prompts.read(messages)) if prompts.is_role(messages) else _converse(messages)
        return ChatResult(generations=[ChatGeneration(message=AIMessage(reply))])

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[LanguageModelInput, AIMessage]:
        """Accepts tools, and calls none."""
        return self


def _play(given: prompts.RoleInput) -> str:
    if isinstance(given, prompts.ExtractInput):
        facts = dict.fromkeys(rules.extract_facts(given.turns))  # a wall of text may say the same a thousand times
        return prompts.write(tuple(facts)[:MOST_FACTS], given)
    if isinstance(given, prompts.ManageInput):
        return prompts.write(tuple(rules.decide(given.facts, given.memories)), given)
    return prompts.write(rules.answer(given.question, given.memories, given.at), given)


def _converse(messages: Sequence[BaseMessage]) -> str:
    said = next((message.text for message in reversed(messages) if isinstance(message, HumanMessage)), "")
    if not is_question(said):
        return "Noted."
    recalled = [read_recalled(message.text) for message in messages if isinstance(message, SystemMessage)]
    text, _ = rules.answer(said, [memory for memories in recalled for memory in memories], None)
    return text
