"""What the library warns of while a command runs: one line each, and with `--debug` everything that libraries say."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from langgraph_memory_r1.cli.output import note, plain


class _WarningLines(logging.Handler):
    """Prints a warning as a line; one with a traceback is of a failure, which the command reports itself."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print it, but for what every command says with its results: that `rules` is a baseline."""
        if record.name == "langgraph_memory_r1.models.rules_model":
            return
        if record.levelno >= logging.WARNING and record.exc_info is None:
            note(f"Warning: {plain(record.getMessage())}")


@contextmanager
def show_warnings(debug: bool) -> Iterator[None]:
    """Print the library's warnings as lines for people, for as long as a command runs."""
    if debug:
        logging.basicConfig(level=logging.WARNING)
        yield
        return
    logger, handler = logging.getLogger("langgraph_memory_r1"), _WarningLines()
    logger.addHandler(handler)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.removeHandler(handler)
