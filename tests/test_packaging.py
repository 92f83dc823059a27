"""What a user gets: the sdist, the wheel in a fresh environment, and the suite in every way of running it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOT_SOURCE = (".git", ".venv*", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis", "build", "dist", "latest.json")
FOLDERS = ("train", "graphs", "evals")


@dataclass(frozen=True)
class Built:
    source: Path
    sdist: Path
    wheel: Path


@dataclass(frozen=True)
class Environment:
    path: Path

    def run(self, *command: str, cwd: Path) -> str:
        """Run a command of the environment, and fail with all that it printed."""
        program = str(self.path / "bin" / command[0])
        done = subprocess.run([program, *command[1:]], cwd=cwd, capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done.stdout


def this_environment() -> Environment:
    return Environment(Path(sys.prefix))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A copy of the checkout, the sdist that `python -m build` makes of it, and a wheel of the sdist."""
    source = tmp_path_factory.mktemp("copy") / "source"
    shutil.copytree(ROOT, source, symlinks=True, ignore=shutil.ignore_patterns(*NOT_SOURCE))
    dist = source.parent / "dist"
    this_environment().run("python", "-m", "build", "--outdir", str(dist), cwd=source)
    (sdist,), (wheel,) = dist.glob("*.tar.gz"), dist.glob("*.whl")
    return Built(source, sdist, wheel)


@pytest.fixture(scope="module")
def base(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """A fresh environment that holds the wheel without extras and what it asks for, nothing else."""
    environment = Environment(tmp_path_factory.mktemp("base") / "venv")
    venv.create(environment.path, with_pip=True)
    pip = ("python", "-m", "pip", "install", "--quiet", "--constraint", "constraints.txt", str(built.wheel))
    environment.run(*pip, cwd=ROOT)
    return environment


@pytest.fixture(scope="module")
def plain(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """A plain, not editable install, which borrows its dependencies from the environment that runs this."""
    environment = Environment(tmp_path_factory.mktemp("plain") / "venv")
    venv.create(environment.path, with_pip=True)
    (site,) = environment.path.glob("lib/python*/site-packages")
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
    environment.run("python", "-m", "pip", "install", "--quiet", "--no-deps", str(built.wheel), cwd=ROOT)
    program = environment.path / "bin" / "pytest"
    program.write_text(f"#!{environment.path}/bin/python\nimport sys, pytest\nsys.exit(pytest.console_main())\n")
    program.chmod(0o755)
    return environment


@pytest.mark.slow
def test_wheel_holds_the_linked_folders_as_files_and_no_tests(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as wheel:
        names = set(wheel.namelist())
    assert {f"langgraph_memory_r1/{folder}/__init__.py" for folder in FOLDERS} <= names
    assert {"langgraph_memory_r1/py.typed", "langgraph_memory_r1/evals/locomo.py"} <= names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"langgraph_memory_r1"}
    assert not [name for name in names if "test_" in name]


@pytest.mark.slow
def test_wheel_holds_every_data_file_of_the_package(built: Built) -> None:
    here = {
        path.relative_to(built.source).as_posix()
        for folder in ("", *FOLDERS)
        for path in (built.source / "langgraph_memory_r1" / folder).rglob("*")
        if path.is_file()
    }
    with zipfile.ZipFile(built.wheel) as wheel:
        assert here <= set(wheel.namelist())


@pytest.mark.slow
def test_sdist_holds_what_testing_it_takes(built: Built) -> None:
    with tarfile.open(built.sdist) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"Makefile", "constraints.txt", "LICENSE", "README.md", "CHANGELOG.md", "tests/conftest.py"} <= names
    assert {f"docs/{path.name}" for path in (ROOT / "docs").iterdir()} <= names
    assert "langgraph_memory_r1/train/__init__.py" in names


@pytest.mark.slow
def test_wheel_alone_imports_every_public_name_without_torch(base: Environment, tmp_path: Path) -> None:
    code = "from langgraph_memory_r1 import *; import sys; print('torch' in sys.modules, LanceDBStore.__name__)"
    assert base.run("python", "-c", code, cwd=tmp_path).split() == ["False", "LanceDBStore"]
    assert "torch" not in base.run("python", "-m", "pip", "list", cwd=tmp_path)


@pytest.mark.slow
def test_wheel_alone_runs_the_command_line(base: Environment, tmp_path: Path) -> None:
    assert "demo" in base.run("memory-r1", "--help", cwd=tmp_path)
    assert "Scout" in base.run("memory-r1", "demo", cwd=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("command", [("pytest",), ("python", "-m", "pytest")], ids=" ".join)
def test_suite_passes_with_a_plain_install(built: Built, plain: Environment, command: tuple[str, ...]) -> None:
    plain.run(*command, "-q", cwd=built.source)


@pytest.mark.slow
def test_suite_passes_when_started_as_pytest_too() -> None:
    """`make test` starts it as `python -m pytest`; this is the other way, in the same environment."""
    this_environment().run("pytest", "-q", cwd=ROOT)
