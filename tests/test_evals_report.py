"""Reports: a run folder becomes numbers, Markdown and one HTML page, and nothing in it can break out of the page."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from langgraph_memory_r1.errors import InputError
from langgraph_memory_r1.evals.report import read_run, summary, write_report
from langgraph_memory_r1.evals.report.diagnosis import DIAGNOSES, count_diagnoses, diagnose, verdict_metric
from langgraph_memory_r1.evals.report.means import Mean, Means, saturation_curves
from langgraph_memory_r1.evals.report.question_data import questions_json
from langgraph_memory_r1.evals.report.result_tables import answers, banks, by_category, outcomes
from langgraph_memory_r1.evals.report.results import BenchmarkRun
from langgraph_memory_r1.evals.report.svg import Series, bars, lines, scatter
from support.runs import memory, result, write_lines, write_run

HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)> & | `code` *x* \u202e\ud800"
COUNTS = {"single-hop": 727, "multi-hop": 239, "temporal": 258, "open-domain": 83}


def small(folder: Path, **manifest: Any) -> BenchmarkRun:
    """Two systems, four questions in two conversations."""
    scores = {"memory-r1": (1.0, 0.5, 0.0, 1.0), "bm25": (0.0, 0.5, 0.0, 0.2)}
    lines = [
        result(system, f"c{1 + place // 2}/{place}", score, category="temporal" if place == 3 else "single-hop")
        for system, row in scores.items()
        for place, score in enumerate(row)
    ]
    return read_run(write_run(folder / "run", lines, **manifest))


def test_a_run_keeps_each_text_once_and_every_later_hit(tmp_path: Path) -> None:
    many = [memory(number, f"D2:{number}", hit=number == 90) for number in range(100)]
    found = [result(system, "c1/0", 1.0, retrieved=many, evidence=["D2:90", "D9:9"]) for system in ("a", "b")]
    run = read_run(write_run(tmp_path / "run", found))
    first = run.results[0]
    assert (len(first.retrieved), first.hits, first.looked_at, first.evidence_share) == (61, (60,), 100, 0.5)
    assert len(run.memories) == 61
    assert run.results[1].retrieved == first.retrieved


def test_a_folder_that_is_no_run_is_refused_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing/manifest\.json cannot be read"):
        read_run(tmp_path / "nothing")
    folder = write_run(tmp_path / "run", [])
    with pytest.raises(InputError, match="holds no results"):
        read_run(folder)
    write_lines(folder / "results.jsonl", [result("a", "c1/0", 1.0), {"system": "a"}])
    with pytest.raises(InputError, match=r"results\.jsonl:2 has no 'evidence'"):
        read_run(folder)
    (folder / "results.jsonl").write_text('{"half', "utf-8")
    with pytest.raises(InputError, match=r"results\.jsonl:1 is not JSON"):
        read_run(folder)
    (folder / "manifest.json").write_text("[1]", "utf-8")
    with pytest.raises(InputError, match="is not a manifest"):
        read_run(folder)


@pytest.mark.parametrize(
    ("expected", "score", "changes"),
    [
        ("right", 0.5, {}),
        ("misread", 0.4, {}),
        ("partly retrieved", 0.0, {"evidence": ["D1:1", "D5:5"]}),
        ("not retrieved", 0.0, {"retrieved": [memory(2, "D1:2")]}),
        ("lost", 0.0, {"retrieved": [], "scores": {"f1_locomo": 0.0, "evidence_in_bank": 0.0}}),
        ("wrong", 0.0, {"evidence": [], "retrieved": []}),
        ("error", None, {"error": "the server is away"}),
        ("found", None, {}),
        ("not scored", None, {"evidence": []}),
    ],
)
def test_it_is_said_where_an_answer_went_wrong(
    tmp_path: Path, expected: str, score: float | None, changes: dict[str, Any]
) -> None:
    run = read_run(write_run(tmp_path / "run", [result("a", "c1/0", score, **changes)]))
    assert diagnose(run.results[0], verdict_metric(run)) == expected
    assert expected in DIAGNOSES


def test_a_judge_decides_where_there_is_one(tmp_path: Path) -> None:
    scores = {"f1_locomo": 1.0, "judge_generous": 0.0}
    run = read_run(write_run(tmp_path / "run", [result("a", "c1/0", 1.0, scores=scores)]))
    assert verdict_metric(run) == "judge_generous"
    assert count_diagnoses(run)["a"] == {"misread": 1}


def test_means_leave_out_what_was_not_measured(tmp_path: Path) -> None:
    found = [result("a", f"c{place % 6}/{place}", score) for place, score in enumerate([1.0, 0.5, 0.0] * 4)]
    failed = result("a", "c1/99", None, error="gone")
    estimates = Means(read_run(write_run(tmp_path / "run", [*found, failed])))
    f1, em = estimates.of("a", "f1_locomo"), estimates.of("a", "em")
    assert f1 is not None and em is not None
    assert (f1.mean, f1.n) == (0.5, 12)
    assert f1.low < 0.5 < f1.high
    assert str(em) == "33.3 (13.8–60.9)"  # Wilson's interval of 4 in 12
    assert estimates.of("a", "f1_locomo", "temporal") is None


@pytest.mark.parametrize(
    ("scores", "titles", "note"),
    [
        ({"f1_mem0": 1.0}, ("f1_mem0",), "The official metric, judge_longmemeval, needs a judge; f1_mem0 stands in"),
        ({"f1_mem0": 1.0, "judge_longmemeval": 0.0}, ("judge_longmemeval (official)", "f1_mem0"), "Scores × 100"),
    ],
)
def test_what_stands_in_for_the_official_metric_is_not_called_official(
    tmp_path: Path, scores: dict[str, float], titles: tuple[str, ...], note: str
) -> None:
    lines = [result("a", "c1/0", 1.0, scores=scores)]
    run = read_run(write_run(tmp_path / "run", lines, benchmark="longmemeval", official_metric="f1_mem0"))
    table = answers(run, Means(run))
    assert table.titles[3 : 3 + len(titles)] == titles
    assert table.note.startswith(note)


def test_few_conversations_do_not_make_intervals_short(tmp_path: Path) -> None:
    """Two conversations with the same mean say nothing about how much conversations differ."""
    found = [result("a", f"c{place % 2}/{place}", float(place % 4 > 1)) for place in range(40)]
    estimate = Means(read_run(write_run(tmp_path / "run", found))).of("a", "f1_locomo")
    assert estimate is not None
    assert estimate.high - estimate.low > 0.2


def test_the_tables_count_what_the_results_say(tmp_path: Path) -> None:
    run = small(tmp_path)
    estimates = Means(run)
    overall = answers(run, estimates)
    assert overall.titles[:5] == ("system", "n", "errors", "f1_locomo (official)", "em")
    assert [row[:3] for row in overall.rows] == [("memory-r1", "4", "0"), ("bm25", "4", "0")]
    assert overall.rows[0][3].startswith("62.5 (")
    category = by_category(run, estimates, "f1_locomo")
    assert category.titles == ("system", "single-hop (n 3)", "temporal (n 1)", "all (n 4)")
    assert [row[2].split()[0] for row in category.rows] == ["100.0", "20.0"]
    became = outcomes(run)
    assert became.titles == ("system", "right", "misread")
    assert became.rows == (("memory-r1", "3 (75 %)", "1 (25 %)"), ("bm25", "1 (25 %)", "3 (75 %)"))
    assert became.links[1, 2] == "#questions?system=bm25&outcome=misread"


def test_banks_are_added_up_and_lost_facts_weighted_by_questions(tmp_path: Path) -> None:
    bank = {"system": "memory-r1", "turns": 10, "memories": 6, "facts": 9, "operations": {"ADD": 6, "NOOP": 2}}
    lines = [
        {**bank, "conversation": "c1", "lost_facts": 0.5, "questions": 1},
        {**bank, "conversation": "c2", "lost_facts": 0.1, "questions": 3},
        {"system": "memory-r1", "conversation": "c3", "questions": 2, "error": "not remembered yet"},
    ]
    table = banks(small(tmp_path, banks=lines))
    assert table is not None
    assert table.rows == (
        ("memory-r1", "20", "18", "12", "12 (75 %)", "0 (0 %)", "0 (0 %)", "4 (25 %)", "20.0"),
    )  # fmt: skip


def test_a_conversation_that_has_ended_keeps_its_last_values(tmp_path: Path) -> None:
    def point(conversation: str, session: int, accuracy: float | None) -> dict[str, Any]:
        return {"system": "bm25", "conversation": conversation, "session": session, "accuracy": accuracy}

    curve = [point("c1", 2, 1.0), point("c1", 4, 0.5), point("c2", 2, None), point("c2", 4, 0.1), point("c2", 6, 0.3)]
    points = saturation_curves(small(tmp_path, curve=curve))["bm25"]
    assert [(each.session, each.values.get("accuracy")) for each in points] == [(2, 1.0), (4, 0.3), (6, 0.4)]
    assert saturation_curves(small(tmp_path, curve=curve[:1])) == {}


def whole_test_split(folder: Path, **manifest: Any) -> str:
    """The Markdown report of a run with as many questions in each category as the paper asked."""
    scores = {"f1_mem0": 0.25, "judge_generous": 1.0}
    kinds = [category for category, count in COUNTS.items() for _ in range(count)]
    found = [
        result("bm25", f"c{place % 8}/{place}", 1.0, category=category, scores=scores, retrieved=[])
        for place, category in enumerate(kinds)
    ]
    labels = manifest.pop("labels", None)
    return write_report(write_run(folder / "run", found, **manifest), paper_labels=labels).markdown.read_text("utf-8")


def test_the_paper_stands_below_what_was_measured_and_apart(tmp_path: Path) -> None:
    judge = {"id": "openai:gpt-4o-mini", "kind": "generous"}
    report = whole_test_split(tmp_path, judge=judge)
    f1 = report.partition("### f1_mem0\n")[2].partition("###")[0]
    rows = [line for line in f1.splitlines() if line.startswith("|")]
    assert rows[2].startswith("| bm25 | 25.0 (")
    assert "| *paper: Memory-R1-GRPO, Llama-3.1-8B* | *47.4* | *35.7* | *49.9* | *35.6* | *45.0* |" in rows[3:]
    assert all(row.startswith("| *paper: ") for row in rows[3:])
    assert "arXiv 2508.19828" in f1
    assert "*paper: " in report.partition("### judge_generous\n")[2].partition("###")[0]


@pytest.mark.parametrize(
    "manifest",
    [
        {"split": "train"},
        {"benchmark": "msc"},
        {"data": {"modified": True}},
        {"audit": "errors.json"},
    ],
)
def test_the_paper_is_not_quoted_beside_what_it_does_not_compare_with(tmp_path: Path, manifest: Any) -> None:
    assert "paper:" not in whole_test_split(tmp_path, **manifest)


def test_the_papers_verdicts_are_quoted_for_its_own_judge_only(tmp_path: Path) -> None:
    report = whole_test_split(tmp_path, judge={"id": "ollama:other", "kind": "generous"})
    assert "*paper: " in report.partition("### f1_mem0\n")[2].partition("###")[0]
    assert "*paper: " not in report.partition("### judge_generous\n")[2].partition("###")[0]


def test_some_of_the_questions_do_not_compare_with_the_paper(tmp_path: Path) -> None:
    assert "paper:" not in write_report(small(tmp_path).folder).markdown.read_text("utf-8")


def test_categories_can_be_named_as_the_paper_does(tmp_path: Path) -> None:
    report = whole_test_split(tmp_path, labels="memory-r1")
    assert "| system | Open Domain (n 727) | Single Hop (n 239) | Temporal (n 258) | Multi-Hop (n 83) |" in report
    assert "differ from the benchmark's own" in report


def test_markdown_says_what_to_know_before_the_numbers(tmp_path: Path) -> None:
    run = small(
        tmp_path, limit=4, models={"manager": "rules", "answerer": "x:y"}, notes=["The file is a sample."],
        full_split_questions=1307, conversations=["c1", "c2"],
    )  # fmt: skip
    report = write_report(run.folder).markdown.read_text("utf-8")
    assert "4 of 1,307 questions, 2 conversations, 2 systems, no judge, k 60." in report
    assert "> **Note:** Limited to 4 questions (--limit): for testing only." in report
    assert "> **Note:** Only c1, c2: for testing only." in report
    assert "> **Note:** Manager: rules, a baseline without any model" in report
    assert "> **Note:** The file is a sample." in report
    assert report.endswith("CC BY-NC 4.0 (https://example.org/licence). Non-commercial use only.\n")


def test_a_run_without_answers_is_reported_by_what_was_retrieved(tmp_path: Path) -> None:
    scores = {"recall@1": 1.0, "recall@10": 1.0, "recall_any@10": 1.0, "recall_all@10": 0.0}
    kinds = ("single-hop", "temporal", "temporal")
    found = [result("turns", f"c1/{n}", None, scores=scores, category=kind) for n, kind in enumerate(kinds)]
    folder = write_run(tmp_path / "run", found, official_metric="recall@10", retrieval_only=True)
    written = write_report(folder)
    report = written.markdown.read_text("utf-8")
    titles = [line for line in report.splitlines() if line.startswith("#")]
    assert "### All questions" not in titles
    assert {"### recall@10", "### recall@k", "### recall_any@k", "### recall_all@k"} <= set(titles)
    assert "| turns | 3 (100 %) |" in report
    assert "context tokens" not in report
    assert "recall_any@k" in written.html.read_text("utf-8")
    shown = [table.title for table in summary(read_run(folder))]
    assert shown == ["recall@k", "recall_any@k", "recall_all@k", "recall@10"]


class Page(HTMLParser):
    """Tags with their attributes, and the texts of script blocks."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] == "script" and data.strip():
            self.scripts.append(data)


def hostile(folder: Path) -> Path:
    line = result(
        HOSTILE, "c1/0", 0.0, question=HOSTILE, gold=HOSTILE, answer=HOSTILE, category=HOSTILE, evidence=[HOSTILE],
        evidence_text=[HOSTILE], retrieved=[memory(1, HOSTILE, hit=True, text=HOSTILE)],
    )  # fmt: skip
    return write_run(folder / "run", [line], systems=[HOSTILE], title=HOSTILE, notes=[HOSTILE], command=HOSTILE)


def test_hostile_texts_stay_texts(tmp_path: Path) -> None:
    written = write_report(hostile(tmp_path))
    page = Page(written.html.read_text("utf-8"))
    data, script = page.scripts
    assert [tag for tag, _ in page.tags if tag in ("img", "script", "iframe")] == ["script", "script"]
    question = json.loads(data)["questions"][0]
    assert question["question"] == HOSTILE.replace("\ud800", "?")
    policy = next(attrs["content"] for _, attrs in page.tags if attrs.get("http-equiv"))
    assert f"script-src 'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" in str(policy)
    report = written.markdown.read_text("utf-8")
    assert re.findall(r"(?<!\\)<", report) == []
    for table in re.findall(r"(?:^\|.*\n)+", report, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1


def test_the_page_loads_nothing(tmp_path: Path) -> None:
    page = Page(write_report(small(tmp_path).folder).html.read_text("utf-8"))
    links = [str(attrs[name]) for _, attrs in page.tags for name in ("href", "src", "xlink:href") if name in attrs]
    assert links
    assert [link for link in links if not link.startswith("#")] == []
    policy = next(str(attrs["content"]) for _, attrs in page.tags if attrs.get("http-equiv"))
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-")


def test_every_link_within_the_page_leads_somewhere(tmp_path: Path) -> None:
    page = Page(write_report(small(tmp_path).folder).html.read_text("utf-8"))
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    targets = {str(attrs["href"])[1:].partition("?")[0] for _, attrs in page.tags if "href" in attrs}
    assert targets <= ids
    assert {"summary", "categories", "retrieval", "settings", "questions"} <= targets


def test_a_large_page_keeps_fewer_memories_but_all_evidence(tmp_path: Path) -> None:
    many = [
        memory(number, f"D1:{number}", hit=number == 50, text=f"memory {number} {'x' * 900}") for number in range(60)
    ]
    run = read_run(write_run(tmp_path / "run", [result("a", "c1/0", 0.0, retrieved=many, evidence=["D1:50"])]))
    full, small_one = (json.loads(questions_json(run, most_bytes)) for most_bytes in (1_000_000, 1))
    answer = small_one["questions"][0]["answers"][0]
    assert len(full["questions"][0]["answers"][0]["retrieved"]) == 60
    assert (len(answer["retrieved"]), answer["hits"], answer["later"], answer["looked_at"]) == (4, [3], [51], 60)
    assert [small_one["memories"][number][0] for number in answer["retrieved"]][-1][:10] == "memory 50 "
    assert len(small_one["memories"][0][0]) == 201


def shapes(svg: str, kind: str) -> list[ElementTree.Element]:
    return [each for each in ElementTree.fromstring(svg).iter() if each.get("class", "").split()[:1] == [kind]]


def test_bars_are_as_long_as_their_means() -> None:
    svg = bars("t <", [("a & b", 0, Mean(0.5, 0.4, 0.6, 9)), ("c", 1, None), ("d", 2, Mean(1.0, 1.0, 1.0, 9))])
    first, second = (float(bar.get("width", 0)) for bar in shapes(svg, "bar"))
    assert second == pytest.approx(2 * first, abs=0.2)
    assert len(shapes(svg, "whisker")) == 2
    texts = [each.text for each in ElementTree.fromstring(svg).iter("text")]
    assert {"a & b", "50.0", "not measured", "100.0"} <= set(texts)


def test_long_names_have_room_beside_their_bars() -> None:
    """At the page's 12.5 pixels a character is some 7 wide."""
    svg = bars("t", [("memory-r1, qwen-7b, adapter 3", 0, Mean(0.5, 0.4, 0.6, 9)), ("bm25", 1, None)])
    (name, *_), (bar,) = shapes(svg, "name"), shapes(svg, "bar")
    assert name.text == "memory-r1, qwen-7b, ada…"
    assert float(name.get("x", 0)) >= 6.5 * len(name.text)
    assert float(bar.get("x", 0)) < 200


@pytest.mark.parametrize("points", [(), ((1.0, 0.0),), ((1.0, 0.2), (60.0, 0.83)), ((4.0, 7e6), (8.0, 1.0))])
def test_curves_stay_in_their_frame(points: tuple[tuple[float, float], ...]) -> None:
    svg = lines("t", [Series("a", 0, points), Series("b", 12, points)], x_name="k", y_name="y", percent=False)
    places = [each.get("transform", "") for each in ElementTree.fromstring(svg).iter() if each.get("transform")]
    assert len(places) == 2 * len(points)
    for place in places:
        x, y = map(float, re.findall(r"[\d.]+", place))
        assert 46 <= x <= 360
        assert 26 <= y <= 232


@pytest.mark.parametrize("tokens", [[0.0], [1.0, 24_000.0], [900.0, 950.0], []])
def test_points_stay_in_their_frame(tokens: Sequence[float]) -> None:
    points = [(f"s{n}", n, x, Mean(0.3, 0.2, 0.9, 5)) for n, x in enumerate(tokens)]
    svg = scatter("t", points, x_name="tokens", y_name="f1")
    places = [each.get("transform", "") for each in ElementTree.fromstring(svg).iter() if each.get("transform")]
    assert len(places) == len(tokens)
    assert all(46 <= float(re.findall(r"[\d.]+", place)[0]) <= 360 for place in places)


def colours() -> Iterator[tuple[str, str, str]]:
    from importlib.resources import files

    style = (files("langgraph_memory_r1.evals.report") / "page.css").read_text("utf-8")
    yield from re.findall(r"--([\w-]+): light-dark\(#(\w{6}), #(\w{6})\)", style)


def contrast(one: str, other: str) -> float:
    """The contrast ratio of the Web Content Accessibility Guidelines."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (0, 2, 4)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_texts_and_marks_stand_out_in_both_themes(theme: int) -> None:
    values = {name: pair[theme] for name, *pair in colours()}
    backgrounds = [("ink", "paper"), ("ink", "raised"), ("faint", "paper"), ("faint", "raised"), ("link", "paper")]
    backgrounds += [("good", "good-soft"), ("bad", "bad-soft"), ("ink", "warn-soft"), ("ink", "good-soft")]
    assert [pair for pair in backgrounds if contrast(values[pair[0]], values[pair[1]]) < 4.5] == []
    assert [n for n in range(10) if contrast(values[f"c{n}"], values["paper"]) < 3] == []
