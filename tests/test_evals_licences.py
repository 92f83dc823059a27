from __future__ import annotations

import os
from pathlib import Path

import pytest

from langgraph_memory_r1.evals.benchmark import benchmark
from langgraph_memory_r1.evals.licences import cache_folder, licence_notice


def test_the_licence_is_told_once(tmp_path: Path) -> None:
    locomo = benchmark("locomo")
    first = licence_notice(locomo, tmp_path)
    assert first is not None
    assert "CC BY-NC 4.0" in first
    assert "Non-commercial" in first
    assert licence_notice(locomo, tmp_path) is None
    assert licence_notice(benchmark("longmemeval"), tmp_path) is not None


def test_the_licence_is_told_again_where_no_note_can_be_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert licence_notice(benchmark("msc"), tmp_path / "file") == licence_notice(benchmark("msc"), tmp_path / "file")


def test_downloads_lie_in_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "langgraph-memory-r1"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path(os.path.expanduser("~/.cache/langgraph-memory-r1"))
