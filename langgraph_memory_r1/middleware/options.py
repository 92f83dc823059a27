"""The options of `MemoryMiddleware`: nonsense is refused at once, not by a memory that fails in every run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.owners import Namespace, check_namespace
from langgraph_memory_r1.tools import MANAGE, SEARCH

Write: TypeAlias = Literal["inline", "background"]


def check_options(
    write: str, delay: float, review: object, redact: object, namespace: Namespace | None, name: str, recall_k: int
) -> None:
    """Refuses what makes no sense.

    Raises:
        InputError: It names the option, and what to give.
    """
    if write not in get_args(Write):
        raise InputError(f"There is no write {write!r}; give one of {', '.join(get_args(Write))}.")
    if write == "background" and review is not None:
        raise InputError('A review interrupts the run, which is over in the background; give write="inline".')
    if recall_k < 0:
        raise InputError(f"recall_k={recall_k} counts memories; give 0 to recall none, or more.")
    if delay < 0:
        raise InputError(f"delay={delay} lies in the past; give seconds, 0 or more.")
    if not name or not name.replace("_", "").replace("-", "").isalnum():
        raise InputError(f"The name {name!r} cannot be a part of a tool's name; give letters, digits, - and _.")
    if redact is not None and not callable(redact):
        raise InputError(f"redact={redact!r} cannot be called; give a function from a text to a text.")
    if namespace is not None:
        check_namespace(namespace)


def wanted_tools(tools: bool | str | Sequence[str]) -> Sequence[str]:
    """The names of the tools that an agent gets."""
    if tools is True:
        return SEARCH, MANAGE
    return (tools,) if isinstance(tools, str) else tools or ()
