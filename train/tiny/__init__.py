"""The tiny base: a transformer of two million parameters that behaves as an untrained memory agent does.

    habits.py          what an untrained agent does, and how often
    demonstrations.py  prompts with its replies, from PersonaWorld's part `base`
    tokens.py          the tokenizer
    pretrain.py        the weights: python -m langgraph_memory_r1.train.tiny.pretrain FOLDER
    skills.py          what it can do, apart from what it chooses
    base/              what that made: load_chat_model(f"hf:{BASE}")

It can read the compact prompts of its two roles and write every operation and every answer without a slip; what it
does badly is to choose among them. That is what reinforcement learning is for, and what the proof on a laptop shows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

BASE: Final = Path(__file__).parent / "base"
"""The folder of the weights and the tokenizer."""
