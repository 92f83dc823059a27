"""Reading traces: decisions in the order in which they were written, with what was said about them later."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import ValidationError

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.state import ChangeRecord
from langgraph_memory_r1.traces.decision import Applied, Decision, Feedback, TraceRecord, from_line, with_feedback
from langgraph_memory_r1.traces.exports.tool_export import decisions_of_export, is_export
from langgraph_memory_r1.traces.folder import lines_of, trace_files

log = logging.getLogger(__name__)

OnSkip = Callable[[InputError], None]


def read_traces(
    path: str | os.PathLike[str],
    strict: bool = False,
    *,
    on_skip: OnSkip | None = None,
    prompt_version: str | None = None,
) -> Iterator[Decision]:
    """The decisions of a folder or a file, one at a time, with their feedback.

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
    skip = _raise if strict else on_skip or log.warning
    files = trace_files(path)
    later = _later(files)
    for file in files:
        others: Counter[str] = Counter()
        for decision in _decisions(file, skip):
            if _fits(decision, prompt_version):
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
    """All that was said about decisions, whether or not these are recorded here.

    Raises:
        InputError: There is nothing to read.
    """
    for said in _later(trace_files(path)).feedback.values():
        yield from said


def _fits(decision: Decision, prompt_version: str | None) -> bool:
    return prompt_version is None or decision.role is None or decision.prompt_version == prompt_version


def _decisions(file: Path, skip: OnSkip) -> Iterator[Decision]:
    if is_export(file):
        yield from decisions_of_export(file, skip)
        return
    for record in _records(file, skip):
        if isinstance(record, Decision):
            yield record


@dataclass(slots=True)
class _Later:
    """What was recorded about decisions after them."""

    feedback: dict[str, list[Feedback]] = field(default_factory=dict)
    applied: dict[str | None, list[ChangeRecord]] = field(default_factory=dict)
    """Operations that were approved, by thread."""

    def join(self, decision: Decision) -> Decision:
        """The decision with what was said about it, and with what was approved of it."""
        if decision.role == "manage" and not decision.operations and decision.thread in self.applied:
            turns = set(decision.turns)
            approved = [each for each in self.applied[decision.thread] if turns & set(each["source"])]
            decision = replace(decision, operations=tuple(approved))
        return with_feedback(decision, self.feedback)


def _later(files: list[Path]) -> _Later:
    """Broken lines are named when the decisions are read."""
    later = _Later()
    for file in files:
        for _, line in lines_of(file):
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


def _records(file: Path, skip: OnSkip) -> Iterator[TraceRecord]:
    for number, line in lines_of(file):
        try:
            record = from_line(line)
        except ValueError as error:
            skip(InputError(f"{file}:{number}: {_why(line, error)}"))
        else:
            yield record


def _why(line: bytes, error: ValueError) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    if not line.endswith(b"\n"):
        return "the last line is cut in half; its process was stopped while it wrote, or still writes"
    return f"no record of a trace ({str(error)[:80]})"


def _raise(error: InputError) -> None:
    raise error
