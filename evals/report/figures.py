"""The plots of a report with the sentences below them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from langgraph_memory_r1.evals.report import svg
from langgraph_memory_r1.evals.report.means import Means, Point
from langgraph_memory_r1.evals.report.results import BenchmarkRun
from langgraph_memory_r1.evals.report.run_description import GLOSSARY

__all__ = ["Figure", "against_tokens", "bars", "recall_curve", "saturation"]


@dataclass(frozen=True, slots=True)
class Figure:
    """A plot, as SVG, with the sentence below it."""

    svg: str
    caption: str


def bars(run: BenchmarkRun, means: Means, metric: str, category: str | None = None, label: str = "") -> Figure:
    """Draw one metric of all systems; `label` is what the category is called."""
    rows = [(system, number, means.of(system, metric, category)) for number, system in enumerate(run.systems)]
    count = max((estimate.n for *_, estimate in rows if estimate), default=0)
    name = label or category or "all questions"
    return Figure(svg.bars(f"{metric}, {name}", rows), f"{metric} × 100, {name}, n {count:,}")


def against_tokens(run: BenchmarkRun, means: Means, metric: str) -> Figure:
    """Draw a metric of the answers against what they cost in context."""
    points = []
    for number, system in enumerate(run.systems):
        estimate = means.of(system, metric)
        sizes = [result.tokens.get("context") for result in run.results if result.system == system]
        counted = [size for size in sizes if size is not None]
        if estimate and counted:
            points.append((system, number, fmean(counted), estimate))
    drawing = svg.scatter(f"{metric} against context tokens", points, x_name="context tokens", y_name=f"{metric} × 100")
    names = svg.legend([(system, number) for system, number, *_ in points], dashes=False)
    return Figure(
        drawing + names, f"{metric} against the mean tokens of context in an answer's prompt; up and left is better"
    )


def recall_curve(run: BenchmarkRun, means: Means, family: str, cuts: Sequence[int]) -> Figure:
    """Draw evidence recall over k."""
    series = []
    for number, system in enumerate(run.systems):
        points = [(float(cut), means.of(system, f"{family}@{cut}")) for cut in cuts]
        series.append(svg.Series(system, number, tuple((cut, estimate.mean) for cut, estimate in points if estimate)))
    measured = [line for line in series if line.points]
    drawing = svg.lines(f"{family}@k", measured, x_name="k, memories looked at", y_name=f"{family}@k × 100")
    names = svg.legend([(line.name, line.colour) for line in measured])
    return Figure(drawing + names, f"{family}@k: {GLOSSARY.get(f'{family}@k', 'evidence recall')}")


def saturation(
    run: BenchmarkRun, curves: Mapping[str, Sequence[Point]], quantity: str, title: str, *, percent: bool
) -> Figure:
    """Draw one quantity while the banks are being built."""
    series = []
    for system, points in curves.items():
        measured = tuple((point.session, point.values[quantity]) for point in points if quantity in point.values)
        series.append(svg.Series(system, run.systems.index(system) if system in run.systems else 0, measured))
    y_name = f"{title} × 100" if percent else title
    drawing = svg.lines(f"{title} over sessions", series, x_name="sessions remembered", y_name=y_name, percent=percent)
    names = svg.legend([(line.name, line.colour) for line in series])
    return Figure(drawing + names, f"{title} while the bank is being built, the mean over the conversations")
