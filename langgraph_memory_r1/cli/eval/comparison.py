"""`memory-r1 eval compare` and `calibrate-judge`: whether a difference is one, and whether a judge can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langgraph_memory_r1.cli.eval.tables import show_tables
from langgraph_memory_r1.cli.output import FAINT, as_json, counted, heading, note, plain, say
from langgraph_memory_r1.cli.progress import progress

if TYPE_CHECKING:
    from langgraph_memory_r1.evals.calibration import Calibration
    from langgraph_memory_r1.evals.report import Flip

_MOST_FLIPS = 10


@dataclass(frozen=True, slots=True)
class Trial:
    """What a judge is tried on."""

    judge: str
    kind: str
    benchmark: str
    data: Path
    split: str | None
    labelled: tuple[Path, ...]
    per_kind: int
    concurrency: int


def show_comparison(a: Path, b: Path | None, systems: Sequence[str], metrics: Sequence[str], *, as_data: bool) -> None:
    """Compare two runs, or two systems of one."""
    from langgraph_memory_r1.evals.report import compare

    found = compare(a, b, systems=systems, metrics=metrics)
    if as_data:
        as_json(found.as_dict())
        return
    say((f"A: {plain(found.a)}", "bold"))
    say((f"B: {plain(found.b)}", "bold"))
    for each in found.notes:
        note(plain(each))
    show_tables(found.tables)
    _show_flips(found.flips)


def _show_flips(flips: Sequence[Flip]) -> None:
    if not flips:
        return
    heading(f"{counted(len(flips), 'question')} that one answered right and the other did not")
    for flip in flips[:_MOST_FLIPS]:
        say((f"{flip.question_id} ", FAINT), plain(flip.question), (f"  gold: {plain(flip.gold or '–')}", FAINT))
        say(f"  A {flip.score_a:.2f}  {plain(flip.a or '–')}")
        say(f"  B {flip.score_b:.2f}  {plain(flip.b or '–')}")
    if len(flips) > _MOST_FLIPS:
        note(f"and {len(flips) - _MOST_FLIPS:,} more; --json lists them all.")


def show_calibration(trial: Trial, *, as_data: bool) -> None:
    """Try a judge on known answers."""
    from langgraph_memory_r1.evals.benchmark import benchmark
    from langgraph_memory_r1.evals.calibration import calibrate, read_labelled_items, sample_items, synthetic_items
    from langgraph_memory_r1.evals.judge import Judge

    kind: Any = trial.kind
    judge = Judge(trial.judge, kind)
    dataset = benchmark(trial.benchmark).load(trial.data, trial.split)
    items = synthetic_items(question for each in dataset.conversations for question in each.questions)
    items += [item for path in trial.labelled for item in read_labelled_items(path)]
    chosen = sample_items(items, trial.per_kind)
    with progress(len(chosen), "verdicts", shown=not as_data) as advance:
        found = calibrate(judge, chosen, concurrency=trial.concurrency, on_done=lambda: advance(1, judge.id))
    if as_data:
        as_json(found.as_dict())
    else:
        _show_calibration(found)


def _show_calibration(found: Calibration) -> None:
    from langgraph_memory_r1.evals.report import Table

    rows = [
        (
            each.kind,
            {True: "right", False: "wrong", None: "both"}[each.right],
            f"{each.passed:,} of {each.n:,}",
            f"{100 * each.low:.0f}–{100 * each.high:.0f} %",
            f"{each.unreadable:,}",
        )
        for each in found.passed
    ]
    titles = ("answers", "they are", "called right", "95 % interval", "no verdict")
    labels = found.agreement
    kappa = f"{labels.kappa:.2f}" if labels and labels.kappa is not None else "–"
    agreed = f"Agrees with {labels.agreed:,} of {labels.n:,} labels (Cohen's kappa {kappa})." if labels else ""
    show_tables([Table(f"What {plain(str(found.judge['id']))} called right", titles, tuple(rows), agreed)])
