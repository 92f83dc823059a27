"""From the options of `memory-r1 eval BENCHMARK` to a run folder with its report."""

from __future__ import annotations

import asyncio
import shlex
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import typer

from langgraph_memory_r1.cli.output import as_json, columns, counted, heading, note, plain, say
from langgraph_memory_r1.cli.progress import stages
from langgraph_memory_r1.errors import InputError

if TYPE_CHECKING:
    from langgraph_memory_r1.cli.evaluate import Wanted
    from langgraph_memory_r1.evals.benchmark import Benchmark, Dataset
    from langgraph_memory_r1.evals.calls import CallCache
    from langgraph_memory_r1.evals.cells import Job
    from langgraph_memory_r1.evals.evaluation import Outcome
    from langgraph_memory_r1.evals.records import Records
    from langgraph_memory_r1.evals.runs import RunFolder

_INTERRUPTED = 130


def run_benchmark(wanted: Wanted) -> None:
    """Evaluate, write the folder, show the report."""
    from langgraph_memory_r1.evals.benchmark import benchmark
    from langgraph_memory_r1.evals.runs import RunFolder

    _check(wanted)
    bench = benchmark(wanted.benchmark)
    dataset = _chosen(_loaded(bench, wanted), wanted)
    folder = RunFolder(wanted.out or Path("evals-runs") / f"{bench.name}-{dataset.split.replace('/', '-')}")
    start = time.perf_counter()
    with folder.open() as (records, calls):
        job = _job(wanted, dataset, records, calls, folder)
        outcome = _evaluated(job, bench, wanted)
        _write(folder, outcome, _manifest(wanted, bench, dataset, job))
    _show(folder, outcome, wanted, time.perf_counter() - start)


def _check(wanted: Wanted) -> None:
    from langgraph_memory_r1.prompts import Style

    if wanted.style not in get_args(Style):
        raise InputError(f"There is no style {wanted.style!r}; give one of: {', '.join(get_args(Style))}.")
    if wanted.only_failed and wanted.rescore:
        raise InputError("--only-failed asks models and --rescore asks none; give one of them.")


def _loaded(bench: Benchmark, wanted: Wanted) -> Dataset:
    path = wanted.data
    if wanted.download:
        path = _downloaded(bench, wanted)
    dataset = bench.load(path, wanted.split, allow_modified=wanted.allow_modified)
    if wanted.audit is None:
        return dataset
    from langgraph_memory_r1.evals.audit import audited

    if wanted.audit_how not in ("drop", "correct"):
        raise InputError(f"--audit-how is drop or correct, not {wanted.audit_how!r}.")
    how: Any = wanted.audit_how
    return audited(dataset, wanted.audit, how, allow_modified=wanted.allow_modified)


def _downloaded(bench: Benchmark, wanted: Wanted) -> Path:
    from langgraph_memory_r1.evals.download import cache_folder, fetch, licence_notice

    source = bench.source(wanted.split)
    note(licence_notice(bench))
    if wanted.data is not None and wanted.data.is_file():
        return wanted.data
    return fetch(source, wanted.data or cache_folder())


def _chosen(dataset: Dataset, wanted: Wanted) -> Dataset:
    """Only the conversations and questions that are wanted."""
    held = dataset.conversations
    if wanted.conversation:
        unknown = set(wanted.conversation) - {each.id for each in held}
        if unknown:
            raise InputError(
                f"There is no conversation {', '.join(sorted(unknown))} in {dataset.split}; "
                f"there are: {', '.join(each.id for each in held[:20])}{' ...' if len(held) > 20 else ''}"
            )
        held = tuple(each for each in held if each.id in wanted.conversation)
    left = wanted.limit if wanted.limit is not None else sum(len(each.questions) for each in held)
    kept = []
    for each in held:
        kept.append(replace(each, questions=each.questions[:left]))
        left -= len(kept[-1].questions)
    return replace(dataset, conversations=tuple(each for each in kept if each.questions))


def _job(wanted: Wanted, dataset: Dataset, records: Records, calls: CallCache, folder: RunFolder) -> Job:
    from langgraph_memory_r1.evals.answering import Answerer
    from langgraph_memory_r1.evals.cells import Job
    from langgraph_memory_r1.evals.failures import Failures
    from langgraph_memory_r1.evals.models import Chosen, Models
    from langgraph_memory_r1.evals.runs import code_digest
    from langgraph_memory_r1.evals.systems import Parts, systems

    models = Models(calls)
    settings = {} if wanted.temperature is None else {"temperature": wanted.temperature}
    style: Any = wanted.style
    parts = Parts(
        extractor=models.chat(Chosen(wanted.extractor or wanted.model, wanted.extractor_adapter, settings), "extract"),
        manager=models.chat(Chosen(wanted.manager or wanted.model, wanted.manager_adapter, settings), "manage"),
        embedder=models.embedder(wanted.embedder if wanted.embedder != "none" else None),
        style=style,
    )
    answerer = models.chat(Chosen(wanted.answerer or wanted.model, wanted.answerer_adapter, settings), "answer")
    return Job(
        dataset=dataset,
        systems=systems([name.strip() for name in wanted.systems.split(",") if name.strip()], parts),
        answerer=Answerer(answerer, style),
        records=records,
        banks=folder.banks,
        code=(folder.manifest().get("code") if wanted.rescore else None) or code_digest(),
        k=wanted.k,
        concurrency=wanted.concurrency,
        every=wanted.every,
        todo="failed" if wanted.only_failed else "nothing" if wanted.rescore else "all",
        failures=Failures(max(5, 2 * wanted.concurrency)),
    )


def _evaluated(job: Job, bench: Benchmark, wanted: Wanted) -> Outcome:
    from langgraph_memory_r1.evals.evaluation import evaluate
    from langgraph_memory_r1.evals.results import Scorer

    turns = sum(len(each.turns) for each in job.dataset.conversations)
    questions = sum(len(each.questions) for each in job.dataset.conversations)
    learners = sum(system.learns for system in job.systems)
    totals = {"turns": turns * learners, "questions": questions * len(job.systems)}
    scorer = Scorer(bench, job.dataset.split, bench.offline_metric)
    try:
        with stages(totals, shown=not wanted.as_data) as advance:
            return asyncio.run(evaluate(replace(job, advance=advance), scorer))
    except KeyboardInterrupt:
        note("Interrupted; what is done stays, and the same command goes on from there.")
        raise typer.Exit(_INTERRUPTED) from None


def _write(folder: RunFolder, outcome: Outcome, manifest: dict[str, Any]) -> None:
    from langgraph_memory_r1.evals.report import write_report

    folder.write_lines("results.jsonl", outcome.results)
    folder.write_lines("banks.jsonl", outcome.banks)
    folder.write_lines("costs.jsonl", outcome.costs)
    folder.write_lines("curve.jsonl", outcome.curve)
    folder.write_manifest(manifest)
    if outcome.results:
        write_report(folder.path, paper_labels=manifest["paper_labels"])


def _manifest(wanted: Wanted, bench: Benchmark, dataset: Dataset, job: Job) -> dict[str, Any]:
    from langgraph_memory_r1.evals.runs import git_commit, versions
    from langgraph_memory_r1.prompts import PROMPT_VERSION

    licence = bench.licence
    return {
        "benchmark": bench.name, "split": dataset.split, "title": bench.title,
        "licence": {"name": licence.name, "url": licence.url, "note": licence.note},
        "official_metric": bench.offline_metric, "categories": list(bench.categories),
        "systems": {
            system.name: {"description": system.description, "baseline": system.baseline, "settings": system.settings}
            for system in job.systems
        },
        "models": {
            role: getattr(wanted, role) or wanted.model for role in ("extractor", "manager", "answerer")
        },
        "adapters": {
            role: str(path) for role in ("extractor", "manager", "answerer")
            if (path := getattr(wanted, f"{role}_adapter")) is not None
        },
        "judge": None, "embedder": wanted.embedder, "k": wanted.k, "style": wanted.style,
        "temperature": wanted.temperature, "prompt_version": PROMPT_VERSION, "git_commit": git_commit(),
        "versions": versions(), "code": job.code,
        "data": {"path": str(wanted.data), "sha256": dataset.sha256, "modified": dataset.modified},
        "limit": wanted.limit, "conversations": wanted.conversation, "every": wanted.every,
        "audit": str(wanted.audit) if wanted.audit else None, "notes": list(dataset.notes),
        "skipped": dict(dataset.skipped), "paper_labels": wanted.paper_labels,
        "command": shlex.join(["memory-r1", *sys.argv[1:]]), "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }  # fmt: skip


def _show(folder: RunFolder, outcome: Outcome, wanted: Wanted, seconds: float) -> None:
    from langgraph_memory_r1.evals.report import read_run, summary

    if not outcome.results:
        note("Nothing has been asked yet.")
        return
    tables = summary(read_run(folder.path))
    if wanted.as_data:
        as_json({"folder": str(folder.path), "tables": [table.title for table in tables]})
        return
    for table in tables:
        heading(table.title)
        columns(table.rows, titles=table.titles)
        if table.note:
            note(table.note)
    failed = sum(line["error"] is not None for line in outcome.results)
    say()
    say(
        f"{counted(len(outcome.results), 'answer')} in {seconds:.1f} s. Report: {plain(str(folder.path / 'report.html'))}"
    )
    if failed:
        note(f"{counted(failed, 'question')} failed; the same command with --only-failed tries them again.")
    if outcome.missing:
        note(
            f"{counted(outcome.missing, 'question')} not asked yet; the same command without --only-failed or --rescore asks."
        )
