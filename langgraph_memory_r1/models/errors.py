"""What to say where a model cannot be had."""

from __future__ import annotations

import re

from langgraph_memory_r1.errors import MissingDependencyError


def missing(spec: str, error: str = "") -> MissingDependencyError:
    """The command that installs the package of a provider, which LangChain's complaint may name."""
    named = re.search(r"pip install (?:-U )?([\w.-]+)", error)
    package = named[1] if named else f"langchain-{spec.partition(':')[0].replace('_', '-')}"
    return MissingDependencyError(f"pip install {package} to use {spec!r}")


def first_line(error: Exception) -> str:
    """The gist of an error that takes several lines."""
    return str(error).strip().partition("\n")[0][:200]
