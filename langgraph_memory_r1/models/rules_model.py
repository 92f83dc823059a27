"""The no-model baseline as a chat model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable

from langgraph_memory_r1 import prompts, rules
from langgraph_memory_r1.prompts.extract import MOST_FACTS
from langgraph_memory_r1.prompts.recall import read_recalled
from langgraph_memory_r1.rules.sentences import asks

log = logging.getLogger(__name__)


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
        role_input = prompts.read(messages) if prompts.is_role(messages) else None
        if role_input is not None:
            warn_of_baseline()
        if isinstance(role_input, prompts.ExtractInput):
            # Each once: a wall of text may say the same a thousand times.
            facts = dict.fromkeys(rules.extract_facts(role_input.turns))
            reply = prompts.write(tuple(facts)[:MOST_FACTS], role_input)
        elif isinstance(role_input, prompts.ManageInput):
            reply = prompts.write(tuple(rules.decide(role_input.facts, role_input.memories)), role_input)
        elif isinstance(role_input, prompts.AnswerInput):
            reply = prompts.write(rules.answer(role_input.question, role_input.memories, role_input.at), role_input)
        else:
            newest = next((message.text for message in reversed(messages) if isinstance(message, HumanMessage)), "")
            reply = "Noted."
            if asks(newest):
                system = [message.text for message in messages if isinstance(message, SystemMessage)]
                reply, _ = rules.answer(newest, [memory for text in system for memory in read_recalled(text)])
        return ChatResult(generations=[ChatGeneration(message=AIMessage(reply))])

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[LanguageModelInput, AIMessage]:
        """Accept tools, and call none."""
        return self


@cache
def warn_of_baseline() -> None:
    """Warn, once in a process, that what decides here is no model."""
    log.warning(
        "Memories are decided on by 'rules', a baseline of English word lists without a model, for trying out and for "
        "tests; give a chat model for anything else, such as model='openai:gpt-5-mini'."
    )
