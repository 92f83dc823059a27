"""A chat model that calls another one: what callers see of it is what they would see of the one inside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable
from langchain_core.runnables.base import RunnableBindingBase


class DelegatingChatModel(BaseChatModel):
    """A chat model with the name and the tools of the model inside; subclasses decide how that one is called."""

    bound: BaseChatModel

    @property
    def _llm_type(self) -> str:
        return self.bound._llm_type

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {**self.bound._identifying_params}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        return self.bound._get_ls_params(stop, **kwargs)

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[LanguageModelInput, AIMessage]:
        """Bind the tools in the shape that the model inside wants."""
        binding = self.bound.bind_tools(tools, **kwargs)
        if isinstance(binding, RunnableBindingBase):
            return self.bind(**binding.kwargs)  # its own binding would call the model inside past this one
        return self if binding is self.bound else binding
