"""What people say later about what was recorded: lines of their own, in one file beside the traces."""

from __future__ import annotations

import json
import math
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args
from uuid import UUID

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.jsonl import read_lines
from langgraph_memory_r1.traces.decision import Feedback, Thumbs, to_line
from langgraph_memory_r1.traces.folder import append_shared, trace_files

FEEDBACK = "feedback.jsonl"


def add_feedback(
    path: str | os.PathLike[str],
    run_id: str | UUID | None,
    *,
    gold: str | None = None,
    score: float | None = None,
    thumbs: Thumbs | None = None,
    comment: str | None = None,
) -> Feedback:
    """Add what is known about a recorded run, or about one decision of it; earlier feedback stays.

    Args:
        path: The folder of the traces.
        run_id: Id of the run or of the decision.
        gold: The right answer.
        score: How good it was; any number, more is better.
        thumbs: `"up"` or `"down"`.
        comment: In words.

    Raises:
        InputError: Nothing was recorded under this id, the feedback is empty, or the score is no number.
        StoreError: The folder cannot be written.
    """
    feedback = new_feedback(run_id, gold, score, thumbs, comment)
    _require_recorded(Path(path), feedback.target)
    append_feedback(Path(path), feedback)
    return feedback


def new_feedback(
    run_id: str | UUID | None, gold: str | None, score: float | None, thumbs: Thumbs | None, comment: str | None
) -> Feedback:
    """Return feedback of this moment.

    Raises:
        InputError: It is empty, or a score is no number.
    """
    if gold is None and score is None and thumbs is None and not comment:
        raise InputError("This feedback says nothing; give gold=, score=, thumbs= or comment=.")
    if gold is not None and not gold.strip():
        raise InputError("The gold answer is empty; give the right answer, or leave gold= out.")
    if score is not None and not math.isfinite(score):
        raise InputError(f"A score of {score} cannot be used; give a number.")
    if thumbs is not None and thumbs not in get_args(Thumbs):
        raise InputError(f"thumbs={thumbs!r} is unknown; give 'up' or 'down'.")
    return Feedback(str(run_id or ""), gold, score, thumbs, comment, datetime.now(UTC))


def append_feedback(folder: Path, feedback: Feedback) -> None:
    """Write feedback beside the traces of a folder.

    Raises:
        StoreError: The folder cannot be written.
    """
    append_shared(folder / FEEDBACK, to_line(feedback))


def _require_recorded(folder: Path, target: str) -> None:
    """Refuse feedback on an id that is not recorded in the folder: no reader would ever join it to a decision."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file, and feedback stands beside traces; name the folder of a TraceRecorder.")
    # As `to_line` writes the ids; within a text quotes are escaped, so that no text looks like one.
    name = json.dumps(target, ensure_ascii=False)
    marks = f'{{"kind":"decision","id":{name},'.encode(), f'"run_id":{name}'.encode()
    for file in trace_files(folder):
        if file.name != FEEDBACK and any(mark in line for _, line in read_lines(file, "traces") for mark in marks):
            return
    raise InputError(
        f"Nothing was recorded in {folder} under the id {target!r}; `memory-r1 traces list` shows the ids of runs."
    )
