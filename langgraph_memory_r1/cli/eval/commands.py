"""`memory-r1 eval`: memory systems against the public benchmarks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from langgraph_memory_r1.cli.eval.tables import show_calibration, show_tables
from langgraph_memory_r1.cli.ingestion import INTERRUPTED
from langgraph_memory_r1.cli.options import Conversations, Debug, Embedder, Json, Model
from langgraph_memory_r1.cli.output import FAINT, counted, heading, note, plain, print_json, say
from langgraph_memory_r1.cli.progress import progress

_MOST_FLIPS = 10

eval_app = typer.Typer(
    help="Run memory systems against public benchmarks.\n\n"
    "Begin with: memory-r1 eval locomo --data locomo10.json --limit 20",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


Data: TypeAlias = Annotated[Path | None, typer.Option("--data", metavar="FILE", help="The benchmark's data file.")]
Split: TypeAlias = Annotated[
    str | None, typer.Option(metavar="NAME", help="Which part; an unknown name lists all. [default: the test part]")
]
Systems: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="A,B",
        help="Which systems; an unknown name lists all. memory-r1:base is a row without the adapters that are given, "
        "memory-r1:manager and memory-r1:answerer rows with one of them. [default: memory-r1,bm25,oracle]",
    ),
]
Trained: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--trained",
        metavar="RUN",
        help="Output folder of `memory-r1 train`: its base with its adapters, and prompts and numbers as in training.",
    ),
]
Extractor: TypeAlias = Annotated[str | None, typer.Option(metavar="SPEC", help="Another model to find facts.")]
Manager: TypeAlias = Annotated[str | None, typer.Option(metavar="SPEC", help="Another model to manage memories.")]
Answerer: TypeAlias = Annotated[str | None, typer.Option(metavar="SPEC", help="Another model to answer.")]
ExtractorAdapter: TypeAlias = Annotated[Path | None, typer.Option(metavar="DIR", help="LoRA adapter of the extractor.")]
ManagerAdapter: TypeAlias = Annotated[Path | None, typer.Option(metavar="DIR", help="LoRA adapter of the manager.")]
AnswererAdapter: TypeAlias = Annotated[Path | None, typer.Option(metavar="DIR", help="LoRA adapter of the answerer.")]
Temperature: TypeAlias = Annotated[float | None, typer.Option(help="Of all models. [default: each model's own]")]
Style: TypeAlias = Annotated[
    str | None, typer.Option(help="full, or compact for models that were tuned with such prompts. [default: full]")
]
Judge: TypeAlias = Annotated[str | None, typer.Option(metavar="SPEC", help="A model that says what is right.")]
JudgeKind: TypeAlias = Annotated[str | None, typer.Option(help="generous, strict or longmemeval.")]
K: TypeAlias = Annotated[
    int | None, typer.Option("--k", min=1, help="How many memories an answer may be chosen from. [default: 60]")
]
RelatedK: TypeAlias = Annotated[
    int | None,
    typer.Option("--related-k", min=1, help="How many memories the manager is shown for each fact. [default: 10]"),
]
BatchTurns: TypeAlias = Annotated[
    int | None,
    typer.Option("--batch-turns", min=1, help="How many turns are remembered with one model call. [default: 10]"),
]
Out: TypeAlias = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Folder of the run. [default: evals-runs/BENCHMARK-SPLIT]")
]
Limit: TypeAlias = Annotated[int | None, typer.Option(min=1, help="Only the first so many questions.")]
Concurrency: TypeAlias = Annotated[int, typer.Option(min=1, help="Most model calls at the same time.")]
Every: TypeAlias = Annotated[
    int | None, typer.Option(min=1, help="Ask while remembering too, after every so many sessions.")
]
OnlyFailed: TypeAlias = Annotated[bool, typer.Option("--only-failed", help="Do again what failed, nothing else.")]
Rescore: TypeAlias = Annotated[bool, typer.Option("--rescore", help="Score the answers that are there; ask for none.")]
RetrievalOnly: TypeAlias = Annotated[
    bool, typer.Option("--retrieval-only", help="Only how much evidence is found; asks no model.")
]
PaperLabels: TypeAlias = Annotated[
    str | None, typer.Option(metavar="PAPER", help="Name categories as a paper does (memory-r1).")
]
Audit: TypeAlias = Annotated[Path | None, typer.Option(metavar="FILE", help="LoCoMo's public audit, errors.json.")]
AuditHow: TypeAlias = Annotated[str, typer.Option(help="drop or correct the questions that the audit found wrong.")]
AllowModified: TypeAlias = Annotated[
    bool, typer.Option("--allow-modified", help="Accept a data file of another content; the report says so.")
]
World: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--world", metavar="KEY=VALUE", help="Another PersonaWorld, as seed=1 or sessions=16; repeatable."),
]
Download: TypeAlias = Annotated[bool, typer.Option("--download", help="Fetch the data file, verified.")]


def benchmark_command(name: str, about: str) -> Callable[..., None]:
    """Return the command of one benchmark; all have the same options."""

    def run(
        data: Data = None,
        split: Split = None,
        systems: Systems = None,
        model: Model = "rules",
        trained: Trained = None,
        extractor: Extractor = None,
        manager: Manager = None,
        answerer: Answerer = None,
        extractor_adapter: ExtractorAdapter = None,
        manager_adapter: ManagerAdapter = None,
        answerer_adapter: AnswererAdapter = None,
        temperature: Temperature = None,
        style: Style = None,
        judge: Judge = None,
        judge_kind: JudgeKind = None,
        embedder: Embedder = None,
        k: K = None,
        related_k: RelatedK = None,
        batch_turns: BatchTurns = None,
        out: Out = None,
        limit: Limit = None,
        conversation: Conversations = None,
        concurrency: Concurrency = 8,
        every: Every = None,
        only_failed: OnlyFailed = False,
        rescore: Rescore = False,
        retrieval_only: RetrievalOnly = False,
        paper_labels: PaperLabels = None,
        audit: Audit = None,
        audit_how: AuditHow = "drop",
        allow_modified: AllowModified = False,
        world: World = None,
        download: Download = False,
        as_data: Json = False,
        debug: Debug = False,
    ) -> None:
        # First of all: what stands here later would be an option too.
        options: dict[str, Any] = {
            key: value for key, value in locals().items() if key not in ("debug", "name", "about")
        }
        from langgraph_memory_r1.cli.eval.benchmark_run import RunOptions, run_systems
        from langgraph_memory_r1.cli.eval.retrieval_run import run_retrieval

        try:
            (run_retrieval if retrieval_only else run_systems)(RunOptions(benchmark=name, **options))
        except KeyboardInterrupt:
            note("Interrupted; what is done stays, and the same command goes on from there.")
            raise typer.Exit(INTERRUPTED) from None

    run.__doc__ = f"{about}\n\nRun the same command again to go on where it stopped; what is done is not done twice."
    return run


for _name, _about in (
    ("locomo", "LoCoMo: questions about ten long chats between two friends."),
    ("longmemeval", "LongMemEval: questions about a user's chats with an assistant."),
    ("msc", "Multi-Session Chat: a question about the sessions before."),
    ("personaworld", "PersonaWorld: questions about invented people, made on the spot; takes no --data."),
):
    eval_app.command(_name)(benchmark_command(_name, _about))


@eval_app.command()
def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="Folder of a run.")],
    b: Annotated[Path | None, typer.Argument(metavar="B", help="Another one; without it two systems of A.")] = None,
    system: Annotated[str | None, typer.Option(metavar="A,B", help="Which system of each; one name for both.")] = None,
    metric: Annotated[str | None, typer.Option(metavar="M,...", help="Which scores. [default: all]")] = None,
    as_data: Json = False,
    debug: Debug = False,
) -> None:
    """Whether B is better than A, on the questions that both answered, with a paired test."""
    from langgraph_memory_r1.evals.report import compare as compare_runs

    systems, metrics = (
        [name.strip() for name in (listed or "").split(",") if name.strip()] for listed in (system, metric)
    )
    comparison = compare_runs(a, b, systems=systems, metrics=metrics)
    if as_data:
        print_json(comparison.as_dict())
        return
    say((f"A: {plain(comparison.a)}", "bold"))
    say((f"B: {plain(comparison.b)}", "bold"))
    for remark in comparison.notes:
        note(plain(remark))
    show_tables(comparison.tables)
    flips = comparison.flips
    if flips:
        heading(f"{counted(len(flips), 'question')} that one answered right and the other did not")
    for flip in flips[:_MOST_FLIPS]:
        say((f"{flip.question_id} ", FAINT), plain(flip.question), (f"  gold: {plain(flip.gold or '–')}", FAINT))
        say(f"  A {flip.score_a:.2f}  {plain(flip.a or '–')}")
        say(f"  B {flip.score_b:.2f}  {plain(flip.b or '–')}")
    if len(flips) > _MOST_FLIPS:
        note(f"and {len(flips) - _MOST_FLIPS:,} more; --json lists them all.")


@eval_app.command()
def calibrate_judge(
    judge: Annotated[str, typer.Option(metavar="SPEC", help="The model that judges.")],
    data: Annotated[Path, typer.Option(metavar="FILE", help="The data file of the benchmark.")],
    benchmark: Annotated[str, typer.Option(help="Whose questions are used.")] = "locomo",
    split: Annotated[str | None, typer.Option(help="Which part of it.")] = None,
    judge_kind: Annotated[str, typer.Option(help="generous, strict or longmemeval.")] = "generous",
    labelled: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Answers with labels, as the LoCoMo audit gives them.")
    ] = None,
    per_kind: Annotated[int, typer.Option(min=1, help="How many answers of each kind.")] = 50,
    concurrency: Annotated[int, typer.Option(min=1, help="Most model calls at the same time.")] = 8,
    as_data: Json = False,
    debug: Debug = False,
) -> None:
    """How far a judge can be trusted: what it says of answers that are known to be right or wrong."""
    from langgraph_memory_r1.evals import calibration
    from langgraph_memory_r1.evals.benchmark import benchmark as load_benchmark
    from langgraph_memory_r1.evals.judge import Judge as AnswerJudge

    kind: Any = judge_kind
    answer_judge = AnswerJudge(judge, kind)
    conversations = load_benchmark(benchmark).load(data, split).conversations
    items = calibration.synthetic_items(question for each in conversations for question in each.questions)
    for path in labelled or ():
        items += calibration.read_labelled_items(path)
    sample = calibration.sample_items(items, per_kind)
    with progress(len(sample), "verdicts", shown=not as_data) as advance:
        result = calibration.calibrate(
            answer_judge, sample, concurrency=concurrency, on_done=lambda: advance(1, answer_judge.id)
        )
    if as_data:
        print_json(result.as_dict())
    else:
        show_calibration(result)
