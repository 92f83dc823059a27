"""From the options of `memory-r1 eval BENCHMARK` to a run folder with its report."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from langgraph_memory_r1.cli.eval.contenders import ModelOptions, RoleSettings, contenders, role_settings
from langgraph_memory_r1.cli.eval.dataset import DataOptions, EvaluationData, load_data
from langgraph_memory_r1.cli.eval.tables import show_run
from langgraph_memory_r1.cli.output import counted, note
from langgraph_memory_r1.cli.progress import stages
from langgraph_memory_r1.errors import InputError

if TYPE_CHECKING:
    from langgraph_memory_r1.evals.call_cache import CallCache
    from langgraph_memory_r1.evals.cells import EvaluationJob
    from langgraph_memory_r1.evals.evaluation import Evaluation
    from langgraph_memory_r1.evals.scorer import Scorer
    from langgraph_memory_r1.evals.stages import StageLog


@dataclass(frozen=True, kw_only=True)
class RunOptions(ModelOptions, DataOptions):
    """All options of the command line."""

    systems: str | None
    judge: str | None
    judge_kind: str | None
    concurrency: int
    every: int | None
    only_failed: bool
    rescore: bool
    retrieval_only: bool


def run_systems(options: RunOptions) -> None:
    """Let the systems remember and answer, write what came of it with a report, and show it.

    Raises:
        InputError: Options contradict each other, or name something that is not there.
    """
    from langgraph_memory_r1.evals.report import read_run, write_report
    from langgraph_memory_r1.prompts import PROMPT_VERSION

    if options.only_failed and options.rescore:
        raise InputError("--only-failed asks models and --rescore asks none; give one of them.")
    if options.judge_kind and not options.judge:
        raise InputError("--judge-kind needs a judge; name its model with --judge provider:model.")
    roles = role_settings(options)
    start, data = time.perf_counter(), load_data(options)
    folder = data.folder
    with folder.locked() as (stage_log, calls):
        job, scorer = _job(options, roles, data, stage_log, calls)
        outcome = _evaluate(job, scorer, shown=not options.as_data)
        answered = time.perf_counter()
        systems = {
            each.name: {"description": each.description, "baseline": each.baseline, "settings": each.settings}
            for each in job.systems
        }
        manifest = data.describe(options) | {
            "official_metric": scorer.metric, "systems": systems, "models": roles.models,
            "adapters": {role: str(path) for role, path in roles.adapters.items()},
            "judge": scorer.judge.as_dict() if scorer.judge else None, "embedder": options.embedder, "k": roles.k,
            "related_k": roles.related_k, "batch_turns": roles.batch_turns, "style": roles.style,
            "temperature": options.temperature, "every": job.every, "prompt_version": PROMPT_VERSION, "code": job.code,
        }  # fmt: skip
        folder.write_lines("results.jsonl", outcome.results)
        folder.write_lines("banks.jsonl", outcome.banks)
        folder.write_lines("costs.jsonl", outcome.costs)
        folder.write_lines("curve.jsonl", outcome.curve if options.every else [])
        folder.write_manifest(manifest)
        run = read_run(folder.path)
        if outcome.results:
            write_report(run, paper_labels=options.paper_labels)
    report = time.perf_counter() - answered
    took = f"{counted(len(outcome.results), 'answer')} in {answered - start:.1f} s, the report in {report:.1f} s."
    show_run(run, took, as_data=options.as_data)
    failed = sum(line["error"] is not None for line in outcome.results)
    if failed:
        note(f"{counted(failed, 'question')} failed; the same command with --only-failed tries them again.")
    if outcome.missing:
        note(
            f"{counted(outcome.missing, 'question')} left out: not asked yet. Without --only-failed or --rescore it is."
        )


def _job(
    options: RunOptions, roles: RoleSettings, data: EvaluationData, stage_log: StageLog, calls: CallCache
) -> tuple[EvaluationJob, Scorer]:
    """Return what is to be done, and how it is scored.

    Raises:
        InputError: A system, a row or a judge cannot be.
    """
    from langgraph_memory_r1.evals.cells import EvaluationJob
    from langgraph_memory_r1.evals.failures import Failures
    from langgraph_memory_r1.evals.judge import Judge
    from langgraph_memory_r1.evals.model_loader import ModelLoader, ModelSpec
    from langgraph_memory_r1.evals.run_folder import code_digest
    from langgraph_memory_r1.evals.scorer import Scorer

    models = ModelLoader(calls)
    # An oracle only where it has something to go by.
    evidence = any(question.evidence for each in data.dataset.conversations for question in each.questions)
    names = ["memory-r1", "bm25", *(["oracle"] if evidence else [])]
    if options.systems is not None:
        names = [name.strip() for name in options.systems.split(",") if name.strip()]
    if "oracle" in names and not evidence:
        raise InputError(f"No question of {data.bench.name} names evidence turns; leave oracle out of --systems.")
    rows = contenders(names, roles, models)
    last = data.folder.manifest()
    job = EvaluationJob(
        dataset=data.dataset,
        systems=tuple(system for system, _ in rows),
        answerers={system.name: answerer for system, answerer in rows},
        stages=stage_log,
        banks=data.folder.banks,
        # What is scored anew was answered by the code of its own time.
        code=(last.get("code") if options.rescore else None) or code_digest(),
        k=roles.k,
        concurrency=options.concurrency,
        every=options.every,
        todo="failed" if options.only_failed else "nothing" if options.rescore else "all",
        failures=Failures(max(5, 2 * options.concurrency)),
    )
    judge = None
    if options.judge is not None:
        kind: Any = options.judge_kind or data.bench.judge
        judge = Judge(models.chat(ModelSpec(options.judge, None, {"temperature": 0})), kind)
        before = last.get("judge")
        if before and before.get("id") == judge.id:
            judge.assert_same(before)
    return job, Scorer(data.bench, data.dataset.split, judge)


def _evaluate(job: EvaluationJob, scorer: Scorer, *, shown: bool) -> Evaluation:
    """Carry out a job with progress bars, which need to know how much there is to do."""
    from langgraph_memory_r1.evals.evaluation import evaluate
    from langgraph_memory_r1.evals.stops import stops

    conversations = job.dataset.conversations
    stopping = [stop for conversation in conversations for stop in stops(conversation, job.every)]
    questions = len(job.systems) * sum(len(stop.questions) for stop in stopping)
    learners = sum(system.learns for system in job.systems)
    turns = learners * sum(len(conversation.turns) for conversation in conversations)
    totals = {"turns": turns, "questions": questions, "verdicts": questions if scorer.judge else 0}
    outcomes: list[Evaluation] = []

    async def run() -> None:
        # Not returned: asyncio.run writes out what a coroutine returns, and of 40 MB that takes seconds.
        outcomes.append(await evaluate(job, scorer))

    with stages(totals, shown=shown) as advance:
        job = replace(job, advance=advance)
        asyncio.run(run())
    return outcomes[0]
