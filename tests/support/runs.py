"""Small run folders, as `memory-r1 eval` writes them, for the tests of reports."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

Line = dict[str, Any]

MANIFEST: Line = {
    "benchmark": "locomo",
    "split": "test",
    "title": "LoCoMo",
    "licence": {"name": "CC BY-NC 4.0", "url": "https://example.org/licence", "note": "Non-commercial use only."},
    "official_metric": "f1_locomo",
    "categories": ["single-hop", "multi-hop", "temporal", "open-domain"],
    "systems": {"memory-r1": {"description": "ours"}, "bm25": {"description": "turns", "baseline": True}},
    "models": {"answerer": "openai:gpt-4o-mini"},
    "judge": None,
    "k": 60,
    "data": {"path": "locomo10.json", "sha256": "79fa", "modified": False},
    "notes": [],
}


def memory(number: int, *source: str, hit: bool = False, text: str = "") -> Line:
    """A retrieved memory."""
    return {"text": text or f"memory {number}", "speaker": "Ann", "at": None, "source": list(source), "hit": hit}


def result(system: str, question: str, score: float | None, /, **changes: Any) -> Line:
    """What a system made of a question ("c1/3" is the fourth of conversation c1)."""
    line: Line = {
        "benchmark": "locomo",
        "split": "test",
        "system": system,
        "conversation": question.partition("/")[0],
        "question_id": question,
        "category": "single-hop",
        "question": f"What about {question}?",
        "gold": "a dog",
        "evidence": ["D1:1"],
        "evidence_text": ["Ann: I have a dog."],
        "answer": None if score is None else f"{system} says {score}",
        "error": None,
        "selected": [],
        "retrieved": [memory(1, "D1:1", hit=True), memory(2, "D1:2")],
        "scores": {"f1_locomo": score, "em": None if score is None else float(score == 1), "recall@1": 1.0},
        "tokens": {"input": 120, "output": 3, "context": 100},
    }
    return {**line, **changes}


def write_run(folder: Path, results: Iterable[Line], **parts: Any) -> Path:
    """A run folder; `parts` are changes of the manifest, and lines of the other files by their name."""
    folder.mkdir(parents=True, exist_ok=True)
    others = {name: parts.pop(name, ()) for name in ("banks", "costs", "curve")}
    (folder / "manifest.json").write_text(json.dumps({**MANIFEST, **parts}), "utf-8")
    for name, lines in {"results": results, **others}.items():
        write_lines(folder / f"{name}.jsonl", lines)
    return folder


def write_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """A JSONL file."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
