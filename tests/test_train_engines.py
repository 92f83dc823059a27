"""The trainer with a server that generates: a process of its own that speaks vLLM's protocol."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl", reason="the extra `train` is not installed")

import torch

from langgraph_memory_r1 import InputError, ModelError
from langgraph_memory_r1.train.engines import VLLMServerEngine
from langgraph_memory_r1.train.grpo import NodeGRPOTrainer
from langgraph_memory_r1.train.rewards import FormatReward, WeightedReward
from support.openai_server import Says, serving
from support.tiny_model import manager_rows, save_base, settings, tiny_base, tiny_tokenizer, two_adapters

pytestmark = pytest.mark.slow  # TRL alone takes seconds to load


@dataclass
class Served:
    url: str
    log: Path

    @property
    def asked(self) -> list[tuple[str, dict[str, Any]]]:
        lines = [line for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [(entry["path"].removeprefix("/v1/"), entry["body"]) for entry in map(json.loads, lines)]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    base, log = save_base(tmp_path / "base"), tmp_path / "server.log"
    command = [sys.executable, str(Path(__file__).parent / "support" / "lora_server.py"), base]
    with log.open("wb") as out, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=out) as server:
        try:
            assert server.stdout is not None
            yield Served(f"http://127.0.0.1:{int(server.stdout.readline())}", log)
        finally:
            server.terminate()


def test_every_step_is_sampled_from_the_newest_adapter(served: Served, tmp_path: Path) -> None:
    tokenizer, rows = tiny_tokenizer(), manager_rows()
    engine = VLLMServerEngine(served.url, role="manage", folder=tmp_path / "published")
    args = settings(tmp_path / "run", max_completion_length=3)
    made = NodeGRPOTrainer(
        two_adapters(tokenizer), tokenizer, rows, [WeightedReward(FormatReward(rows))], args, engine=engine
    )
    made.train()
    engine.close()
    v0, v1 = f"{engine.run}-v0", f"{engine.run}-v1"
    assert engine.run.startswith("manage-")
    steps = [(path, body.get("lora_name", body.get("model"))) for path, body in served.asked]
    assert steps == [
        ("load_lora_adapter", v0), ("completions", v0),
        ("load_lora_adapter", v1), ("unload_lora_adapter", v0), ("completions", v1), ("unload_lora_adapter", v1),
    ]  # fmt: skip
    assert list((tmp_path / "published").iterdir()) == []
    assert len(served.asked[1][1]["prompt"]) == 8
    log = [entry for entry in made.state.log_history if "reward" in entry]
    assert [entry["sampling/sampling_logp_difference/max"] < 1e-4 for entry in log] == [True, True]


def test_runs_and_the_processes_of_a_run_share_a_server(tmp_path: Path) -> None:
    choice = {"index": 0, "token_ids": [5], "logprobs": {"token_logprobs": [-0.5]}}
    with serving(Says(json.dumps({"choices": [choice]}))) as server:
        common: dict[str, Any] = {"role": "manage", "folder": tmp_path / "published"}
        one, other = (VLLMServerEngine(server.url, **common) for _ in range(2))
        follower = VLLMServerEngine(server.url, **common, run=one.run.removeprefix("manage-"), publishes=False)
        for engine in (one, other, follower):
            engine.publish(two_adapters(tiny_tokenizer()), 20)
        follower.generate([[40, 41]], temperature=1.0, max_tokens=1)
        names = [body["lora_name"] for body in server.asked if "lora_name" in body]
        assert names == [f"{one.run}-v20", f"{other.run}-v20"] and names[0] != names[1]
        assert server.asked[-1]["model"] == names[0]
        sampling = {name: server.asked[-1][name] for name in ("top_p", "top_k", "min_p", "repetition_penalty")}
        assert sampling == {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
        follower.close()
        one.close()
        assert [body["lora_name"] for body in server.asked if "lora_name" in body] == [*names, names[0]]
    assert [path.name for path in (tmp_path / "published").iterdir()] == [names[1]]


def test_a_server_that_went_away_does_not_hide_why_training_ended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(Says("{}")) as server:
        engine = VLLMServerEngine(server.url, role="manage", folder=tmp_path)
        engine.publish(two_adapters(tiny_tokenizer()), 0)
    engine.close()
    assert "stays on the server" in caplog.text and "cannot be reached" in caplog.text


def test_what_the_server_says_it_sampled_with_is_what_the_trainer_would_have(served: Served, tmp_path: Path) -> None:
    model, prompt = two_adapters(tiny_tokenizer()), [40, 41, 42]
    engine = VLLMServerEngine(served.url, role="manage", folder=tmp_path / "published")
    engine.publish(model, 7)
    ids, logps = engine.generate([prompt, prompt[:2]], temperature=1.0, max_tokens=4)
    engine.close()
    with torch.no_grad():
        logits = model.eval()(torch.tensor([prompt + ids[0]])).logits[0, len(prompt) - 1 : -1]
    expected = logits.log_softmax(-1).gather(1, torch.tensor(ids[0]).unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(torch.tensor(logps[0]), expected, atol=1e-4, rtol=1e-4)
    assert len(ids) == len(logps) == 2 and len(ids[1]) == len(logps[1])


def test_what_cannot_generate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="engine=http"):
        VLLMServerEngine("localhost:8000", role="manage", folder=tmp_path)
    with pytest.raises(ModelError, match="cannot be reached"):
        VLLMServerEngine("http://127.0.0.1:9", role="manage", folder=tmp_path)
    with serving(Says("{}")) as server:
        engine = VLLMServerEngine(server.url, role="manage", folder=tmp_path)
        with pytest.raises(InputError, match="train with lora"):
            engine.publish(tiny_base(tiny_tokenizer()), 0)


def test_a_server_that_loads_no_adapters_is_told_how_to(tmp_path: Path) -> None:
    with serving(Says("{}"), Says("{}", status=404)) as server:
        engine = VLLMServerEngine(server.url, role="manage", folder=tmp_path)
        with pytest.raises(ModelError, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING=1"):
            engine.publish(two_adapters(tiny_tokenizer()), 0)


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ([], "0 completions for 1 prompts"),
        ([{"index": 0, "text": "hi"}], "no tokens with their probabilities"),
        ([{"index": 0, "token_ids": [5], "logprobs": {"token_logprobs": [None]}}], "gave a token no probability"),
    ],
)
def test_replies_that_cannot_be_learned_from(tmp_path: Path, choices: list[Any], said: str) -> None:
    with serving(Says("{}"), Says("{}"), Says(json.dumps({"choices": choices}))) as server:
        engine = VLLMServerEngine(server.url, role="manage", folder=tmp_path)
        engine.publish(two_adapters(tiny_tokenizer()), 0)
        with pytest.raises(ModelError, match=said):
            engine.generate([[5, 6]], temperature=1.0, max_tokens=2)
