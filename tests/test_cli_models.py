"""`--trained`: what a run of `memory-r1 train` left, in the graph of a command."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from langgraph_memory_r1.cli.eval.contenders import ModelOptions, role_settings
from langgraph_memory_r1.models import Manifest, write_manifest
from support.command import DOG, Command
from support.openai_server import Says, completion, serving

OPERATIONS = '{"operations":[{"event":"ADD","fact":0,"text":"User has a dog, Buddy."}]}'
TOLD = {
    "base": "org/base", "extractor": "rules", "style": "compact", "related_k": 3, "k": 7, "max_tokens": 20,
    "lora": {"r": 4}, "train": {"source": "traces"},
}  # fmt: skip


def run_of(folder: Path, roles: tuple[Any, ...] = ("manage", "answer"), **changed: Any) -> str:
    """A folder as a run leaves it, without weights: these lie on the server."""
    folder.mkdir()
    for role in roles:
        (folder / "adapters" / role).mkdir(parents=True)
        write_manifest(folder / "adapters" / role, Manifest(base="org/base", role=role, data="x", rank=4))
    (folder / "recipe.yaml").write_text(yaml.safe_dump(TOLD | changed))
    return str(folder)


def says(body: dict[str, Any]) -> Says:
    """A server with a base and adapters; every one says something else."""
    if "messages" not in body:
        adapters = [{"id": name, "parent": "org/base"} for name in ("manage", "answer")]
        return Says(json.dumps({"data": [{"id": "org/base"}, *adapters]}))
    answer = json.dumps({"selected": [0], "answer": f"Buddy, says {body['model']}"})
    return completion(OPERATIONS if body["response_format"]["json_schema"]["name"] == "manage" else answer)


def test_a_servers_adapters_play_their_roles_with_the_prompts_they_were_trained_on(
    cli: Command, tmp_path: Path
) -> None:
    run = run_of(tmp_path / "run")
    with serving(says) as server:
        at = ["--trained", run, "--model", f"vllm:org/base@{server.url}"]
        assert "User has a dog, Buddy." in cli("remember", DOG, *at).out
        told = cli("ask", "Which dog?", "--json", *at).data
        chatted = cli("chat", *at, stdin="Which dog?\n")
    assert (told["answer"], told["model"]) == ("Buddy, says answer", "vllm:answer")
    assert "Buddy, says answer" in chatted.out and "vllm:answer" in chatted.out
    asked = [body for body in server.asked if "messages" in body]
    assert {body["model"] for body in asked} == {"manage", "answer"}
    assert {(body["max_tokens"], body["temperature"]) for body in asked} == {(20, 0)}
    assert all(len(body["messages"][0]["content"]) < 500 for body in asked)  # compact


def test_a_role_that_was_not_trained_is_played_by_the_base(cli: Command, tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", ("manage",))
    with serving(says) as server:
        at = ["--trained", run, "--model", f"vllm:org/base@{server.url}"]
        cli("remember", DOG, *at)
        assert cli("ask", "Which dog?", "--json", *at).data["model"] == "vllm:org/base"


@pytest.mark.parametrize(("source", "batch"), [("traces", 10), ("personaworld", 1)])
def test_turns_are_remembered_in_steps_as_long_as_in_training(
    cli: Command, tmp_path: Path, source: str, batch: int
) -> None:
    """By every command that remembers: an evaluation too."""
    run = run_of(tmp_path / "run", train={"source": source})
    told = cli.file("told.txt", "".join(f"I have a dog called Dog{number}.\n" for number in range(3)))
    with serving(says) as server:
        cli("remember", told, "--trained", run, "--model", f"vllm:org/base@{server.url}")
    # Not those that ask again: the manager here decides about Buddy, whatever dogs there are.
    first = [body for body in server.asked if body.get("model") == "manage" and len(body["messages"]) == 2]
    assert len(first) == -(-3 // batch)
    other: Any = dict.fromkeys(field.name for field in fields(ModelOptions))
    assert role_settings(ModelOptions(**other | {"model": "rules", "trained": run})).batch_turns == batch


@pytest.mark.parametrize(
    ("changed", "arguments", "said"),
    [
        (None, (), "is no run of `memory-r1 train`"),
        ({"roles": ()}, (), "has trained nothing to its end yet"),
        ({}, ("--model", "openai:gpt-5-mini"), "give --model hf:org/base or vllm:org/base@URL"),
        ({"lora": None}, ("--model", "vllm:x@http://localhost:1"), "trained whole models, not adapters"),
        ({}, ("--model", "hf:org/other"), "sits on 'org/base', not on 'org/other'"),
    ],
)
def test_what_does_not_fit_is_one_sentence(
    cli: Command, tmp_path: Path, changed: dict[str, Any] | None, arguments: tuple[str, ...], said: str
) -> None:
    cli("remember", DOG)
    run = str(tmp_path / "run") if changed is None else run_of(tmp_path / "run", **changed)
    done = cli("ask", "Which dog?", "--trained", run, *arguments)
    assert done.code == 1 and done.out == "" and said in " ".join(done.err.split()), done.err
