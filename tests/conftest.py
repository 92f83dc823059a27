"""What every test may use, and the guard that keeps the suite off the network."""

from __future__ import annotations

import gc
import ipaddress
import logging
import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from langgraph.store.base import BaseStore, IndexConfig

    from langgraph_memory_r1 import MemoryBank
    from support.command import Command
    from support.stores import Store
    from support.vllm_served import Served

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"

# A developer's own tracing must not send what the tests say.
os.environ["LANGSMITH_TRACING"] = os.environ["LANGCHAIN_TRACING_V2"] = "false"

# It comes once in a process, into whichever test is the first to let `rules` decide.
logging.getLogger("langgraph_memory_r1.models.rules_model").setLevel(logging.ERROR)

_guard = {"armed": True}


class NetworkBlockedError(RuntimeError):
    """A test that is not marked `network` tried to leave this machine."""


def _is_local(host: object) -> bool:
    """Whether a host names this machine, without asking a name server."""
    name = host.decode() if isinstance(host, bytes) else host
    if name in (None, "", "localhost"):
        return True
    try:
        return ipaddress.ip_address(str(name).split("%")[0]).is_loopback
    except ValueError:
        return False


def _block_network(event: str, args: tuple[object, ...]) -> None:
    """Audit hook: it sees every Python socket, whichever library opens it, and cannot be imported around."""
    if not _guard["armed"]:
        return
    if event == "socket.getaddrinfo":
        host = args[0]
    elif event in {"socket.connect", "socket.sendto"} and isinstance(args[0], socket.socket):
        if args[0].family not in (socket.AF_INET, socket.AF_INET6) or not isinstance(args[1], tuple):
            return
        host = args[1][0]
    else:
        return
    if not _is_local(host):
        raise NetworkBlockedError(f"{event} to {host!r}: mark the test `network` or use a local server")


sys.addaudithook(_block_network)


def pytest_collection_finish() -> None:
    """What was imported for the tests stays: the garbage collector need not look through it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _network(request: pytest.FixtureRequest) -> Iterator[None]:
    """Open the network for the tests that are marked `network`, and for no other."""
    _guard["armed"] = request.node.get_closest_marker("network") is None
    yield
    _guard["armed"] = True


@pytest.fixture(params=["lancedb", "memory"])
def backend(request: pytest.FixtureRequest) -> str:
    """The store of a test, as `support.stores.opened` names it; modules that need others define it anew."""
    return str(request.param)


@pytest.fixture
def store_index() -> IndexConfig | None:
    """What the store of a test indexes: nothing, unless a module defines it anew."""
    return None


@pytest.fixture
def store(backend: str, store_index: IndexConfig | None, tmp_path: Path) -> Iterator[Store]:
    """An empty store of the backend."""
    from support.stores import opened

    with opened(backend, tmp_path / "db", store_index) as store:
        yield store


@pytest.fixture
def owner() -> str | tuple[str, ...]:
    """Whose memories `bank` holds."""
    return "ann@example.com"


@pytest.fixture
def bank(store: BaseStore, owner: str | tuple[str, ...]) -> MemoryBank:
    """An empty bank in the store."""
    from langgraph_memory_r1 import MemoryBank

    return MemoryBank(store, owner)


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The `memory-r1` command in this process, on an empty folder."""
    from support.command import Command

    return Command(tmp_path, monkeypatch, capsys)


@pytest.fixture
def dogs(cli: Command, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """`cli` after three turns about dogs."""
    return cli.remember_dogs(tmp_path_factory.getbasetemp() / "dogs")


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes an export of another product, text or what becomes JSON, and returns its file."""
    from support.exports import write_export

    return lambda value, name="export.json": write_export(tmp_path / name, value)


@pytest.fixture
def lance_uri(tmp_path: Path) -> str:
    """A folder for a bank that does not exist yet."""
    return str(tmp_path / "bank")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The benchmark files, which may not be redistributed: they lie beside the checkout or the test is skipped."""
    if not DATA.is_dir():
        pytest.skip(f"no benchmark data at {DATA}; their licences keep them out of the project")
    return DATA


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A real vLLM server; one for all tests that need it."""
    from support.vllm_served import serving

    with serving(tmp_path_factory.mktemp("vllm")) as found:
        yield found
