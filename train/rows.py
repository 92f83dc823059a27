"""Training rows: what a node saw when it decided, and the questions by which the decision is judged.

    ManagerRow   facts + the whole bank before the turn + probes: later questions whose evidence lies in the turn
    AnswerRow    a question + the memories that were retrieved + the gold answer

A row holds the state, not a completion: the trainer samples the decisions anew. Rows as JSONL are read and written
here; where they come from (traces, conversations) is `construction.py`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import TypeAdapter, ValidationError

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.prompts import AnswerInput, ManageInput
from langgraph_memory_r1.schemas import Fact, Memory, Operation

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Probe:
    """A question that is asked of the bank after the decision."""

    question: str
    gold: str
    at: datetime | None = None
    """When it is asked."""
    category: str | None = None
    evidence: tuple[str, ...] = ()
    """Ids of the turns that hold the answer."""


@dataclass(frozen=True, slots=True)
class ManagerRow:
    """One decision of the Memory Manager (Memory-R1, section 3.2), and how it is judged."""

    id: str
    facts: tuple[Fact, ...]
    bank: tuple[Memory, ...]
    """The whole bank before the decision, in time order."""
    shown: tuple[Memory, ...]
    """The related memories that the prompt shows, under 0, 1, 2, ..."""
    probes: tuple[Probe, ...]
    episode: str = ""
    """The conversation; rows of one episode never stand in two splits."""
    step: int = 0
    """The position of the decision in its episode."""
    gold: tuple[Operation, ...] | None = None
    """The right operations where they are known: for supervised fine-tuning only."""
    kind: str = ""
    """What sort of decision it is, for reports."""
    node: Literal["manage"] = "manage"

    @property
    def given(self) -> ManageInput:
        """What the model is shown."""
        return ManageInput(self.facts, self.shown)


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """One question to the Answer Agent (Memory-R1, section 3.3), with the memories that it reads."""

    id: str
    question: str
    gold: str
    memories: tuple[Memory, ...]
    """In time order, as the prompt shows them."""
    at: datetime | None = None
    episode: str = ""
    selected: tuple[int, ...] | None = None
    """The useful memories where they are known: for supervised fine-tuning only."""
    kind: str = ""
    node: Literal["answer"] = "answer"

    @property
    def given(self) -> AnswerInput:
        """What the model is shown."""
        return AnswerInput(self.question, self.memories, self.at)


Row: TypeAlias = ManagerRow | AnswerRow


def write_rows(path: str | os.PathLike[str], rows: Iterable[Row]) -> int:
    """Write rows as JSONL and return how many; the file appears whole or not at all."""
    target = Path(path)
    unfinished = target.with_name(f"{target.name}.{os.getpid()}.part")
    count = 0
    try:
        with unfinished.open("wb") as file:
            for row in rows:
                file.write(_adapter().dump_json(row, exclude_defaults=False) + b"\n")
                count += 1
        unfinished.replace(target)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}); name a file in a writable folder") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return count


def read_rows(
    path: str | os.PathLike[str], *, strict: bool = False, on_skip: Callable[[InputError], None] | None = None
) -> Iterator[Row]:
    """The rows of a JSONL file; a broken line is named and skipped, or refused with `strict`.

    Raises:
        InputError: The file cannot be read, or a line is broken and `strict` is set.
    """
    try:
        lines = Path(path).read_bytes().splitlines()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); name a JSONL file of training rows") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield _adapter().validate_json(line)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            problem = InputError(f"{path}:{number}: {'.'.join(map(str, first['loc']))}: {first['msg']}")
            if strict:
                raise problem from error
            (on_skip or logger.warning)(problem)


@cache
def _adapter() -> TypeAdapter[Row]:
    return TypeAdapter(ManagerRow | AnswerRow)
