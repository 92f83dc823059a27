"""What libraries remark while a command runs: ours on one line, all of it with `--debug`."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from langgraph_memory_r1.cli.output import note, plain


@contextmanager
def remarks(debug: bool) -> Iterator[None]:
    """Warnings as lines for people, for as long as a command runs."""
    if debug:
        logging.basicConfig(level=logging.WARNING)
        yield
        return
    logger, lines = logging.getLogger("langgraph_memory_r1"), _Lines()
    logger.addHandler(lines)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.removeHandler(lines)


class _Lines(logging.Handler):
    """The library's own warnings; failures are told by the command itself."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print it."""
        if record.levelno >= logging.WARNING and record.exc_info is None:
            note(f"Warning: {plain(record.getMessage())}")
