"""Words for what goes wrong while a model is loaded; the classes of errors are in `langgraph_memory_r1.errors`."""

from __future__ import annotations

import re

from langgraph_memory_r1.errors import MissingDependencyError


def missing_package(spec: str, error: str = "") -> MissingDependencyError:
    """Return the error whose message is the command that installs a provider's package.

    Args:
        spec: The model, as `provider:model`.
        error: What LangChain says of it; a command in it is the right one, also for a package with another name.
    """
    command = re.search(r"pip install (?:-U )?([\w.-]+)", error)
    package = command[1] if command else f"langchain-{spec.partition(':')[0].replace('_', '-')}"
    return MissingDependencyError(f"pip install {package} to use {spec!r}")


def first_line(error: Exception) -> str:
    """Return the gist of an error that takes several lines."""
    return str(error).strip().partition("\n")[0][:200]


def wrong_setting(error: ValueError) -> str:
    """Return which setting pydantic refuses, and why: the lines behind the count that its message begins with."""
    return " ".join(str(error).split("\n")[1:3])
