"""Files appear whole or not at all; lines are read with their numbers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from langgraph_memory_r1.errors import InputError, StoreError
from langgraph_memory_r1.jsonl import read_lines, write_file


def test_lines_come_with_their_numbers_and_without_blanks(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b"\xef\xbb\xbf{1}\r\n\n  \n{2}\n{3}")
    assert list(read_lines(path, "numbers")) == [(1, b"{1}"), (4, b"{2}"), (5, b"{3}")]


@pytest.mark.parametrize("name", ["missing.jsonl", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"cannot be read .*; name a JSONL file of numbers"):
        list(read_lines(tmp_path / name, "numbers"))


def test_what_was_written_is_counted_and_replaces_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text("before")
    assert write_file(path, [b"1\n", b"2\n"]) == 2
    assert path.read_bytes() == b"1\n2\n"
    assert [each.name for each in tmp_path.iterdir()] == ["lines.jsonl"]


@pytest.mark.parametrize("error", [ValueError("broken"), StoreError("away"), KeyboardInterrupt()])
def test_a_chunk_that_fails_leaves_what_was_there(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text("before")

    def chunks() -> Iterator[bytes]:
        yield b"1\n"
        raise error

    with pytest.raises(type(error)) as caught:
        write_file(path, chunks())
    assert caught.value is error
    assert path.read_text() == "before"
    assert [each.name for each in tmp_path.iterdir()] == ["lines.jsonl"]


@pytest.mark.parametrize("place", ["missing/lines.jsonl", "file/lines.jsonl", "folder"])
def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=r"cannot be written .*; name a file in a writable folder"):
        write_file(tmp_path / place, [b"1\n"])
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "folder"]


def test_two_writers_to_one_place_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    both = threading.Barrier(2)

    def chunks(chunk: bytes) -> Iterator[bytes]:
        yield chunk
        both.wait(10)
        yield from [chunk] * 1000

    threads = [threading.Thread(target=write_file, args=(path, chunks(chunk))) for chunk in (b"1\n", b"2\n")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in (b"1\n" * 1001, b"2\n" * 1001)
    assert [each.name for each in tmp_path.iterdir()] == ["lines.jsonl"]
