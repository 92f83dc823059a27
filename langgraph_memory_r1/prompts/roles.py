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
_LONGEST_QUOTE = 1000
"""So much of an unreadable reply, in characters, is shown to the model again."""


def role_of(role_input: RoleInput) -> Role:
    """Return the role that an input is for."""
    if isinstance(role_input, ExtractInput):
        return "extract"
    return "manage" if isinstance(role_input, ManageInput) else "answer"


def render(role_input: RoleInput, style: Style = "full") -> list[BaseMessage]:
    """Render the messages for a role: its instructions, then its data.

    Args:
        role_input: What the role is to decide on.
        style: `full` explains and shows examples, for models as they come; `compact` has the fewest tokens, for models
            that were tuned with it.
    """
    prompt = _module(role_input)
    system = prompt.FULL if style == "full" else prompt.COMPACT
    return [SystemMessage(system), HumanMessage(prompt.render_data(role_input))]


@overload
def parse(completion: str, role_input: ExtractInput) -> tuple[Fact, ...]: ...
@overload
def parse(completion: str, role_input: ManageInput) -> tuple[Operation, ...]: ...
@overload
def parse(completion: str, role_input: AnswerInput) -> tuple[str, tuple[int, ...]]: ...
def parse(completion: str, role_input: RoleInput) -> Any:
    """Parse the reply of a model that was shown `role_input`.

    Returns:
        Facts, operations on the ids of real memories, or an answer and the numbers of the memories that it rests on.

    Raises:
        OutputError: If the completion cannot be read; its message is for the model, see `retry`.
    """
    return _module(role_input).parse(completion, role_input)


def schema(role: Role) -> dict[str, Any]:
    """Return the JSON schema of a role's reply.

    `parse` reads whatever it allows, except empty texts and numbers that were not shown.
    """
    json_schema: dict[str, Any] = _MODULES[role].SCHEMA
    return json_schema


def read(messages: Sequence[BaseMessage]) -> RoleInput:
    """Read the input that these messages were rendered from, as far as a model can see it.

    Raises:
        InputError: If `render` did not write them.
    """
    human = (message.content for message in messages if isinstance(message, HumanMessage))
    content = next((content for content in human if isinstance(content, str)), None)
    if content is None:
        raise InputError("There is no human message with text; give messages that `prompts.render` returned.")
    lines = content.split("\n")
    if lines[0] == "Turns:":
        return prompt_extract.read_data(content)
    # Quoted text never starts a line, so that no memory can pass for one of these two headings.
    if lines[0] == "Memories:" and "Facts:" in lines:
        return prompt_manage.read_data(content)
    if lines[0] == "Memories:" and lines[-1].startswith("Question: "):
        return prompt_answer.read_data(content)
    raise InputError(f"{lines[0][:80]!r} does not begin a prompt; give messages that `prompts.render` returned.")


def is_role(messages: Sequence[BaseMessage]) -> bool:
    """Return whether these messages are a role's prompt, and not a chat."""
    first = next((message for message in messages if isinstance(message, HumanMessage)), None)
    return first is not None and first.text.startswith(("Turns:\n", "Memories:\n"))


@overload
def write(output: tuple[Fact, ...], role_input: ExtractInput) -> str: ...
@overload
def write(output: tuple[Operation, ...], role_input: ManageInput) -> str: ...
@overload
def write(output: tuple[str, tuple[int, ...]], role_input: AnswerInput) -> str: ...
def write(output: Any, role_input: RoleInput) -> str:
    """Write the completion that `parse` reads as `output`."""
    completion: str = _module(role_input).write(output, role_input)
    return completion


def retry(messages: Sequence[BaseMessage], completion: str, problem: str) -> list[BaseMessage]:
    """Continue the conversation with an unreadable reply and what is wrong with it, for a second try."""
    quote = completion if len(completion) <= _LONGEST_QUOTE else f"{completion[:_LONGEST_QUOTE]} ..."
    return [*messages, AIMessage(clean(quote) or "..."), HumanMessage(problem)]


def _module(role_input: RoleInput) -> Any:
    return _MODULES[role_of(role_input)]
