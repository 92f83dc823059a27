"""From the options of `memory-r1 eval BENCHMARK` to a run folder with its report."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import typer

from langgraph_memory_r1.cli.dataset import Material, WantedData, about, material
from langgraph_memory_r1.cli.output import counted, note
from langgraph_memory_r1.cli.progress import stages
from langgraph_memory_r1.cli.tables import show_run
from langgraph_memory_r1.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from langgraph_memory_r1.evals.answering import Answerer
    from langgraph_memory_r1.evals.calls import CallCache
    from langgraph_memory_r1.evals.cells import Job
    from langgraph_memory_r1.evals.evaluation import Outcome
    from langgraph_memory_r1.evals.judge import Judge
    from langgraph_memory_r1.evals.models import Chosen, Models
    from langgraph_memory_r1.evals.records import Records
    from langgraph_memory_r1.evals.report import Run
    from langgraph_memory_r1.evals.results import Scorer
    from langgraph_memory_r1.evals.runs import RunFolder
    from langgraph_memory_r1.evals.systems.base import System

_INTERRUPTED = 130
_ROLES = ("extractor", "manager", "answerer")
_BARE = "base"
"""`memory-r1:base`: the row without any adapter."""


@dataclass(frozen=True, kw_only=True)
class Wanted(WantedData):
    """Everything that was asked for on the command line."""

    systems: str | None
    model: str
    extractor: str | None
    manager: str | None
    answerer: str | None
    extractor_adapter: Path | None
    manager_adapter: Path | None
    answerer_adapter: Path | None
    temperature: float | None
    style: str
    judge: str | None
    judge_kind: str | None
    embedder: str | None
    k: int
    related_k: int
    batch_turns: int
    concurrency: int
    every: int | None
    only_failed: bool
    rescore: bool
    retrieval_only: bool


def run_benchmark(wanted: Wanted) -> None:
    """Evaluate, write the folder, show the report."""
    try:
        if wanted.retrieval_only:
            from langgraph_memory_r1.cli.retrieval import run_retrieval

            run_retrieval(wanted, wanted.embedder)
        else:
            _run_systems(wanted)
    except KeyboardInterrupt:
        note("Interrupted; what is done stays, and the same command goes on from there.")
        raise typer.Exit(_INTERRUPTED) from None


def _run_systems(wanted: Wanted) -> None:
    from langgraph_memory_r1.evals.workplace import workplace

    _check(wanted)
    start, found = time.perf_counter(), material(wanted)
    with workplace(found.folder) as (records, calls):
        job, scorer = _job(wanted, found, records, calls)
        outcome = _evaluated(job, scorer, wanted)
        files = {"banks": outcome.banks, "costs": outcome.costs, "curve": outcome.curve if wanted.every else []}
        answered = time.perf_counter()
        manifest = about(wanted, found) | _configuration(wanted, job, scorer)
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
    from langgraph_memory_r1.prompts import Style

    if wanted.style not in get_args(Style):
        raise InputError(f"There is no style {wanted.style!r}; give one of: {', '.join(get_args(Style))}.")
    if wanted.only_failed and wanted.rescore:
        raise InputError("--only-failed asks models and --rescore asks none; give one of them.")
    if wanted.judge_kind and not wanted.judge:
        raise InputError("--judge-kind needs a judge; name its model with --judge provider:model.")


def _job(wanted: Wanted, found: Material, records: Records, calls: CallCache) -> tuple[Job, Scorer]:
    from langgraph_memory_r1.evals.cells import Job
    from langgraph_memory_r1.evals.failures import Failures
    from langgraph_memory_r1.evals.models import Models
    from langgraph_memory_r1.evals.results import Scorer
    from langgraph_memory_r1.evals.runs import code_digest

    models = Models(calls)
    rows = list(_rows(_names(wanted, found), wanted, models))
    last = found.folder.manifest()
    job = Job(
        dataset=found.dataset,
        systems=tuple(system for system, _ in rows),
        answerers={system.name: answerer for system, answerer in rows},
        records=records,
        banks=found.folder.banks,
        code=(last.get("code") if wanted.rescore else None) or code_digest(),
        k=wanted.k,
        concurrency=wanted.concurrency,
        every=wanted.every,
        todo="failed" if wanted.only_failed else "nothing" if wanted.rescore else "all",
        failures=Failures(max(5, 2 * wanted.concurrency)),
    )
    judge = _judge(wanted, found, models, last.get("judge"))
    return job, Scorer(found.bench, found.dataset.split, judge)


def _rows(names: Sequence[str], wanted: Wanted, models: Models) -> Iterator[tuple[System, Answerer]]:
    """The systems, each with who answers from its memory."""
    from langgraph_memory_r1.evals.answering import Answerer
    from langgraph_memory_r1.evals.systems import Parts, systems
    from langgraph_memory_r1.turns import Limits

    embedder = models.embedder(None if wanted.embedder == "none" else wanted.embedder)
    for name in dict.fromkeys(names):
        kind, colon, suffix = name.partition(":")
        worn = _worn(name, suffix, wanted) if colon else _ROLES
        parts = Parts(
            extractor=models.chat(_model(wanted, "extractor", worn), "extract"),
            manager=models.chat(_model(wanted, "manager", worn), "manage"),
            embedder=embedder,
            style=_style(wanted),
            related_k=wanted.related_k,
            limits=Limits(batch_turns=wanted.batch_turns),
        )
        [system] = systems([kind], parts)
        told = f"adapter of the {suffix} only" if worn else "without adapters"
        answerer = Answerer(models.chat(_model(wanted, "answerer", worn), "answer"), _style(wanted))
        yield system.as_row(suffix, told) if colon else system, answerer


def _worn(name: str, suffix: str, wanted: Wanted) -> Sequence[str]:
    """The roles that wear their adapter in a row such as `memory-r1:manager`; `memory-r1:base` has none."""
    named = [role for role in _ROLES if getattr(wanted, f"{role}_adapter")]
    if not named:
        raise InputError(f"{name} is a row without some adapters, and none is named; add --manager-adapter DIR.")
    if suffix not in (_BARE, *named):
        raise InputError(f"There is no row {name!r}; after the colon comes one of: {', '.join([_BARE, *named])}.")
    return [] if suffix == _BARE else [suffix]


def _names(wanted: Wanted, found: Material) -> list[str]:
    """Which systems; an oracle only where it has something to go by."""
    evidence = any(question.evidence for each in found.dataset.conversations for question in each.questions)
    names = ["memory-r1", "bm25", *(["oracle"] if evidence else [])]
    if wanted.systems is not None:
        names = [name.strip() for name in wanted.systems.split(",") if name.strip()]
    if "oracle" in names and not evidence:
        raise InputError(f"No question of {found.bench.name} names evidence turns; leave oracle out of --systems.")
    return names


def _style(wanted: Wanted) -> Any:
    return wanted.style


def _model(wanted: Wanted, role: str, worn: Sequence[str]) -> Chosen:
    from langgraph_memory_r1.evals.models import Chosen

    settings = {} if wanted.temperature is None else {"temperature": wanted.temperature}
    adapter = getattr(wanted, f"{role}_adapter") if role in worn else None
    return Chosen(getattr(wanted, role) or wanted.model, adapter, settings)


def _judge(wanted: Wanted, found: Material, models: Models, last: Mapping[str, Any] | None) -> Judge | None:
    if wanted.judge is None:
        return None
    from langgraph_memory_r1.evals.judge import Judge
    from langgraph_memory_r1.evals.models import Chosen

    kind: Any = wanted.judge_kind or found.bench.judge
    judge = Judge(models.chat(Chosen(wanted.judge, None, {"temperature": 0})), kind)
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
    from langgraph_memory_r1.evals.streaming import steps

    held = job.dataset.conversations
    questions = sum(len(step.questions) for each in held for step in steps(each, job.every)) * len(job.systems)
    learners = sum(system.learns for system in job.systems)
    turns = learners * sum(len(each.turns) for each in held)
    return {"turns": turns, "questions": questions, "verdicts": questions if scorer.judge else 0}


def _configuration(wanted: Wanted, job: Job, scorer: Scorer) -> dict[str, Any]:
    """What a manifest says about systems and models."""
    from langgraph_memory_r1.prompts import PROMPT_VERSION

    systems = {
        each.name: {"description": each.description, "baseline": each.baseline, "settings": each.settings}
        for each in job.systems
    }
    adapters = {role: getattr(wanted, f"{role}_adapter") for role in _ROLES}
    return {
        "official_metric": scorer.metric,
        "systems": systems,
        "models": {role: getattr(wanted, role) or wanted.model for role in _ROLES},
        "adapters": {role: str(path) for role, path in adapters.items() if path},
        "judge": scorer.judge.as_dict() if scorer.judge else None,
        "embedder": wanted.embedder,
        "k": job.k,
        "related_k": wanted.related_k,
        "batch_turns": wanted.batch_turns,
        "style": wanted.style,
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
