"""The documents are true: their blocks run, their links lead somewhere, their commands, files and functions exist."""

from __future__ import annotations

import ast
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
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main

from langgraph_memory_r1 import MissingDependencyError
from langgraph_memory_r1.conversations import read_conversations
from support.command import Command

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "CHANGELOG.md",
        *sorted((ROOT / "docs").glob("*.md")),
    )
}
README = DOCUMENTS["README.md"]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN = re.compile(r"^\s*print\(.*\)  +# (.+)$", re.MULTILINE)
NOT_RUN = re.compile(r"^(?:make|pip install)\b")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)#\s]*)(?:#([^)]+))?\)")


def blocks(language: str, document: str = "README.md") -> list[str]:
    return [body for name, body in BLOCK.findall(DOCUMENTS[document]) if name == language]


def documents_with(language: str) -> list[str]:
    return [document for document in DOCUMENTS if blocks(language, document)]


def shell_lines(document: str) -> list[str]:
    return [line for block in blocks("shell", document) for line in block.splitlines() if not NOT_RUN.match(line)]


def tree_entries() -> Iterator[tuple[str, str]]:
    """Yield the files and folders of the README's tree with their comments."""
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


# The README's shape


def test_first_screen_is_forty_lines() -> None:
    first, _, _ = README.partition("\n## ")
    assert len(first.splitlines()) <= 40


def test_readme_is_150_lines_beside_its_tree() -> None:
    assert len(README.splitlines()) - len(blocks("text")[-1].splitlines()) <= 150


def test_block_that_plugs_into_an_app_is_twelve_lines() -> None:
    assert len(blocks("python")[0].splitlines()) <= 12


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
    tops = {f"{name}/" for name in ("langgraph_memory_r1", "train", "graphs", "evals", "benchmarks", "docs", "tests")}
    assert listed == modules | packages | tops


def test_readme_leads_to_every_document() -> None:
    assert {target for target, _ in LINK.findall(README)} >= DOCUMENTS.keys() - {"README.md"}


# What runs


@pytest.mark.parametrize("document", documents_with("python"))
def test_python_blocks_run_and_print_what_they_say(document: str, in_folder: Path) -> None:
    """The blocks of a document follow each other, in one folder and with the names of those before."""
    names: dict[str, Any] = {}
    for block in blocks("python", document):
        if "openai:" in block:
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(block, document, "exec"), names)
        assert printed.getvalue().splitlines() == SHOWN.findall(block)


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


@pytest.mark.parametrize("document", documents_with("shell"))
def test_shell_blocks_run(document: str, cli: Command, in_folder: Path) -> None:
    printed = []
    for line in shell_lines(document):
        program, *arguments = shlex.split(line)
        done = cli(*arguments)
        assert (program, done.code, done.err) == ("memory-r1", 0, ""), line
        printed.append(done.out)
    assert_counts_the_dogs("".join(printed))


@pytest.mark.slow
@pytest.mark.parametrize("document", documents_with("shell"))
def test_shell_blocks_run_in_a_shell(document: str, in_folder: Path) -> None:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(shell_lines(document))],
        cwd=in_folder, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert_counts_the_dogs(done.stdout)


def assert_counts_the_dogs(printed: str) -> None:
    assert "2\n  1 of 1 memories used, rules (the no-model baseline)" in printed
    assert "User adopted a dog called Buddy. User adopted another dog, Scout!" in printed


def test_the_last_command_of_the_readme_is_undone(cli: Command, in_folder: Path) -> None:
    *before, last = [shlex.split(line)[1:] for line in shell_lines("README.md")]
    for arguments in before:
        cli(*arguments)
    assert cli(*last).out.splitlines()[-1].split() == ["undo"]


def test_json_block_is_a_conversation(in_folder: Path) -> None:
    (block,) = blocks("json", "docs/cli.md")
    (in_folder / "chat.jsonl").write_text(block, encoding="utf-8")
    (conversation,) = read_conversations("chat.jsonl", strict=True)
    assert conversation.turns[0].speaker == "Ann"


# What is named


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    broken = []
    for target, anchor in LINK.findall(DOCUMENTS[document]):
        if target.startswith("https://"):
            continue
        path = ((ROOT / document).parent / target).resolve() if target else ROOT / document
        name = path.relative_to(ROOT).as_posix()
        if not path.exists() or (anchor and anchor not in anchors(name)):
            broken.append(f"{target}#{anchor}")
    assert broken == []


@cache
def anchors(document: str) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", BLOCK.sub("", DOCUMENTS[document]), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_images_are_there(document: str) -> None:
    images = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", DOCUMENTS[document])
    assert [image for image in images if not ((ROOT / document).parent / image).exists()] == []


@pytest.mark.parametrize("document", [document for document in DOCUMENTS if document != "CHANGELOG.md"])
def test_make_targets_exist(document: str) -> None:
    named = set(re.findall(r"(?:^|`)\s*make ([a-z][a-z-]*)", DOCUMENTS[document], re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text()
    assert [target for target in sorted(named) if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []


def test_pip_lines_name_this_project_or_a_provider() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    text = "\n".join(DOCUMENTS.values())
    assert set(re.findall(r"pip install '?([\w.-]+)", text)) == {project["name"], "langchain-openai"}
    extras = set(re.findall(project["name"] + r"\[([\w,]+)\]", text))
    assert extras <= project["optional-dependencies"].keys()


def test_command_table_names_every_command() -> None:
    from langgraph_memory_r1.cli import app

    table = DOCUMENTS["docs/cli.md"].partition("| command |")[2].partition("\n\n")[0]
    listed = set(re.findall(r"^\| `([a-z]+)` \|", table, re.MULTILINE))
    groups = {group.name for group in app.registered_groups}
    assert listed == groups | {command.name for command in app.registered_commands}


@pytest.mark.parametrize("document", documents_with("text") + documents_with("bash") + documents_with("shell"))
def test_options_of_shown_commands_exist(document: str) -> None:
    """Options are looked for in the command that a line names; what is no option is not looked at."""
    lines = [line for _, body in BLOCK.findall(DOCUMENTS[document]) for line in body.splitlines()]
    for line in lines:
        if not line.startswith("memory-r1 "):
            continue
        command, rest = command_of(line.split()[1:])
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in rest if re.fullmatch(r"--[a-z-]+", word)} <= options, line


def command_of(words: list[str]) -> tuple[Any, list[str]]:
    """Return the command that the first words name, and the other words."""
    from langgraph_memory_r1.cli import app

    command: Any = typer.main.get_command(app)
    while commands := getattr(command, "commands", {}):
        named = words[0] in commands
        command = commands[words[0] if named else "run"]  # `train` without a command means its `run`
        words = words[named:]
    return command, words


def test_no_machine_paths() -> None:
    text = "\n".join(DOCUMENTS.values())
    assert re.findall(r"/(?:home|root|work|Users|tmp)/\S*", text) == []


# The code that is named


@pytest.mark.parametrize(
    "document", ["CONTRIBUTING.md", "docs/architecture.md", "docs/benchmarks.md", "docs/agents.md"]
)
def test_named_files_exist(document: str) -> None:
    """A file is named by its path from the root of the checkout, from the library, or from the folder of the tests."""
    named = set(re.findall(r"`([\w./]+\.(?:py|toml|yaml|yml|txt|json|md|in))`", DOCUMENTS[document]))
    roots = (ROOT, ROOT / "langgraph_memory_r1")
    assert [name for name in sorted(named) if not any((root / name).exists() for root in roots)] == []


def test_layers_are_those_of_the_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["name"] == "imports go down"]
    section = DOCUMENTS["docs/architecture.md"].partition("## The layers")[2].partition("\n## ")[0]
    shown = [re.split(" {2,}", line)[0] for line in re.findall(r"^ {4}(\S.*)$", section, re.MULTILINE)]
    assert [set(line.split(" | ")) for line in shown] == [set(re.findall(r"\w+", layer)) for layer in layers]


WALKED = re.compile(r"^\| `([\w/]+\.py)` \| (.+?) \|", re.MULTILINE)


def test_functions_on_the_walks_exist() -> None:
    """A row of a walk names a file and what is called in it."""
    rows = WALKED.findall(DOCUMENTS["docs/architecture.md"])
    assert len(rows) > 40
    missing = [
        f"{path}: {name}"
        for path, cell in rows
        for name in re.findall(r"`([\w.]+)`", cell)
        if name not in definitions(ROOT / path)
    ]
    assert missing == []


@cache
def definitions(path: Path) -> set[str]:
    """Return the functions, classes and methods of a file, methods as `Class.method`."""
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    body = ast.parse(path.read_text(encoding="utf-8")).body
    classes = [node for node in body if isinstance(node, ast.ClassDef)]
    names = {node.name for node in body if isinstance(node, functions)} | {node.name for node in classes}
    return names | {
        f"{node.name}.{member.name}" for node in classes for member in node.body if isinstance(member, functions)
    }
