"""What was run, on what, and what a reader must know before the numbers: the manifest in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langgraph_memory_r1.evals.report.means import ENOUGH
from langgraph_memory_r1.evals.report.result_tables import Table, recall_families
from langgraph_memory_r1.evals.report.results import BenchmarkRun

__all__ = ["GLOSSARY", "glossary", "licence_of", "overview", "settings", "title_of", "warnings_of"]

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


def title_of(run: BenchmarkRun) -> str:
    """Return what was evaluated, in a line."""
    return f"{run.manifest.get('title', run.manifest.get('benchmark', 'Evaluation'))}, {run.manifest.get('split', '')}"


def overview(run: BenchmarkRun) -> tuple[str, ...]:
    """Return the facts under the title, short."""
    manifest, count = run.manifest, len(run.questions)
    whole = manifest.get("full_split_questions") or count
    asked = f"{count:,} of {whole:,} questions" if whole != count else _counted(count, "question")
    facts = (
        asked,
        _counted(len({result.conversation for result in run.results}), "conversation"),
        _counted(len(run.systems), "system"),
        f"judge {_judge(manifest)}" if manifest.get("judge") else "no judge",
        f"k {manifest['k']}" if manifest.get("k") else "",
        str(manifest.get("started") or "")[:10],
    )
    return tuple(fact for fact in facts if fact)


def warnings_of(run: BenchmarkRun) -> tuple[str, ...]:
    """Return what a reader must know before the numbers, a sentence each."""
    manifest = run.manifest
    notes = [str(note) for note in manifest.get("notes") or ()]
    warnings = []
    if (manifest.get("data") or {}).get("modified") and not notes:
        warnings.append("The data file is not the published one: these numbers compare with nobody's.")
    if manifest.get("limit"):
        warnings.append(f"Limited to {_counted(manifest['limit'], 'question')} (--limit): for testing only.")
    if manifest.get("conversations"):
        warnings.append(f"Only {', '.join(manifest['conversations'])}: for testing only.")
    if rules := [role for role, model in (manifest.get("models") or {}).items() if model == "rules"]:
        warnings.append(f"{', '.join(rules).capitalize()}: rules, a baseline without any model, for models to beat.")
    if failed := sum(result.error is not None for result in run.results):
        counted = _counted(failed, "answer")
        warnings.append(f"{counted} failed and count in no mean; run the same command with --only-failed.")
    return (*warnings, *(f"{note[:1].upper()}{note[1:]}" for note in notes))


def licence_of(run: BenchmarkRun) -> str:
    """Return whose the data are."""
    licence = run.manifest.get("licence") or {}
    name, url, note = (licence.get(key, "") for key in ("name", "url", "note"))
    terms = f"{name or 'not named'} ({url})" if url else name or "not named"
    return f"Data: {run.manifest.get('title', 'the benchmark')}, licence {terms}. {note}".strip()


def settings(run: BenchmarkRun) -> Table:
    """Return the manifest as a table, as far as a person wants to read it."""
    manifest = run.manifest
    systems = manifest.get("systems")
    described = {}
    if isinstance(systems, Mapping):
        for name, about in systems.items():
            model = f"; model {about['model']}" if about.get("model") else ""
            described[f"system {name}"] = f"{about.get('description', '')}{model}"
    rows = [
        ("command", manifest.get("command")),
        *described.items(),
        *((manifest.get("models") or {}).items()),
        *((f"{role} adapter", path) for role, path in (manifest.get("adapters") or {}).items()),
        ("judge", _judge(manifest)),
        *((name, manifest.get(name)) for name in ("embedder", "k", "style", "temperature", "prompt_version")),
        ("data sha256", (manifest.get("data") or {}).get("sha256")),
        ("audit", manifest.get("audit")),
        ("passed over in the data", _pairs(manifest.get("skipped"))),
        *((name, manifest.get(name)) for name in ("git_commit", "started")),
        ("versions", _pairs(manifest.get("versions"))),
        ("tokens", "estimated, the same way for all systems" if manifest.get("tokens_estimated") else None),
    ]
    shown = tuple((str(name).replace("_", " "), str(value)) for name, value in rows if value)
    return Table("Settings", ("setting", "value"), shown)


def glossary(run: BenchmarkRun) -> Table:
    """Return the metrics of this run, explained."""
    named = set(run.scored) | {f"{family}@k" for family in recall_families(run)}
    rows = tuple((name, meaning) for name, meaning in GLOSSARY.items() if name in named)
    note = (
        "Intervals: Wilson's for scores that are 0 or 1, else a bootstrap over whole conversations, whose questions "
        f"share one memory bank (with fewer than {ENOUGH} conversations no shorter than one over questions)."
    )
    return Table("What the metrics mean", ("metric", "meaning"), rows, note)


def _judge(manifest: Mapping[str, Any]) -> str:
    judge = manifest.get("judge") or {}
    return f"{judge.get('id', '')} ({judge.get('kind', '')})" if judge else ""


def _pairs(values: Mapping[str, Any] | None) -> str:
    return ", ".join(f"{name} {value}" for name, value in (values or {}).items())


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
