"""What a base can do, apart from what it chooses: `python -m langgraph_memory_r1.train.tiny.skills FOLDER`.

Every kind of case is shown with the right reply, token by token. `right` is the probability of the whole reply, which
an untrained agent keeps low; `id`, `text` and `selected` say how often the number, the copied names and the selection
would be right once the agent has decided to do the right thing: these have to be near 1 before anything is trained.
"""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from statistics import mean
from typing import Any

from langgraph_memory_r1.train.tiny.demonstrations import Demonstration, demonstrations
from langgraph_memory_r1.train.tiny.pretrain import encode

Skills = dict[str, dict[str, float]]
_BATCH = 50


def skills(model: Any, tokenizer: Any, *, count: int = 1000, seed: int = 77) -> Skills:
    """Skills by kind of case, on names and phrasings of the validation split."""
    cases = sorted(islice(demonstrations(seed, "validation"), count), key=lambda case: len(str(case.given)))
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for start in range(0, len(cases), _BATCH):
        for case, tokens, scores, best in _forced(model, tokenizer, cases[start : start + _BATCH]):
            for name, value in _measured(case, tokens, scores, best):
                found[case.kind][name].append(value)
    return {kind: {name: mean(values) for name, values in named.items()} for kind, named in sorted(found.items())}


def _forced(
    model: Any, tokenizer: Any, cases: Sequence[Demonstration]
) -> Iterator[tuple[Demonstration, list[str], list[float], list[bool]]]:
    """The tokens of the right replies, their log-probabilities, and whether they were the most probable ones."""
    import torch

    pairs = [encode(tokenizer, replace(case, reply=case.right)) for case in cases]
    longest = max(len(prompt) + len(reply) for prompt, reply in pairs)
    ids = torch.tensor([[*p, *r, *[tokenizer.pad_token_id] * (longest - len(p) - len(r))] for p, r in pairs])
    with torch.inference_mode():
        scores = model(input_ids=ids).logits.float().log_softmax(-1)
    for case, (prompt, reply), row in zip(cases, pairs, scores, strict=True):
        said = row[len(prompt) - 1 : len(prompt) + len(reply) - 1]
        wanted = torch.tensor(reply)
        chosen = said.gather(1, wanted[:, None])[:, 0].tolist()
        yield case, [tokenizer.decode([token]) for token in reply], chosen, (said.argmax(-1) == wanted).tolist()


def _measured(
    case: Demonstration, tokens: list[str], scores: list[float], best: list[bool]
) -> Iterator[tuple[str, float]]:
    yield "right", math.exp(sum(scores))
    yield "greedy", float(all(best))
    if ',"id":' in tokens:
        yield "id", float(best[tokens.index(',"id":') + 1])
    if case.kind == "new" and ',"text":"' in tokens:
        yield "text", float(all(best[tokens.index(',"text":"') + 1 :]))
    if case.kind == "additive" and " and " in tokens:
        yield "text", float(all(best[tokens.index(" and ") - 1 :]))
    if '],"answer":"' in tokens and case.kind != "nothing":
        end = tokens.index('],"answer":"')
        yield "selected", float(all(best[1:end]))
        yield "text", float(all(best[end + 2 :]))


def main(folder: str) -> None:
    """Print a table."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    columns = ("right", "greedy", "id", "text", "selected")
    print(f"{'':12}" + "".join(f"{name:>10}" for name in columns))  # noqa: T201
    for kind, named in skills(model, AutoTokenizer.from_pretrained(folder)).items():
        cells = (f"{named[name]:10.3f}" if name in named else f"{'':10}" for name in columns)
        print(f"{kind:12}" + "".join(cells))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1])
