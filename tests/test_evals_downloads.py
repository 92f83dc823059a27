from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.evals.benchmark import Source, benchmark
from langgraph_memory_r1.evals.downloads import cache_folder, fetch, licence_notice

CONTENT = b'[{"sample_id": "conv-1"}]' * 100_000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves one file, a redirect to it, a truncated one and an error."""

    asked: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/file.json")
            self.end_headers()
            return
        self.send_response(200 if self.path in ("/file.json", "/cut") else 404)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: 1000 if self.path == "/cut" else None])

    def log_message(self, format: str, *args: object) -> None:
        """Keep the output of the tests clean."""


@pytest.fixture
def server() -> Iterator[str]:
    Handler.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.mark.parametrize("path", ["file.json", "moved"])
def test_a_file_is_fetched_once_and_whole(server: str, tmp_path: Path, path: str) -> None:
    pieces: list[int] = []
    source = Source("file.json", DIGEST, len(CONTENT), f"{server}/{path}")
    folder = tmp_path / "new" / "folder"
    assert fetch(source, folder, on_bytes=pieces.append) == folder / "file.json"
    assert (folder / "file.json").read_bytes() == CONTENT
    assert sum(pieces) == len(CONTENT)
    asked = list(Handler.asked)
    assert fetch(source, folder) == folder / "file.json"
    assert Handler.asked == asked


@pytest.mark.parametrize(
    ("path", "digest", "message"),
    [
        ("file.json", "0" * 64, "another content than expected"),
        ("missing", DIGEST, r"cannot be downloaded \(.*404"),
        ("cut", DIGEST, "cannot be downloaded"),
    ],
)
def test_a_failed_download_leaves_nothing(server: str, tmp_path: Path, path: str, digest: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fetch(Source("file.json", digest, 1, f"{server}/{path}"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_away_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"http://127\.0\.0\.1:9/x cannot be downloaded .*--data"):
        fetch(Source("x", DIGEST, 1, "http://127.0.0.1:9/x"), tmp_path)


def test_a_file_of_another_content_is_not_overwritten(server: str, tmp_path: Path) -> None:
    (tmp_path / "file.json").write_text("mine")
    with pytest.raises(InputError, match="another content"):
        fetch(Source("file.json", DIGEST, 1, f"{server}/file.json"), tmp_path)
    assert (tmp_path / "file.json").read_text() == "mine"
    assert Handler.asked == []


def test_a_place_that_cannot_be_written_is_named(server: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        fetch(Source("file.json", DIGEST, 1, f"{server}/file.json"), tmp_path / "file")


def test_what_has_no_address_is_not_fetched(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--data"):
        fetch(Source("sample.jsonl", DIGEST, 1), tmp_path)


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
