"""How well and how fast the ranking finds the evidence of LoCoMo's questions among the turns.

    python benchmarks/retrieval.py PATH/TO/locomo10.json              # the tables
    python benchmarks/retrieval.py PATH/TO/locomo10.json --tune 300   # random search, on the training chats only

Recall is the mean share of a question's evidence turns among the first k memories, each turn being one memory;
categories 1 to 4, questions with evidence. Weights are tuned on conv-26 and conv-30; the other eight are for reporting.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from measure import Measure, p50, seconds

from langgraph_memory_r1.evals import locomo
from langgraph_memory_r1.evals.retrieval_only import CUTS, PLAIN_BM25, memory_of
from langgraph_memory_r1.retrieval import Index, Weights
from langgraph_memory_r1.schemas import Conversation, Question

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "locomo" / "locomo10.json"
"""Where LoCoMo lies beside a checkout; it may not be redistributed."""
LARGE = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="LoCoMo's own locomo10.json")
    parser.add_argument("--tune", type=int, default=0, metavar="N", help="try so many random weights")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chats = locomo.load(options.data)
    train = [chat for chat in chats if chat.id in locomo.TRAIN]
    if options.tune:
        tune(train, options.tune, random.Random(options.seed))
        return
    for name, weights in (("BM25 alone", PLAIN_BM25), ("default ranking", Weights())):
        report(f"{name}, training chats", train, weights)
        report(f"{name}, test chats", [chat for chat in chats if chat.id not in locomo.TRAIN], weights)
    speed(chats)


def report(name: str, chats: Sequence[Conversation], weights: Weights) -> None:
    started = time.perf_counter()
    recalls = recall(chats, weights)
    cells = "  ".join(f"@{cut} {100 * value:4.1f}" for cut, value in zip(CUTS, recalls, strict=True))
    print(f"{name:32} {cells}   {time.perf_counter() - started:5.2f} s")


def recall(chats: Sequence[Conversation], weights: Weights) -> list[float]:
    """Mean evidence recall at each cut."""
    rows = [row for chat in chats for row in _rows(chat, weights)]
    return [statistics.fmean(column) for column in zip(*rows, strict=True)]


def asked(chat: Conversation) -> list[Question]:
    return [question for question in chat.questions if question.evidence and question.category != "adversarial"]


def _rows(chat: Conversation, weights: Weights) -> list[list[float]]:
    index = Index(map(memory_of, chat.turns), weights=weights)
    rows = []
    for question in asked(chat):
        found = [hit.memory.id for hit in index.rank(question.text, k=max(CUTS))]
        rows.append([statistics.fmean(turn in found[:cut] for turn in question.evidence) for cut in CUTS])
    return rows


def tune(train: Sequence[Conversation], trials: int, chance: random.Random) -> None:
    """Print each set of weights that beats those before it, by the sum of all recalls."""
    best = -1.0
    for weights in (Weights(), *(_draw(chance) for _ in range(trials))):
        recalls = recall(train, weights)
        if sum(recalls) > best:
            best = sum(recalls)
            print(f"{best:.4f}", " ".join(f"{100 * value:.1f}" for value in recalls), weights, flush=True)


def _draw(chance: random.Random) -> Weights:
    def fading(first: float, factor: float) -> tuple[float, ...]:
        return tuple(round(first * factor**step, 2) for step in range(chance.randint(2, 5)))

    return replace(
        Weights(),
        k1=round(chance.uniform(0.8, 2.0), 1),
        b=round(chance.uniform(0.3, 0.7), 1),
        earlier=fading(chance.uniform(0.3, 0.9), chance.uniform(0.4, 0.8)),
        later=fading(chance.uniform(0.2, 0.7), chance.uniform(0.4, 0.8)),
        session=round(chance.uniform(0.1, 0.8), 1),
        speaker=round(chance.uniform(0.2, 0.6), 1),
    )


BARE = """
import sys
import numpy as np
from rank_bm25 import BM25Okapi
from langgraph_memory_r1.evals.benchmark import benchmark

for chat in benchmark("locomo").load(sys.argv[1], "full").conversations:
    index = BM25Okapi([f"{turn.speaker}: {turn.text}".lower().split() for turn in chat.turns])
    for question in chat.questions:
        np.argsort(index.get_scores(question.text.lower().split()))[::-1][:60]
"""


def retrieval_measures(folder: Path) -> Iterator[Measure]:
    """The whole command, which ranks in two ways and writes a report, against rank_bm25 over the same turns."""
    if find_spec("rank_bm25") is None or not DATA.exists():
        print(f"retrieval is left out: it needs the package rank-bm25 and {DATA}", file=sys.stderr)
        return
    memory_r1 = str(Path(sysconfig.get_path("scripts")) / "memory-r1")
    data = ["--data", str(DATA), "--split", "full", "--out", str(folder)]
    ours = partial(
        subprocess.run, [memory_r1, "eval", "locomo", "--retrieval-only", *data], check=True, capture_output=True
    )
    bare = partial(subprocess.run, [sys.executable, "-c", BARE, str(DATA)], check=True)
    times = [(seconds(ours), seconds(bare)) for _ in range(5)]
    yield Measure("retrieval_run_vs_rank_bm25", p50([mine for mine, _ in times]), p50([other for _, other in times]), 2)


MEASURES = {"retrieval": retrieval_measures}


def speed(chats: Sequence[Conversation]) -> None:
    """Time the operations on a large index made of all turns."""
    turns = islice(cycle(turn for chat in chats for turn in chat.turns), LARGE)
    memories = [
        replace(memory_of(turn), id=str(number), session=str(number // 20)) for number, turn in enumerate(turns)
    ]
    queries = [question.text for chat in chats for question in chat.questions][:300]
    started = time.perf_counter()
    index = Index(memories)
    print(f"{LARGE:,} memories put in {time.perf_counter() - started:.2f} s")
    vectors = np.random.default_rng(0).normal(size=(LARGE, 384)).astype(np.float32)
    dense = Index()
    for each, vector in zip(memories, vectors, strict=True):
        dense.put(each, vector)

    def changed(step: int, query: str) -> None:
        twin = index.fork()
        twin.put(memories[step])
        twin.discard(memories[-1].id)
        twin.rank(query)

    _time("rank", [partial(index.rank, query) for query in queries])
    pairs = zip(queries, vectors, strict=False)
    _time("rank with vectors", [partial(dense.rank, query, vector=vector) for query, vector in pairs])
    _time("fork", [index.fork for _ in queries])
    _time("fork, put, discard, rank", [partial(changed, step, query) for step, query in enumerate(queries)])


def _time(name: str, calls: Sequence[Callable[[], object]]) -> None:
    times = []
    for call in calls:
        started = time.perf_counter()
        call()
        times.append(1_000 * (time.perf_counter() - started))
    print(f"{name:32} p50 {statistics.median(times):.3f} ms, p95 {statistics.quantiles(times, n=20)[-1]:.3f} ms")


if __name__ == "__main__":
    main()
