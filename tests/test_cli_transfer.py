"""`memory-r1 import`, as a user runs it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from langgraph_memory_r1 import LanceDBStore, MemoryBank
from langgraph_memory_r1.cli import app
from langgraph_memory_r1.cli.transfer import ExportFormat
from langgraph_memory_r1.importers import FORMATS
from support.interrupts import heed_interrupts

DATA = Path(__file__).parent / "data"
Import = Callable[..., Any]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Import:
    for name in ("MEMORY_R1_MODEL", "MEMORY_R1_EMBEDDER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MEMORY_R1_DB", str(tmp_path / "bank"))

    def run(*arguments: object) -> Any:
        return CliRunner().invoke(app, ["import", *map(str, arguments)])

    return run


def test_format_has_the_names_that_the_importers_know() -> None:
    assert [str(name) for name in ExportFormat] == ["auto", *FORMATS]


def facts(folder: Path, user: str = "default") -> list[str]:
    with LanceDBStore(folder / "bank") as store:
        return sorted(memory.text for memory in MemoryBank(store, user).all())


def test_mem0_goes_to_its_owners_and_a_second_run_changes_nothing(run: Import, tmp_path: Path) -> None:
    done = run(DATA / "mem0.json", "--json")
    data = json.loads(done.stdout)
    assert done.exit_code == 0 and data["format"] == data["model"] == "mem0"
    assert data["owners"] == {
        "ann@example.com": {"memories": 1, "turns": 0},
        "bob": {"memories": 1, "turns": 0},
        "agent:bob": {"memories": 1, "turns": 0},
    }
    assert data["operations"] == {"ADD": 3, "UPDATE": 1, "DELETE": 0, "NOOP": 0}
    assert len(data["broken"]) == 2
    assert facts(tmp_path, "ann@example.com") == ["Adopted two dogs, Buddy and Scout"]
    assert facts(tmp_path, "bob") == ["Plays the cello"]
    assert facts(tmp_path) == []
    again = json.loads(run(DATA / "mem0.json", "--json").stdout)
    assert (again["known"], sum(again["operations"].values())) == (4, 0)
    assert facts(tmp_path, "bob") == ["Plays the cello"]


def test_user_takes_all(run: Import, tmp_path: Path) -> None:
    data = json.loads(run(DATA / "langmem.json", "--user", "me", "--json").stdout)
    assert data["owners"] == {"me": {"memories": 3, "turns": 0}}
    assert len(facts(tmp_path, "me")) == 3 and facts(tmp_path, "ann") == []
    assert run(DATA / "langmem.json", "--user", " ").exit_code == 1


def test_a_chat_is_remembered_turn_by_turn_once(run: Import, tmp_path: Path) -> None:
    done = run(DATA / "telegram.json")
    assert done.exit_code == 0
    assert done.stdout.splitlines()[0] == "3 turns of telegram."
    assert "1 broken, 1 notice, 1 without words" in done.stdout and "rules (the no-model baseline)" in done.stdout
    assert "Skipped: " in done.stderr and "message 5" in done.stderr and "3 of 3 turns" in done.stderr
    before = facts(tmp_path)
    assert before == ["Ann adopted a dog called Buddy.", "Ann plays the cello.", "Bob moved to Denver."]
    assert "Nothing new: 3 from an earlier run passed over." in run(DATA / "telegram.json").stdout
    assert facts(tmp_path) == before


def test_a_grown_export_brings_only_what_is_new(run: Import, tmp_path: Path) -> None:
    lines = (DATA / "WhatsApp Chat with Bob.txt").read_text(encoding="utf-8").splitlines()
    part = tmp_path / "WhatsApp Chat with Bob.txt"
    part.write_text("\n".join(lines[:2]), encoding="utf-8")
    assert json.loads(run(part, "--json").stdout)["turns"] == 1
    data = json.loads(run(DATA / "WhatsApp Chat with Bob.txt", "--json").stdout)
    assert (data["turns"], data["known"]) == (2, 1)


def test_conversations_of_several_people_need_their_names(run: Import, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    talk = {"messages": [{"role": "user", "content": "I play the cello."}]}
    path.write_text("\n".join(json.dumps(talk | extra) for extra in ({}, {"user_id": "bob"})), encoding="utf-8")
    refused = run(path)
    assert refused.exit_code == 1 and "--user" in str(refused.exception)
    assert run(path, "--user", "ann").exit_code == 0
    rows = tmp_path / "history.json"
    rows.write_text('[{"id": "h", "memory_id": "m", "old_memory": null, "new_memory": "Has a cat", "event": "ADD"}]')
    refused = run(rows)
    assert refused.exit_code == 1 and "--user" in str(refused.exception)
    assert run(DATA / "openai.jsonl").exit_code == 0
    assert facts(tmp_path, "bob") == ["User moved to Denver."]


def test_own_conversations_are_the_same_turns_for_import_and_remember(run: Import, tmp_path: Path) -> None:
    path = tmp_path / "chats.jsonl"
    chats = [{"id": name, "turns": [{"speaker": name, "text": "I play the cello."}]} for name in ("Ann", "Bob")]
    path.write_text("\n".join(map(json.dumps, chats)), encoding="utf-8")
    assert json.loads(run(path, "--json").stdout)["owners"].keys() == {"Ann", "Bob"}
    again = CliRunner().invoke(app, ["remember", str(path), "--json"])
    assert json.loads(again.stdout)["known"] == 2


def test_a_backup_is_still_taken_over_whole(run: Import, tmp_path: Path) -> None:
    run(DATA / "telegram.json")
    backup = tmp_path / "backup.jsonl"
    CliRunner().invoke(app, ["export", str(backup)])
    done = run(backup, "--user", "copy")
    assert done.stdout.startswith("3 memories and 3 operations taken over for 'copy'")
    assert facts(tmp_path, "copy") == facts(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.json"], "none.json cannot be read"),
        ([DATA / "mem0.json", "--strict"], "it has no id"),
        ([DATA / "mem0.json", "--format", "telegram"], "holds no chat of Telegram"),
        ([DATA / "telegram.json", "--format", "slack"], "holds no channel of Slack"),
    ],
)
def test_errors_are_one_sentence_and_nothing_is_written(
    run: Import, tmp_path: Path, arguments: list[object], words: str
) -> None:
    done = run(*arguments)
    assert done.exit_code == 1 and words in str(done.exception)
    assert not (tmp_path / "bank").exists()


@pytest.mark.slow
def test_an_interrupted_import_goes_on_where_it_stopped(run: Import, tmp_path: Path) -> None:
    path = tmp_path / "chat.json"
    path.write_text(json.dumps([{"role": "user", "content": f"I own {n} boats."} for n in range(1_000)]))
    command = [sys.executable, "-m", "langgraph_memory_r1", "import", str(path)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heed_interrupts
    )
    assert process.stderr is not None and "100 of 1,000 turns" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "Interrupted; what is remembered stays" in errors
    data = json.loads(run(path, "--json").stdout)
    assert data["turns"] + data["known"] == 1_000
    assert 100 <= data["known"] < 1_000


def test_what_had_expired_and_what_cannot_be_kept_is_counted(run: Import, tmp_path: Path) -> None:
    item = {"id": "m1", "memory": "Lives in Boston", "user_id": "ann", "expiration_date": "2025-01-01"}
    path = tmp_path / "export.json"
    path.write_text(json.dumps([item, {"id": "m2", "memory": "Lives in Rome", "user_id": "ann", "categories": [{}]}]))
    out = run(path).stdout
    assert "expired" in out and "1, in the history alone" in out and "1 unusable tag" in out
    assert facts(tmp_path, "ann") == ["Lives in Rome"]
    data = json.loads(run(path, "--user", "copy", "--json").stdout)
    assert (data["expired"], data["skipped"]) == (1, {"unusable tag": 1})
