"""A run folder, read back: what `memory-r1 eval` wrote, in the shape that reports need.

    manifest.json   what was run, on what          results.jsonl   one line a question and system
    banks.jsonl     one line a bank                costs.jsonl     one line a system and stage
    curve.jsonl     one line a point of a streaming run

The texts of memories repeat a thousand times (every system retrieves the same turns for many questions), so they are
kept once, and results name them by number.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.evals.benchmark import BENCHMARKS, benchmark

__all__ = ["Result", "Run", "RetrievedMemory", "read_run"]

MOST_SHOWN = 60
"""So many of the retrieved memories of one answer are kept; later ones only where they hold evidence."""

Scores: TypeAlias = Mapping[str, float | None]
Line: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RetrievedMemory:
    """A memory or turn as a system had it before it."""

    text: str
    speaker: str = ""
    at: str = ""
    source: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """What one system made of one question."""

    system: str
    conversation: str
    question_id: str
    category: str
    question: str
    gold: str | None
    evidence: tuple[str, ...]
    evidence_text: tuple[str, ...]
    answer: str | None
    error: str | None
    scores: Scores
    tokens: Mapping[str, Any]
    selected: tuple[int, ...] = ()
    """Numbers into the run's memories, as are those of `retrieved`."""
    retrieved: tuple[int, ...] = ()
    """Best first."""
    hits: tuple[int, ...] = ()
    """The positions in `retrieved` that hold evidence."""
    looked_at: int = 0
    """How many were retrieved, including those that are not kept."""
    found: float | None = None
    """The share of the evidence among all that was retrieved; None where the question names no evidence."""

    @property
    def key(self) -> tuple[str, str]:
        """Names the question."""
        return self.conversation, self.question_id


@dataclass(frozen=True)
class Run:
    """All that a run folder holds."""

    folder: Path
    manifest: Mapping[str, Any]
    results: tuple[Result, ...]
    memories: tuple[RetrievedMemory, ...] = ()
    banks: tuple[Line, ...] = ()
    costs: tuple[Line, ...] = ()
    curve: tuple[Line, ...] = ()

    @cached_property
    def systems(self) -> tuple[str, ...]:
        """In the order in which they were named, else in which they came."""
        there = dict.fromkeys(result.system for result in self.results)
        named = [name for name in self.manifest.get("systems", ()) if name in there]
        return tuple(dict.fromkeys([*named, *there]))

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """Those that have questions, in the benchmark's order."""
        there = dict.fromkeys(result.category for result in self.results)
        named = [name for name in self.manifest.get("categories", ()) if name in there]
        return tuple(dict.fromkeys([*named, *there]))

    @cached_property
    def questions(self) -> dict[tuple[str, str], Result]:
        """One result of each question, in the order of the file."""
        found: dict[tuple[str, str], Result] = {}
        for result in self.results:
            found.setdefault(result.key, result)
        return found

    @cached_property
    def scored(self) -> tuple[str, ...]:
        """The names of all scores that at least one answer has."""
        there: dict[str, None] = {}
        for result in self.results:
            there.update(dict.fromkeys(name for name, value in result.scores.items() if value is not None))
        return tuple(there)

    @cached_property
    def own_metric(self) -> str:
        """The benchmark's official metric."""
        name = str(self.manifest.get("benchmark"))
        return benchmark(name).metric if name in BENCHMARKS else str(self.manifest.get("official_metric"))

    @cached_property
    def headline(self) -> str:
        """The official metric, or what stands in for it where there is no judge to give it."""
        return self.own_metric if self.own_metric in self.scored else str(self.manifest.get("official_metric"))


def read_run(folder: str | os.PathLike[str]) -> Run:
    """Read a folder that `memory-r1 eval` wrote.

    Raises:
        InputError: It is none, or a line of it is broken; the message names the place.
    """
    place = Path(folder)
    manifest = _manifest(place / "manifest.json")
    memories: dict[RetrievedMemory, int] = {}
    results = tuple(_results(place / "results.jsonl", memories))
    if not results:
        raise InputError(f"{place} holds no results; run `memory-r1 eval` to its end first")
    banks, costs, curve = (
        tuple(line for _, line in _lines(place / f"{name}.jsonl")) for name in ("banks", "costs", "curve")
    )
    return Run(place, manifest, results, tuple(memories), banks, costs, curve)


def _manifest(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); name a folder that `memory-r1 eval` wrote"
        ) from error
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}); run the evaluation again") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} is not a manifest; run the evaluation again")
    return found


def _lines(path: Path) -> Iterator[tuple[str, Line]]:
    """The objects of a JSONL file with their places; nothing where there is no file."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            try:
                line = json.loads(raw)
            except ValueError as error:
                raise InputError(f"{path}:{number} is not JSON; run the same evaluation again") from error
            if not isinstance(line, dict):
                raise InputError(f"{path}:{number} is not an object; run the same evaluation again")
            yield f"{path}:{number}", line


def _results(path: Path, memories: dict[RetrievedMemory, int]) -> Iterator[Result]:
    for place, line in _lines(path):
        try:
            yield _result(line, memories)
        except KeyError as error:
            raise InputError(f"{place} has no {error}; run the same evaluation again") from error


def _result(line: Line, memories: dict[RetrievedMemory, int]) -> Result:
    retrieved = line.get("retrieved") or []
    kept = [each for place, each in enumerate(retrieved) if place < MOST_SHOWN or each.get("hit")]
    evidence = tuple(line["evidence"])
    return Result(
        line["system"], line["conversation"], line["question_id"], line["category"] or "none", line["question"],
        line["gold"], evidence, tuple(line.get("evidence_text") or ()), line["answer"], line.get("error"),
        line["scores"], line.get("tokens") or {},
        tuple(_numbers(line.get("selected") or (), memories)), tuple(_numbers(kept, memories)),
        tuple(place for place, each in enumerate(kept) if each.get("hit")),
        line.get("looked_at", len(retrieved)), _found(evidence, kept),
    )  # fmt: skip


def _numbers(raw: Iterable[Line], memories: dict[RetrievedMemory, int]) -> Iterator[int]:
    for each in raw:
        seen = RetrievedMemory(
            each["text"], each.get("speaker") or "", each.get("at") or "", tuple(each.get("source") or ())
        )
        yield memories.setdefault(seen, len(memories))


def _found(evidence: Sequence[str], kept: Sequence[Line]) -> float | None:
    if not evidence:
        return None
    sources = {turn for each in kept if each.get("hit") for turn in each.get("source") or ()}
    return len(sources & set(evidence)) / len(set(evidence))
