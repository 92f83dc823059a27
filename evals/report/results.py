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
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.evals.benchmark import BENCHMARKS, benchmark
from langgraph_memory_r1.jsonl import read_lines

__all__ = ["Result", "BenchmarkRun", "RetrievedMemory", "read_run"]

MOST_SHOWN = 60
"""So many of the retrieved memories of one answer are kept; later ones only where they hold evidence."""

Scores: TypeAlias = Mapping[str, float | None]
JsonLine: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RetrievedMemory:
    """A memory or turn that a system put before the Answer Agent."""

    text: str
    speaker: str = ""
    at: str = ""
    source: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """A system's answer to a question, with what it was retrieved from and its scores."""

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
    evidence_share: float | None = None
    """The share of the evidence among all that was retrieved; None where the question names no evidence."""

    @property
    def key(self) -> tuple[str, str]:
        """The conversation and the id of the question, which is unique only within it."""
        return self.conversation, self.question_id


@dataclass(frozen=True)
class BenchmarkRun:
    """All that a run folder holds."""

    folder: Path
    manifest: Mapping[str, Any]
    results: tuple[Result, ...]
    memories: tuple[RetrievedMemory, ...] = ()
    banks: tuple[JsonLine, ...] = ()
    costs: tuple[JsonLine, ...] = ()
    curve: tuple[JsonLine, ...] = ()

    @cached_property
    def systems(self) -> tuple[str, ...]:
        """The systems in the order in which they were named, else in which they came."""
        present = dict.fromkeys(result.system for result in self.results)
        named = [name for name in self.manifest.get("systems", ()) if name in present]
        return tuple(dict.fromkeys([*named, *present]))

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """The categories that have questions, in the benchmark's order."""
        present = dict.fromkeys(result.category for result in self.results)
        named = [name for name in self.manifest.get("categories", ()) if name in present]
        return tuple(dict.fromkeys([*named, *present]))

    @cached_property
    def questions(self) -> dict[tuple[str, str], Result]:
        """One result of each question, in the order of the file."""
        questions: dict[tuple[str, str], Result] = {}
        for result in self.results:
            questions.setdefault(result.key, result)
        return questions

    @cached_property
    def scored(self) -> tuple[str, ...]:
        """The names of all scores that at least one answer has."""
        names: dict[str, None] = {}
        for result in self.results:
            names.update(dict.fromkeys(name for name, value in result.scores.items() if value is not None))
        return tuple(names)

    @cached_property
    def own_metric(self) -> str:
        """The benchmark's official metric."""
        name = str(self.manifest.get("benchmark"))
        return benchmark(name).metric if name in BENCHMARKS else str(self.manifest.get("official_metric"))

    @cached_property
    def headline(self) -> str:
        """The official metric, or what stands in for it where there is no judge to give it."""
        return self.own_metric if self.own_metric in self.scored else str(self.manifest.get("official_metric"))


def read_run(folder: str | os.PathLike[str]) -> BenchmarkRun:
    """Read a folder that `memory-r1 eval` wrote.

    Raises:
        InputError: It is none, or a line of it is broken; the message names the place.
    """
    folder = Path(folder)
    manifest = _manifest(folder / "manifest.json")
    memories: dict[RetrievedMemory, int] = {}
    results = []
    for place, line in _lines(folder / "results.jsonl"):
        try:
            results.append(_result(line, memories))
        except KeyError as error:
            raise InputError(f"{place} has no {error}; run the same evaluation again") from error
    if not results:
        raise InputError(f"{folder} holds no results; run `memory-r1 eval` to its end first")
    banks, costs, curve = (
        tuple(line for _, line in _lines(folder / f"{name}.jsonl")) for name in ("banks", "costs", "curve")
    )
    return BenchmarkRun(folder, manifest, tuple(results), tuple(memories), banks, costs, curve)


def _manifest(path: Path) -> Mapping[str, Any]:
    try:
        manifest = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); name a folder that `memory-r1 eval` wrote"
        ) from error
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}); run the evaluation again") from error
    if not isinstance(manifest, dict):
        raise InputError(f"{path} is not a manifest; run the evaluation again")
    return manifest


def _lines(path: Path) -> Iterator[tuple[str, JsonLine]]:
    """Yield the objects of a JSONL file with their places; nothing where there is no file."""
    if not path.exists():
        return
    for number, raw in read_lines(path, "results that `memory-r1 eval` wrote"):
        try:
            line = json.loads(raw)
        except ValueError as error:
            raise InputError(f"{path}:{number} is not JSON; run the same evaluation again") from error
        if not isinstance(line, dict):
            raise InputError(f"{path}:{number} is not an object; run the same evaluation again")
        yield f"{path}:{number}", line


def _result(line: JsonLine, memories: dict[RetrievedMemory, int]) -> Result:
    """Return a line's result; its memories are numbered in `memories`, each once for the whole run."""
    retrieved = line.get("retrieved") or []
    shown = [each for rank, each in enumerate(retrieved) if rank < MOST_SHOWN or each.get("hit")]
    evidence = frozenset(line["evidence"])
    hit_turns = {turn for each in shown if each.get("hit") for turn in each.get("source") or ()}
    return Result(
        line["system"], line["conversation"], line["question_id"], line["category"] or "none", line["question"],
        line["gold"], tuple(line["evidence"]), tuple(line.get("evidence_text") or ()), line["answer"],
        line.get("error"), line["scores"], line.get("tokens") or {},
        tuple(_numbers(line.get("selected") or (), memories)), tuple(_numbers(shown, memories)),
        tuple(rank for rank, each in enumerate(shown) if each.get("hit")),
        line.get("looked_at", len(retrieved)), len(hit_turns & evidence) / len(evidence) if evidence else None,
    )  # fmt: skip


def _numbers(raw: Iterable[JsonLine], memories: dict[RetrievedMemory, int]) -> Iterator[int]:
    for each in raw:
        memory = RetrievedMemory(
            each["text"], each.get("speaker") or "", each.get("at") or "", tuple(each.get("source") or ())
        )
        yield memories.setdefault(memory, len(memories))
