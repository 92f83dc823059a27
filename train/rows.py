"""Training rows: what a node saw when it decided, and the questions by which the decision is judged.

    ManagerRow   facts + the whole bank before the turn + probes: later questions whose evidence lies in the turn
    AnswerRow    a question + the memories that were retrieved + the gold answer

A row holds the state, not a completion: the trainer samples the decisions anew. Here they are read and written as
JSONL, deduplicated, and split so that nothing leaks; where they come from is `sources.py`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from itertools import combinations
from typing import Literal, TypeAlias

from pydantic import TypeAdapter, ValidationError

from langgraph_memory_r1.batches import Batch
from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.jsonl import read_lines, write_file
from langgraph_memory_r1.prompts import AnswerInput, ManageInput, render
from langgraph_memory_r1.schemas import Fact, Memory, Operation, Question

logger = logging.getLogger(__name__)

_NAMES_IN_ERRORS = 3


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
    def role_input(self) -> ManageInput:
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
    def role_input(self) -> AnswerInput:
        """What the model is shown."""
        return AnswerInput(self.question, self.memories, self.at)


Row: TypeAlias = ManagerRow | AnswerRow


@dataclass(frozen=True, slots=True)
class Episode:
    """A conversation as the Memory Manager meets it: one batch of facts a step; then the questions."""

    id: str
    steps: tuple[Batch, ...]
    questions: tuple[Question, ...] = ()

    @property
    def sessions(self) -> tuple[str, ...]:
        """The session of every step."""
        return tuple(step.turns[0].session or "" for step in self.steps)

    def part(self, start: int, stop: int) -> Episode:
        """Return the episode with the steps from `start` to before `stop`."""
        return replace(self, steps=self.steps[max(0, start) : stop])

    def within(self, session: str) -> Episode:
        """Return the episode with the steps of one session."""
        steps = zip(self.steps, self.sessions, strict=True)
        return replace(self, steps=tuple(step for step, step_session in steps if step_session == session))


@dataclass(slots=True)
class TrainingData:
    """What a stage learns from, or is validated on, and what was left out, counted by reason."""

    rows: list[Row]
    episodes: list[Episode] = field(default_factory=list)
    """Only where the data are conversations."""
    skipped: Counter[str] = field(default_factory=Counter)


def probe_of(question: Question) -> Probe:
    """Return a question with its gold answer as a probe."""
    return Probe(question.text, question.gold or "", question.at, question.category, question.evidence)


def is_gold(text: str | None) -> bool:
    """Return whether a gold answer says anything."""
    return bool(text and text.strip())


@cache
def _row_adapter() -> TypeAdapter[Row]:
    # Built with the first row that is read or written: whoever only imports the rows would pay for it otherwise.
    return TypeAdapter(ManagerRow | AnswerRow)


def write_rows(path: str | os.PathLike[str], rows: Iterable[Row]) -> int:
    """Write rows as JSONL and return how many; the file appears whole or not at all.

    Raises:
        InputError: The place cannot be written.
    """
    return write_file(path, (_row_adapter().dump_json(row, exclude_defaults=False) + b"\n" for row in rows))


def read_rows(
    path: str | os.PathLike[str], *, strict: bool = False, on_skip: Callable[[InputError], None] | None = None
) -> Iterator[Row]:
    """Yield the rows of a JSONL file.

    Args:
        path: The file.
        strict: Refuse a broken line in place of passing it over.
        on_skip: Called with the error of every broken line; without it the error is logged.

    Raises:
        InputError: The file cannot be read, or a line is broken and `strict` is set.
    """
    for number, line in read_lines(path, "training rows"):
        try:
            yield _row_adapter().validate_json(line)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            problem = InputError(f"{path}:{number}: {'.'.join(map(str, first['loc']))}: {first['msg']}")
            if strict:
                raise problem from error
            (on_skip or logger.warning)(problem)


def questions_of(row: Row) -> list[tuple[str, str]]:
    """Return the questions by which a row is judged, with their gold answers."""
    if isinstance(row, ManagerRow):
        return [(probe.question, probe.gold) for probe in row.probes]
    return [(row.question, row.gold)]


def episodes_in(rows: Iterable[Row]) -> set[str]:
    """Return the names of the episodes that rows come from."""
    return {row.episode for row in rows if row.episode}


def content_key(row: Row) -> str:
    """Return the same text for rows that show the same and are judged by the same, whatever their ids."""
    # In one style, whatever the recipe's: the same data have the same fingerprint in all runs.
    prompt = str(render(row.role_input, "compact")[-1].content)
    bank = sorted(memory.text for memory in row.bank) if isinstance(row, ManagerRow) else []
    return json.dumps([row.node, prompt, bank, sorted(questions_of(row))])


def fingerprint(rows: Iterable[Row]) -> str:
    """Return a SHA-256 over the contents of rows, in their order: manifests and cards say by it which data it was."""
    digest = hashlib.sha256()
    for row in rows:
        # Half an emoji that somebody cut off is no UTF-8, and still has to be counted.
        digest.update(content_key(row).encode(errors="surrogatepass") + b"\n")
    return digest.hexdigest()


def deduplicated(rows: Iterable[Row]) -> tuple[list[Row], int]:
    """Return the rows without those that show and ask the same as an earlier one, and how many were taken out."""
    distinct: dict[str, Row] = {}
    count = 0
    for row in rows:
        count += 1
        distinct.setdefault(content_key(row), row)
    return list(distinct.values()), count - len(distinct)


def hold_out(data: TrainingData, share: float) -> tuple[TrainingData, TrainingData]:
    """Split data into what is learned from and what validates, where a recipe names no data for validation.

    Whole owners or conversations are held out, chosen by a hash of their names, so that all stages of a run agree on
    them however many rows each builds. Where there is only one, its newest rows are: the past is learned from.

    Args:
        data: All there is, in the order of its time.
        share: That is held out; at least one episode, or one row of a single one.

    Raises:
        InputError: There is only one row.
    """
    if len(data.rows) < 2:
        raise InputError(
            "There is only one row, and a part has to be held out; label more questions, or name data for validation."
        )
    names = {row.episode or row.id for row in data.rows}
    size = len(data.rows) if len(names) == 1 else len(names)
    count = min(size - 1, max(1, round(size * share)))
    if len(names) == 1:
        learned = TrainingData(data.rows[:-count], data.episodes, Counter(data.skipped))
        return learned, TrainingData(data.rows[-count:], data.episodes)
    hashed = sorted(names, key=lambda name: hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest())
    chosen = set(hashed[:count])
    learned, held_out = TrainingData([], skipped=Counter(data.skipped)), TrainingData([])
    for row in data.rows:
        (held_out if (row.episode or row.id) in chosen else learned).rows.append(row)
    for episode in data.episodes:
        (held_out if episode.id in chosen else learned).episodes.append(episode)
    return learned, held_out


def leaks(splits: Mapping[str, Sequence[Row]], *, by_time: bool = False) -> list[str]:
    """Return what two splits share and must not, one sentence each: episodes, and rows with the same content.

    Args:
        splits: Rows by the name of their split.
        by_time: The splits are earlier and later rows, so that they may share the one episode that there is.
    """
    sentences = []
    for (one, first), (other, second) in combinations(splits.items(), 2):
        episodes = episodes_in(first) & episodes_in(second)
        if episodes and not (by_time and len(episodes_in(first) | episodes_in(second)) == 1):
            sentences.append(f"{one} and {other} share {len(episodes)} episode(s): {_first_names(episodes)}")
        ids_by_content = {content_key(row): row.id for row in first}
        ids = {ids_by_content[key] for row in second if (key := content_key(row)) in ids_by_content}
        if ids:
            sentences.append(f"{one} and {other} share the content of {len(ids)} row(s): {_first_names(ids)}")
    return sentences


def check_splits(splits: Mapping[str, Sequence[Row]], *, by_time: bool = False) -> None:
    """Refuse splits that leak into each other, see `leaks`.

    Raises:
        InputError: They do; the message says what.
    """
    if sentences := leaks(splits, by_time=by_time):
        raise InputError(f"The splits leak: {'; '.join(sentences)}. Split by episode and remove duplicates first.")


def _first_names(names: Iterable[str]) -> str:
    ordered = sorted(names)
    return ", ".join(ordered[:_NAMES_IN_ERRORS]) + (", ..." if len(ordered) > _NAMES_IN_ERRORS else "")
