"""What generates for the trainer in place of `transformers`.

    PrefixEngine        in this process, every reply from the same beginning on
    VLLMServerEngine    a vLLM server, over HTTP: the server keeps the base, the trainer sends its adapter

    VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 vllm serve BASE --enable-lora --max-loras 4 --max-lora-rank 16 \
        --logprobs-mode processed_logprobs

    engine = VLLMServerEngine("http://localhost:8000", role="manage", folder="run/2-manage/published")
    trainer = NodeGRPOTrainer(model, tokenizer, rows, rewards, args, engine=engine)

Every step's adapter has a name and a folder of its own, `manage-3f9c2a71-v12`: under one name the server refuses a
second one, or answers from what it has cached of the first (vllm#42125). So runs, the stages of a run, and a run that
goes on after a kill share a server without harm; of several processes the main one publishes for all. The server reads
the folder itself, so both must see one disk.

vLLM is not imported here, and needs no place in the trainer's environment: it pins another transformers than TRL's
newest releases take. TRL's own vLLM modes need both in one process, and merge the adapter into the weights that they
send; after that the server has no base left for the frozen answerer.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import httpx

from langgraph_memory_r1.errors import InputError, ModelError
from langgraph_memory_r1.models.openai_api import NEUTRAL_SAMPLING
from langgraph_memory_r1.prompts import Role
from langgraph_memory_r1.train.models import LocalPolicy, has_adapters
from langgraph_memory_r1.train.sharded import whole_weights

logger = logging.getLogger(__name__)


class GenerationEngine(Protocol):
    """Generates for the trainer, outside of its process or in another way than `transformers` does."""

    def publish(self, model: Any, step: int) -> None:
        """Make the newest weights of the adapter the ones that generate; called in every process of a run."""

    def generate(
        self, prompts: Sequence[Sequence[int]], *, temperature: float, max_tokens: int
    ) -> tuple[list[list[int]], list[list[float]] | None]:
        """Return completion tokens and their log-probabilities under the weights that generated, one per prompt.

        None instead of log-probabilities: these are the trainer's own weights as they stand.
        """

    def close(self) -> None:
        """Give back what is held elsewhere; nothing is generated any more."""


class PrefixEngine:
    """Generates in this process, every reply from the same beginning on.

    The beginning is part of the completion. It teaches nothing: in a group it is the same, and advantages add up to 0.

    Args:
        policy: Of the trained role; its `reply_prefix` is the beginning.
    """

    def __init__(self, policy: LocalPolicy) -> None:
        self.policy = policy

    def publish(self, model: Any, step: int) -> None:
        """Do nothing: the policy is the model that is trained."""

    def close(self) -> None:
        """Do nothing."""

    def generate(
        self, prompts: Sequence[Sequence[int]], *, temperature: float, max_tokens: int
    ) -> tuple[list[list[int]], None]:
        """Return completion tokens, one completion per prompt."""
        completions = self.policy.complete(prompts, temperature=temperature)
        return [list(completion.completion_ids) for completion in completions], None


class VLLMServerEngine:
    """An `GenerationEngine` of a vLLM server.

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
        self.run = f"{role}-{run or uuid4().hex[:8]}"
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
        adapter, draft, target = model.active_adapter, self.folder / f"{name}.part", self.folder / name
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(target, ignore_errors=True)
        model.save_pretrained(draft, selected_adapters=[adapter], state_dict=whole_weights(model))
        inner = draft / adapter  # PEFT's folder for an adapter that is not called `default`
        (inner if inner.is_dir() else draft).replace(target)
        shutil.rmtree(draft, ignore_errors=True)
        self._call("POST", "/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(target)})
        self._published.append(name)
        # Beyond --max-loras a server drops adapters without a word.
        while len(self._published) > self.keep:
            self._withdraw(self._published.pop(0))

    def generate(
        self, prompts: Sequence[Sequence[int]], *, temperature: float, max_tokens: int
    ) -> tuple[list[list[int]], list[list[float]]]:
        """Return completion tokens and their log-probabilities, one completion per prompt.

        Raises:
            ModelError: The server fails, or does not say tokens and probabilities.
        """
        # `logprobs: 0` is the sampled token alone: more would send the likeliest ones of every place along.
        request = {
            "model": self._newest, "prompt": [list(prompt) for prompt in prompts], "max_tokens": max_tokens,
            "temperature": temperature, **NEUTRAL_SAMPLING, "logprobs": 0, "return_token_ids": True,
        }  # fmt: skip
        body = self._call("POST", "/v1/completions", request).json()
        choices = sorted(body.get("choices", []), key=lambda choice: int(choice["index"]))
        if len(choices) != len(prompts):
            raise ModelError(f"The server gave {len(choices)} completions for {len(prompts)} prompts.")
        completions: list[list[int]] = []
        logps: list[list[float]] = []
        for choice in choices:
            ids, values = choice.get("token_ids"), (choice.get("logprobs") or {}).get("token_logprobs")
            if ids is None or values is None or len(ids) != len(values):
                raise ModelError(
                    "The server says no tokens with their probabilities; it has to be vLLM 0.10.2 or newer."
                )
            if any(value is None or not math.isfinite(value) for value in values):
                raise ModelError(
                    "The server gave a token no probability; start it with --logprobs-mode processed_logprobs."
                )
            completions.append(list(ids))
            logps.append(list(values))
        return completions, logps

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
            reason = " ".join(response.text.split())[:300]
            raise ModelError(f"The vLLM server refuses {path} ({response.status_code}): {reason}")
        return response
