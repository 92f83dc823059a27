"""`memory-r1 eval BENCHMARK --retrieval-only`: how much evidence is found, without asking any model."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langgraph_memory_r1.cli.eval.dataset import WantedData, about, material
from langgraph_memory_r1.cli.eval.tables import show_run
from langgraph_memory_r1.cli.output import counted
from langgraph_memory_r1.cli.progress import progress
from langgraph_memory_r1.errors import InputError

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

    from langgraph_memory_r1.evals.benchmark import Dataset
    from langgraph_memory_r1.schemas import Memory

    Banks = Mapping[str, Mapping[str, tuple[Memory, ...]]]

FOLDER = "retrieval"
"""Inside a run's folder, so that answers that are there stay."""


def run_retrieval(wanted: WantedData, embedder: str | None) -> None:
    """Rank the turns, and the memories that an earlier run left in the folder; write a report of its own, show it."""
    from langgraph_memory_r1.evals.report import read_run, write_report
    from langgraph_memory_r1.evals.retrieval_only import retrieve
    from langgraph_memory_r1.evals.run_folder import RunFolder

    embedder = None if embedder == "none" else embedder
    start, found = time.perf_counter(), material(wanted)
    folder, banks = RunFolder(found.folder.path / FOLDER), _banks(found.folder.path)
    questions = sum(len(each.questions) for each in found.dataset.conversations)
    with (
        _embeddings(embedder, found.folder.path) as embeddings,
        progress(_rankings(found.dataset, embeddings, banks), "rankings", shown=not wanted.as_data) as advance,
    ):
        ranked = retrieve(found.dataset, embeddings=embeddings, banks=banks, on_question=lambda name: advance(1, name))
        folder.write_lines("results.jsonl", ranked)
    folder.write_manifest(about(wanted, found) | _configuration(embedder, banks))
    run = read_run(folder.path)
    write_report(run, paper_labels=wanted.paper_labels)
    took = f"{counted(questions, 'question')} in {time.perf_counter() - start:.1f} s."
    show_run(run, took, as_data=wanted.as_data)


def _rankings(dataset: Dataset, embeddings: Embeddings | None, banks: Banks) -> int:
    """How often something will be ranked."""
    of_turns = 2 if embeddings is None else 4
    return sum(
        len(each.questions) * (of_turns + sum(each.id in memories for memories in banks.values()))
        for each in dataset.conversations
    )


@contextmanager
def _embeddings(spec: str | None, out: Path) -> Iterator[Embeddings | None]:
    """An embedding model whose vectors are kept with the run, so that the same command is quick the next time."""
    if spec is None:
        yield None
        return
    from langgraph_memory_r1.evals.call_cache import CallCache
    from langgraph_memory_r1.evals.model_loader import ModelLoader

    with closing(CallCache(out / "calls.sqlite")) as calls:
        yield ModelLoader(calls).embedder(spec)


def _banks(out: Path) -> Banks:
    """What systems remembered in an earlier run in this folder: system → conversation → memories."""
    lines = out / "banks.jsonl"
    found: dict[str, dict[str, tuple[Memory, ...]]] = {}
    if not lines.exists():
        return found
    for line in map(json.loads, lines.read_text("utf-8").splitlines()):
        if line.get("file"):
            found.setdefault(line["system"], {})[line["conversation"]] = _memories(out / line["file"])
    return found


def _memories(path: Path) -> tuple[Memory, ...]:
    from pydantic import TypeAdapter, ValidationError

    from langgraph_memory_r1.schemas import Memory

    try:
        return TypeAdapter(tuple[Memory, ...]).validate_python(json.loads(path.read_bytes())["memories"])
    except (OSError, ValueError, KeyError, ValidationError) as error:
        raise InputError(f"{path} cannot be read as a bank of the run; run the evaluation again") from error


def _configuration(embedder: str | None, banks: Banks) -> dict[str, Any]:
    from langgraph_memory_r1.evals.retrieval_only import DESCRIPTIONS

    shown = [name for name in DESCRIPTIONS if embedder or name not in ("dense", "hybrid")]
    systems = {name: {"description": DESCRIPTIONS[name], "baseline": True} for name in shown}
    systems |= {name: {"description": f"memories of {name}, ranked by this library"} for name in banks}
    return {"systems": systems, "embedder": embedder, "retrieval_only": True, "official_metric": "recall@10"}
