"""What the options of a `MemoryMiddleware` may be."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, TypeAlias, get_args

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.middleware.review import Review
from langgraph_memory_r1.turns import Side

Write: TypeAlias = Literal["inline", "background"]
"""When it is remembered: before the run returns, or after it."""


def require_sense(
    write: Write, review: Review | None, sides: Collection[Side], recall_k: int, delay: float, name: str
) -> None:
    """Refuse options that make no sense, before a run does.

    Raises:
        InputError: One of them makes none.
    """
    if write not in get_args(Write):
        raise InputError(f"There is no write {write!r}; give one of {', '.join(get_args(Write))}.")
    if write == "background" and review is not None:
        raise InputError('A review interrupts the run, which is over in the background; give write="inline".')
    if unknown := set(sides) - set(get_args(Side)):
        raise InputError(f"There is no side {min(unknown)!r}; give remember_from=('user', 'assistant') or one of them.")
    if recall_k < 0:
        raise InputError(f"recall_k={recall_k} counts memories; give 0 to recall none, or more.")
    if delay < 0:
        raise InputError(f"delay={delay} lies in the past; give seconds, 0 or more.")
    if not name or not name.replace("_", "").replace("-", "").isalnum():
        raise InputError(f"The name {name!r} cannot be a part of a tool's name; give letters, digits, - and _.")
