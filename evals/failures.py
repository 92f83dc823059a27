"""Failures of models: one is noted and the evaluation goes on, many in a row end it."""

from __future__ import annotations

from collections.abc import Callable

from langgraph_memory_r1.errors import InputError, MemoryR1Error, MissingDependencyError

__all__ = ["Failures", "ends_the_run", "one_line"]


class Failures:
    """Counts failures that no success came between.

    What failed is noted only once something succeeds again, or at the end: of a server that is down nothing is noted,
    so that the same command tries again what it kept from being done.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: list[Callable[[], None]] = []

    def success(self) -> None:
        """Note what has failed, now that something succeeded."""
        self.flush()

    def failure(self, error: Exception, note: Callable[[], None]) -> None:
        """Count a failure; `note` records it later.

        Raises:
            MemoryR1Error: too many failed in a row.
        """
        self._waiting.append(note)
        if len(self._waiting) >= self._most:
            raise MemoryR1Error(
                f"Stopped after {self._most} failures in a row, the last one: {one_line(error)}. What is done is kept; "
                "the same command goes on from there."
            ) from error

    def flush(self) -> None:
        """Note what has failed so far."""
        waiting, self._waiting = self._waiting, []
        for note in waiting:
            note()


def ends_the_run(error: Exception) -> bool:
    """Return whether trying the next question cannot help: an option is wrong, a package is missing."""
    return isinstance(error, (InputError, MissingDependencyError))


def one_line(error: Exception) -> str:
    """Return an error in one line; one that is not ours with its type, as its text alone may say nothing."""
    first = str(error).strip().partition("\n")[0]
    return first if isinstance(error, MemoryR1Error) else f"{type(error).__name__}: {first}"
