"""Render a role's prompt and parse its reply, whichever role it is; one module a role knows how."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, overload

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.prompts import answer as prompt_answer
from langgraph_memory_r1.prompts import extract as prompt_extract
from langgraph_memory_r1.prompts import manage as prompt_manage
from langgraph_memory_r1.prompts.answer import AnswerInput
from langgraph_memory_r1.prompts.extract import ExtractInput
from langgraph_memory_r1.prompts.lines import clean
from langgraph_memory_r1.prompts.manage import ManageInput
from langgraph_memory_r1.schemas import Fact, Operation

PROMPT_VERSION = "1"
"""Changes whenever a prompt or the reading of its reply does; an adapter loads only under the one of its training."""

Role: TypeAlias = Literal["extract", "manage", "answer"]
Style: TypeAlias = Literal["full", "compact"]
RoleInput: TypeAlias = ExtractInput | ManageInput | AnswerInput
RoleOutput: TypeAlias = tuple[Fact, ...] | tuple[Operation, ...] | tuple[str, tuple[int, ...]]

_MODULES: dict[Role, Any] = {"extract": prompt_extract, "manage": prompt_manage, "answer": prompt_answer}
_QUOTED = 1000
"""So much of an unreadable reply, in characters, is shown to the model again."""


def role_of(given: RoleInput) -> Role:
    """Which role an input is for."""
    if isinstance(given, ExtractInput):
        return "extract"
    return "manage" if isinstance(given, ManageInput) else "answer"


def render(given: RoleInput, style: Style = "full") -> list[BaseMessage]:
    """The messages for a role: its instructions, then its data.

    `full` explains and shows examples, for models as they come; `compact` has the fewest tokens, for models that were
    tuned with it.
    """
    prompt = _module(given)
    system = prompt.FULL if style == "full" else prompt.COMPACT
    return [SystemMessage(system), HumanMessage(prompt.render_data(given))]


@overload
def parse(completion: str, given: ExtractInput) -> tuple[Fact, ...]: ...
@overload
def parse(completion: str, given: ManageInput) -> tuple[Operation, ...]: ...
@overload
def parse(completion: str, given: AnswerInput) -> tuple[str, tuple[int, ...]]: ...
def parse(completion: str, given: RoleInput) -> Any:
    """What a model that was shown `given` said: facts, operations, or an answer and the numbers of its memories.

    Raises:
        OutputError: If the completion cannot be read; its message is for the model, see `retry`.
    """
    return _module(given).parse(completion, given)


def schema(role: Role) -> dict[str, Any]:
    """The reply of a role as a JSON schema; `parse` reads what it allows, but for empty texts and unknown numbers."""
    found: dict[str, Any] = _MODULES[role].SCHEMA
    return found


def read(messages: Sequence[BaseMessage]) -> RoleInput:
    """The input that these messages were rendered from, as far as a model can see it.

    Raises:
        InputError: If `render` did not write them.
    """
    for message in messages:
        if isinstance(message, HumanMessage) and isinstance(message.content, str):
            return _read(message.content)
    raise InputError("There is no human message with text; give messages that `prompts.render` returned.")


def is_role(messages: Sequence[BaseMessage]) -> bool:
    """Whether these messages are a role's prompt, and not a chat."""
    said = [message.text for message in messages if isinstance(message, HumanMessage)]
    return bool(said) and said[0].startswith(("Turns:\n", "Memories:\n"))


@overload
def write(output: tuple[Fact, ...], given: ExtractInput) -> str: ...
@overload
def write(output: tuple[Operation, ...], given: ManageInput) -> str: ...
@overload
def write(output: tuple[str, tuple[int, ...]], given: AnswerInput) -> str: ...
def write(output: Any, given: RoleInput) -> str:
    """The completion that says `output`: the inverse of `parse`."""
    text: str = _module(given).write(output, given)
    return text


def retry(messages: Sequence[BaseMessage], completion: str, complaint: str) -> list[BaseMessage]:
    """The conversation with an unreadable reply and what is wrong with it, for a second try."""
    shown = completion if len(completion) <= _QUOTED else f"{completion[:_QUOTED]} ..."
    return [*messages, AIMessage(clean(shown) or "..."), HumanMessage(complaint)]


def _read(content: str) -> RoleInput:
    lines = content.split("\n")
    if lines[0] == "Turns:":
        return prompt_extract.read_data(content)
    if lines[0] == "Memories:" and "Facts:" in lines:
        return prompt_manage.read_data(content)
    if lines[0] == "Memories:" and lines[-1].startswith("Question: "):
        return prompt_answer.read_data(content)
    raise InputError(f"{lines[0][:80]!r} does not begin a prompt; give messages that `prompts.render` returned.")


def _module(given: RoleInput) -> Any:
    return _MODULES[role_of(given)]
