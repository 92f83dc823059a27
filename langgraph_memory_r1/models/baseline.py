"""The no-model baseline as a chat model."""

from __future__ import annotations

from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from langgraph_memory_r1 import prompts, rules


class RulesChatModel(BaseChatModel):
    """The no-model baseline as a chat model: it reads a role's prompt, applies rules and writes a reply."""

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
        message = AIMessage(_play(prompts.read(messages)))
        return ChatResult(generations=[ChatGeneration(message=message)])


def _play(given: prompts.RoleInput) -> str:
    if isinstance(given, prompts.ExtractInput):
        return prompts.write(tuple(rules.extract_facts(given.turns)), given)
    if isinstance(given, prompts.ManageInput):
        return prompts.write(tuple(rules.decide(given.facts, given.memories)), given)
    return prompts.write(rules.answer(given.question, given.memories, given.at), given)
