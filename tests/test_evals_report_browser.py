"""The page of a report as a reader uses it, in a real browser."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from langgraph_memory_r1.evals.report import write_report
from support.browser import PROGRAM, Browser
from support.runs import memory, result, write_run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="needs a Chromium or Chrome on the PATH"),
]

HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
SYSTEMS = ("memory-r1", "no-memory", "bm25", "dense", "hybrid", "full-context", "oracle")
QUESTIONS = 1_307


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """As many questions and systems as the largest run has, with one question of hostile texts."""
    folder = tmp_path_factory.mktemp("run")
    lines = [_line(system, place, number) for place in range(QUESTIONS) for number, system in enumerate(SYSTEMS)]
    curve = [
        {"system": system, "conversation": "c1", "session": session, "accuracy": 0.5, "lost": 0.1, "memories": session}
        for system in SYSTEMS[:2]
        for session in (4, 8, 12)
    ]
    written = write_report(write_run(folder, lines, systems=SYSTEMS, curve=curve, notes=["For testing."]))
    assert written.html.stat().st_size < 15_000_000
    return written.html.as_uri()


def _line(system: str, place: int, number: int) -> dict[str, Any]:
    text = HOSTILE if place == 0 else f"Turn {place} about topic {place % 40}, said at some length and with many words."
    retrieved = [memory(place, "D1:1", hit=number % 2 == 0, text=text)]
    retrieved += [memory(rank, f"D9:{rank}", text=f"c{place % 8}, turn {rank}: {'words ' * 20}") for rank in range(59)]
    changes: dict[str, Any] = {"question": HOSTILE} if place == 0 else {}
    category = ("single-hop", "multi-hop", "temporal", "open-domain")[place % 4]
    score = float((place + number) % 3 == 0)
    return result(system, f"c{place % 8}/{place}", score, category=category, retrieved=retrieved, **changes)


def opened(browser: Browser, page: str, hash: str = "") -> Browser:
    browser.window(1280, 900)
    browser.open(page + hash)
    return browser


def rows(browser: Browser) -> int:
    return int(browser.run("document.querySelectorAll('#list > li').length"))


def count(browser: Browser) -> str:
    return str(browser.run("document.getElementById('count').textContent"))


def test_the_page_opens_quickly_draws_lazily_and_loads_nothing(browser: Browser, page: str) -> None:
    started = time.perf_counter()
    opened(browser, page)
    assert time.perf_counter() - started < 10
    assert count(browser) == "1,307 of 1,307 questions"
    drawn = rows(browser)
    assert drawn <= 100
    browser.run("document.getElementById('more').scrollIntoView()")
    browser.until(f"document.querySelectorAll('#list > li').length > {drawn}")
    assert browser.complaints() == []
    assert browser.requests() == [page]


def test_a_number_leads_to_its_questions(browser: Browser, page: str) -> None:
    opened(browser, page)
    cell = "a[href='#questions?system=bm25&outcome=misread']"
    expected = int(str(browser.run(f'document.querySelector("{cell}").textContent')).split()[0].replace(",", ""))
    browser.run(f'document.querySelector("{cell}").click()')
    browser.until("!document.getElementById('count').textContent.startsWith('1,307 ')")
    assert count(browser) == f"{expected:,} of 1,307 questions"
    titles = browser.run("[...document.querySelectorAll('#list .chip')].map((chip) => chip.title)")
    assert {title for title in titles if title.startswith("bm25")} == {"bm25: misread"}
    browser.run("document.querySelector('#filters button').click()")
    browser.until("document.getElementById('count').textContent.startsWith('1,307 ')")


def test_filters_combine_and_are_kept_in_the_address(browser: Browser, page: str) -> None:
    opened(browser, page)
    browser.run("document.querySelector('#filters [name=find]').focus()")
    browser.type("c3/11?")
    browser.until("document.getElementById('count').textContent.startsWith('1 of')")
    assert browser.run("location.hash") == "#questions?find=c3%2F11%3F"
    address = str(browser.run("location.href"))
    browser.open(address)
    assert count(browser) == "1 of 1,307 questions"
    assert browser.run("document.querySelector('#filters [name=find]').value") == "c3/11?"
    browser.run("document.querySelector('#filters [name=category]').value = 'single-hop'")
    browser.run("document.querySelector('#filters').dispatchEvent(new Event('input'))")
    assert count(browser) == "0 of 1,307 questions"


def test_the_keyboard_opens_a_question_and_its_memories(browser: Browser, page: str) -> None:
    opened(browser, page, "#questions?find=c3/11?")
    browser.run("document.querySelector('#filters button').focus()")
    browser.press("Tab", 9)
    assert browser.run("document.activeElement.tagName") == "SUMMARY"
    browser.press("Enter", 13, "\r")
    browser.until("document.querySelectorAll('#list .card').length === 7")
    assert browser.run("document.querySelector('.detail').textContent").startswith("Gold: a dogD1:1")
    said = browser.run("[...document.querySelectorAll('.said')].map((each) => each.textContent)")
    assert said == [f"{system} says {float((11 + number) % 3 == 0)}" for number, system in enumerate(SYSTEMS)]
    browser.press("Tab", 9)
    browser.press("Enter", 13, "\r")
    browser.until("document.querySelectorAll('.card .seen li').length === 60")
    marked = "[...document.querySelectorAll('.card .seen li')].map((each) => each.classList.contains('hit'))"
    assert browser.run(marked) == [True] + [False] * 59
    assert str(browser.run("document.querySelector('.card .hit').textContent")).startswith("evidence Turn 11 about")


def test_hostile_texts_are_shown_as_they_are(browser: Browser, page: str) -> None:
    opened(browser, page)
    assert browser.run("document.querySelector('#list .ask').textContent") == HOSTILE
    browser.run("document.querySelector('#list details').open = true")
    browser.until("document.querySelectorAll('#list .card').length === 7")
    browser.run("document.querySelector('.card details').open = true")
    browser.until("document.querySelector('.card .seen')")
    assert HOSTILE in str(browser.run("document.querySelector('.card .seen').textContent"))
    assert browser.run("document.title") == "LoCoMo, test"
    assert browser.run("document.images.length") == 0
    assert browser.complaints() == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_fits_a_phone_in_both_themes(browser: Browser, page: str, dark: bool) -> None:
    opened(browser, page)
    browser.window(360, 740, dark=dark, phone=True)
    browser.run("document.querySelector('#list details').open = true")
    browser.until("document.querySelectorAll('#list .card').length === 7")
    assert browser.run("document.documentElement.scrollWidth") <= 360
    background = browser.run("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(20, 23, 28)" if dark else "rgb(255, 255, 255)")


def test_everything_that_can_be_used_has_a_name(browser: Browser, page: str) -> None:
    """As a screen reader hears it: the names in the accessibility tree, not the markup."""
    opened(browser, page)
    nodes = browser("Accessibility.getFullAXTree")["nodes"]
    used = ("textbox", "searchbox", "combobox", "button", "link", "image", "region", "navigation", "search")
    named = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if "role" in node]
    assert {"searchbox", "combobox", "button", "link", "image", "region", "search"} <= {role for role, _ in named}
    assert [role for role, name in named if role in used and not name.strip()] == []
