"""From the options of `memory-r1 eval BENCHMARK` to a run folder with its report."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import typer

from langgraph_memory_r1.cli.eval.contenders import Casting, WantedModels, casting, contenders
from langgraph_memory_r1.cli.eval.dataset import Material, WantedData, about, material
from langgraph_memory_r1.cli.eval.tables import show_run
from langgraph_memory_r1.cli.output import counted, note
from langgraph_memory_r1.cli.progress import stages
from langgraph_memory_r1.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from langgraph_memory_r1.evals.call_cache import CallCache
    from langgraph_memory_r1.evals.cells import Job
    from langgraph_memory_r1.evals.evaluation import Outcome
    from langgraph_memory_r1.evals.judge import Judge
    from langgraph_memory_r1.evals.model_loader import ModelLoader
    from langgraph_memory_r1.evals.report import Run
    from langgraph_memory_r1.evals.run_folder import RunFolder
    from langgraph_memory_r1.evals.scorer import Scorer
    from langgraph_memory_r1.evals.stages import StageLog

_INTERRUPTED = 130


@dataclass(frozen=True, kw_only=True)
class Wanted(WantedModels, WantedData):
    """Everything that was asked for on the command line."""

    systems: str | None
    judge: str | None
    judge_kind: str | None
    concurrency: int
    every: int | None
    only_failed: bool
    rescore: bool
    retrieval_only: bool


def run_benchmark(wanted: Wanted) -> None:
    """Evaluate, write the folder, show the report."""
    try:
        if wanted.retrieval_only:
            from langgraph_memory_r1.cli.eval.retrieval_run import run_retrieval

            run_retrieval(wanted, wanted.embedder)
        else:
            _run_systems(wanted)
    except KeyboardInterrupt:
        note("Interrupted; what is done stays, and the same command goes on from there.")
        raise typer.Exit(_INTERRUPTED) from None


def _run_systems(wanted: Wanted) -> None:

    _check(wanted)
    cast = casting(wanted)
    start, found = time.perf_counter(), material(wanted)
    with found.folder.locked() as (stage_log, calls):
        job, scorer = _job(wanted, cast, found, stage_log, calls)
        outcome = _evaluated(job, scorer, wanted)
        files = {"banks": outcome.banks, "costs": outcome.costs, "curve": outcome.curve if wanted.every else []}
        answered = time.perf_counter()
        manifest = about(wanted, found) | _configuration(wanted, cast, job, scorer)
        run = _written(found.folder, outcome.results, files, manifest)
    report = time.perf_counter() - answered
    took = f"{counted(len(outcome.results), 'answer')} in {answered - start:.1f} s, the report in {report:.1f} s."
    show_run(run, took, as_data=wanted.as_data)
    failed = sum(line["error"] is not None for line in outcome.results)
    if failed:
        note(f"{counted(failed, 'question')} failed; the same command with --only-failed tries them again.")
    if outcome.missing:
        note(
            f"{counted(outcome.missing, 'question')} left out: not asked yet. Without --only-failed or --rescore it is."
        )


def _check(wanted: Wanted) -> None:
    if wanted.only_failed and wanted.rescore:
        raise InputError("--only-failed asks models and --rescore asks none; give one of them.")
    if wanted.judge_kind and not wanted.judge:
        raise InputError("--judge-kind needs a judge; name its model with --judge provider:model.")


def _job(wanted: Wanted, cast: Casting, found: Material, stage_log: StageLog, calls: CallCache) -> tuple[Job, Scorer]:
    from langgraph_memory_r1.evals.cells import Job
    from langgraph_memory_r1.evals.failures import Failures
    from langgraph_memory_r1.evals.model_loader import ModelLoader
    from langgraph_memory_r1.evals.run_folder import code_digest
    from langgraph_memory_r1.evals.scorer import Scorer

    models = ModelLoader(calls)
    rows = contenders(_names(wanted, found), cast, models)
    last = found.folder.manifest()
    job = Job(
        dataset=found.dataset,
        systems=tuple(system for system, _ in rows),
        answerers={system.name: answerer for system, answerer in rows},
        stages=stage_log,
        banks=found.folder.banks,
        code=(last.get("code") if wanted.rescore else None) or code_digest(),
        k=cast.k,
        concurrency=wanted.concurrency,
        every=wanted.every,
        todo="failed" if wanted.only_failed else "nothing" if wanted.rescore else "all",
        failures=Failures(max(5, 2 * wanted.concurrency)),
    )
    judge = _judge(wanted, found, models, last.get("judge"))
    return job, Scorer(found.bench, found.dataset.split, judge)


def _names(wanted: Wanted, found: Material) -> list[str]:
    """Which systems; an oracle only where it has something to go by."""
    evidence = any(question.evidence for each in found.dataset.conversations for question in each.questions)
    names = ["memory-r1", "bm25", *(["oracle"] if evidence else [])]
    if wanted.systems is not None:
        names = [name.strip() for name in wanted.systems.split(",") if name.strip()]
    if "oracle" in names and not evidence:
        raise InputError(f"No question of {found.bench.name} names evidence turns; leave oracle out of --systems.")
    return names


def _judge(wanted: Wanted, found: Material, models: ModelLoader, last: Mapping[str, Any] | None) -> Judge | None:
    if wanted.judge is None:
        return None
    from langgraph_memory_r1.evals.judge import Judge
    from langgraph_memory_r1.evals.model_loader import ModelSpec

    kind: Any = wanted.judge_kind or found.bench.judge
    judge = Judge(models.chat(ModelSpec(wanted.judge, None, {"temperature": 0})), kind)
    if last and last.get("id") == judge.id:
        judge.assert_same(last)
    return judge


def _evaluated(job: Job, scorer: Scorer, wanted: Wanted) -> Outcome:
    from langgraph_memory_r1.evals.evaluation import evaluate

    found: list[Outcome] = []
    shown = not wanted.as_data

    async def run() -> None:
        # Not returned: asyncio.run writes out what a coroutine returns, and of 40 MB that takes seconds.
        found.append(await evaluate(job, scorer))

    with stages(_totals(job, scorer), shown=shown) as advance:
        job = replace(job, advance=advance)
        asyncio.run(run())
    return found[0]


def _totals(job: Job, scorer: Scorer) -> dict[str, int]:
    """How much there is to do, for the progress bars."""
    from langgraph_memory_r1.evals.stops import stops

    held = job.dataset.conversations
    questions = sum(len(step.questions) for each in held for step in stops(each, job.every)) * len(job.systems)
    learners = sum(system.learns for system in job.systems)
    turns = learners * sum(len(each.turns) for each in held)
    return {"turns": turns, "questions": questions, "verdicts": questions if scorer.judge else 0}


def _configuration(wanted: Wanted, cast: Casting, job: Job, scorer: Scorer) -> dict[str, Any]:
    """What a manifest says about systems and models."""
    from langgraph_memory_r1.prompts import PROMPT_VERSION

    systems = {
        each.name: {"description": each.description, "baseline": each.baseline, "settings": each.settings}
        for each in job.systems
    }
    return {
        "official_metric": scorer.metric,
        "systems": systems,
        "models": cast.models,
        "adapters": {role: str(path) for role, path in cast.adapters.items()},
        "judge": scorer.judge.as_dict() if scorer.judge else None,
        "embedder": wanted.embedder,
        "k": cast.k,
        "related_k": cast.related_k,
        "batch_turns": cast.batch_turns,
        "style": cast.style,
        "temperature": wanted.temperature,
        "every": job.every,
        "prompt_version": PROMPT_VERSION,
        "code": job.code,
    }


def _written(
    folder: RunFolder,
    results: list[dict[str, Any]],
    files: Mapping[str, Iterable[Mapping[str, Any]]],
    manifest: dict[str, Any],
) -> Run:
    from langgraph_memory_r1.evals.report import read_run, write_report

    folder.write_lines("results.jsonl", results)
    for name, lines in files.items():
        folder.write_lines(f"{name}.jsonl", lines)
    folder.write_manifest(manifest)
    run = read_run(folder.path)
    if results:
        write_report(run, paper_labels=manifest["paper_labels"])
    return run
