"""What can be said of a base without having it: how many tokens a text makes, and how much memory training takes.

if not is_at_hand("Qwen/Qwen2.5-3B-Instruct"):
    SHAPES["Qwen/Qwen2.5-3B-Instruct"].parameters   # 3,085,938,688
"""

from __future__ import annotations

import socket
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

CHARACTERS = 4
"""Of English text in a token, roughly."""
_HUB_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class ModelShape:
    """A decoder with grouped-query attention and a gated MLP, in the words of its config.json."""

    layers: int
    hidden: int
    intermediate: int
    key_values: int
    """Width of the keys, and of the values."""
    vocabulary: int
    tied: bool = False
    biased: bool = True
    """Queries, keys and values have a bias."""

    @property
    def parameters(self) -> int:
        """How many weights it has."""
        linear = sum(rows * columns for rows, columns in self._linear())
        bias = self.hidden + 2 * self.key_values if self.biased else 0
        embeddings = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return self.layers * (linear + bias + 2 * self.hidden) + embeddings + self.hidden

    def adapter(self, rank: int) -> int:
        """Return how many weights a LoRA adapter on all its linear layers has."""
        return self.layers * rank * sum(rows + columns for rows, columns in self._linear())

    def _linear(self) -> list[tuple[int, int]]:
        square, narrow, wide = (self.hidden,) * 2, (self.hidden, self.key_values), (self.hidden, self.intermediate)
        return [square, narrow, narrow, square, wide, wide, wide]


SHAPES = {
    "Qwen/Qwen2.5-3B-Instruct": ModelShape(36, 2048, 11008, 256, 151936, tied=True),
    "Qwen/Qwen2.5-7B-Instruct": ModelShape(28, 3584, 18944, 512, 152064),
    "Qwen/Qwen2.5-14B-Instruct": ModelShape(48, 5120, 13824, 1024, 152064),
    "meta-llama/Llama-3.1-8B-Instruct": ModelShape(32, 4096, 14336, 1024, 128256, biased=False),
}
"""Of the paper's bases."""


def is_at_hand(base: str) -> bool:
    """Return whether a base lies here, or at least the hub can be asked for it."""
    from huggingface_hub import constants, try_to_load_from_cache

    if Path(base).exists() or base.count("/") != 1 or base.startswith((".", "/", "~")):
        return True  # a folder: where it is wrong, loading it says so
    if isinstance(try_to_load_from_cache(base, "config.json"), str):
        return True
    if constants.HF_HUB_OFFLINE:
        return False
    hub = urlsplit(constants.ENDPOINT)
    if urllib.request.getproxies().get(hub.scheme):
        return True
    try:  # the hub's own client tries for most of a minute
        socket.create_connection((hub.hostname or "", hub.port or 443), _HUB_SECONDS).close()
    except OSError:
        return False
    return True
