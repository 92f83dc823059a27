"""The data of a benchmark as the options of `memory-r1 eval` choose it, and what a run's manifest says about it."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langgraph_memory_r1.cli.output import note, plain
from langgraph_memory_r1.errors import InputError

if TYPE_CHECKING:
    from langgraph_memory_r1.evals.benchmark import Benchmark, Dataset
    from langgraph_memory_r1.evals.run_folder import RunFolder

_MOST_LISTED = 20
_HOW = ("drop", "correct")


@dataclass(frozen=True, kw_only=True)
class WantedData:
    """Which questions are wanted, and where the results go."""

    benchmark: str
    data: Path | None
    split: str | None
    out: Path | None
    limit: int | None
    conversation: list[str] | None
    paper_labels: str | None
    audit: Path | None
    audit_how: str
    allow_modified: bool
    world: list[str] | None
    download: bool
    as_data: bool


@dataclass(frozen=True)
class Material:
    """A benchmark, the questions that were chosen of it, and the folder of the run."""

    bench: Benchmark
    dataset: Dataset
    whole: int
    """How many questions the split has."""
    folder: RunFolder


def material(wanted: WantedData) -> Material:
    """Load what is wanted.

    Raises:
        InputError: an option names something that is not there; the message lists what is.
    """
    from langgraph_memory_r1.evals.run_folder import RunFolder

    bench = _benchmark(wanted)
    if wanted.paper_labels is not None and wanted.paper_labels not in bench.paper_labels:
        known = ", ".join(bench.paper_labels) or "none for this benchmark"
        raise InputError(f"There are no labels of a paper {wanted.paper_labels!r}; there are: {known}.")
    whole = _loaded(bench, wanted)
    folder = RunFolder(wanted.out or Path("evals-runs") / f"{bench.name}-{whole.split.replace('/', '-')}")
    questions = sum(len(each.questions) for each in whole.conversations)
    return Material(bench, _chosen(whole, wanted), questions, folder)


def about(wanted: WantedData, found: Material) -> dict[str, Any]:
    """What a manifest says about data and circumstances."""
    from langgraph_memory_r1.evals.run_folder import git_commit, versions

    bench, dataset, licence = found.bench, found.dataset, found.bench.licence
    return {
        "benchmark": bench.name, "split": dataset.split, "title": bench.title,
        "licence": {"name": licence.name, "url": licence.url, "note": licence.note},
        "official_metric": bench.offline_metric, "categories": list(bench.categories),
        "data": {"path": wanted.data and str(wanted.data), "sha256": dataset.sha256, "modified": dataset.modified},
        "full_split_questions": found.whole, "limit": wanted.limit, "conversations": wanted.conversation,
        "audit": str(wanted.audit) if wanted.audit else None, "notes": list(dataset.notes),
        "skipped": dict(dataset.skipped), "paper_labels": wanted.paper_labels,
        "git_commit": git_commit(), "versions": versions(),
        "command": shlex.join(["memory-r1", *sys.argv[1:]]), "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }  # fmt: skip


def _benchmark(wanted: WantedData) -> Benchmark:
    from langgraph_memory_r1.evals.benchmark import benchmark
    from langgraph_memory_r1.evals.personaworld.world import PersonaWorld

    found = benchmark(wanted.benchmark)
    if not wanted.world:
        return found
    if not isinstance(found, PersonaWorld):
        raise InputError(f"--world changes PersonaWorld; {found.name} is as it was published, leave it out.")
    return PersonaWorld.of(wanted.world)


def _loaded(bench: Benchmark, wanted: WantedData) -> Dataset:
    from langgraph_memory_r1.evals.downloads import licence_notice

    path = _downloaded(bench, wanted) if wanted.download else wanted.data
    if path is not None and bench.sources and not path.exists():
        raise InputError(f"There is no {path}; name {bench.name}'s data file with --data, or fetch it with --download.")
    dataset = bench.load(path, wanted.split, allow_modified=wanted.allow_modified)
    if terms := licence_notice(bench):
        note(plain(terms))
    if dataset.skipped:
        kinds = ", ".join(f"{kind} {times:,}" for kind, times in dataset.skipped.items())
        note(f"Passed over in the data file, as every run does: {plain(kinds)}.")
    if wanted.audit is None:
        return dataset
    from langgraph_memory_r1.evals.audit import audited

    if wanted.audit_how not in _HOW:
        raise InputError(f"--audit-how is {' or '.join(_HOW)}, not {wanted.audit_how!r}.")
    how: Any = wanted.audit_how
    return audited(dataset, wanted.audit, how, allow_modified=wanted.allow_modified)


def _downloaded(bench: Benchmark, wanted: WantedData) -> Path:
    """The file that --data names if it is there; else it is fetched, to there or to the user's cache."""
    from langgraph_memory_r1.cli.progress import progress
    from langgraph_memory_r1.evals.downloads import cache_folder, fetch

    if wanted.data is not None and wanted.data.is_file():
        return wanted.data
    source = bench.source(wanted.split)
    with progress(source.size, "bytes") as advance:
        return fetch(source, wanted.data or cache_folder(), on_bytes=lambda size: advance(size, source.name))


def _chosen(dataset: Dataset, wanted: WantedData) -> Dataset:
    """Only the conversations and questions that are wanted."""
    held = dataset.conversations
    if unknown := set(wanted.conversation or ()) - {each.id for each in held}:
        listed = ", ".join(each.id for each in held[:_MOST_LISTED]) + (" ..." if len(held) > _MOST_LISTED else "")
        raise InputError(f"{dataset.split} has no conversation {', '.join(sorted(unknown))}; it has: {listed}")
    if wanted.conversation:
        held = tuple(each for each in held if each.id in wanted.conversation)
    left = wanted.limit if wanted.limit is not None else sum(len(each.questions) for each in held)
    kept = []
    for each in held:
        kept.append(replace(each, questions=each.questions[:left]))
        left -= len(kept[-1].questions)
    return replace(dataset, conversations=tuple(each for each in kept if each.questions))
