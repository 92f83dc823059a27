"""The models of a run: one base, and on it an adapter for each role that is trained; or all weights, a model a role.

actors = load_actors(recipe, "manage", {"answer": "run/adapters/answer"})
actors.answer.reply(prompts); actors.save("run/adapters/manage")
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.models import check_adapter
from langgraph_memory_r1.train.models import BASE, LocalPolicy
from langgraph_memory_r1.train.quiet import quiet
from langgraph_memory_r1.train.recipe import Lora, Recipe, TrainedRole
from langgraph_memory_r1.train.sharded import weights


@dataclass(frozen=True, slots=True)
class Actors:
    """Who plays which role while one of them is trained."""

    model: Any
    """That is trained; in a run with adapters it wears that of the trained role."""
    tokenizer: Any
    manage: LocalPolicy
    answer: LocalPolicy
    trained: TrainedRole
    whole: bool
    """All weights are trained, not an adapter."""

    def policy(self, role: TrainedRole) -> LocalPolicy:
        """Who plays a role."""
        return self.manage if role == "manage" else self.answer

    def save(self, folder: str | os.PathLike[str]) -> None:
        """What is trained, as a folder that `hf:`, PEFT and vLLM load; it appears whole or not at all."""
        target, draft = Path(folder), Path(f"{folder}.part")
        shutil.rmtree(draft, ignore_errors=True)
        if self.whole:
            self.model.save_pretrained(draft, state_dict=weights(self.model))
            self.tokenizer.save_pretrained(draft)
        else:
            self.model.save_pretrained(draft, selected_adapters=[self.trained], state_dict=weights(self.model))
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        (draft if self.whole else draft / self.trained).replace(target)
        shutil.rmtree(draft, ignore_errors=True)


def load_actors(
    recipe: Recipe, trained: TrainedRole, folders: Mapping[str, str | os.PathLike[str]], *, begun: str = ""
) -> Actors:
    """The base with what was trained so far, and a new adapter for the role that is trained if it has none.

    Args:
        recipe: Which base, and how it is trained.
        trained: The role that is trained.
        folders: What earlier stages have trained: adapters, or whole models where there are none.
        begun: What every reply of the trained role begins with.

    Raises:
        InputError: The base cannot be loaded or has no chat template, or an adapter does not fit.
    """
    if recipe.lora is None:
        return _whole_models(recipe, trained, folders, begun)
    model, tokenizer = load_base(recipe.base)
    model = _with_adapters(model, recipe, trained, folders)
    playing = {
        role: LocalPolicy(model, tokenizer, adapter=role if role in {*folders, trained} else BASE,
                          max_tokens=recipe.max_tokens, begun=begun if role == trained else "")
        for role in ("manage", "answer")
    }  # fmt: skip
    return Actors(model, tokenizer, playing["manage"], playing["answer"], trained, whole=False)


def _whole_models(
    recipe: Recipe, trained: TrainedRole, folders: Mapping[str, str | os.PathLike[str]], begun: str
) -> Actors:
    loaded = {role: load_base(str(folders.get(role, recipe.base))) for role in ("manage", "answer")}
    playing = {
        role: LocalPolicy(*pair, max_tokens=recipe.max_tokens, begun=begun if role == trained else "")
        for role, pair in loaded.items()
    }
    return Actors(*loaded[trained], playing["manage"], playing["answer"], trained, whole=True)


def _with_adapters(
    model: Any, recipe: Recipe, trained: TrainedRole, folders: Mapping[str, str | os.PathLike[str]]
) -> Any:
    from peft import PeftModel

    found: Any = None
    roles: tuple[TrainedRole, ...] = ("manage", "answer")
    for role in roles:
        if role in folders:
            check_adapter(str(folders[role]), base=recipe.base, role=role)
            how = {"adapter_name": role, "is_trainable": role == trained}
            if found is None:
                found = PeftModel.from_pretrained(model, str(folders[role]), **how)
            else:
                found.load_adapter(str(folders[role]), **how)
        elif role == trained and recipe.lora is not None:
            config = lora_config(recipe.lora)
            if found is None:
                found = PeftModel(model, config, adapter_name=role)
            else:
                found.add_adapter(role, config)
    found.set_adapter(trained)
    return found


def load_base(base: str) -> tuple[Any, Any]:
    """Model and tokenizer.

    Raises:
        InputError: They cannot be loaded, or there is no chat template.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    quiet()
    cuda = torch.cuda.is_available()
    try:
        tokenizer = AutoTokenizer.from_pretrained(base)
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16 if cuda else torch.float32)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"The base {base!r} cannot be loaded; give a model's name or folder ({reason})") from error
    if not tokenizer.chat_template:
        raise InputError(f"The base {base!r} has no chat template; give a chat model, or a folder with one.")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model.to("cuda" if cuda else "cpu"), tokenizer


def lora_config(lora: Lora) -> Any:
    """PEFT's words for the adapter."""
    from peft import LoraConfig

    return LoraConfig(
        r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=lora.target_modules,
        task_type="CAUSAL_LM",
    )  # fmt: skip
