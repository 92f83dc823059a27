"""Reading traces: decisions in the order in which they were written, with the feedback that they were given later."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import ValidationError

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.jsonl import read_lines
from langgraph_memory_r1.state import ChangeRecord
from langgraph_memory_r1.traces.decision import Applied, Decision, Feedback, from_line, with_feedback
from langgraph_memory_r1.traces.exports.tool_export import OnSkip, is_tool_export, read_tool_export
from langgraph_memory_r1.traces.folder import trace_files

log = logging.getLogger(__name__)


def read_traces(
    path: str | os.PathLike[str],
    strict: bool = False,
    *,
    on_skip: OnSkip | None = None,
    prompt_version: str | None = None,
) -> Iterator[Decision]:
    """Yield the decisions of a folder or a file, one at a time, with their feedback.

    Besides what `TraceRecorder` writes it reads run exports of LangSmith and OpenInference spans (`exports/`).

    Example::

        left_out: list[InputError] = []
        decisions = list(read_traces("traces", on_skip=left_out.append))

    Args:
        path: A folder, or one file of it.
        strict: Raise at the first broken line instead of skipping it.
        on_skip: Called with the error of everything that is skipped; without it each is logged.
        prompt_version: Only decisions under this version of the prompts: `prompts.PROMPT_VERSION` for training. Others
            are skipped, and named once for each file and version with their number.

    Raises:
        InputError: There is nothing to read, or with `strict` something has to be skipped.
    """

    def raise_error(error: InputError) -> None:
        raise error

    skip = raise_error if strict else on_skip or log.warning
    files = trace_files(path)
    later = _later_records(files)
    for file in files:
        others: Counter[str] = Counter()
        for decision in read_tool_export(file, skip) if is_tool_export(file) else _decisions(file, skip):
            if prompt_version is None or decision.role is None or decision.prompt_version == prompt_version:
                yield later.join(decision)
            else:
                others[str(decision.prompt_version)] += 1
        for version, count in others.items():
            skip(
                InputError(
                    f"{file}: {count} decision(s) under prompt version {version!r}, not {prompt_version!r}; "
                    "record them anew to train on them"
                )
            )


def read_feedback(path: str | os.PathLike[str]) -> Iterator[Feedback]:
    """Yield all feedback of a folder or file, whether or not the decisions that it is on are recorded there.

    Raises:
        InputError: There is nothing to read.
    """
    for feedback in _later_records(trace_files(path)).feedback.values():
        yield from feedback


@dataclass(slots=True)
class _LaterRecords:
    """What was recorded about decisions after them."""

    feedback: dict[str, list[Feedback]] = field(default_factory=dict)
    """By the id that it is on."""
    applied: dict[str | None, list[ChangeRecord]] = field(default_factory=dict)
    """Operations that were approved, by thread."""

    def join(self, decision: Decision) -> Decision:
        """Return the decision with its feedback, and with the operations that were approved of it."""
        if decision.role == "manage" and not decision.operations and decision.thread in self.applied:
            turns = set(decision.turns)
            approved = [each for each in self.applied[decision.thread] if turns & set(each["source"])]
            decision = replace(decision, operations=tuple(approved))
        return with_feedback(decision, self.feedback)


def _later_records(files: list[Path]) -> _LaterRecords:
    """Return the feedback and the approved operations of all files: either may stand in a later file than its decision.

    Broken lines are passed over here; they are named when the decisions are read.
    """
    later = _LaterRecords()
    for file in files:
        for _, line in read_lines(file, "traces"):
            # By their first bytes: the decisions, which are nearly all lines, are not parsed twice.
            if not line.startswith((b'{"kind":"feedback"', b'{"kind":"applied"')):
                continue
            try:
                record = from_line(line)
            except ValueError:
                continue
            if isinstance(record, Feedback):
                later.feedback.setdefault(record.target, []).append(record)
            elif isinstance(record, Applied):
                later.applied.setdefault(record.thread, []).extend(record.operations)
    return later


def _decisions(file: Path, skip: OnSkip) -> Iterator[Decision]:
    for number, line in read_lines(file, "traces"):
        try:
            record = from_line(line)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            skip(InputError(f"{file}:{number}: {'.'.join(map(str, first['loc']))}: {first['msg']}"))
        except ValueError as error:
            reason = f"no record of a trace ({str(error)[:80]})"
            if _is_cut_off(file, line):
                reason = "the last line is cut in half; its process was stopped while it wrote, or still writes"
            skip(InputError(f"{file}:{number}: {reason}"))
        else:
            if isinstance(record, Decision):
                yield record


def _is_cut_off(file: Path, line: bytes) -> bool:
    """Return whether a file ends with this line, and the line without its line end."""
    with file.open("rb") as opened:
        # A little more than the line, which was stripped: its cut may lie within a run of spaces.
        opened.seek(max(0, opened.seek(0, os.SEEK_END) - len(line) - 100))
        end = opened.read()
    return not end.endswith(b"\n") and end.rstrip().endswith(line)
