"""The report as a list of sections: what is said, in which order; how it looks is Markdown's and the page's affair."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from langgraph_memory_r1.evals.benchmark import benchmark
from langgraph_memory_r1.evals.report import plots, tables
from langgraph_memory_r1.evals.report.estimates import Estimates
from langgraph_memory_r1.evals.report.quotes import with_paper
from langgraph_memory_r1.evals.report.run import Run
from langgraph_memory_r1.evals.report.tables import Table

__all__ = ["Figure", "Section", "overview", "sections_of", "summary", "title_of", "warnings_of"]

GLOSSARY = {
    "em": "exact match after normalising case, punctuation and articles",
    "f1_mem0": "token F1 over sets of words, without stemming: the code that mem0, A-Mem and Memory-R1 report",
    "f1_locomo": "LoCoMo's own F1: multisets of stemmed words, part by part for lists",
    "f1_squad": "SQuAD's token F1",
    "bleu1_mem0": "smoothed BLEU-1 with brevity penalty, as mem0 and Memory-R1 report it",
    "judge_generous": "a model decides, lenient about wording and date formats",
    "judge_strict": "a model decides, without leniency",
    "judge_longmemeval": "a model decides by LongMemEval's rules for each type of question",
    "coverage": "the share of the gold answer's words that stand in the retrieved texts",
    "bank_coverage": "the share of the gold answer's words that stand anywhere in the bank",
    "evidence_in_bank": "the share of the evidence turns that some memory comes from",
    "recall@k": "the mean share of a question's evidence turns among the first k memories",
    "recall_any@k": "the share of questions with at least one evidence turn among the first k memories",
    "recall_all@k": "the share of questions with all evidence turns among the first k memories",
}
"""What the names of the metrics mean."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A plot, as SVG, with the sentence below it."""

    svg: str
    caption: str


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report."""

    id: str
    title: str
    note: str = ""
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()


def title_of(run: Run) -> str:
    """What was evaluated, in a line."""
    return f"{run.manifest.get('title', run.manifest.get('benchmark', 'Evaluation'))}, {run.manifest.get('split', '')}"


def sections_of(run: Run, *, paper_labels: str | None = None) -> tuple[Section, ...]:
    """All parts of the report that this run has something for."""
    estimates = Estimates(run)
    parts = (
        _answers(run, estimates),
        _categories(run, estimates, _labels(run, paper_labels)),
        _retrieval(run, estimates),
        _banks(run),
        Section("cost", "Cost", tables=_present(tables.spending(run))),
        Section("settings", "What was run", tables=(_settings(run), _glossary(run))),
    )
    return tuple(part for part in parts if part.tables or part.figures)


def summary(run: Run) -> tuple[Table, ...]:
    """What the console shows."""
    estimates = Estimates(run)
    recalls = [tables.recall(run, estimates, family, cuts) for family, cuts in tables.recall_families(run).items()]
    metrics = [name for name in (run.official,) if name in run.scored]
    by_category = [tables.by_category(run, estimates, name) for name in metrics]
    answered = [tables.answers(run, estimates)] if tables.answer_metrics(run) else []
    return (*answered, *by_category, *recalls[:1], tables.outcomes(run), *_present(tables.operations(run)))


def warnings_of(run: Run) -> tuple[str, ...]:
    """What a reader must know before the numbers."""
    manifest = run.manifest
    return tuple(str(note) for note in (*_doubts(run), *(manifest.get("notes") or ())))


def overview(run: Run) -> tuple[str, ...]:
    """The facts under the title, short."""
    manifest, count = run.manifest, len(run.questions)
    whole = manifest.get("full_split_questions") or count
    conversations = len({result.conversation for result in run.results})
    facts = [
        f"{count:,} of {whole:,} questions" if whole != count else f"{count:,} questions",
        f"{conversations:,} conversation{'s' if conversations != 1 else ''}",
        f"{len(run.systems):,} system{'s' if len(run.systems) != 1 else ''}",
        f"judge {_judge(manifest)}" if manifest.get("judge") else "no judge",
        f"k {manifest['k']}" if manifest.get("k") else "",
        str(manifest.get("started", ""))[:10],
    ]
    return tuple(fact for fact in facts if fact)


def licence_of(run: Run) -> str:
    """Whose the data are."""
    licence = run.manifest.get("licence") or {}
    name, url, note = (licence.get(key, "") for key in ("name", "url", "note"))
    terms = f"{name} ({url})" if url else name
    return f"Data: {run.manifest.get('title', 'the benchmark')}, licence {terms}. {note}".strip()


def curves_of(run: Run) -> dict[str, list[tuple[float, dict[str, float]]]]:
    """For every system, the means over the conversations after each number of sessions.

    A conversation that has ended keeps its last values, so that every point stands for the same conversations.
    """
    points: dict[str, dict[str, dict[float, Mapping[str, Any]]]] = defaultdict(lambda: defaultdict(dict))
    for line in run.curve:
        points[line["system"]][line["conversation"]][line["session"]] = line
    return {system: _averaged(conversations) for system, conversations in points.items()}


def _averaged(conversations: Mapping[str, Mapping[float, Mapping[str, Any]]]) -> list[tuple[float, dict[str, float]]]:
    curve = []
    for session in sorted({session for points in conversations.values() for session in points}):
        newest = [_newest(points, session) for points in conversations.values()]
        values: dict[str, float] = {}
        for name in ("accuracy", "lost", "memories"):
            there = [point[name] for point in newest if point is not None and point.get(name) is not None]
            if there:
                values[name] = fmean(there)
        curve.append((session, values))
    return curve


def _newest(points: Mapping[float, Mapping[str, Any]], session: float) -> Mapping[str, Any] | None:
    before = [each for each in points if each <= session]
    return points[max(before)] if before else None


def _answers(run: Run, estimates: Estimates) -> Section:
    answered = tables.answer_metrics(run)
    first = (tables.answers(run, estimates),) if answered else ()
    metric = next((name for name in answered if name == run.official), answered[0] if answered else "")
    figures = (_against_tokens(run, estimates, metric),) if answered else ()
    return Section("summary", "Summary", "", figures, (*first, tables.outcomes(run)))


def _against_tokens(run: Run, estimates: Estimates, metric: str) -> Figure:
    points = []
    for number, system in enumerate(run.systems):
        estimate = estimates.of(system, metric)
        sizes = [result.tokens.get("context") for result in tables.results_of(run, system)]
        sizes = [size for size in sizes if size is not None]
        if estimate and sizes:
            points.append((system, number, fmean(sizes), estimate))
    svg = plots.scatter(f"{metric} against context tokens", points, x_name="context tokens", y_name=f"{metric} × 100")
    return Figure(
        svg, f"{metric} against the mean number of tokens of context in an answer's prompt. Up and left is better."
    )


def _categories(run: Run, estimates: Estimates, labels: Mapping[str, str]) -> Section:
    metrics = tables.answer_metrics(run)
    figures = []
    for category in run.categories if metrics else ():
        rows = [
            (system, number, estimates.of(system, metrics[0], category)) for number, system in enumerate(run.systems)
        ]
        name = labels.get(category, category)
        count = max((estimate.n for *_, estimate in rows if estimate), default=0)
        figures.append(Figure(plots.bars(f"{metrics[0]}, {name}", rows), f"{name}: {metrics[0]} × 100, n {count:,}"))
    shown = [with_paper(tables.by_category(run, estimates, metric, labels), run, metric) for metric in metrics]
    note = "The names of the categories are the paper's, which differ from the benchmark's." if labels else ""
    return Section("categories", "By category", note, tuple(figures), tuple(shown))


def _retrieval(run: Run, estimates: Estimates) -> Section:
    families = tables.recall_families(run)
    shown = [tables.recall(run, estimates, family, cuts) for family, cuts in families.items()]
    for category in run.categories if "recall" in families and len(run.categories) > 1 else ():
        shown.append(tables.recall(run, estimates, "recall", families["recall"], category))
    shown = [table for table in shown if table.rows]
    figures = [_recall_curve(run, estimates, family, cuts) for family, cuts in families.items()]
    return Section("retrieval", "Retrieval", "", tuple(figures), (*shown, *_present(tables.coverage(run, estimates))))


def _recall_curve(run: Run, estimates: Estimates, family: str, cuts: Sequence[int]) -> Figure:
    series = []
    for number, system in enumerate(run.systems):
        points = [(float(cut), estimates.of(system, f"{family}@{cut}")) for cut in cuts]
        series.append(plots.Line(system, number, tuple((cut, found.mean) for cut, found in points if found)))
    there = [line for line in series if line.points]
    svg = plots.lines(f"{family}@k", there, x_name="k, memories looked at", y_name=f"{family}@k × 100")
    names = plots.legend([(line.name, line.colour) for line in there])
    return Figure(svg + names, f"{GLOSSARY.get(f'{family}@k', family)}.".capitalize())


def _banks(run: Run) -> Section:
    curves = curves_of(run)
    numbers = {system: number for number, system in enumerate(run.systems)}
    wanted = (("accuracy", run.official, True), ("lost", "lost facts", True), ("memories", "memories", False))
    figures = [
        _saturation(curves, numbers, name, title, percent) for name, title, percent in wanted if curves
    ]  # fmt: skip
    return Section(
        "memory", "Memory", "", tuple(figures), _present(tables.operations(run), tables.streaming(run, curves))
    )


def _saturation(
    curves: Mapping[str, Sequence[tuple[float, Mapping[str, float]]]],
    numbers: Mapping[str, int],
    name: str,
    title: str,
    percent: bool,
) -> Figure:
    series = [
        plots.Line(
            system,
            numbers.get(system, 0),
            tuple((session, values[name]) for session, values in curve if name in values),
        )
        for system, curve in curves.items()
    ]
    y_name = f"{title} × 100" if percent else title
    svg = plots.lines(f"{title} over sessions", series, x_name="sessions remembered", y_name=y_name, percent=percent)
    names = plots.legend([(line.name, line.colour) for line in series])
    return Figure(svg + names, f"{title} while the bank is being built; the mean over the conversations.".capitalize())


def _settings(run: Run) -> Table:
    manifest = run.manifest
    systems = manifest.get("systems")
    described = systems.items() if isinstance(systems, Mapping) else ()
    data = manifest.get("data") or {}
    rows = [
        ("command", manifest.get("command")),
        *((f"system {name}", _description(about)) for name, about in described),
        *((role, model) for role, model in (manifest.get("models") or {}).items()),
        ("judge", _judge(manifest)), ("embedder", manifest.get("embedder")), ("k", manifest.get("k")),
        ("prompt version", manifest.get("prompt_version")), ("data sha256", data.get("sha256")),
        ("passed over in the data", _pairs(manifest.get("skipped"))), ("git commit", manifest.get("git_commit")),
        ("versions", _pairs(manifest.get("versions"))), ("started", manifest.get("started")),
        ("tokens", "estimated, the same way for all systems" if manifest.get("tokens_estimated") else None),
    ]  # fmt: skip
    return Table("Settings", ("setting", "value"), tuple((str(name), str(value)) for name, value in rows if value))


def _glossary(run: Run) -> Table:
    named = set(run.scored) | {f"{family}@k" for family in tables.recall_families(run)}
    rows = tuple((name, meaning) for name, meaning in GLOSSARY.items() if name in named)
    note = (
        "Intervals: Wilson's for scores that are 0 or 1, else a bootstrap over whole conversations, whose questions "
        "share one memory bank."
    )
    return Table("What the metrics mean", ("metric", "meaning"), rows, note)


def _doubts(run: Run) -> Iterator[str]:
    manifest = run.manifest
    if (manifest.get("data") or {}).get("modified") and not manifest.get("notes"):
        yield "The data file is not the published one: these numbers compare with nobody's."
    if manifest.get("limit"):
        yield f"Limited to {manifest['limit']} questions: for testing only."
    if manifest.get("conversations"):
        yield f"Only {', '.join(manifest['conversations'])}: for testing only."
    rules = [role for role, model in (manifest.get("models") or {}).items() if model == "rules"]
    if rules:
        yield f"{', '.join(rules).capitalize()}: rules, a baseline without any model; a model is expected to beat it."
    failed = sum(result.error is not None for result in run.results)
    if failed:
        yield f"{failed:,} answers failed; they count in no mean. Run the same command with --only-failed."


def _judge(manifest: Mapping[str, Any]) -> str:
    judge = manifest.get("judge") or {}
    return f"{judge.get('id', '')} ({judge.get('kind', '')})" if judge else ""


def _description(about: Mapping[str, Any]) -> str:
    model = f"; model {about['model']}" if about.get("model") else ""
    return f"{about.get('description', '')}{model}"


def _pairs(values: Mapping[str, Any] | None) -> str:
    return ", ".join(f"{name} {value}" for name, value in (values or {}).items())


def _labels(run: Run, paper: str | None) -> Mapping[str, str]:
    return benchmark(str(run.manifest["benchmark"])).paper_labels.get(paper, {}) if paper else {}


def _present(*found: Table | None) -> tuple[Table, ...]:
    return tuple(table for table in found if table is not None)
