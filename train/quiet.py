"""What the libraries under the trainer say by themselves, and nobody can do anything about."""

from __future__ import annotations

import logging
import warnings


def quiet() -> None:
    """No bars of transformers and datasets across ours, no deprecations among the libraries; downloads are shown."""
    from datasets import disable_progress_bars
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, enable_progress_bars
    from transformers.utils.logging import disable_progress_bar

    downloads = not are_progress_bars_disabled()
    disable_progress_bars()
    disable_progress_bar()  # the hub's too
    if downloads:
        enable_progress_bars()
    # Of texts that are too long, which a stage refuses itself, and with what to do about it.
    logging.getLogger("transformers.tokenization_utils_base").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(peft|transformers|trl)\b")
