"""All benchmarks of speed and size: prints one line each and writes `benchmarks/latest.json`.

    python benchmarks/run.py                  # all of them, some minutes
    python benchmarks/run.py turn fork start  # some of them

A line is `NAME ratio=… limit=…`: what was measured over a reference measured in the same run, and the largest ratio
that is still good (a floor such as "at least 3,000 per second" is turned round into seconds each). Times on a busy
machine are noise; the ratios hold.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import agents
import growth
import retrieval
import store
import training
from measure import Measure, p50, seconds

LATEST = Path(__file__).with_name("latest.json")
HEAVY = ("torch", "lancedb")


def start_measures(_: Path) -> Iterator[Measure]:
    """What importing the package loads, and how soon the command line is there."""
    program = f"import sys, langgraph_memory_r1; print(sum(name in sys.modules for name in {HEAVY!r}))"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    yield Measure("import_loads_heavy_packages", int(loaded), 1, 0)
    command = [str(Path(sysconfig.get_path("scripts")) / "memory-r1"), "--help"]
    bare = [sys.executable, "-c", "import typer, rich"]
    ours, reference = [], []
    for _ in range(7):
        ours.append(seconds(lambda: subprocess.run(command, check=True, capture_output=True)))
        reference.append(seconds(lambda: subprocess.run(bare, check=True, capture_output=True)))
    yield Measure("help_vs_bare_imports", p50(ours), p50(reference), 2)


MEASURES = {
    **growth.MEASURES,
    **store.MEASURES,
    **agents.MEASURES,
    **retrieval.MEASURES,
    **training.MEASURES,
    "start": start_measures,
}
"""Growth comes first, because it looks at this process's memory."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(MEASURES)}; all by default")
    names = parser.parse_args().names or list(MEASURES)
    if unknown := set(names) - set(MEASURES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(MEASURES)}")
    latest = json.loads(LATEST.read_text()) if LATEST.exists() else {}
    for name in names:
        with tempfile.TemporaryDirectory(prefix="memory-r1-bench-") as folder:
            for measure in MEASURES[name](Path(folder)):
                print(measure.line(), flush=True)
                latest[measure.name] = {
                    "value": measure.value,
                    "reference": measure.reference,
                    "ratio": measure.ratio,
                    "limit": measure.limit,
                }
                LATEST.write_text(json.dumps(latest, indent=2) + "\n")


if __name__ == "__main__":
    main()
