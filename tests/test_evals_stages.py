"""What is done of a run: whole lines count, a broken one is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from langgraph_memory_r1 import InputError
from langgraph_memory_r1.evals.stages import StageLog


def test_the_log_drops_the_line_that_a_kill_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "stages.jsonl"
    log = StageLog(path)
    log.put("a", "answer", {"text": "x"})
    log.put("a", "answer", {"text": "y"})
    log.close()
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"key": "b", "stage": "ans')
    again = StageLog(path)
    assert (again.get("a"), again.get("b")) == ({"text": "y"}, None)
    again.put("c", "answer", {"text": "z"})
    again.close()
    assert path.read_bytes().startswith(whole + b'{"key": "c"')


def test_a_broken_line_of_the_log_is_named(tmp_path: Path) -> None:
    path = tmp_path / "stages.jsonl"
    path.write_text('{"key": "a", "stage": "answer", "value": {}}\n{"key": \n')
    with pytest.raises(InputError, match="line 2 is broken"):
        StageLog(path)
