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
from langgraph_memory_r1.traces.decision import Feedback, Thumbs, to_line
from langgraph_memory_r1.traces.folder import append_shared, lines_of, trace_files

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
    """Say what is known about a recorded run, or about one decision of it; nothing that was said before is lost.

    Args:
        path: The folder of the traces.
        run_id: Id of the run or of the decision.
        gold: The right answer.
        score: How good it was; any number, more is better.
        thumbs: `"up"` or `"down"`.
        comment: In words.

    Raises:
        InputError: Nothing was recorded under this id, nothing was said, or the score is no number.
        StoreError: The folder cannot be written.
    """
    told = Feedback(str(run_id or ""), gold, score, thumbs, comment, datetime.now(UTC))
    check(told)
    _require(path, told.target)
    append_shared(Path(path) / FEEDBACK, to_line(told))
    return told


def check(told: Feedback) -> None:
    """Refuse feedback that says nothing.

    Raises:
        InputError: It does not, or a score is no number.
    """
    if told.gold is None and told.score is None and told.thumbs is None and not told.comment:
        raise InputError("This feedback says nothing; give gold=, score=, thumbs= or comment=.")
    if told.gold is not None and not told.gold.strip():
        raise InputError("The gold answer is empty; give the right answer, or leave gold= out.")
    if told.score is not None and not math.isfinite(told.score):
        raise InputError(f"A score of {told.score} cannot be used; give a number.")
    if told.thumbs is not None and told.thumbs not in get_args(Thumbs):
        raise InputError(f"thumbs={told.thumbs!r} is unknown; give 'up' or 'down'.")


def _require(path: str | os.PathLike[str], target: str) -> None:
    """Feedback for something else would never be found again."""
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{path} is a file, and feedback stands beside traces; name the folder of a TraceRecorder.")
    name = json.dumps(target, ensure_ascii=False)
    sought = f'{{"kind":"decision","id":{name},'.encode(), f'"run_id":{name}'.encode()
    for file in trace_files(folder):
        if file.name != FEEDBACK and any(mark in line for _, line in lines_of(file) for mark in sought):
            return
    raise InputError(
        f"Nothing was recorded in {path} under the id {target!r}; `memory-r1 traces list` shows the ids of runs."
    )
