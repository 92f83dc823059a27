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

DEFAULT_RUNS = "evals-runs"
_MOST_LISTED = 20
_AUDIT_HOW = ("drop", "correct")


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """The options of the command line about questions, and about where the results go."""

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
class EvaluationData:
    """A benchmark, the questions that were chosen of it, and the folder of the run."""

    bench: Benchmark
    dataset: Dataset
    full_split_questions: int
    folder: RunFolder

    def describe(self, options: DataOptions) -> dict[str, Any]:
        """Return what a manifest says about data and circumstances."""
        from langgraph_memory_r1.evals.run_folder import git_commit, versions

        bench, dataset, licence = self.bench, self.dataset, self.bench.licence
        data_file = options.data and str(options.data)
        return {
            "benchmark": bench.name, "split": dataset.split, "title": bench.title,
            "licence": {"name": licence.name, "url": licence.url, "note": licence.note},
            "official_metric": bench.offline_metric, "categories": list(bench.categories),
            "data": {"path": data_file, "sha256": dataset.sha256, "modified": dataset.modified},
            "full_split_questions": self.full_split_questions, "limit": options.limit,
            "conversations": options.conversation, "audit": str(options.audit) if options.audit else None,
            "notes": list(dataset.notes), "skipped": dict(dataset.skipped), "paper_labels": options.paper_labels,
            "git_commit": git_commit(), "versions": versions(), "command": shlex.join(["memory-r1", *sys.argv[1:]]),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
        }  # fmt: skip


def load_data(options: DataOptions) -> EvaluationData:
    """Load the questions that the options choose.

    Raises:
        InputError: An option names something that is not there; the message lists what is.
    """
    from langgraph_memory_r1.evals.benchmark import benchmark
    from langgraph_memory_r1.evals.personaworld.world import PersonaWorld
    from langgraph_memory_r1.evals.run_folder import RunFolder

    bench = benchmark(options.benchmark)
    if options.world and not isinstance(bench, PersonaWorld):
        raise InputError(f"--world changes PersonaWorld; {bench.name} is as it was published, leave it out.")
    if options.world:
        bench = PersonaWorld.of(options.world)
    if options.paper_labels is not None and options.paper_labels not in bench.paper_labels:
        papers = ", ".join(bench.paper_labels) or "none for this benchmark"
        raise InputError(f"There are no labels of a paper {options.paper_labels!r}; there are: {papers}.")
    split = _load_split(bench, options)
    folder = RunFolder(options.out or Path(DEFAULT_RUNS) / f"{bench.name}-{split.split.replace('/', '-')}")
    questions = sum(len(each.questions) for each in split.conversations)
    conversations = split.conversations
    if unknown := set(options.conversation or ()) - {each.id for each in conversations}:
        more = " ..." if len(conversations) > _MOST_LISTED else ""
        listed = ", ".join(each.id for each in conversations[:_MOST_LISTED]) + more
        raise InputError(f"{split.split} has no conversation {', '.join(sorted(unknown))}; it has: {listed}")
    chosen = []
    left = questions if options.limit is None else options.limit
    for each in conversations:
        if not options.conversation or each.id in options.conversation:
            chosen.append(replace(each, questions=each.questions[:left]))
            left -= len(chosen[-1].questions)
    dataset = replace(split, conversations=tuple(each for each in chosen if each.questions))
    return EvaluationData(bench, dataset, questions, folder)


def _load_split(bench: Benchmark, options: DataOptions) -> Dataset:
    """Load a split whole, from the file that --data names or from one that is fetched, and note what it leaves out."""
    from langgraph_memory_r1.cli.progress import progress
    from langgraph_memory_r1.evals.downloads import cache_folder, fetch, licence_notice

    path = options.data
    if options.download and not (path is not None and path.is_file()):
        source = bench.source(options.split)
        with progress(source.size, "bytes") as advance:
            path = fetch(source, path or cache_folder(), on_bytes=lambda size: advance(size, source.name))
    if path is not None and bench.sources and not path.exists():
        raise InputError(f"There is no {path}; name {bench.name}'s data file with --data, or fetch it with --download.")
    dataset = bench.load(path, options.split, allow_modified=options.allow_modified)
    if terms := licence_notice(bench):
        note(plain(terms))
    if dataset.skipped:
        kinds = ", ".join(f"{kind} {times:,}" for kind, times in dataset.skipped.items())
        note(f"Passed over in the data file, as every run does: {plain(kinds)}.")
    if options.audit is None:
        return dataset
    from langgraph_memory_r1.evals.audit import audited

    if options.audit_how not in _AUDIT_HOW:
        raise InputError(f"--audit-how is {' or '.join(_AUDIT_HOW)}, not {options.audit_how!r}.")
    how: Any = options.audit_how
    return audited(dataset, options.audit, how, allow_modified=options.allow_modified)
