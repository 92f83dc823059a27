"""The README is true: its blocks run, its tree is the tree, its commands exist, its first screen fits."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from langgraph_memory_r1 import MissingDependencyError
from langgraph_memory_r1.conversations import read_conversations
from support.command import Command

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN = re.compile(r"^\s*print\(.*\)  +# (.+)$", re.MULTILINE)
NOT_RUN = re.compile(r"^(?:make|pip install)\b")


def blocks(language: str) -> list[str]:
    found = [body for name, body in BLOCK.findall(README) if name == language]
    assert found, f"no {language} block in the README"
    return found


def tree_entries() -> Iterator[tuple[str, str]]:
    """The files and folders of the tree with their comments."""
    above: list[str] = []
    for line in blocks("text")[-1].splitlines():
        indent, name, comment = re.fullmatch(r"( *)(\S+) +(.+)", line).groups()  # type: ignore[union-attr]
        above = [*above[: len(indent) // 2], name]
        yield "".join(above), comment


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("MEMORY_R1_DB", "MEMORY_R1_MODEL", "MEMORY_R1_EMBEDDER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_first_screen_is_forty_lines() -> None:
    first, _, _ = README.partition("\n## ")
    assert len(first.splitlines()) <= 40


def test_block_that_plugs_into_an_app_is_twelve_lines() -> None:
    assert len(blocks("python")[0].splitlines()) <= 12


def test_python_blocks_run_and_print_what_they_say(in_folder: Path) -> None:
    names: dict[str, Any] = {}
    for block in blocks("python"):
        if "openai:" in block:
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(block, "README.md", "exec"), names)
        lines = printed.getvalue().splitlines()
        assert [line for line in lines if line in SHOWN.findall(block)] == SHOWN.findall(block)
    assert names["done"]["memory_ops"][0]["after"] == "User moved to Denver."


def test_provider_block_runs_or_names_the_package_to_install(in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    (block,) = [block for block in blocks("python") if "openai:" in block]
    code = "from langgraph_memory_r1 import create_memory_graph\n" + block
    if importlib.util.find_spec("langchain_openai"):
        exec(code, {})
    else:
        with pytest.raises(MissingDependencyError, match="pip install langchain-openai") as caught:
            exec(code, {})
        assert str(caught.value).split(" to ")[0] in README


def shell_lines() -> list[str]:
    return [line for block in blocks("shell") for line in block.splitlines() if not NOT_RUN.match(line)]


def test_shell_blocks_run(in_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    command = Command(in_folder, monkeypatch, capsys)
    printed = []
    for line in shell_lines():
        program, *arguments = shlex.split(line)
        done = command(*arguments)
        assert (program, done.code, done.err) == ("memory-r1", 0, ""), line
        printed.append(done.out)
    assert_says_what_the_readme_says("".join(printed))


@pytest.mark.slow
def test_shell_blocks_run_in_a_shell(in_folder: Path) -> None:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(shell_lines())],
        cwd=in_folder, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert_says_what_the_readme_says(done.stdout)


def assert_says_what_the_readme_says(printed: str) -> None:
    assert "2\n  1 of 1 memories used, rules (the no-model baseline)" in printed
    assert "User adopted a dog called Buddy. User adopted another dog, Scout!" in printed
    assert printed.splitlines()[-1].split() == ["undo"]


def test_make_commands_exist() -> None:
    named = set(re.findall(r"(?:^|`)make ([a-z]+)", README, re.MULTILINE))
    assert named >= {"demo", "test", "bench"}
    makefile = (ROOT / "Makefile").read_text()
    assert [target for target in named if not re.search(rf"^{target}:.*## ", makefile, re.MULTILINE)] == []


def test_pip_lines_name_this_project_or_a_provider() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["name"]
    assert set(re.findall(r"pip install ([\w.-]+)", README)) == {project, "langchain-openai"}


def test_json_block_is_a_conversation(in_folder: Path) -> None:
    (block,) = blocks("json")
    (in_folder / "chat.jsonl").write_text(block, encoding="utf-8")
    (conversation,) = read_conversations("chat.jsonl", strict=True)
    assert conversation.turns[0].speaker == "Ann"


def test_tree_is_the_tree() -> None:
    """Every module of the library, every package and every folder has its line, and every line its file."""
    listed = {path for path, _ in tree_entries()}
    library = ROOT / "langgraph_memory_r1"
    modules = {f"{library.name}/{path.name}" for path in library.iterdir() if path.suffix in (".py", ".jsonl")}
    packages = {
        f"{folder.relative_to(ROOT).as_posix()}/"
        for top in (library, ROOT / "evals", ROOT / "train")
        for folder in top.iterdir()
        if (folder / "__init__.py").exists() and not folder.is_symlink()
    }
    tops = {f"{name}/" for name in ("langgraph_memory_r1", "train", "graphs", "evals", "benchmarks", "tests")}
    assert listed == modules | packages | tops


def test_command_table_names_every_command() -> None:
    from langgraph_memory_r1.cli import app

    table = README.partition("| command |")[2].partition("\n\n")[0]
    first_cells = re.findall(r"^\| (`.+?`) \|", table, re.MULTILINE)
    listed = set(re.findall(r"`([a-z]+)`", " ".join(first_cells)))
    groups = {group.name for group in app.registered_groups}
    assert listed == groups | {command.name for command in app.registered_commands}


def test_no_machine_paths() -> None:
    assert re.findall(r"/(?:home|root|work|Users|tmp)/\S*", README) == []
