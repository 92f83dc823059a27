"""The paper's tables: complete, and true to their own arithmetic under the true names of the categories."""

from __future__ import annotations

import pytest

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.evals.benchmark import benchmark
from langgraph_memory_r1.evals.paper import ALL, PaperTable, paper_table, paper_tables

MISPRINTED = {("A-Mem", "Llama-3.1-8B-Instruct"), ("A-Mem", "Qwen-2.5-7B-Instruct"), ("Mem0", "Qwen-2.5-7B-Instruct")}
"""Rows of Table 1 whose overall judge score is not the mean of its columns; the table's note says so."""


def _main() -> PaperTable:
    table = paper_table("locomo", "test")
    assert table is not None
    return table


def test_table_1_is_complete_and_says_where_it_is_from() -> None:
    table = _main()
    assert table.source == "Memory-R1, arXiv 2508.19828v5, Table 1"
    assert len(table.rows) == 14
    best = {row.backbone: row.scores[ALL] for row in table.rows if row.system == "Memory-R1-GRPO"}
    assert best == {
        "Llama-3.1-8B-Instruct": {"f1_mem0": 45.02, "bleu1_mem0": 37.51, "judge_generous": 62.74},
        "Qwen-2.5-7B-Instruct": {"f1_mem0": 43.14, "bleu1_mem0": 36.44, "judge_generous": 61.51},
    }
    assert all(set(row.scores) == {column.category for column in table.columns} for row in table.rows)


def test_its_columns_have_true_names_and_the_printed_ones() -> None:
    printed = {column.category: column.printed for column in _main().columns if column.category != ALL}
    assert printed == benchmark("locomo").paper_labels["memory-r1"]
    assert sum(column.n for column in _main().columns if column.category != ALL) == 1307


@pytest.mark.parametrize("table", [paper_table("locomo", "test"), paper_table("longmemeval", "oracle")])
def test_the_overall_score_is_the_mean_of_the_columns_by_their_questions(table: PaperTable) -> None:
    """It is so only under the true names, so that a swapped or mistyped column fails."""
    sizes = {column.category: column.n for column in table.columns if column.category != ALL}
    checked = 0
    for row in table.rows:
        if len(row.scores) == 1:
            continue
        for metric, overall in row.scores[ALL].items():
            if metric == "judge_generous" and (row.system, row.backbone) in MISPRINTED:
                continue
            mean = sum(row.scores[name][metric] * n for name, n in sizes.items()) / sum(sizes.values())
            assert mean == pytest.approx(overall, abs=0.015 if table.benchmark == "locomo" else 0.06)
            checked += 1
    assert checked == (14 * 3 - 3 if table.benchmark == "locomo" else 6)


def test_other_tables_have_names() -> None:
    sizes = paper_table("locomo", "test", table="Table 3")
    assert sizes is not None
    assert [row.scores[ALL]["f1_mem0"] for row in sizes.rows if row.system == "Memory-R1-GRPO"] == [40.45, 41.31, 44.4]
    assert len({table.name for table in paper_tables()}) == len(paper_tables()) == 5
    with pytest.raises(InputError, match="Table 1, Table 3"):
        paper_table("locomo", "test", table="Table 9")


def test_the_paper_says_nothing_about_other_splits() -> None:
    assert paper_table("locomo", "full") is None
    assert paper_table("msc", "test") is None
    assert paper_table("longmemeval", "s") is None


def test_every_category_and_split_exists_in_its_benchmark() -> None:
    for table in paper_tables():
        known = benchmark(table.benchmark)
        assert table.split in known.splits
        assert {column.category for column in table.columns} <= {*known.categories, ALL}
