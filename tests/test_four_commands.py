"""The four commands of the manual, as they stand in docs/training.md: from a recorded chat to a served adapter."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("trl", reason="the extra `train` is not installed")

import torch

from langgraph_memory_r1.models import read_manifest
from support.tiny_model import tiny_base, tiny_tokenizer

pytestmark = pytest.mark.slow  # TRL alone takes seconds to load, and is loaded twice

ROOT = Path(__file__).resolve().parents[1]
MANUAL = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^```bash\n(.*?)^```$", MANUAL, re.MULTILINE | re.DOTALL)
TALK = """I adopted a dog called Buddy.
I moved to Denver.
My sister Clara lives in Oslo.
What is the dog called?
Where do I live?
I adopted another dog, Scout!
How many dogs do I have?
Where does Clara live?
I play the cello.
What do I play?
"""
RIGHT = ["", "Denver", "2", "-", "the cello"]
TYPED = {"chat": TALK, "traces label": "\n".join(RIGHT) + "\n"}


def base(folder: Path) -> Path:
    """A random model that comes to an end: else every one of its replies would be as long as it may be."""
    tokenizer = tiny_tokenizer()
    model = tiny_base(tokenizer)
    with torch.no_grad():
        model.model.embed_tokens.weight[:, 0] = 1.0  # which every layer hands on
        model.lm_head.weight[tokenizer.eos_token_id, 0] = 0.5
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def commands() -> list[str]:
    (block,) = COMMANDS
    return block.splitlines()


def test_from_a_recorded_chat_to_a_served_adapter(tmp_path: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MEMORY_R1_")}
    environment = clean | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT),
        "BASE": str(base(tmp_path / "base")), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    printed = []
    for line in commands():
        typed = next((text for name, text in TYPED.items() if line.startswith(f"memory-r1 {name} ")), "")
        done = subprocess.run(
            ["bash", "-c", line], cwd=tmp_path, env=environment, input=typed, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        printed.append(done.stdout)
    recorded, labelled, trained, asked = printed
    assert "User adopted another dog, Scout!" in recorded
    assert labelled.endswith("4 questions labelled; 4 of 5 have feedback.\n")
    run = tmp_path / "runs" / "traces"
    for role, place, rows in (("answer", "1-answer", 3), ("manage", "2-manage", 3)):
        assert role in trained and read_manifest(run / "adapters" / role).role == role
        told = json.loads((run / place / "done.json").read_text())
        assert (told["rows"], told["score"] is not None, told["steps"] > 0) == (rows, True, True)
        assert "- one episode, split by time" in (run / place / "data.md").read_text()
    assert f"memories used, hf:{tmp_path / 'base'}+answer" in asked
