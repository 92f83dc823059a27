"""What every benchmark promises: a file becomes conversations with questions, and it is said which file that was.

    data = benchmark("locomo").load("locomo10.json", "test")

A file is known by its sha256; another content is refused, because edited copies of every benchmark are in circulation
and their numbers cannot be compared. What is wrong inside a known file is repaired where the meaning is clear and
otherwise counted (`Dataset.skipped`), never guessed and never a crash.
"""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import ClassVar, Final

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.evals.data_file import read_bytes
from langgraph_memory_r1.schemas import Conversation, Question

__all__ = ["BENCHMARKS", "Benchmark", "Dataset", "Licence", "Skipped", "Source", "benchmark"]

BENCHMARKS: Final[Mapping[str, str]] = {
    "locomo": "langgraph_memory_r1.evals.locomo:LoCoMo",
    "longmemeval": "langgraph_memory_r1.evals.longmemeval:LongMemEval",
    "msc": "langgraph_memory_r1.evals.msc:MSC",
    "personaworld": "langgraph_memory_r1.evals.personaworld.world:PersonaWorld",
}
"""Where each benchmark is implemented; it is imported when it is asked for."""


@dataclass(frozen=True, slots=True)
class Licence:
    """Under which terms the data may be used; printed when it is downloaded and in every report."""

    name: str
    url: str
    note: str = ""
    """What a user must know, in one sentence ("non-commercial use only")."""


@dataclass(frozen=True, slots=True)
class Source:
    """One data file whose content is known."""

    name: str
    sha256: str
    size: int
    """In bytes."""
    url: str = ""
    """Where it can be downloaded; empty for a file that is only recognised."""
    splits: tuple[str, ...] = ()
    """The splits that it holds; empty for all of the benchmark."""
    sample: bool = False
    """Whether it is a part of the benchmark only, so that its numbers are nobody's results."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """The conversations of one split, and what a report has to say about where they come from."""

    benchmark: str
    split: str
    sha256: str
    """Of the data file (with an overlay: of both)."""
    modified: bool
    """Whether the file has another content than the published one."""
    conversations: tuple[Conversation, ...]
    skipped: Counter[str] = field(default_factory=Counter)
    """What was passed over in the file, by kind."""
    notes: tuple[str, ...] = ()
    """What a report must say beside its numbers, a sentence each."""


class Skipped:
    """Counts what a loader passes over, by kind, and hands on each piece's sentence."""

    def __init__(self, on_skip: Callable[[str], None] | None = None) -> None:
        self.kinds: Counter[str] = Counter()
        self._on_skip = on_skip

    def __call__(self, kind: str, location: str, detail: str = "") -> None:
        """Note one piece: what it is, where, and its content."""
        self.kinds[kind] += 1
        if self._on_skip is not None:
            self._on_skip(f"{location}: {kind}{' ' + detail if detail else ''}")


class Benchmark(ABC):
    """A set of conversations with questions, as its authors published it."""

    name: ClassVar[str]
    """On the command line and in results."""
    title: ClassVar[str]
    """For people, with the paper."""
    licence: ClassVar[Licence]
    sources: ClassVar[tuple[Source, ...]] = ()
    """The data files that are known, the downloadable ones first."""
    splits: ClassVar[tuple[str, ...]]
    default_split: ClassVar[str]
    categories: ClassVar[tuple[str, ...]]
    """The true names of the kinds of questions, in the order in which a report shows them."""
    metric: ClassVar[str]
    """The official metric, by its key among a result's scores."""
    judge: ClassVar[str] = "generous"
    """The kind of judge that published numbers used."""
    paper_labels: ClassVar[Mapping[str, Mapping[str, str]]] = {}
    """What a paper calls the categories: paper -> true name -> its label."""

    def load(
        self,
        path: str | os.PathLike[str] | None,
        split: str | None = None,
        *,
        on_skip: Callable[[str], None] | None = None,
        allow_modified: bool = False,
    ) -> Dataset:
        """Read one split of the data file.

        Args:
            path: The file, under any name.
            split: One of `splits`; None is the one that the file holds, else `default_split`. Data of one's own in the
                benchmark's shape has one split, all of it (`own_split`), and needs no `allow_modified`.
            on_skip: Called with a sentence for everything that was passed over.
            allow_modified: Accept a file of another content; the dataset says so.

        Raises:
            InputError: No such split; the file is missing, has another content, or is not this benchmark's; the
                message names the place.
        """
        if path is None:
            raise InputError(f"name {self.name}'s data file with --data, or fetch it with --download")
        content = read_bytes(path, f"{self.name}'s data file")
        digest = hashlib.sha256(content).hexdigest()
        source = next((each for each in self.sources if each.sha256 == digest), None)
        own_split = self.own_split(content) if source is None else None
        if source is None and own_split is None and not allow_modified:
            raise InputError(
                f"{path} is not {self.name}'s published file (sha256 {digest[:12]}...); "
                "get it with --download, or accept it with --allow-modified"
            )
        if own_split is not None and split not in (None, own_split):
            raise InputError(
                f"{path} is data of your own in {self.name}'s shape, and has no split {split!r}: leave --split out "
                "to use all of it, and name conversations with --conversation"
            )
        chosen = own_split or self._split(split, source, path)
        skipped = Skipped(on_skip)
        conversations = self.select(tuple(self.parse(content, str(path), skipped)), chosen)
        if not any(conversation.questions for conversation in conversations):
            raise InputError(
                f"{path} holds no question of {self.name}'s split {chosen}; is this the benchmark's own file?"
            )
        return Dataset(self.name, chosen, digest, source is None, conversations, skipped.kinds, self.notes(source))

    def source(self, split: str | None = None) -> Source:
        """Return the file to download for a split.

        Raises:
            InputError: There is no such split, or its file cannot be downloaded.
        """
        chosen = self._split(split, None, None)
        for source in self.sources:
            if source.url and chosen in (source.splits or self.splits):
                return source
        raise InputError(f"{self.name} {chosen} cannot be downloaded; give its file with --data")

    @property
    def offline_metric(self) -> str:
        """What stands in for the official metric where there is no judge to give it."""
        return "f1_mem0" if self.metric.startswith("judge") else self.metric

    def unanswerable(self, question: Question) -> bool:
        """Return whether the right reply is that nothing is known."""
        return question.gold is None

    @abstractmethod
    def parse(self, content: bytes, location: str, skipped: Skipped) -> Iterable[Conversation]:
        """Yield all conversations of the file; `location` begins every message about it."""

    def select(self, conversations: Sequence[Conversation], split: str) -> tuple[Conversation, ...]:
        """Return the conversations of a split; all, where a file is a split."""
        return tuple(conversations)

    def own_split(self, content: bytes) -> str | None:
        """Return the split that a file of one's own data is; None for a file that may be meant for the benchmark's."""
        return None

    def notes(self, source: Source | None) -> tuple[str, ...]:
        """Return what a report must say beside numbers from this file; None is a file of unknown content."""
        if source is None:
            return ("the data file is not the published one: its numbers compare with nobody's",)
        if source.sample:
            return ("the data file is a sample of the benchmark: its numbers compare with nobody's",)
        return ()

    def _split(self, split: str | None, source: Source | None, path: str | os.PathLike[str] | None) -> str:
        available = source.splits if source is not None and source.splits else self.splits
        chosen = split or (self.default_split if self.default_split in available else available[0])
        if chosen not in self.splits:
            raise InputError(f"{self.name} has no split {chosen!r}; give one of: {', '.join(self.splits)}")
        if chosen not in available:
            raise InputError(f"{path} holds {' and '.join(available)}, not {chosen}; give --split {available[0]}")
        return chosen


def benchmark(name: str) -> Benchmark:
    """Return the benchmark of this name.

    Raises:
        InputError: There is none; the message lists them.
    """
    if name not in BENCHMARKS:
        raise InputError(f"no benchmark is called {name!r}; there are: {', '.join(BENCHMARKS)}")
    module, _, attribute = BENCHMARKS[name].partition(":")
    implementation: type[Benchmark] = getattr(import_module(module), attribute)
    return implementation()
