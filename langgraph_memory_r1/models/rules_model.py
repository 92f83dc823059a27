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
        return ChatResult(generations=[ChatGeneration(message=AIMessage(_reply(messages)))])

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[LanguageModelInput, AIMessage]:
        """Accept tools, and call none."""
        return self


def _reply(messages: Sequence[BaseMessage]) -> str:
    if not prompts.is_role(messages):
        newest = next((message.text for message in reversed(messages) if isinstance(message, HumanMessage)), "")
        if not is_question(newest):
            return "Noted."
        recalled = [read_recalled(message.text) for message in messages if isinstance(message, SystemMessage)]
        answer, _ = rules.answer(newest, [memory for memories in recalled for memory in memories], None)
        return answer
    role_input = prompts.read(messages)
    if isinstance(role_input, prompts.ExtractInput):
        # Each once: a wall of text may say the same a thousand times.
        facts = dict.fromkeys(rules.extract_facts(role_input.turns))
        return prompts.write(tuple(facts)[:MOST_FACTS], role_input)
    if isinstance(role_input, prompts.ManageInput):
        return prompts.write(tuple(rules.decide(role_input.facts, role_input.memories)), role_input)
    return prompts.write(rules.answer(role_input.question, role_input.memories, role_input.at), role_input)
