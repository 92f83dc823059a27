"""`memory-r1 eval BENCHMARK --retrieval-only`: how much evidence is found, without asking any model."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langgraph_memory_r1.cli.eval.benchmark_run import RunOptions
from langgraph_memory_r1.cli.eval.dataset import load_data
from langgraph_memory_r1.cli.eval.tables import show_run
from langgraph_memory_r1.cli.output import counted
from langgraph_memory_r1.cli.progress import progress
from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.jsonl import read_lines

if TYPE_CHECKING:
    from langgraph_memory_r1.schemas import Memory

    Banks = Mapping[str, Mapping[str, tuple[Memory, ...]]]

FOLDER = "retrieval"
"""Inside a run's folder, so that answers that are there stay."""


def run_retrieval(options: RunOptions) -> None:
    """Rank the turns, and the memories that an earlier run left in the folder; write a report of its own, show it."""
    from langgraph_memory_r1.evals.call_cache import CallCache
    from langgraph_memory_r1.evals.model_loader import ModelLoader
    from langgraph_memory_r1.evals.report import read_run, write_report
    from langgraph_memory_r1.evals.retrieval_only import DESCRIPTIONS, retrieve
    from langgraph_memory_r1.evals.run_folder import RunFolder

    embedder = None if options.embedder == "none" else options.embedder
    start, data = time.perf_counter(), load_data(options)
    path = data.folder.path
    folder, banks = RunFolder(path / FOLDER), _read_banks(path)
    rankers = [name for name in DESCRIPTIONS if embedder or name not in ("dense", "hybrid")]
    conversations = data.dataset.conversations
    rankings = sum(
        len(each.questions) * (len(rankers) + sum(each.id in memories for memories in banks.values()))
        for each in conversations
    )
    # Vectors are kept with the run, so that the same command is quick the next time.
    with (
        closing(CallCache(path / "calls.sqlite")) if embedder else nullcontext() as calls,
        progress(rankings, "rankings", shown=not options.as_data) as advance,
    ):
        embeddings = ModelLoader(calls).embedder(embedder) if calls else None
        ranked = retrieve(data.dataset, embeddings=embeddings, banks=banks, on_question=lambda name: advance(1, name))
        folder.write_lines("results.jsonl", ranked)
    systems: dict[str, Any] = {name: {"description": DESCRIPTIONS[name], "baseline": True} for name in rankers}
    systems |= {name: {"description": f"memories of {name}, ranked by this library"} for name in banks}
    settings = {"systems": systems, "embedder": embedder, "retrieval_only": True, "official_metric": "recall@10"}
    folder.write_manifest(data.describe(options) | settings)
    run = read_run(folder.path)
    write_report(run, paper_labels=options.paper_labels)
    questions = sum(len(each.questions) for each in conversations)
    took = f"{counted(questions, 'question')} in {time.perf_counter() - start:.1f} s."
    show_run(run, took, as_data=options.as_data)


def _read_banks(run: Path) -> Banks:
    """Read what systems remembered in an earlier run in this folder: system → conversation → memories."""
    from pydantic import TypeAdapter, ValidationError

    from langgraph_memory_r1.schemas import Memory

    banks: dict[str, dict[str, tuple[Memory, ...]]] = {}
    index = run / "banks.jsonl"
    for _, line in read_lines(index, "banks") if index.exists() else ():
        row = json.loads(line)
        if not row.get("file"):
            continue
        path = run / row["file"]
        try:
            memories = TypeAdapter(tuple[Memory, ...]).validate_python(json.loads(path.read_bytes())["memories"])
        except (OSError, ValueError, KeyError, ValidationError) as error:
            raise InputError(f"{path} cannot be read as a bank of the run; run the evaluation again") from error
        banks.setdefault(row["system"], {})[row["conversation"]] = memories
    return banks
