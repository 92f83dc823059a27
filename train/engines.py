"""Generation for the trainer by a vLLM server, over HTTP: the server keeps the base, the trainer sends its adapter.

    VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 vllm serve BASE --enable-lora --max-loras 4 --max-lora-rank 16 \
        --logprobs-mode processed_logprobs --generation-config vllm

    engine = VLLMServerEngine("http://localhost:8000", role="manage", folder="run/2-manage/published")
    trainer = NodeGRPOTrainer(model, tokenizer, rows, rewards, args, engine=engine)

Every step's adapter has a name and a folder of its own, `manage-3f9c2a71-v12`: under one name the server refuses a
second one, or answers from what it has cached of the first. So runs, the stages of a run, and a run that goes on after
a kill share a server without harm; of several processes the main one publishes for all. The server reads the folder
itself, so both must see one disk. vLLM is not imported here, and needs no place in the trainer's environment.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from langgraph_memory_r1.errors import InputError, ModelError
from langgraph_memory_r1.prompts import Role
from langgraph_memory_r1.train.models import LocalPolicy, has_adapters
from langgraph_memory_r1.train.sharded import weights

logger = logging.getLogger(__name__)


def new_run() -> str:
    """A name that no other run has."""
    return uuid4().hex[:8]


class BegunEngine:
    """Generates in this process, every reply from the same beginning on.

    The beginning is part of the completion. It teaches nothing: in a group it is the same, and advantages add up to 0.

    Args:
        policy: Of the trained role; its `begun` is the beginning.
    """

    def __init__(self, policy: LocalPolicy) -> None:
        self.policy = policy

    def publish(self, model: Any, step: int) -> None:
        """Nothing: the policy is the model that is trained."""

    def close(self) -> None:
        """Nothing."""

    def generate(
        self, prompts: Sequence[Sequence[int]], *, temperature: float, max_tokens: int
    ) -> tuple[list[list[int]], None]:
        """Completion tokens, one completion per prompt."""
        replies = self.policy.complete(prompts, temperature=temperature)
        return [list(reply.completion_ids) for reply in replies], None


class VLLMServerEngine:
    """An `Engine` of a vLLM server.

    Args:
        url: Of the server, as `http://localhost:8000`; a key is taken from `VLLM_API_KEY`.
        role: Names the adapters.
        folder: Where adapters are written for the server.
        run: Tells this engine's adapters from all others; none is drawn by chance.
        publishes: Whether this process writes the adapters; the others of a run sample from what it has written.
        keep: Versions that stay on the server; the older ones are taken off.
        timeout: Seconds that a batch may take.

    Raises:
        InputError: The URL is none.
        ModelError: The server is away.
    """

    def __init__(
        self,
        url: str,
        *,
        role: Role,
        folder: str | os.PathLike[str],
        run: str | None = None,
        publishes: bool = True,
        keep: int = 1,
        timeout: float = 1800,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise InputError(f"{url!r} is no server; give engine=http://HOST:PORT")
        self.folder, self.publishes, self.keep = Path(folder).absolute(), publishes, keep
        self.run = f"{role}-{run or new_run()}"
        key = os.environ.get("VLLM_API_KEY")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(base_url=url.removesuffix("/v1"), headers=headers, timeout=timeout, trust_env=False)
        self._newest = ""
        self._published: list[str] = []
        self._call("GET", "/v1/models")

    def publish(self, model: Any, step: int) -> None:
        """Write the active adapter, have the server load it, and take older versions off.

        Raises:
            InputError: The model has no adapters.
            ModelError: The server does not load it.
        """
        if not has_adapters(model):
            raise InputError("A vLLM server is sent adapters; train with lora, or leave engine out.")
        self._newest = name = f"{self.run}-v{step}"
        if not self.publishes or name in self._published:
            return
        place = self._save(model, name)
        self._call("POST", "/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(place)})
        self._published.append(name)
        while len(self._published) > self.keep:
            old = self._published.pop(0)
            self._withdraw(old)

    def generate(
        self, prompts: Sequence[Sequence[int]], *, temperature: float, max_tokens: int
    ) -> tuple[list[list[int]], list[list[float]]]:
        """Completion tokens and their log-probabilities, one per prompt.

        Raises:
            ModelError: The server fails, or does not say tokens and probabilities.
        """
        asked = {
            "model": self._newest, "prompt": [list(prompt) for prompt in prompts], "max_tokens": max_tokens,
            "temperature": temperature, "top_p": 1.0, "top_k": 0, "logprobs": 0, "return_token_ids": True,
        }  # fmt: skip
        body = self._call("POST", "/v1/completions", asked).json()
        choices = sorted(body.get("choices", []), key=lambda choice: int(choice["index"]))
        if len(choices) != len(prompts):
            raise ModelError(f"The server gave {len(choices)} completions for {len(prompts)} prompts.")
        replies = [_tokens(choice) for choice in choices]
        return [ids for ids, _ in replies], [logps for _, logps in replies]

    def close(self) -> None:
        """Take the adapters off the server, as far as it is still there."""
        for name in self._published:
            try:
                self._withdraw(name)
            except ModelError as error:
                logger.warning("The adapter %s stays on the server: %s", name, error)
        self._published.clear()
        self._client.close()

    def _withdraw(self, name: str) -> None:
        shutil.rmtree(self.folder / name, ignore_errors=True)
        self._call("POST", "/v1/unload_lora_adapter", {"lora_name": name})

    def _save(self, model: Any, name: str) -> Path:
        """The active adapter in a folder that appears whole or not at all."""
        adapter = model.active_adapter
        draft, target = self.folder / f"{name}.part", self.folder / name
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(target, ignore_errors=True)
        model.save_pretrained(draft, selected_adapters=[adapter], state_dict=weights(model))
        inner = draft / adapter
        (inner if inner.is_dir() else draft).replace(target)
        shutil.rmtree(draft, ignore_errors=True)
        return target

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        try:
            response = self._client.request(method, path, json=body)
        except httpx.TransportError as error:
            raise ModelError(
                f"The vLLM server at {self._client.base_url} cannot be reached ({type(error).__name__}); start it, "
                "or leave engine out."
            ) from error
        if response.status_code == httpx.codes.NOT_FOUND and path.endswith("_lora_adapter"):
            raise ModelError(
                "The vLLM server loads no adapters; start it with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=1."
            )
        if response.is_error:
            said = " ".join(response.text.split())[:300]
            raise ModelError(f"The vLLM server refuses {path} ({response.status_code}): {said}")
        return response


def _tokens(choice: dict[str, Any]) -> tuple[list[int], list[float]]:
    ids = choice.get("token_ids")
    found = (choice.get("logprobs") or {}).get("token_logprobs")
    if ids is None or found is None or len(ids) != len(found):
        raise ModelError("The server says no tokens with their probabilities; it has to be vLLM 0.10.2 or newer.")
    if any(value is None or not math.isfinite(value) for value in found):
        raise ModelError("The server gave a token no probability; start it with --logprobs-mode processed_logprobs.")
    return list(ids), list(found)
