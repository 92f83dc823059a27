"""Only completions are scored: without Triton, TRL scores every token of the prompts too, and then drops that.

On a CPU this was most of what a step of a small model took.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from trl.trainer import utils


@contextmanager
def completions_only() -> Iterator[None]:
    """Until its end, TRL's head leaves out the tokens that no label asks for, as it does where there is Triton."""
    known = vars(utils).get("_use_triton")  # older TRL has no such head
    if known is None:
        yield
        return
    utils._use_triton = lambda device: True
    try:
        yield
    finally:
        utils._use_triton = known
