"""What a base can do, apart from what it chooses: `python -m langgraph_memory_r1.train.tiny.skills FOLDER`.

Every kind of case is shown with the right reply, token by token. `right` is the probability of the whole reply, which
an untrained agent keeps low; `id`, `text` and `selected` say how often the number, the copied names and the selection
would be right once the agent has decided to do the right thing: these have to be near 1 before anything is trained.
"""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from dataclasses import replace
from itertools import islice
from statistics import mean
from typing import Any

from langgraph_memory_r1.train.tiny.demonstrations import demonstrations
from langgraph_memory_r1.train.tiny.pretrain import encode

Skills = dict[str, dict[str, float]]
_BATCH = 50


def skills(model: Any, tokenizer: Any, *, count: int = 1000, seed: int = 77) -> Skills:
    """Return skills by kind of case, on names and phrasings of the validation split."""
    import torch

    # By length, so that the cases of a batch need little padding.
    cases = sorted(islice(demonstrations(seed, "validation"), count), key=lambda case: len(str(case.role_input)))
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for start in range(0, len(cases), _BATCH):
        batch = cases[start : start + _BATCH]
        pairs = [encode(tokenizer, replace(case, reply=case.right)) for case in batch]
        longest = max(len(prompt) + len(reply) for prompt, reply in pairs)
        ids = torch.tensor([[*p, *r, *[tokenizer.pad_token_id] * (longest - len(p) - len(r))] for p, r in pairs])
        with torch.inference_mode():
            logps = model(input_ids=ids).logits.float().log_softmax(-1)  # (B, T, vocabulary)
        for case, (prompt, reply), row in zip(batch, pairs, logps, strict=True):
            replied = row[len(prompt) - 1 : len(prompt) + len(reply) - 1]
            right = torch.tensor(reply)
            chosen, best = replied.gather(1, right[:, None])[:, 0].tolist(), (replied.argmax(-1) == right).tolist()
            tokens = [tokenizer.decode([token]) for token in reply]
            seen = values[case.kind]
            seen["right"].append(math.exp(sum(chosen)))
            seen["greedy"].append(float(all(best)))
            if ',"id":' in tokens:
                seen["id"].append(float(best[tokens.index(',"id":') + 1]))
            if case.kind == "new" and ',"text":"' in tokens:
                seen["text"].append(float(all(best[tokens.index(',"text":"') + 1 :])))
            if case.kind == "additive" and " and " in tokens:
                seen["text"].append(float(all(best[tokens.index(" and ") - 1 :])))
            if '],"answer":"' in tokens and case.kind != "nothing":
                end = tokens.index('],"answer":"')
                seen["selected"].append(float(all(best[1:end])))
                seen["text"].append(float(all(best[end + 2 :])))
    return {kind: {name: mean(each) for name, each in named.items()} for kind, named in sorted(values.items())}


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
