from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from langgraph_memory_r1 import InputError, load_chat_model
from langgraph_memory_r1.models import Manifest, check_adapter, read_manifest, write_manifest
from langgraph_memory_r1.prompts import PROMPT_VERSION

MANAGER = Manifest(base="Qwen/Qwen3-4B", role="manage", data="sha256:1f", rank=16, score=0.81)


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    folder = tmp_path / "manager-7"
    folder.mkdir()
    write_manifest(folder, MANAGER)
    return folder


def test_what_is_written_is_read(adapter: Path) -> None:
    assert read_manifest(adapter) == MANAGER
    assert check_adapter(str(adapter), base="Qwen/Qwen3-4B", role="manage") == check_adapter(adapter) == MANAGER
    assert json.loads((adapter / "manifest.json").read_text()) == {
        "base": "Qwen/Qwen3-4B", "role": "manage", "data": "sha256:1f", "rank": 16, "score": 0.81,
        "prompt_version": PROMPT_VERSION,
    }  # fmt: skip
    assert [path.name for path in adapter.iterdir()] == ["manifest.json"]


def test_another_base_is_refused_with_the_fix(adapter: Path) -> None:
    with pytest.raises(
        InputError, match=r"sits on 'Qwen/Qwen3-4B', not on 'Qwen/Qwen3-8B'; load it with hf:Qwen/Qwen3-4B"
    ):
        load_chat_model("hf:Qwen/Qwen3-8B", adapter)


def test_another_role_is_refused_with_the_fix(adapter: Path) -> None:
    with pytest.raises(InputError, match="plays the role 'manage', not 'answer'; give an adapter for 'answer'"):
        load_chat_model("hf:Qwen/Qwen3-4B", adapter, role="answer")


def test_another_prompt_version_is_refused_with_the_fix(adapter: Path) -> None:
    write_manifest(adapter, Manifest(base="b", role="manage", data="d", rank=1, prompt_version="0"))
    with pytest.raises(InputError, match=f"prompt version 0, this library speaks {PROMPT_VERSION}; train it again, or"):
        check_adapter(adapter)


def test_another_rank_is_refused_with_the_fix(adapter: Path) -> None:
    (adapter / "adapter_config.json").write_text('{"r": 16}')
    check_adapter(adapter)
    (adapter / "adapter_config.json").write_text('{"r": 8}')
    with pytest.raises(
        InputError, match="has rank 8, its manifest says 16; put the manifest and the weights of one run"
    ):
        check_adapter(adapter)
    (adapter / "adapter_config.json").write_text("[")
    with pytest.raises(InputError, match="cannot be read; save the adapter again"):
        check_adapter(adapter)


def test_a_base_is_the_same_where_it_was_downloaded_to(adapter: Path, tmp_path: Path) -> None:
    (tmp_path / "hub" / "Qwen3-4B").mkdir(parents=True)
    (tmp_path / "other" / "Qwen3-4B").mkdir(parents=True)
    check_adapter(adapter, base=str(tmp_path / "hub" / "Qwen3-4B"))
    write_manifest(adapter, Manifest(base=str(tmp_path / "hub" / "Qwen3-4B"), role="manage", data="d", rank=1))
    check_adapter(adapter, base="Qwen/Qwen3-4B")
    check_adapter(adapter, base=str(tmp_path / "hub" / ".." / "hub" / "Qwen3-4B"))
    for other in (tmp_path / "other" / "Qwen3-4B", tmp_path / "gone" / "Qwen3-4B", tmp_path / "hub"):
        with pytest.raises(InputError, match="sits on"):
            check_adapter(adapter, base=str(other))


def test_an_adapter_without_a_manifest_is_refused_with_the_fix(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "gone"):
        with pytest.raises(InputError, match=r"has no manifest\.json .*write_manifest"):
            check_adapter(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"role": "chef"}, "role: "), ({"rank": 0}, "rank: "), ({"rank": "many"}, "rank: "), ({"extra": 1}, "extra: "),
        ({"base": None}, "base: "), ({"score": "good"}, "score: "),
    ],
)  # fmt: skip
def test_a_manifest_that_says_something_else_is_refused(adapter: Path, change: dict[str, Any], message: str) -> None:
    path = adapter / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=f"is no manifest of an adapter: {message}"):
        read_manifest(adapter)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe"])
def test_a_broken_manifest_is_refused(adapter: Path, content: bytes) -> None:
    (adapter / "manifest.json").write_bytes(content)
    with pytest.raises(InputError, match=r"manifest\.json' is no manifest of an adapter"):
        read_manifest(adapter)
