"""The measures of the house on a small tree, and the limits that this project keeps."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.house import ROOT, Source, length, measure, read_tree, report, shared_class_names, vague_locals

SAMPLE = '''"""A sample."""


def public(rows):  # a reason
    found = _once(rows)  # type: ignore[no-any-return]

    def _inner():
        return found

    return _twice(_inner()), _twice(rows)


def _once(rows):
    # Two lines
    # of reasons.
    return rows


def _twice(rows):
    return rows


class Bank:
    def _once_here(self):
        return [
            self,
            1,
            2,
            3,
            4,
            5,
        ]

    def rows(self):
        return self._once_here()

    def _settings(self):
        return super()._settings()
'''


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for path in ("langgraph_memory_r1/store/rows.py", "langgraph_memory_r1/errors.py", "train/tiny/model.py"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(SAMPLE if path.endswith("rows.py") else "def _once(): ...\n", encoding="utf-8")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_rows.py").write_text("def test(): ...\n", encoding="utf-8")
    (tmp_path / "langgraph_memory_r1" / "train").symlink_to("../train")
    return tmp_path


def test_files_belong_to_packages_and_tests_and_links_to_none(tree: Path) -> None:
    assert {source.path: source.package for source in read_tree(tree)} == {
        "langgraph_memory_r1/errors.py": "library root",
        "langgraph_memory_r1/store/rows.py": "store",
        "train/tiny/model.py": "train/tiny",
    }


def test_measures_of_a_file(tree: Path) -> None:
    measures = measure([source for source in read_tree(tree) if source.package == "store"])
    assert (measures.files, measures.lines, measures.functions) == (1, 38, 6)
    assert (measures.median, measures.longest_function, measures.longest_file) == (3, 9, 38)
    assert (measures.one_use, measures.six_lines) == pytest.approx(
        (100 / 3, 100 / 6)
    )  # _once and _once_here of six; only _once is short
    assert measures.comments == pytest.approx(100 * 3 / 38)


def test_report_has_a_row_for_each_package(tree: Path) -> None:
    assert [line.split()[0] for line in report(tree).splitlines()[1:]] == [
        "package", "library", "store", "train/tiny", "total", "locals",
    ]  # fmt: skip
    assert vague_locals(read_tree(tree)) == {"found": 1}


def test_classes_of_one_name_are_listed_with_their_places(tree: Path) -> None:
    (tree / "train" / "bank.py").write_text("def load():\n    class Bank: ...\n", encoding="utf-8")
    assert shared_class_names(read_tree(tree)) == {"Bank": ["langgraph_memory_r1/store/rows.py:23", "train/bank.py:2"]}


# The limits of this project


@pytest.fixture(scope="module")
def sources() -> list[Source]:
    return read_tree(ROOT)


def test_no_file_and_no_function_is_long(sources: list[Source]) -> None:
    assert [source.path for source in sources if source.lines > 420] == []
    assert [
        f"{source.path}:{function.lineno} {function.name}"
        for source in sources
        for function in source.functions
        if length(function) > 60
    ] == []


def test_helpers_that_are_used_once_are_few(sources: list[Source]) -> None:
    """In per cent of all functions of a folder: 15, and 4 with at most six lines; `make house` shows them."""
    folders = {source.package.partition("/")[0] for source in sources}
    measures = {
        folder: measure([source for source in sources if source.package.partition("/")[0] == folder])
        for folder in sorted(folders)
    }
    assert {folder: round(m.one_use, 1) for folder, m in measures.items() if m.one_use > 15} == {}
    assert {folder: round(m.six_lines, 1) for folder, m in measures.items() if m.six_lines > 4} == {}


@pytest.mark.parametrize("part", ["store", "retrieval", "train", "/steps.py", "/middleware/background.py"])
def test_comments_say_why_where_a_reader_would_stop(sources: list[Source], part: str) -> None:
    """In a folder with all below it, and in single files, there are at least two lines of comments in a hundred."""
    chosen = [source for source in sources if source.package.split("/")[0] == part or source.path.endswith(part)]
    assert measure(chosen).comments >= 2


def test_locals_say_what_they_hold(sources: list[Source]) -> None:
    assert vague_locals(sources) == {}


def test_no_two_classes_share_a_name(sources: list[Source]) -> None:
    assert shared_class_names(sources) == {}
